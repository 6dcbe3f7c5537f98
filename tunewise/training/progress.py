"""How far a training has come: what is put into its checkpoints, and how it goes on from one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from tunewise.training.checkpoint import Checkpoint, Checkpoints
from tunewise.training.classifier import trained

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from tunewise.training.best_epoch import BestEpoch
    from tunewise.training.loop import Stepper


class Progress:
    """The place of a training among its epochs and batches, with all that its next step depends on."""

    def __init__(self, stepper: Stepper, best: BestEpoch, order: np.random.Generator, seed: int) -> None:
        self._stepper, self._best, self._order = stepper, best, order
        self._monitor, self._device = stepper.inputs.monitor, stepper.task.device
        self._checkpoints = Checkpoints(stepper.inputs.work, _identity(stepper, seed))
        self.begin(1)

    def begin(self, epoch: int) -> None:
        """Note that the rows of ``epoch`` have not been ordered yet: doing so again has to give the same order."""
        self._epoch, self._state = epoch, self._order.bit_generator.state

    def keep(self, n_taken: int) -> None:
        """Write a checkpoint after ``n_taken`` batches of the epoch, if one is due; the fit is not charged for it."""
        if not self._checkpoints.is_due(ends_epoch=n_taken == 0):
            return
        with self._monitor.untimed():
            facts = {
                "epoch": self._epoch,
                "n_taken": n_taken,
                "n_done": self._stepper.n_done,
                "order": self._state,
                "best": self._best.facts,
                "monitor": self._monitor.so_far(),
            }
            tensors = self._stepper.tensors() | generator_states(self._device)
            self._checkpoints.write(Checkpoint(tensors, facts, self._best.file))

    def resume(self) -> tuple[int, int]:
        """Go on from the last checkpoint, and return the epoch it stands in and how many of its batches were taken."""
        with self._monitor.untimed():
            found = self._checkpoints.read()
            if found is None:
                return 1, 0
            facts = found.facts
            self._stepper.go_on_from(found.tensors, facts["n_done"])
            self._best.go_on_from(facts["best"], found.best)
            self._order.bit_generator.state = facts["order"]
            self._monitor.go_on_from(facts["monitor"])
            set_generator_states(found.tensors)
        return facts["epoch"], facts["n_taken"]


def _identity(stepper: Stepper, seed: int) -> dict[str, Any]:
    """Return what tells this training from another one in the same work folder."""
    return {
        "seed": seed,
        "settings": stepper.settings.model_dump(mode="json"),
        "n_steps": stepper.n_steps,
        "rows": stepper.inputs.train.ids,
        "shapes": {name: list(parameter.shape) for name, parameter in trained(stepper.module).items()},
    }


def generator_states(device: str) -> dict[str, Tensor]:
    """Return the states of torch's generators, which dropout draws from."""
    on_device = {"generator.cuda": torch.cuda.get_rng_state()} if device == "cuda" else {}
    return {"generator.cpu": torch.get_rng_state()} | on_device


def set_generator_states(tensors: dict[str, Tensor]) -> None:
    """Set torch's generators to states that `generator_states` returned."""
    torch.set_rng_state(tensors["generator.cpu"])
    if "generator.cuda" in tensors:
        torch.cuda.set_rng_state(tensors["generator.cuda"])
