"""The one folder that holds everything tunewise keeps: instances, stores, artefacts, caches."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from tunewise.errors import ArtifactError


@dataclass(frozen=True)
class Home:
    """Names the places below ``TUNEWISE_HOME``; nothing is created by asking for one."""

    root: Path

    @classmethod
    def default(cls) -> Home:
        """Return the folder named by ``TUNEWISE_HOME``, or ``.tunewise`` in the user's home.

        Raises:
            ArtifactError: If there is something else of that name, or nothing may be written there.
        """
        root = Path(os.environ.get("TUNEWISE_HOME") or Path.home() / ".tunewise").expanduser().absolute()
        place = next(path for path in (root, *root.parents) if path.exists())
        if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
            fault = "may not be written to" if place.is_dir() else "is no folder"
            raise ArtifactError(f"Everything is kept in {root}, and {place} {fault}. Let TUNEWISE_HOME name another folder.")
        return cls(root)

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
    def work(self) -> Path:
        """Files of unfinished work, a folder per key, and the claims on it; see `tunewise.claims`."""
        return self.root / "work"

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
