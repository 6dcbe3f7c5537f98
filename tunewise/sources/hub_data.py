"""Data sets of a hub that are watched: which commit a branch points at, and at which a study reads it.

A study reads the commit that was noted for it last, so that a branch stands still between two looks at it.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from tunewise.artifacts import write_atomically
from tunewise.errors import UnreachableError
from tunewise.sources.forms import HubSource

if TYPE_CHECKING:
    from pathlib import Path

NOTES = "commits.json"
_NO_ROWS = {"README.md", "LICENSE", ".gitattributes", ".gitignore"}
_ANSWER_SECONDS = 20.0


@dataclass(frozen=True)
class DataRevision:
    """What a revision of a data set is now."""

    commit: str
    files: tuple[tuple[str, str], ...]
    """Name and hash of every file that may hold rows; the same where only the card was edited."""


def data_revision(source: HubSource) -> DataRevision:
    """Ask the hub what ``source`` is now; nothing is downloaded.

    Raises:
        UnreachableError: If the hub does not answer, or has no such data set or revision for us.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, HTTPError  # pyright: ignore[reportPrivateImportUsage]

    api = HfApi(endpoint=os.environ.get("HF_ENDPOINT") or None)
    try:
        found = api.dataset_info(source.repository, revision=source.revision, files_metadata=True, timeout=_ANSWER_SECONDS)
    except (HfHubHTTPError, HFValidationError, HTTPError, OSError) as error:
        said = str(error).splitlines()[0] if str(error) else "no answer"
        raise UnreachableError(
            f"The hub was asked for the data set {source.repository}@{source.revision} and did not tell of it: {said} "
            "The rows that are here stay in use. Check its name, the network and HF_ENDPOINT."
        ) from error
    files = [(file.rfilename, file.lfs.sha256 if file.lfs else str(file.blob_id)) for file in found.siblings or []]
    return DataRevision(str(found.sha), tuple(sorted(pair for pair in files if PurePosixPath(pair[0]).name not in _NO_ROWS)))


def note_commit(source: HubSource, commit: str, folder: Path) -> None:
    """Note that the study kept in ``folder`` reads ``source`` at ``commit`` from now on."""
    write_atomically(folder / NOTES, json.dumps(_notes(folder) | {_name(source): commit}, indent=1))


def at_noted_commit(source: HubSource, folder: Path) -> HubSource:
    """Return ``source`` at the commit that was noted for the study kept in ``folder``, or as it is where none was."""
    return HubSource(source.repository, _notes(folder).get(_name(source), source.revision))


def _notes(folder: Path) -> dict[str, str]:
    try:
        return json.loads((folder / NOTES).read_text())
    except (OSError, ValueError):
        return {}


def _name(source: HubSource) -> str:
    return f"{source.repository}@{source.revision}"
