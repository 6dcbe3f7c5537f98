"""The epoch that is best on development rows, and its weights."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file, save_file

from tunewise.evaluation.metrics import answers_of, gain, metric_named
from tunewise.staging import staging_beside
from tunewise.training.checkpoint import BEST, link_or_copy
from tunewise.training.classifier import trained

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor, nn

    from tunewise.contracts import Inputs
    from tunewise.training.loop import Task


class BestEpoch:
    """Keeps the trained weights of the best epoch in the work folder, so that they cost no memory."""

    def __init__(self, module: nn.Module, task: Task, inputs: Inputs) -> None:
        self._module, self._task, self._inputs = module, task, inputs
        self._file = inputs.work / BEST
        self._gain = -math.inf
        self._epoch = self._last = 0

    @property
    def facts(self) -> dict[str, Any]:
        """Return which epoch is best so far, and how good, as plain JSON values."""
        return {"gain": self._gain if self._epoch else None, "epoch": self._epoch, "last": self._last}

    @property
    def file(self) -> Path | None:
        """Return where that epoch's weights are, if there is one."""
        return self._file if self._epoch else None

    def go_on_from(self, facts: dict[str, Any], file: Path | None) -> None:
        """Take what `facts` and `file` were."""
        self._epoch, self._last = facts["epoch"], facts["last"]
        self._gain = -math.inf if facts["gain"] is None else facts["gain"]
        if file is not None:
            link_or_copy(file, self._file)

    def score(self, epoch: int, step: int) -> None:
        """Score the development rows after ``epoch``, and keep its weights where they are the best so far."""
        self._last = epoch
        part, metric = self._inputs.development, self._inputs.metric
        if not len(part):
            return
        answers = answers_of(self._task.development(), part.labels)
        self._inputs.monitor.record(step, **{f"development_{metric}": metric_named(metric)(answers)})
        if (value := gain(metric, answers)) > self._gain:
            self._gain, self._epoch = float(value), epoch
            self._write()

    def restore(self) -> int:
        """Give the module the best epoch's weights, in evaluation mode, and return that epoch; the last if none was scored."""
        if self._epoch and self._epoch != self._last:
            fill_trained(self._module, load_file(self._file, device=self._task.device))
        self._module.eval()
        self._file.unlink(missing_ok=True)
        return self._epoch or self._last

    def _write(self) -> None:
        # Never in place: a checkpoint may share the bytes of the epoch that was best before.
        staging = staging_beside(self._file)
        try:
            save_file({name: value.detach().contiguous() for name, value in trained(self._module).items()}, staging)
            staging.replace(self._file)
        finally:
            staging.unlink(missing_ok=True)


def fill_trained(module: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Copy ``tensors`` into the trained parameters of their names."""
    with torch.no_grad():
        for name, parameter in trained(module).items():
            parameter.copy_(tensors[name])
