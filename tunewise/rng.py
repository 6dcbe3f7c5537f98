"""Random numbers from named streams, so that adding one draw moves no other."""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np


@dataclass(frozen=True)
class Rng:
    """A seed with named children; never the global generator."""

    seed: int

    def child(self, name: str) -> Rng:
        """Return the independent stream called ``name``."""
        digest = hashlib.sha256(f"{self.seed}/{name}".encode()).digest()
        return Rng(int.from_bytes(digest[:4], "little"))

    def numpy(self) -> np.random.Generator:
        """Return a fresh NumPy generator at the start of this stream."""
        import numpy as np

        return np.random.default_rng(self.seed)

    @contextmanager
    def torch(self) -> Iterator[None]:
        """Seed torch inside the block and give the outer state back after it.

        Layers and dropout of torch draw from its global generator alone, so it is lent, not replaced.
        """
        import torch

        devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(self.seed)
            yield
