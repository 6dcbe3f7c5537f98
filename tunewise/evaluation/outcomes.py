"""Outcomes on disk: a folder per outcome, and per study a small file that says which outcome is its latest."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tunewise.artifacts import read_folder, write_atomically
from tunewise.errors import ArtifactError
from tunewise.outcome import ClassAnswers, Costs, Missing, Outcome, Row, Scored
from tunewise.request import Effort, determinants_of_code

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tunewise.contracts import Matrix
    from tunewise.home import Home
    from tunewise.study import Study, Variant

KIND = "outcome"
RECORD, PREDICTIONS, ARTEFACT = "outcome.json", "predictions.parquet", "artefact"
_LISTS = ("classes", "marks", "curve")
_NOT_NUMBERS = ("id", "part", "probabilities")
_PLAIN = (
    "key",
    "task",
    "method",
    "family",
    "backbone",
    "backbone_sha256",
    "split_sha256",
    "seed",
    "conditions",
    "hardware",
    "settings",
    "settings_changed",
    "chosen",
    "provenance",
)


def folder_of(key: str, home: Home) -> Path:
    """Return where the outcome with this key is kept."""
    return home.artifacts / "outcomes" / key


def write_outcome(outcome: Outcome, folder: Path) -> None:
    """Write ``outcome.json`` and ``predictions.parquet`` into ``folder``, beside the artefact that is there already.

    The table has one row per text of the development and test rows: ``id``, ``part``, ``label`` and
    ``predicted`` (class indices), ``probabilities`` (a list, where there are any) and each per-example value.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    record = {name: getattr(outcome, name) for name in _PLAIN}
    record |= {name: list(getattr(outcome, name)) for name in _LISTS}
    record["costs"] = asdict(outcome.costs)
    (folder / RECORD).write_text(json.dumps(record, indent=1, allow_nan=False))
    tables = [_table(name, scored) for name, scored in (("development", outcome.development), ("test", outcome.test))]
    pq.write_table(pa.concat_tables(tables), folder / PREDICTIONS, compression="zstd")


def read_outcome(folder: Path) -> Outcome:
    """Return the outcome kept in ``folder``.

    Raises:
        ArtifactError: If the folder is not whole, or holds something else.
    """
    if (kind := read_folder(folder).kind) != KIND:
        raise ArtifactError(f"{folder} holds an artefact of kind {kind!r}; an outcome is needed.")
    record = json.loads((folder / RECORD).read_text())
    costs = Costs(**record.pop("costs"))
    parts = _read_parts(folder / PREDICTIONS)
    lists = {name: tuple(record.pop(name)) for name in _LISTS}
    return Outcome(**record, **lists, **parts, costs=costs, folder=folder)


def _table(part: str, scored: Scored) -> Any:
    import pyarrow as pa

    answers = scored.answers
    columns: dict[str, Any] = {
        "id": pa.array(scored.ids, pa.string()),
        "part": pa.array([part] * len(scored.ids), pa.string()),
        "label": pa.array(answers.labels, pa.int32()),
        "predicted": pa.array(answers.predicted, pa.int32()),
    }
    if answers.probabilities is not None:
        columns["probabilities"] = _lists(answers.probabilities)
    columns |= {f"value_{name}": pa.array(values, pa.float64()) for name, values in scored.values.items()}
    return pa.table(columns)


def _lists(matrix: Matrix) -> Any:
    import pyarrow as pa

    return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(matrix).ravel(), pa.float32()), matrix.shape[1])


def _read_parts(path: Path) -> dict[str, Any]:
    """Return development and test rows, which stand one after the other.

    Read and cut in ways that leave pandas alone: pyarrow imports it to convert Python values, and an outcome
    that is only looked at has to be there at once.
    """
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        table = file.read()
    names = table["part"].to_pylist()
    return {part: _scored(table.slice(names.index(part), names.count(part))) for part in ("development", "test")}


def _scored(table: Any) -> Scored:
    probabilities = None
    if "probabilities" in table.column_names:
        lists = table["probabilities"].combine_chunks()
        probabilities = np.from_dlpack(lists.flatten()).reshape(len(table), lists.type.list_size)
    numbers = {name: np.from_dlpack(table[name].combine_chunks()) for name in table.column_names if name not in _NOT_NUMBERS}
    labels, predicted = (numbers.pop(name).astype(np.int64) for name in ("label", "predicted"))
    values = {name.removeprefix("value_"): column for name, column in numbers.items()}
    return Scored(tuple(table["id"].to_pylist()), ClassAnswers(labels, predicted, probabilities), values)


