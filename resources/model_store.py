"""Backbones by the name a study gives them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from tunewise.home import Home

if TYPE_CHECKING:
    from tunewise.contracts import Backbone, Progress
    from tunewise.study import Study


class ModelStore(dg.ConfigurableResource):
    """Opens backbones, fetching those that are not at hand into the home folder's cache."""

    root: str
    """The home folder."""

    def open(self, study: Study, base: Path, name: str, progress: Progress) -> Backbone:
        """Return the backbone that ``study`` calls ``name``.

        Args:
            study: The study.
            base: The folder that its relative paths start from.
            name: The backbone's name in it.
            progress: Told how far a download has come.

        Raises:
            SourceError: If the model cannot be had.
            BackboneError: If what was had is no model of the kind the study says.
        """
        from tunewise.backbones.opening import open_backbone

        return open_backbone(study.backbone(name), base=base, home=Home(Path(self.root)), progress=progress)
