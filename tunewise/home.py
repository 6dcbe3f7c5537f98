"""The one folder that holds everything tunewise keeps: instances, stores, artefacts, caches."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Home:
    """Names the places below ``TUNEWISE_HOME``; nothing is created by asking for one."""

    root: Path

    @classmethod
    def default(cls) -> Home:
        """Return the folder named by ``TUNEWISE_HOME``, or ``.tunewise`` in the user's home."""
        return cls(Path(os.environ.get("TUNEWISE_HOME") or Path.home() / ".tunewise").expanduser().absolute())

    @property
    def downloads(self) -> Path:
        """Package archives as the index gave them, and what was taken out of them."""
        return self.root / "cache" / "downloads"

    @property
    def backbones(self) -> Path:
        """Models made ready to load."""
        return self.root / "cache" / "backbones"

    @property
    def embeddings(self) -> Path:
        """The row cache of frozen features."""
        return self.root / "cache" / "embeddings"

    @property
    def artifacts(self) -> Path:
        """Datasets, splits and outcomes, each a folder with a manifest."""
        return self.root / "artifacts"

    @property
    def dagster(self) -> Path:
        """Dagster's instance."""
        return self.root / "dagster"

    @property
    def mlflow(self) -> Path:
        """MLflow's database and artefacts."""
        return self.root / "mlflow"

    def study(self, name: str) -> Path:
        """Return the folder of one study: which outcomes are its latest, its pages, its checkpoints."""
        return self.root / "studies" / name
