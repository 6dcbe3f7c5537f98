"""What a fit will cost, scaled from outcomes that were measured on this machine."""

from __future__ import annotations

import math
import os
from dataclasses import asdict, dataclass
from statistics import median
from typing import TYPE_CHECKING, Any, Literal

from tunewise.contracts import PARTS, Need
from tunewise.device import n_cores
from tunewise.provenance import mean_characters

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tunewise.planning.past import PastFit
    from tunewise.request import Request

Source = Literal["measured", "scaled", "calibrated"]

BUSY = 1.5
"""An outcome whose fit began at a load above this many times the cores was measured beside other work."""


@dataclass(frozen=True)
class Cost:
    """What one fit takes until its outcome is stored, the computing of frozen features left out."""

    seconds: float
    cpu_seconds: float
    peak_bytes: int
    """Resident bytes of the whole process at the fit's peak."""
    disk_bytes: int
    """What the outcome keeps."""
    source: Source
    """Measured on an equal fit, scaled from a similar one, or calibrated by a few steps."""

    def to_json(self) -> dict[str, Any]:
        """Return the fields as plain JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class Work:
    """How much there is to do, in numbers that costs are in proportion to."""

    n_train_rows: int
    epochs: int
    n_rows: dict[str, int] | None
    mean_characters: float | None

    @classmethod
    def of(cls, request: Request) -> Work:
        """Return the work of a fit that is asked for."""
        n_rows = {name: len(part) for name, part in request.split.parts()}
        return cls(request.n_train_rows, request.effort.epochs, n_rows, mean_characters(request.split.train.texts))

    @classmethod
    def of_past(cls, one: PastFit) -> Work:
        """Return the work that an outcome took."""
        return cls(one.determinants["n_train_rows"], one.determinants["epochs"], one.n_rows, one.mean_characters)


def busy_load() -> float:
    """Return the load above which this machine does much besides."""
    return BUSY * n_cores()


def load_now() -> float:
    """Return the one-minute load average, 0 where the system keeps none."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0


def cost_of_similar(request: Request, past: Sequence[PastFit], hardware: str) -> Cost | None:
    """Return what ``request`` costs as told by outcomes of the same method, settings, backbone and device on this hardware.

    The outcomes nearest in work are taken, those of a quiet machine first, and their median.
    """
    similar = [one for one in past if one.hardware == hardware and _is_similar(request, one)]
    if not similar:
        return None
    quiet = [one for one in similar if one.costs.load_at_start <= busy_load()] or similar
    asked = Work.of(request)
    least = min(_distance(asked, one) for one in quiet)
    return _median([scaled(one, request) for one in quiet if _distance(asked, one) == least])


def scaled(one: PastFit, request: Request) -> Cost:
    """Return what a past fit costs with the rows, epochs and lengths of ``request``.

    A gradient fit takes time in proportion to its steps and the length of their texts, any other one to its
    rows; answering to the rows that are answered. Memory grows with the rows except where the trunk is trained,
    whose batches are bounded.
    """
    asked, was = Work.of(request), Work.of_past(one)
    longer = (asked.mean_characters or 1) / was.mean_characters if was.mean_characters else 1.0
    trains_trunk = Need.TRUNK in request.method.needs
    settings = request.settings.model_dump()
    more_fit = _amount(asked, settings) / _amount(was, settings) * (longer if trains_trunk or not request.method.needs else 1.0)
    more_answers = longer * _n_answered(asked) / _n_answered(was) if asked.n_rows and was.n_rows else longer
    costs = one.costs
    base = costs.peak_bytes - costs.peak_above_start_bytes
    grown = 1.0 if trains_trunk else asked.n_train_rows / max(1, was.n_train_rows)
    is_equal = _distance(asked, one) == 0
    return Cost(
        seconds=costs.fit_seconds * more_fit + max(0.0, one.total_seconds - costs.fit_seconds) * more_answers,
        cpu_seconds=costs.fit_cpu_seconds * more_fit + max(0.0, one.total_cpu_seconds - costs.fit_cpu_seconds) * more_answers,
        peak_bytes=round(base + costs.peak_above_start_bytes * grown),
        disk_bytes=one.n_bytes,
        source="measured" if is_equal else "scaled",
    )


def cost_of_past(one: PastFit) -> Cost:
    """Return what a past fit took."""
    return Cost(one.total_seconds, one.total_cpu_seconds, one.costs.peak_bytes, one.n_bytes, "measured")


def _is_similar(request: Request, one: PastFit) -> bool:
    now, then = request.determinants, one.determinants
    return all(now[name] == then.get(name) for name in ("method", "settings", "backbone", "device"))


def _distance(asked: Work, one: PastFit) -> float:
    """Return how far the work of ``one`` is from what is asked: 0 where rows, epochs and lengths are the same."""
    was = Work.of_past(one)
    pairs: list[tuple[float, float]] = [(asked.n_train_rows, was.n_train_rows), (asked.epochs, was.epochs)]
    if asked.n_rows and was.n_rows:
        pairs += [(asked.n_rows[name], was.n_rows.get(name, 0)) for name in PARTS[1:]]
    if asked.mean_characters and was.mean_characters:
        pairs.append((asked.mean_characters, was.mean_characters))
    return round(sum(abs(math.log(max(now, 1) / max(then, 1))) for now, then in pairs), 2)


def _amount(work: Work, settings: dict[str, Any]) -> float:
    """Return the optimizer steps of a gradient fit, as its settings tell them, and the rows of any other."""
    if not isinstance(size := settings.get("batch_size"), int):
        return max(1, work.n_train_rows)
    least = settings.get("min_steps") or 0
    n_batches = math.ceil(work.n_train_rows / size)
    return max(1, n_batches * max(work.epochs, math.ceil(least / max(1, n_batches))))


def _n_answered(work: Work) -> int:
    rows = work.n_rows or {}
    return max(1, rows.get("test", 0) + rows.get("development", 0))


def _median(costs: Sequence[Cost]) -> Cost:
    return Cost(
        seconds=median(one.seconds for one in costs),
        cpu_seconds=median(one.cpu_seconds for one in costs),
        peak_bytes=round(median(one.peak_bytes for one in costs)),
        disk_bytes=round(median(one.disk_bytes for one in costs)),
        source=costs[0].source,
    )
