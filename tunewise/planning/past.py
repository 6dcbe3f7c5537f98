"""Outcomes of the past as a plan reads them: what determined them and what they cost, without their answers."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from tunewise.artifacts import read_folder
from tunewise.errors import ArtifactError
from tunewise.evaluation.costs import N_LATENCIES, N_THROUGHPUT_TEXTS, N_WARM_UPS
from tunewise.evaluation.outcomes import KIND, RECORD, Place, folder_of
from tunewise.outcome import Costs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tunewise.home import Home


@dataclass(frozen=True, eq=False)
class PastFit:
    """One stored outcome, its answers left unread."""

    key: str
    determinants: dict[str, Any]
    costs: Costs
    hardware: str
    provenance: dict[str, Any]
    n_bytes: int
    """Of its folder, answers included."""

    @property
    def method(self) -> str:
        """Return the method's name."""
        return self.determinants["method"]

    @property
    def backbone(self) -> dict[str, Any] | None:
        """Return the backbone's name and hashes; none where none was used."""
        return self.provenance["backbone"]

    @property
    def n_rows(self) -> dict[str, int] | None:
        """Return how many rows each side of its split had; none in outcomes of versions that did not note it."""
        return self.provenance["data"].get("n_rows")

    @property
    def mean_characters(self) -> float | None:
        """Return the mean length of its training texts; none in outcomes of versions that did not note it."""
        return self.provenance["data"].get("mean_characters")

    @property
    def total_seconds(self) -> float:
        """Return what it took from the fit to the stored outcome; put together from its parts where that was not noted."""
        costs = self.costs
        if costs.total_seconds is not None:
            return costs.total_seconds
        singles = (N_WARM_UPS + N_LATENCIES) * costs.latency_ms / 1000
        return costs.fit_seconds + costs.predict_seconds + N_THROUGHPUT_TEXTS / costs.throughput + singles

    @property
    def total_cpu_seconds(self) -> float:
        """Return the same in processor seconds."""
        costs = self.costs
        return costs.fit_cpu_seconds + costs.predict_cpu_seconds if costs.total_cpu_seconds is None else costs.total_cpu_seconds


def past_fits(home: Home) -> list[PastFit]:
    """Return all stored outcomes, those that cannot be read left out, the youngest first."""
    folder = folder_of("any", home).parent
    found = [one for path in folder.glob("[!.]*") if (one := read_past(path))] if folder.is_dir() else []
    return sorted(found, key=lambda one: one.provenance.get("date", ""), reverse=True)


def read_past(folder: Path) -> PastFit | None:
    """Return the outcome in ``folder``, or none where there is none that a plan can read."""
    known = {field.name for field in fields(Costs)}
    try:
        stored = read_folder(folder)
        record = json.loads((folder / RECORD).read_text())
        if stored.kind != KIND or "determinants" not in record["provenance"]:
            return None
        costs = Costs(**{name: value for name, value in record["costs"].items() if name in known})
        return PastFit(
            record["key"], record["provenance"]["determinants"], costs, record["hardware"], record["provenance"], stored.bytes
        )
    except (ArtifactError, OSError, ValueError, KeyError, TypeError):
        return None


def latest_of(place: Place, home: Home) -> dict[str, Any]:
    """Return what the study notes of a fit's latest attempt: ``key`` or ``failed``; empty where it never ran."""
    return _read(place.pointer(home))


def keys_of_study(study: str, home: Home) -> frozenset[str]:
    """Return the keys of all outcomes that the study's variants ever had."""
    root = home.study(study)
    notes = (_read(path) for name in ("latest", "history") for path in (root / name).rglob("*.json"))
    return frozenset(note["key"] for note in notes if "key" in note)


def rows_by_id(home: Home, fingerprint: str) -> dict[str, tuple[str, str]] | None:
    """Return side and class of every row of a stored split, by id; none where that split is not stored any more."""
    from tunewise.data.split import read_split

    for folder in _splits(home):
        try:
            if json.loads((folder / "split.json").read_text())["fingerprint"] == fingerprint:
                split = read_split(folder)
                break
        except (ArtifactError, OSError, ValueError, KeyError):
            continue
    else:
        return None
    sided = ((side, part) for side, part in split.parts())
    return {
        name: (side, str(split.classes[label]))
        for side, part in sided
        for name, label in zip(part.ids, part.labels.tolist(), strict=True)
    }


def _splits(home: Home) -> Iterator[Path]:
    folder = home.artifacts / "split"
    yield from folder.glob("[!.]*") if folder.is_dir() else ()


def _read(path: Path) -> dict[str, Any]:
    try:
        note = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return note if isinstance(note, dict) else {}
