"""Trying a fit for a moment: on few rows to its end, or on all of them for a few steps.

No method is asked for an estimator of its own. What it reports as progress tells how many steps it will take and
how long one lasts; a method that reports nothing is fitted on two sizes, and a curve through both gives the rest.
"""

from __future__ import annotations

import math
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tunewise.effort import affordable, class_weights
from tunewise.errors import TunewiseError
from tunewise.evaluation.costs import FitMonitor, evenly
from tunewise.rng import Rng
from tunewise.trials import Surroundings, inputs_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tunewise.contracts import Predictor, Settings
    from tunewise.request import Request

MIN_STEPS = 6
"""Steps that are timed at least; the first of all is left out, since it allocates what the others use again."""
SLOW = 3
"""So many times the limit end a fit after fewer steps: each of them takes long."""
FEW_ROWS = 64
N_DEVELOPMENT = 128
"""Development rows of a probe, enough for a method that stops by them; scoring all is told by the pace of answering."""
STEEPEST = 3.0
"""Highest power of the rows that a cost is taken to grow with."""


class _SeenEnough(BaseException):
    """Ends a fit whose remaining steps are known; no error, so that it passes through methods that catch those."""


@dataclass(frozen=True, eq=False)
class Probe:
    """A fit that was tried."""

    n_rows: int
    seconds: float
    """Of the whole fit on these rows, steps that were not taken included."""
    cpu_seconds: float
    spent_seconds: float
    """What the probe itself took."""
    start_seconds: float
    """Until the first step was done; the whole probe where none was reported."""
    peak_bytes: int
    peak_above_start_bytes: int
    predictor: Predictor | None
    """None where the fit was ended before it was done."""


class _Watcher:
    """Receives a fit's progress, on the fit's own clock, and ends the fit once its pace is known."""

    def __init__(self, limit_seconds: float) -> None:
        self.monitor = FitMonitor(self)
        self._limit = limit_seconds
        self._stage = ""
        self._marks: list[tuple[int, float, float]] = []
        self._total = 0

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Note a step; raise once enough of them were seen and more than a few are left."""
        seconds, cpu_seconds = self.monitor.elapsed
        if stage != self._stage:
            self._stage, self._marks = stage, []
        self._total = total
        self._marks.append((done, seconds, cpu_seconds))
        seen, timed = len(self._marks), seconds - self._marks[0][1]
        is_known = seen > MIN_STEPS and timed > self._limit
        if (is_known or (seen > 1 and timed > SLOW * self._limit)) and total - done > seen:
            raise _SeenEnough

    @property
    def start_seconds(self) -> float | None:
        """Return the seconds until the first step was reported; none where none was."""
        return self._marks[0][1] if self._marks else None

    def whole(self) -> tuple[float, float]:
        """Return wall and processor seconds of the whole fit, had it not been ended."""
        (first, seconds, cpu), (last, seconds_then, cpu_then) = self._marks[0], self._marks[-1]
        per_step, cpu_per_step = ((end - begin) / (last - first) for begin, end in ((seconds, seconds_then), (cpu, cpu_then)))
        return seconds + per_step * (self._total - first), cpu + cpu_per_step * (self._total - first)


def probe(request: Request, around: Surroundings, n_rows: int, *, limit_seconds: float = math.inf) -> Probe:
    """Fit ``request`` on ``n_rows`` of its training rows, ending it once its pace is known.

    Args:
        request: What is fitted; all its other conditions hold.
        around: Its runtime; features are to be in its cache already.
        n_rows: Training rows, those that a budget of as many would pay for.
        limit_seconds: Seconds of steps after which the fit is ended; it is done to its end unless given.

    Raises:
        TunewiseError: If the method cannot be fitted.
    """
    watcher = _Watcher(limit_seconds)
    inputs = inputs_of(request, around, watcher.monitor)
    train = affordable(inputs.train, n_rows)
    few = evenly(len(inputs.development), N_DEVELOPMENT)
    weights = class_weights(request.effort.class_weights, train.labels, len(inputs.classes))
    inputs = replace(inputs, train=train, development=inputs.development.take(few), class_weights=weights)
    predictor, begin = None, time.perf_counter()
    with watcher.monitor.measured(request.device) as costs, suppress(_SeenEnough):
        predictor = request.method.fit(inputs, request.settings, rng=Rng(request.effective_seed))
    found = costs()
    seconds, cpu_seconds = (found.seconds, found.cpu_seconds) if predictor is not None else watcher.whole()
    return Probe(
        len(train),
        seconds,
        cpu_seconds,
        time.perf_counter() - begin,
        found.seconds if watcher.start_seconds is None else watcher.start_seconds,
        found.peak_bytes,
        found.peak_above_start_bytes,
        predictor,
    )


def small(request: Request) -> Request:
    """Return ``request`` with one epoch and no least number of steps, so that few rows take few steps."""
    return replace(request, effort=replace(request.effort, epochs=1), settings=_few_steps(request.settings))


def probed_to_the_end(request: Request, around: Surroundings) -> Probe:
    """Return a fit on few rows that was done to its end, on more of them where so few hold one class alone.

    Raises:
        TunewiseError: If the method cannot be fitted on all rows either.
    """
    n_rows = min(request.n_train_rows, max(FEW_ROWS, 2 * len(request.split.classes)))
    while True:
        try:
            return probe(small(request), around, n_rows)
        except TunewiseError:
            if n_rows >= request.n_train_rows:
                raise
            n_rows = min(request.n_train_rows, 4 * n_rows)


def extrapolated(probes: Sequence[Probe], n_rows: int) -> tuple[float, float, int]:
    """Return wall seconds, processor seconds and bytes above the start of a fit on ``n_rows``, from its probes.

    Between and beyond two sizes a cost goes as a power of the rows, of at least 0 and at most `STEEPEST`.
    """
    *_, last = ordered = sorted(probes, key=lambda one: one.n_rows)
    if last.n_rows >= n_rows or len(ordered) < 2 or ordered[-2].n_rows == last.n_rows:
        ratio = n_rows / last.n_rows
        return last.seconds * ratio, last.cpu_seconds * ratio, last.peak_above_start_bytes
    before = ordered[-2]
    return (
        power(before.n_rows, before.seconds, last.n_rows, last.seconds, n_rows),
        power(before.n_rows, before.cpu_seconds, last.n_rows, last.cpu_seconds, n_rows),
        round(power(before.n_rows, before.peak_above_start_bytes, last.n_rows, last.peak_above_start_bytes, n_rows)),
    )


def power(small_rows: int, small_cost: float, large_rows: int, large_cost: float, n_rows: int) -> float:
    """Return the cost of ``n_rows`` on the power of the rows that goes through two sizes and their costs."""
    if small_cost <= 0 or large_cost <= 0 or small_rows == large_rows:
        return large_cost
    exponent = math.log(large_cost / small_cost) / math.log(large_rows / small_rows)
    return large_cost * (n_rows / large_rows) ** min(max(exponent, 0.0), STEEPEST)


def _few_steps(settings: Settings) -> Settings:
    return settings.model_copy(update={"min_steps": 0}) if "min_steps" in type(settings).model_fields else settings
