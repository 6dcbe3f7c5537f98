"""From a study's line to a `Backbone`: fetched, inspected, known by its hashes."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from tunewise.backbones.inspection import read_facts
from tunewise.contracts import Backbone, no_progress
from tunewise.errors import BackboneError

if TYPE_CHECKING:
    from pathlib import Path

    from tunewise.contracts import Progress
    from tunewise.home import Home
    from tunewise.study import BackboneSpec


def open_backbone(spec: BackboneSpec, *, base: Path, home: Home, progress: Progress = no_progress) -> Backbone:
    """Return the backbone a study names, fetching it where it is not at hand.

    Its hashes are kept, so that a second call reads no weights.

    Args:
        spec: The study's line.
        base: The folder that relative paths start from.
        home: Where downloads and hashes are kept.
        progress: Told how far fetching and hashing have come.

    Raises:
        SourceError: If the model cannot be had.
        BackboneError: If the folder holds no model that may be used, or one of another kind.
    """
    from tunewise.sources import fetch_folder, licence_of

    folder = fetch_folder(spec.source, base=base, home=home, progress=progress)
    cache = home.backbones / "facts" / f"{hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:32]}.json"
    facts = read_facts(folder, cache, progress)
    known = licence_of(spec.source)
    return _backbone(spec, folder, facts, facts["licence"] if known == "unknown" else known)


def open_folder(spec: BackboneSpec, folder: Path) -> Backbone:
    """Return the backbone in ``folder``, keeping nothing; ``spec.source`` is not looked at."""
    facts = read_facts(folder, None, no_progress)
    return _backbone(spec, folder, facts, facts["licence"])


def _backbone(spec: BackboneSpec, folder: Path, facts: dict[str, Any], licence: str) -> Backbone:
    if facts["kind"] != spec.kind:
        raise BackboneError(
            f"Backbone {spec.name} was declared as kind: {spec.kind}, but {folder} holds a {facts['architecture']}, "
            f"which is {'an' if facts['kind'] == 'encoder' else 'a'} {facts['kind']}. Write kind: {facts['kind']}."
        )
    limit = facts["position_limit"]
    return Backbone(
        name=spec.name,
        folder=folder,
        kind=spec.kind,
        weights_sha256=facts["weights_sha256"],
        config_sha256=facts["config_sha256"],
        tokenizer_sha256=facts["tokenizer_sha256"],
        architecture=facts["architecture"],
        hidden_size=facts["hidden_size"],
        n_layers=facts["n_layers"],
        n_parameters=facts["n_parameters"],
        max_tokens=min(spec.max_tokens, limit) if spec.max_tokens else facts["default_tokens"],
        pooling=facts["pooling"] or ("mean" if spec.kind == "encoder" else "last"),
        licence=licence,
    )
