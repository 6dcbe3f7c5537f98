"""Checkpoints of a training loop: everything the next step depends on, in a folder that is whole or absent.

A killed fit goes on from its last one and ends with the weights it would have ended with, bit for bit, on
the same machine. What changes in training has to be a trained parameter, the optimizer's, or drawn.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from tunewise.artifacts import new_folder, set_aside, sha256_of_json, verify_hashes
from tunewise.errors import ArtifactError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from torch import Tensor

KIND = "checkpoint"
STATE, FACTS, BEST = "state.safetensors", "state.json", "best.safetensors"

STEP_SECONDS = 30.0
"""Training between two checkpoints: what a kill loses at most, besides the step it falls in."""
EPOCH_SECONDS = 5.0
"""At an epoch's end, where scoring would be lost as well, so much is enough."""
MOST_SHARE = 0.02
"""Of all time at most this share goes into checkpoints, however large the model and slow the disk."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """The state of a loop between two steps."""

    tensors: dict[str, Tensor]
    """On the CPU once read."""
    facts: dict[str, Any]
    """Plain JSON."""
    best: Path | None
    """A file that goes along: the weights of the best epoch so far."""


class Checkpoints:
    """The checkpoints of one training in a folder; of two that follow one another in a fit each sees its own."""

    def __init__(self, folder: Path, identity: object) -> None:
        """Name them; nothing is written.

        Args:
            folder: The work folder of a fit.
            identity: What tells this training from others in the folder, as plain JSON values.
        """
        self._folder = folder
        self._identity = sha256_of_json(identity)
        self._last = time.monotonic()
        self._write_seconds = 0.0

    def is_due(self, *, ends_epoch: bool) -> bool:
        """Say whether so much was done since the last one that the next is worth its time."""
        least = EPOCH_SECONDS if ends_epoch else STEP_SECONDS
        return time.monotonic() - self._last >= max(least, self._write_seconds / MOST_SHARE)

    def write(self, checkpoint: Checkpoint) -> None:
        """Store ``checkpoint`` and remove the ones before; without room for it training goes on, and the log says so."""
        start = time.monotonic()
        number = max((int(folder.name.rpartition("-")[2]) + 1 for folder in self._newest_first()), default=0)
        try:
            with new_folder(self._folder / f"{self._name}-{number:06}", KIND) as folder:
                self._fill(folder, checkpoint)
        except (OSError, SafetensorError) as error:
            log.warning("No checkpoint could be written: %s. If it is killed, the fit goes on from an earlier one.", error)
        for older in self._newest_first()[1:]:
            shutil.rmtree(older, ignore_errors=True)
        self._last = time.monotonic()
        self._write_seconds = self._last - start

    def read(self) -> Checkpoint | None:
        """Return the newest one, or none. One that is cut, altered or of another training is set aside."""
        for folder in self._newest_first():
            try:
                return self._read(folder)
            except (ArtifactError, SafetensorError, OSError, ValueError, KeyError) as error:
                set_aside(folder, f"{error} The fit goes on without this checkpoint.")
        return None

    @property
    def _name(self) -> str:
        return f"{KIND}-{self._identity[:16]}"

    def _newest_first(self) -> list[Path]:
        return sorted(self._folder.glob(f"{self._name}-*"), reverse=True)

    def _fill(self, folder: Path, checkpoint: Checkpoint) -> None:
        save_file(dict(_compact(checkpoint.tensors)), folder / STATE)
        (folder / FACTS).write_text(json.dumps({"identity": self._identity, "facts": checkpoint.facts}, allow_nan=False))
        if checkpoint.best is not None:
            link_or_copy(checkpoint.best, folder / BEST)

    def _read(self, folder: Path) -> Checkpoint:
        verify_hashes(folder)
        record = json.loads((folder / FACTS).read_text())
        if record["identity"] != self._identity:
            raise ArtifactError(f"{folder} belongs to another training.")
        # Copies, so that they are aligned as freshly computed tensors are.
        tensors = {name: tensor.clone() for name, tensor in load_file(folder / STATE).items()}
        best = folder / BEST
        return Checkpoint(tensors, record["facts"], best if best.exists() else None)


def link_or_copy(source: Path, target: Path) -> None:
    """Let ``target``, which is replaced, hold the bytes of ``source``, which is never written in place."""
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _compact(tensors: dict[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    for name, tensor in tensors.items():
        yield name, tensor.detach().contiguous()
