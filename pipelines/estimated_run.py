"""What a run begins with where it is known at once: its bottom line, kept with the run, and the time that is left."""

from __future__ import annotations

import logging
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import psutil

from pipelines.console import err
from pipelines.plan_table import bottom_line, make_plan
from tunewise.errors import TunewiseError
from tunewise.planning.kept import keep_estimate, note_end

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tunewise.contracts import Progress
    from tunewise.planning import Plan
    from tunewise.steps import Workplace

WHOLE = "the whole run, in seconds"

log = logging.getLogger(__name__)


class Remaining:
    """Passes progress on, and tells beside it how much of the estimated run is done."""

    def __init__(self, progress: Progress, plan: Plan) -> None:
        self._progress = progress
        self._total = plan.seconds
        to_run = {(one.variant, one.seed): one.cost for one in plan.to_run}
        self._seconds: dict[str, list[float]] = {}
        for fit in plan.fits:
            cost = to_run.get((fit.variant, fit.seed))
            self._seconds.setdefault(fit.variant, []).append(cost.seconds if cost else 0.0)
        self._done: dict[str, int] = {}
        self._under_way: tuple[str, float] = ("", 0.0)

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Pass on what is done of ``stage``; a seed that ends, or a step of one, moves the whole."""
        self._progress(stage, done, total)
        variant, _, what = stage.partition(": ")
        if what == "seeds" and variant in self._seconds:
            self._done[variant] = done
            self._under_way = (variant, 0.0)
        elif stage == "training" and total:
            self._under_way = (self._under_way[0], done / total)
        else:
            return
        self._progress(WHOLE, round(min(self.done_seconds, self._total - 1)), round(self._total))

    @property
    def done_seconds(self) -> float:
        """Return the estimated seconds of what is done."""
        whole = sum(sum(self._seconds[variant][:n]) for variant, n in self._done.items())
        variant, part = self._under_way
        left = self._seconds.get(variant, [])[self._done.get(variant, 0) :]
        return whole + part * (left[0] if left else 0.0)

    def close(self) -> None:
        """End the line."""
        if self._done:
            self._progress(WHOLE, round(self._total), round(self._total))


@contextmanager
def estimated(place: Workplace, only: Sequence[str]) -> Iterator[Progress]:
    """Yield the progress of a run, with the time that is left where the plan tells it.

    The plan is one that nothing has to be measured for. It is kept with the run, and so is what the run took.

    Args:
        place: The study, and where everything is kept.
        only: Names of the variants that will run.
    """
    plan = _known(place, only)
    line = bottom_line(plan) if plan else None
    if plan is None or line is None:
        yield place.progress
        return
    err.print(line, markup=False, soft_wrap=True)
    keep_estimate(plan, place.home)
    progress = Remaining(place.progress, plan)
    yield progress
    progress.close()
    note_end(plan, time.time() - psutil.Process().create_time(), place.home)


def _known(place: Workplace, only: Sequence[str]) -> Plan | None:
    """Return the plan; none where what is wrong with the study is better said by the run itself."""
    try:
        return make_plan(place, only, may_measure=False)
    except TunewiseError as error:
        log.debug("The run could not be planned: %s", error)
        return None