@dataclass(frozen=True)
class Place:
    """One planned fit of a study, by the names the study gives it."""

    study: str
    variant: str
    seed: int

    def pointer(self, home: Home) -> Path:
        """Return the file that says which outcome is the latest."""
        return home.study(self.study) / "latest" / self.variant / f"{self.seed}.json"

    def history(self, home: Home) -> Path:
        """Return the folder of the pointers that were superseded."""
        return home.study(self.study) / "history" / self.variant / str(self.seed)


def point_to(outcome: Outcome, place: Place, home: Home, *, is_reused: bool) -> None:
    """Note that ``outcome`` is the latest of ``place``."""
    _write_pointer({"key": outcome.key, "split_sha256": outcome.split_sha256, "is_reused": is_reused}, place, home)


def point_to_failure(message: str, place: Place, home: Home) -> None:
    """Note that the latest attempt at ``place`` failed; an outcome it had before is the latest no more."""
    _write_pointer({"failed": message}, place, home)


def _write_pointer(pointer: dict[str, Any], place: Place, home: Home) -> None:
    path = place.pointer(home)
    before = _read_pointer(path)
    if before is not None and before.get("key", before.get("failed")) != pointer.get("key", pointer.get("failed")):
        write_atomically(place.history(home) / f"{before['at'].replace(':', '')}.json", json.dumps(before))
    now = dt.datetime.now(dt.UTC).isoformat(timespec="microseconds")
    write_atomically(path, json.dumps({**pointer, "at": now}))


def _read_pointer(path: Path) -> dict[str, Any] | None:
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return None


def latest_rows(
    study: Study, home: Home, split_sha256: str, *, backbones: Mapping[str, str] | None = None
) -> tuple[list[Row], list[Missing]]:
    """Return the outcomes the study's plan has, in its order, and what it has not, each with the reason.

    An outcome is stale where the split, the settings, the effort, the code or a library's version is
    another now than when it was fitted; the message says which.

    Args:
        study: The plan: its variants and seeds.
        home: Where outcomes are kept.
        split_sha256: The fingerprint of the split as it is now.
        backbones: The fingerprints of the study's backbones as they are now, by name; not compared unless given.
    """
    now = _Now(study, home, split_sha256, backbones or {})
    rows: list[Row] = []
    missing: list[Missing] = []
    for variant in study.planned():
        for seed in study.seeds:
            found = _latest(variant, seed, now)
            (rows if isinstance(found, Row) else missing).append(found)  # pyright: ignore[reportArgumentType] - sorted by type
    return rows, missing


@dataclass(frozen=True)
class _Now:
    study: Study
    home: Home
    split_sha256: str
    backbones: Mapping[str, str]


def _latest(variant: Variant, seed: int, now: _Now) -> Row | Missing:
    pointer = _read_pointer(Place(now.study.name, variant.name, seed).pointer(now.home))
    if pointer is None:
        return Missing(variant.name, seed, "never ran")
    if "failed" in pointer:
        return Missing(variant.name, seed, "failed", pointer["failed"])
    try:
        outcome = read_outcome(folder_of(pointer["key"], now.home))
    except ArtifactError as error:
        return Missing(variant.name, seed, "never ran", f"It ran, but its outcome is gone: {error}")
    if changed := list(_changes(outcome, variant, now)):
        return Missing(variant.name, seed, "stale", f"Since it was fitted, {_and(changed)} changed.")
    return Row(variant.name, seed, outcome, pointer["is_reused"])


def _changes(outcome: Outcome, variant: Variant, now: _Now) -> Iterator[str]:
    """Yield in words what the study asks for now and the outcome was not fitted with."""
    then, effort = outcome.provenance["determinants"], Effort.of(now.study)
    asked = {
        **determinants_of_code(variant.method),
        "settings": variant.settings.model_dump(mode="json"),
        "split": now.split_sha256,
        "backbone": now.backbones.get(variant.backbone or "", then["backbone"]),
        "epochs": effort.epochs,
        "metric": effort.metric,
        "class_weights": effort.class_weights,
    }
    yield from (_WORDS[name] for name, value in asked.items() if then.get(name) != value)
    n_rows = outcome.provenance["n_split_train_rows"]
    if then["n_train_rows"] != min(n_rows, effort.max_train_rows or n_rows):
        yield "the number of training rows"


_WORDS = {
    "format": "the format of outcomes",
    "method": "the method",
    "code": "the code",
    "python": "the version of Python",
    "versions": "a library's version",
    "settings": "the settings",
    "split": "the split",
    "backbone": "the backbone",
    "epochs": "the epochs",
    "metric": "the metric",
    "class_weights": "the class weights",
}


def _and(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
