"""Stored folders and the references by which assets hand them to one another."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from tunewise.artifacts import ArtifactRef, read_folder, write_atomically
from tunewise.errors import ArtifactError
from tunewise.home import Home
from tunewise.steps import Workplace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tunewise.contracts import Progress
    from tunewise.study import Study


class ArtifactStore(dg.ConfigurableResource):
    """Gives steps the place they keep folders in."""

    root: str
    """The home folder."""

    def workplace(self, study: Study, base: Path, progress: Progress) -> Workplace:
        """Return the place of ``study``, whose relative paths start from ``base``."""
        return Workplace(study, base, Home(Path(self.root)), progress)


class References(dg.ConfigurableIOManager):
    """Keeps what assets return: a reference as JSON, and never the thing, nor a pickle of it."""

    root: str
    """The home folder."""

    def handle_output(self, context: dg.OutputContext, obj: ArtifactRef) -> None:
        """Write the reference to the asset's file.

        Raises:
            TypeError: If the asset returned something else.
        """
        if not isinstance(obj, ArtifactRef):
            raise TypeError(
                f"An asset hands on an ArtifactRef, not {type(obj).__name__}: write a folder and return its reference."
            )
        path = self._path(context.asset_key.path)
        write_atomically(path, json.dumps(obj.to_json()))
        context.add_output_metadata({"folder": dg.MetadataValue.path(obj.uri), "bytes": obj.bytes, "sha256": obj.sha256})

    def load_input(self, context: dg.InputContext) -> ArtifactRef:
        """Return the reference of the upstream asset, whose folder is whole.

        Raises:
            ArtifactError: If the asset was never materialised, or its folder is gone or changed.
        """
        name = context.asset_key.to_user_string()
        try:
            kept = ArtifactRef(**json.loads(self._path(context.asset_key.path).read_text()))
        except (OSError, ValueError, TypeError) as error:
            raise ArtifactError(f"{name} has no stored result yet. Materialise {name} first.") from error
        found = read_folder(kept.folder)
        if found.sha256 != kept.sha256:
            raise ArtifactError(f"{kept.folder} is not what {name} wrote. Materialise {name} again.")
        return kept

    def _path(self, key: Sequence[str]) -> Path:
        study, name = key
        return Home(Path(self.root)).study(study) / "references" / f"{name}.json"
