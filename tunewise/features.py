"""Filling the row cache with the features of a split, and what they cost when they were computed.

A fit on frozen features finds them in the cache, so its own clock does not see them. Their pace, seconds
per character of text on this machine, is kept from the largest computation seen so far; the features of a
fit's rows are charged at that pace, whoever computed them and whenever.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from tunewise.artifacts import sha256_of_json, write_atomically
from tunewise.code_hash import code_sha256
from tunewise.contracts import no_progress
from tunewise.device import hardware
from tunewise.effort import affordable
from tunewise.evaluation.costs import BATCH_SIZE, Stopwatch, evenly
from tunewise.object_store import rows_place
from tunewise.request import EMBEDDER

if TYPE_CHECKING:
    from pathlib import Path

    from tunewise.contracts import Backbone, Device, Progress, Split, Texts
    from tunewise.home import Home

SAMPLE_TEXTS = 256
"""Texts embedded anew to learn the pace, where the cache held every feature before any pace was noted."""


@dataclass(frozen=True)
class Pace:
    """A computation that was measured."""

    seconds: float
    n_texts: int
    n_characters: int

    def seconds_of(self, texts: Texts) -> float:
        """Return what these texts cost at this pace."""
        return self.seconds * _n_characters(texts) / max(1, self.n_characters)


@dataclass(frozen=True)
class FeaturesReport:
    """What filling the cache with a split's features took this time, and what they cost when they were computed."""

    backbone: str
    n_reused: int
    n_computed: int
    n_tokens: int
    seconds: float
    """This time."""
    fit_seconds: float
    """What the features of training and development rows cost at the measured pace; goes to `Costs.features_seconds`."""
    hidden_size: int

    def to_json(self) -> dict[str, Any]:
        """Return the fields as plain JSON values."""
        return asdict(self)


def embedder_for(backbone: Backbone, device: Device, home: Home, progress: Progress = no_progress) -> Any:
    """Return the embedder that keeps its features in the home's row cache."""
    from tunewise.embeddings.cache import RowCache
    from tunewise.embeddings.embedder import Embedder, space_of

    return Embedder(backbone, device, RowCache(rows_place(home), space_of(backbone, device)), progress)


def compute_features(
    split: Split,
    backbone: Backbone,
    device: Device,
    *,
    home: Home,
    max_train_rows: int | None = None,
    progress: Progress = no_progress,
) -> FeaturesReport:
    """Put the features of the rows of ``split`` into the cache and return what that took.

    Rows that are there already are reused; what the embeddings asset runs, and every fit before its clock starts.

    Args:
        split: Whose rows; of the training rows those the budget pays for.
        backbone: Whose features.
        device: Where and in which precision they are computed.
        home: Holds the cache.
        max_train_rows: The budget's `tunewise.study.Budget.max_train_rows`.
        progress: Receives how far it has come.
    """
    embedder = embedder_for(backbone, device, home, progress)
    fitted = [*affordable(split.train, max_train_rows).texts, *split.development.texts]
    texts = list(dict.fromkeys([*fitted, *split.test.texts]))
    embedder(texts)
    done = embedder.last
    pace = _note_pace(_pace_file(backbone, device, home), embedder, texts)
    return FeaturesReport(
        backbone.name, done.n_reused, done.n_computed, done.n_tokens, done.seconds, pace.seconds_of(fitted), backbone.hidden_size
    )


def known_pace(backbone: Backbone, device: Device, home: Home) -> Pace | None:
    """Return the pace that was measured on this machine, if one was."""
    return _read_pace(_pace_file(backbone, device, home))


def n_missing_features(texts: Texts, backbone: Backbone, device: Device, home: Home) -> int:
    """Return how many of the different texts have no feature in the cache; nothing is computed."""
    from tunewise.embeddings.cache import RowCache, key_of
    from tunewise.embeddings.embedder import space_of

    keys = {key_of(text) for text in texts}
    return len(keys - RowCache(rows_place(home), space_of(backbone, device)).find(keys).keys())


def _pace_file(backbone: Backbone, device: Device, home: Home) -> Path:
    """Return where the pace of this code and this backbone on this machine is kept."""
    identity = [backbone.fingerprint, asdict(device), hardware(), code_sha256(EMBEDDER)]
    return home.embeddings.parent / "pace" / f"{sha256_of_json(identity)}.json"


def _note_pace(file: Path, embedder: Any, texts: Texts) -> Pace:
    """Return the pace of the largest computation known, the one just done included."""
    known = _read_pace(file)
    done = embedder.last
    if done.n_computed == len(set(texts)):
        fresh = Pace(done.seconds, len(texts), _n_characters(texts))
    elif known is None:
        fresh = measured_pace(embedder, [texts[i] for i in evenly(len(texts), SAMPLE_TEXTS)])
    else:
        return known
    if known is not None and known.n_texts >= fresh.n_texts:
        return known
    write_atomically(file, json.dumps(asdict(fresh)))
    return fresh


def _read_pace(file: Path) -> Pace | None:
    return Pace(**json.loads(file.read_text())) if file.exists() else None


def measured_pace(embedder: Any, texts: Texts) -> Pace:
    """Return the pace of an `embedder_for`, taken on ``texts`` without its cache, after a batch that warms it up."""
    watch = Stopwatch()
    embedder.uncached(texts[:BATCH_SIZE])
    watch.start()
    embedder.uncached(texts)
    watch.stop()
    return Pace(watch.seconds, len(texts), _n_characters(texts))


def _n_characters(texts: Texts) -> int:
    return sum(len("".join(text)) for text in texts)
