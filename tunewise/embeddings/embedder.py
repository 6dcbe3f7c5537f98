"""Frozen features of texts, each computed once."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from tunewise.artifacts import sha256_of_json
from tunewise.code_hash import code_sha256
from tunewise.contracts import no_progress
from tunewise.embeddings.cache import RowCache, key_of
from tunewise.errors import BackboneError

if TYPE_CHECKING:
    from tunewise.contracts import Backbone, Device, Matrix, Progress, Texts
    from tunewise.embeddings.engine import Engine

ENGINE = "tunewise.embeddings.engine"
CHUNK = 2048
"""Texts computed between two writes to the cache: what an interrupted run loses at most."""


def space_of(backbone: Backbone, device: Device) -> str:
    """Return the name of all features that this backbone gives in this precision, computed by this code."""
    return sha256_of_json([backbone.fingerprint, device.dtype, code_sha256(ENGINE)])[:32]


@dataclass(frozen=True)
class EmbedReport:
    """What one call took."""

    n_reused: int = 0
    """Texts whose feature was stored already, or that repeat another text of the call."""
    n_computed: int = 0
    n_tokens: int = 0
    """Of the computed texts."""
    seconds: float = 0.0
    """Wall seconds, loading the model included where this call was the first to need it."""


class Embedder:
    """Turns texts into pooled, L2-normalised features of a frozen backbone.

    The model is loaded when the first feature has to be computed; a call that finds all of its rows in the
    cache imports no torch and opens no weights. A row that is stored comes back bit for bit.
    """

    def __init__(
        self, backbone: Backbone, device: Device, cache: RowCache | None = None, progress: Progress = no_progress
    ) -> None:
        """Name what is to be embedded with; nothing is loaded.

        Args:
            backbone: Whose features.
            device: Where, in which precision and with how many threads they are computed.
            cache: Rows of the space `space_of(backbone, device)`; nothing is kept without it.
            progress: Receives how many texts are computed.
        """
        self.backbone = backbone
        self.device = device
        self.last = EmbedReport()
        self._cache = cache
        self._progress = progress

    def __call__(self, texts: Texts) -> Matrix:
        """Return the features of ``texts``, computing those that are not stored and storing them.

        Shapes:
            n texts -> (n, d), float32

        Raises:
            BackboneError: If a feature is not finite.
            ArtifactError: If the cache cannot be written.
        """
        start = time.perf_counter()
        keys = [key_of(text) for text in texts]
        rows = self._cache.find(keys) if self._cache else {}
        missing = [i for key, i in _first_places(keys).items() if key not in rows]
        n_tokens = 0
        for begin in range(0, len(missing), CHUNK):
            chunk = missing[begin : begin + CHUNK]
            features, n_new = self._compute([texts[i] for i in chunk], begin, len(missing))
            n_tokens += n_new
            new = [keys[i] for i in chunk]
            if self._cache:
                self._cache.add(new, features)
            rows.update(zip(new, features, strict=True))
        matrix = self._matrix([rows[key] for key in keys])
        self.last = EmbedReport(len(texts) - len(missing), len(missing), n_tokens, time.perf_counter() - start)
        return matrix

    def uncached(self, texts: Texts) -> Matrix:
        """Return the features of ``texts``, all computed anew and none stored: what an answer costs without a cache.

        Shapes:
            n texts -> (n, d), float32
        """
        start = time.perf_counter()
        matrix, n_tokens = self._compute(texts, 0, len(texts))
        self.last = EmbedReport(0, len(texts), n_tokens, time.perf_counter() - start)
        return matrix

    @cached_property
    def _engine(self) -> Engine:
        from tunewise.embeddings.engine import Engine

        return Engine(self.backbone, self.device)

    def _compute(self, texts: Texts, n_before: int, total: int) -> tuple[Matrix, int]:
        if not len(texts):
            return self._matrix([]), 0
        stage = f"embedding with {self.backbone.name}"
        self._progress(stage, n_before, total)
        tokens = self._engine.tokens(texts)
        features = self._engine.features(tokens, lambda done: self._progress(stage, n_before + done, total))
        if not np.isfinite(features).all():
            raise BackboneError(
                f"{self.backbone.name} gives features that are not finite in {self.device.dtype}, so nothing can be learned "
                "from them. Use float32, or another backbone."
            )
        return features, int(tokens.lengths.sum())

    def _matrix(self, rows: list[np.ndarray]) -> Matrix:
        return np.stack(rows) if rows else np.empty((0, self.backbone.hidden_size), dtype=np.float32)


def _first_places(keys: list[bytes]) -> dict[bytes, int]:
    places: dict[bytes, int] = {}
    for i, key in enumerate(keys):
        places.setdefault(key, i)
    return places
