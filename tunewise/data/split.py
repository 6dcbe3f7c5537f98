"""The split: which side each row is on, decided by its text and never by a shuffle.

A row's side is a keyed hash of its folded text, so that appending rows moves none of the old ones and
months stay comparable. A row that duplicates an earlier one joins the side of the eldest it duplicates,
so that a text and its copy are not on two sides.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import numpy as np

from tunewise.contracts import PARTS, Part, Split
from tunewise.data.duplicates import eldest_among
from tunewise.data.forms import Forms
from tunewise.data.storage import fingerprint_of, read_facts, read_rows, write_rows
from tunewise.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

    from tunewise.contracts import Label
    from tunewise.data.dataset import Dataset
    from tunewise.study import SplitRule

FACTS_FILE = "split.json"


def make_split(dataset: Dataset, rule: SplitRule, salt: str) -> Split:
    """Return the parts of ``dataset``: sides it gives are kept, sides it does not give are taken from its training rows.

    Rows stand in the order of their ids, so that equal rows in another order are the same split, unless rows that
    nearly duplicate each other change places: their side is that of whichever comes first.

    Args:
        dataset: The rows, the elder before the younger.
        rule: The shares.
        salt: Key of the hash.

    Raises:
        DataError: If a side is left empty, or fewer than two classes have training rows.
    """
    sides = np.array(dataset.sides or ("train",) * len(dataset), dtype=object)
    shares = {side: share for side in ("test", "development") if isinstance(share := getattr(rule, side), float)}
    shares = {side: share for side, share in shares.items() if not (sides == side).any()}
    drawn = np.flatnonzero(sides == "train")
    sides[drawn] = _drawn_sides(dataset, drawn, shares, salt)
    _refuse_empty_sides(sides, shares)
    _refuse_one_trained_class(dataset, sides)
    order = sorted(range(len(dataset)), key=dataset.ids.__getitem__)
    rows = Part(dataset.ids, dataset.texts, dataset.labels).take(order)
    return _split(rows, sides[order], dataset.classes, dataset.licence)


def write_split(split: Split, folder: Path) -> None:
    """Write ``split`` into the existing, empty ``folder``: Parquet and JSON."""
    parts = [part for _, part in split.parts()]
    rows = Part(
        tuple(name for part in parts for name in part.ids),
        tuple(text for part in parts for text in part.texts),
        np.concatenate([part.labels for part in parts]),
    )
    write_rows(folder, rows, [name for name, part in split.parts() for _ in part.ids])
    facts = {"classes": split.classes, "fingerprint": split.fingerprint, "licence": split.licence}
    (folder / FACTS_FILE).write_text(json.dumps(facts, indent=1), encoding="utf-8")


def read_split(folder: Path) -> Split:
    """Return what `write_split` wrote.

    Raises:
        ArtifactError: If a file is missing or cannot be read.
    """
    rows, sides = read_rows(folder)
    facts = read_facts(folder / FACTS_FILE)
    parts = _parts(rows, np.array(sides, dtype=object))
    return Split(tuple(facts["classes"]), **parts, fingerprint=facts["fingerprint"], licence=facts["licence"])


def _drawn_sides(dataset: Dataset, rows: np.ndarray, shares: dict[str, float], salt: str) -> list[str]:
    """Return the side of each of ``rows``; a younger duplicate has its elder's."""
    forms = Forms.of([dataset.texts[i] for i in rows])
    sides: list[str] = []
    for i, elder in enumerate(eldest_among(forms).tolist()):
        sides.append(_side_of_text(forms.folded[i], shares, salt) if elder == i else sides[elder])
    return sides


def _side_of_text(folded: str, shares: dict[str, float], salt: str) -> str:
    # Hashed, since a key may have at most 64 bytes.
    key = hashlib.sha256(salt.encode()).digest()
    digest = hashlib.blake2b(folded.encode("utf-8", "surrogatepass"), key=key, digest_size=8).digest()
    share = int.from_bytes(digest, "big") / 2**64
    for side, width in shares.items():
        if share < width:
            return side
        share -= width
    return "train"


def _split(rows: Part, sides: np.ndarray, classes: tuple[Label, ...], licence: str) -> Split:
    facts = zip(rows.ids, rows.texts, rows.labels.tolist(), sides.tolist(), strict=True)
    return Split(classes, **_parts(rows, sides), fingerprint=fingerprint_of(classes, facts), licence=licence)


def _parts(rows: Part, sides: np.ndarray) -> dict[str, Part]:
    return {side: rows.take(np.flatnonzero(sides == side)) for side in PARTS}


def _refuse_empty_sides(sides: np.ndarray, shares: dict[str, float]) -> None:
    for side in PARTS:
        if not (sides == side).any():
            asked = f" (a share of {shares[side]:g} was asked for)" if side in shares else ""
            raise DataError(
                f"No row is left for {side}{asked}; the data has {len(sides)} usable rows. Without it nothing can be "
                "compared honestly. Give more rows, larger shares, or a table of its own."
            )


def _refuse_one_trained_class(dataset: Dataset, sides: np.ndarray) -> None:
    counts = np.bincount(dataset.labels, minlength=len(dataset.classes))
    trained = np.bincount(dataset.labels[sides == "train"], minlength=len(dataset.classes))
    if (trained > 0).sum() >= 2:
        return
    only = dataset.classes[int(trained.argmax())]
    untrained = [f"{label!r} ({n})" for label, n, m in zip(dataset.classes, counts, trained, strict=True) if not m]
    more = f" and {len(untrained) - 10} more" if len(untrained) > 10 else ""
    raise DataError(
        f"All {trained.sum()} training rows have the class {only!r}, so nothing can be told apart; none has the class "
        f"{', '.join(untrained[:10])}{more} (in brackets: its rows on all sides). Give more rows of the others, join classes, "
        "or draw smaller shares for development and test."
    )
