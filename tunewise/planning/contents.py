"""What a plan holds: fits, other assets, downloads, the rows per class, and what all of it costs together."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from tunewise.verdict.wording import count, seconds, size

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tunewise.planning.costs import Cost

Todo = Literal["run", "reuse", "refused"]

FEW_ROWS_PER_CLASS = 10
"""A class with fewer training rows than these is learned from next to nothing."""


@dataclass(frozen=True)
class PlannedFit:
    """One variant with one seed."""

    variant: str
    seed: int
    is_seeded: bool
    todo: Todo
    why: str
    key: str | None = None
    """Under which its outcome is or will be kept; none where its data or backbone is not at hand."""
    cost: Cost | None = None
    """Of a fit that is to run; none where nothing tells it."""


@dataclass(frozen=True)
class PlannedStep:
    """An asset besides the variants."""

    name: str
    todo: Todo
    why: str
    seconds: float | None = None
    disk_bytes: int = 0


@dataclass(frozen=True)
class Download:
    """Something that has to come from elsewhere before the study can run."""

    what: str
    """The data, or a backbone by its name."""
    source: str
    n_bytes: int | None
    """None where only the place it comes from knows."""


@dataclass(frozen=True)
class ClassRows:
    """How many training rows of each class the budget pays for."""

    n_rows: int
    n_split_rows: int
    counts: dict[str, int]

    @property
    def few(self) -> dict[str, int]:
        """Return the classes with too few rows to learn from."""
        return {name: n for name, n in self.counts.items() if n < FEW_ROWS_PER_CLASS}


@dataclass(frozen=True)
class Plan:
    """What one run of a study does."""

    study: str
    budget: str
    hardware: str
    steps: tuple[PlannedStep, ...]
    fits: tuple[PlannedFit, ...]
    downloads: tuple[Download, ...]
    class_rows: ClassRows | None
    """None where the data is not at hand."""
    run_seconds: float
    """What a run takes besides: starting, importing, the audit, the page."""
    load: float = 0.0
    """One-minute load average when the plan was made."""

    @property
    def to_run(self) -> tuple[PlannedFit, ...]:
        """Return the fits that will run; seeds that share an outcome stand for one."""
        return _once(one for one in self.fits if one.todo == "run")

    @property
    def reused(self) -> tuple[PlannedFit, ...]:
        """Return the fits whose outcome stands already, each outcome once."""
        return _once(one for one in self.fits if one.todo == "reuse")

    @property
    def unknown(self) -> tuple[PlannedFit, ...]:
        """Return the fits that will run at a cost nothing tells."""
        return tuple(one for one in self.to_run if one.cost is None)

    @property
    def is_estimated(self) -> bool:
        """Say whether the cost of every fit that will run is known."""
        return not self.unknown

    @property
    def seconds(self) -> float:
        """Return the wall seconds of the whole run, as far as they are known."""
        fits = sum(one.cost.seconds for one in self.to_run if one.cost)
        return self.run_seconds + fits + sum(step.seconds or 0.0 for step in self.steps)

    @property
    def cpu_seconds(self) -> float:
        """Return the processor seconds of the fits, which other work on the machine hardly changes."""
        return sum(one.cost.cpu_seconds for one in self.to_run if one.cost)

    @property
    def peak_bytes(self) -> int:
        """Return the most resident bytes of any fit; fits run one after the other."""
        return max((one.cost.peak_bytes for one in self.to_run if one.cost), default=0)

    @property
    def disk_bytes(self) -> int:
        """Return the bytes that outcomes and features will keep."""
        return sum(one.cost.disk_bytes for one in self.to_run if one.cost) + sum(step.disk_bytes for step in self.steps)

    @property
    def sentence(self) -> str:
        """Return the bottom line: ``11 fits to do, 4 reused, about 3.5 min, peak 1.1 GB, 95 MB on disk.``."""
        n_refused = len({one.variant for one in self.fits if one.todo == "refused"})
        parts = [f"{_counted(len(self.to_run), 'fit')} to do", f"{count(len(self.reused))} reused"]
        parts += [f"{_counted(n_refused, 'variant')} cannot run"] * bool(n_refused)
        known = [one for one in self.to_run if one.cost]
        if known:
            parts += [f"about {seconds(self.seconds)}", f"peak {size(self.peak_bytes)}", f"{size(self.disk_bytes)} on disk"]
        without = f", without the {count(len(self.unknown))} of unknown cost" if known and self.unknown else ""
        return f"{', '.join(parts)}{without}."

    def to_json(self) -> dict[str, Any]:
        """Return the plan as plain JSON values."""
        return asdict(self) | {
            "sentence": self.sentence,
            "total": {
                "n_to_run": len(self.to_run),
                "n_reused": len(self.reused),
                "n_of_unknown_cost": len(self.unknown),
                "seconds": self.seconds,
                "cpu_seconds_of_fits": self.cpu_seconds,
                "peak_bytes": self.peak_bytes,
                "disk_bytes": self.disk_bytes,
            },
        }


def _once(fits: Iterable[PlannedFit]) -> tuple[PlannedFit, ...]:
    """Return each outcome once: equal keys, and the seeds of a method that draws nothing."""
    found = {one.key or (one.variant, one.seed if one.is_seeded else "any"): one for one in fits}
    return tuple(found.values())


def _counted(n: int, what: str) -> str:
    return f"{count(n)} {what if n == 1 else f'{what}s'}"
