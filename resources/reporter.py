"""How far a step has come, in the log that Dagster's pages show."""

from __future__ import annotations

import time

import dagster as dg
from pydantic import PrivateAttr

SECONDS_BETWEEN_LINES = 10.0


class LoggedProgress(dg.ConfigurableResource):
    """Writes a line to the log at most every ten seconds, with the rate and the time that remains."""

    _started: dict[str, float] = PrivateAttr(default_factory=dict)
    _written: dict[str, float] = PrivateAttr(default_factory=dict)

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Note that ``done`` of ``total`` units of ``stage`` are finished."""
        now = time.monotonic()
        if done <= 0 or stage not in self._started:
            self._started[stage] = self._written[stage] = now
        elif now - self._written[stage] >= SECONDS_BETWEEN_LINES:
            self._written[stage] = now
            dg.get_dagster_logger().info(line_of(stage, done, total, now - self._started[stage]))


def line_of(stage: str, done: int, total: int, seconds: float) -> str:
    """Return one line such as ``embedding: 512 of 10072, 410/s, 23 s left``."""
    rate = done / seconds if seconds > 0 else 0.0
    left = f", {(total - done) / rate:.0f} s left" if rate else ""
    return f"{stage}: {done} of {total}, {rate:.0f}/s{left}"
