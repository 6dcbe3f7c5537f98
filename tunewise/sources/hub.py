"""Model repositories of a hub, through the hub's own library and cache; pickled weights are never downloaded."""

from __future__ import annotations

import errno
import os
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from tunewise.errors import SourceError, UnreachableError

if TYPE_CHECKING:
    from huggingface_hub.hf_api import ModelInfo

    from tunewise.contracts import Progress
    from tunewise.sources.forms import HubSource

WANTED = ("model.safetensors", "model-*.safetensors", "*.json", "*.txt", "*.model", "README.md")
"""Weights, configuration, vocabulary (``*.model`` is sentencepiece's), and the card that names the licence."""
UNWANTED = ("onnx/*", "openvino/*", "original/*")
_WHOLE = ("model.safetensors", "model.safetensors.index.json")
_ANSWER_SECONDS = 20.0
TOO_MANY_REQUESTS, SERVERS_FAULT = 429, 500


def fetch_model(source: HubSource, progress: Progress) -> Path:
    """Return the folder of a model in the hub library's cache, downloading what is missing.

    A revision that is here whole is not asked for again, so that a branch stands still until its copy is
    deleted or a commit is named, and everything works offline. ``HF_ENDPOINT`` names another hub.

    Args:
        source: Repository and revision.
        progress: Told how many bytes have come.

    Raises:
        SourceError: If the hub is not reached, has no such model, or has it as a pickle alone.
    """
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, HTTPError  # pyright: ignore[reportPrivateImportUsage]

    if (here := _local_copy(source)) is not None:
        return here
    try:
        found = _ask(source)
        _refuse_pickles(source, found)
        return _download(source, found, progress)
    except (HfHubHTTPError, HFValidationError, HTTPError, OSError) as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise (UnreachableError if _may_pass(error) else SourceError)(_explain(source, error)) from error


def has_model(source: HubSource) -> bool:
    """Say whether the model is whole in the hub library's cache."""
    return _local_copy(source) is not None


def _endpoint() -> str | None:
    """Read the variable now, as the library did once, when it was imported."""
    return os.environ.get("HF_ENDPOINT") or None


def _local_copy(source: HubSource) -> Path | None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        folder = Path(
            snapshot_download(
                source.repository,
                revision=source.revision,
                allow_patterns=list(WANTED),
                ignore_patterns=list(UNWANTED),
                local_files_only=True,
            )
        )
    except (LocalEntryNotFoundError, HFValidationError):
        return None
    # Without a listing of the repository the library takes any folder for whole, even one with a single file.
    return folder if (folder / "config.json").is_file() and any((folder / name).is_file() for name in _WHOLE) else None


def _ask(source: HubSource) -> ModelInfo:
    from huggingface_hub import HfApi

    api = HfApi(endpoint=_endpoint())
    return api.model_info(source.repository, revision=source.revision, files_metadata=True, timeout=_ANSWER_SECONDS)


def _refuse_pickles(source: HubSource, found: ModelInfo) -> None:
    names = [file.rfilename for file in found.siblings or []]
    if not any(name in _WHOLE for name in names):
        from tunewise.backbones.inspection import PICKLED

        pickled = [name for name in names if PurePosixPath(name).suffix in PICKLED]
        what = f"only as a pickle ({pickled[0]}), and reading one may run any code" if pickled else "not as model.safetensors"
        raise SourceError(
            f"hub:{source.repository}@{source.revision} has its weights {what}. Nothing was downloaded. "
            "Take a revision with model.safetensors, or convert it where you trust it and give the folder as path:."
        )


def _download(source: HubSource, found: ModelInfo, progress: Progress) -> Path:
    from huggingface_hub import snapshot_download

    total = sum(file.size or 0 for file in found.siblings or [] if _is_wanted(file.rfilename))
    folder = snapshot_download(
        source.repository,
        revision=source.revision,
        endpoint=_endpoint(),
        allow_patterns=list(WANTED),
        ignore_patterns=list(UNWANTED),
        tqdm_class=_reporting(lambda done: progress(f"downloading {source.repository}", done, total)),
    )
    return Path(folder)


def _is_wanted(name: str) -> bool:
    return any(fnmatch(name, pattern) for pattern in WANTED) and not any(fnmatch(name, pattern) for pattern in UNWANTED)


def _reporting(report: Any) -> Any:
    """Return a progress bar class that draws nothing and reports the bytes written so far."""
    from huggingface_hub.utils import tqdm

    class Reporting(tqdm):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            self.is_of_bytes = kwargs.get("name") == "huggingface_hub.snapshot_download"
            self.n_bytes = 0
            super().__init__(*args, **{**kwargs, "disable": True})

        def update(self, n: float | None = 1) -> bool | None:
            if self.is_of_bytes:
                self.n_bytes += int(n or 0)
                report(self.n_bytes)
            return super().update(n)

    return Reporting


def _may_pass(error: Exception) -> bool:
    """Say whether asking again later may help: the hub did not answer, was overrun, or failed itself."""
    from huggingface_hub.errors import HFValidationError

    status = getattr(getattr(error, "response", None), "status_code", None)
    return not isinstance(error, HFValidationError) and (status is None or status == TOO_MANY_REQUESTS or status >= SERVERS_FAULT)


def _explain(source: HubSource, error: Exception) -> str:
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    where = f"hub:{source.repository}@{source.revision}"
    if isinstance(error, GatedRepoError):
        return f"{where} asks for consent first. Accept its terms on its page, then run `hf auth login` or set HF_TOKEN."
    if isinstance(error, RepositoryNotFoundError):
        return f"The hub has no model {source.repository}, or hides it from you. Check the name; for a private one set HF_TOKEN."
    if isinstance(error, RevisionNotFoundError):
        return f"The hub's {source.repository} has no revision {source.revision!r}. Name a branch, a tag or a commit of it."
    return (
        f"{where} could not be fetched: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no answer'}. "
        "What had come is continued next time. Check the network and HF_ENDPOINT, or use path: with a local folder."
    )
