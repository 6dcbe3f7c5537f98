"""A plan as the command line shows it: what runs and why, what is reused, at what cost, and one line that sums it up."""

from __future__ import annotations

import json
from importlib import import_module
from typing import TYPE_CHECKING

from pipelines.console import out, table
from tunewise.device import n_cores
from tunewise.planning.costs import busy_load
from tunewise.verdict.wording import clean, count, listed, seconds, size

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tunewise.planning.contents import ClassRows, Plan, PlannedFit
    from tunewise.steps import Workplace

MOST_CLASSES = 6
"""Classes whose rows are listed one by one."""
LONGEST_WHY = 160
RUN_BYTES = 320_000_000
"""What a run's process holds while it fits and importing alone does not bring: Dagster's run, MLflow's client, the engine of
the features. Measured as the difference between calibrated and measured peaks of a dozen fits (226 to 369 MB)."""


def make_plan(place: Workplace, only: Sequence[str], *, may_measure: bool = True) -> Plan:
    """Return the plan of a study, measuring what no outcome tells in a process that holds what a run's holds.

    Args:
        place: The study, and where everything is kept.
        only: Names of variants; all of them unless given.
        may_measure: Whether to measure; where not, only what is stored is looked at.
    """
    from tunewise.planning import plan_study

    return plan_study(place, only=only, may_measure=may_measure, warm_up=_load_what_a_run_loads, held_bytes=RUN_BYTES)


def print_plan(plan: Plan) -> None:
    """Print the plan as a table, the rows that the budget uses, what is to be downloaded, and the bottom line."""
    columns = ("asset", "seeds", "to do", "time", "peak memory", "disk", "why")
    out.print(table(columns, [*_steps(plan), *_variants(plan)]))
    out.print()
    for line in _notes(plan):
        out.print(clean(line), markup=False, soft_wrap=True)
    out.print(clean(plan.sentence), style="bold", markup=False, soft_wrap=True)


def print_plan_as_json(plan: Plan) -> None:
    """Print the plan for machines."""
    out.print_json(json.dumps(plan.to_json()))


def _steps(plan: Plan) -> Iterator[list[str]]:
    for step in plan.steps:
        time = "" if not step.seconds else seconds(step.seconds)
        yield [step.name, "", step.todo, time, "", size(step.disk_bytes) if step.disk_bytes else "", step.why]


def _variants(plan: Plan) -> Iterator[list[str]]:
    """Yield a line per variant, and more where its seeds do not share one fate."""
    groups: dict[tuple[str, str, str], list[PlannedFit]] = {}
    for fit in plan.fits:
        groups.setdefault((fit.variant, fit.todo, fit.why), []).append(fit)
    for (variant, todo, why), fits in groups.items():
        n = len(fits) if fits[0].is_seeded else 1
        seeds = ", ".join(str(fit.seed) for fit in fits) if fits[0].is_seeded else "any"
        cost = fits[0].cost
        told = [_per_fit(cost.seconds, n), size(cost.peak_bytes), size(n * cost.disk_bytes)] if cost else ["", "", ""]
        if todo == "run" and cost is None:
            told[0] = "unknown"
        shown = clean(why.replace("\n", " "))
        yield [variant, seeds, todo, *told, shown if len(shown) <= LONGEST_WHY else f"{shown[: LONGEST_WHY - 1]}…"]


def _per_fit(of_one: float, n: int) -> str:
    return seconds(of_one) if n == 1 else f"{n} × {seconds(of_one)}"


def _notes(plan: Plan) -> Iterator[str]:
    for one in plan.downloads:
        told = f"about {size(one.n_bytes)}" if one.n_bytes else "its size is known to its source alone"
        yield f"To be downloaded first: {one.what}, {one.source} ({told})."
    if plan.class_rows:
        yield from _classes(plan, plan.class_rows)
    if plan.to_run:
        calibrated = [fit.variant for fit in plan.to_run if fit.cost and fit.cost.source == "calibrated"]
        origin = "a few steps on this machine" if calibrated else "outcomes on this machine"
        yield f"Times are told by {origin} ({plan.hardware}); {seconds(plan.run_seconds)} of them are the run's own."
        if plan.load > busy_load():
            told = f"The machine is busy (load {plan.load:.1f} on {n_cores()} cores), so what is measured now takes longer"
            yield f"{told} than on a quiet one; the fits need {seconds(plan.cpu_seconds)} of processor time."


def _classes(plan: Plan, rows: ClassRows) -> Iterator[str]:
    used = f"{count(rows.n_rows)} of {count(rows.n_split_rows)} training rows"
    if len(rows.counts) <= MOST_CLASSES:
        told = ", ".join(f"{count(n)} {name!r}" for name, n in rows.counts.items())
    else:
        least, most = (choose(rows.counts, key=rows.counts.__getitem__) for choose in (min, max))
        told = f"{len(rows.counts)} classes, from {count(rows.counts[least])} {least!r} to {count(rows.counts[most])} {most!r}"
    yield f"The {plan.budget} budget fits on {used}: {told}."
    if few := rows.few:
        names = listed([f"{name!r} ({n})" for name, n in few.items()], at_most=MOST_CLASSES)
        whose = "1 class has" if len(few) == 1 else f"{len(few)} classes have"
        yield f"Warning: {whose} fewer than 10 of these rows: {names}. Take a larger budget, join classes, or give more rows."


def _load_what_a_run_loads() -> None:
    """Load what is resident in a run's process besides its fits; MLflow is not spoken to."""
    for name in ("pipelines.in_process", "mlflow"):
        import_module(name)


def bottom_line(plan: Plan) -> str | None:
    """Return the line that a run begins with; none where nothing is to be fitted or no cost is known."""
    return plan.sentence if any(fit.cost for fit in plan.to_run) else None
