"""The training loop: AdamW steps over length-sorted batches, and the epoch that is best on development rows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional
from torch.nn.utils import clip_grad_norm_

from tunewise.errors import FitError
from tunewise.evaluation.metrics import answers_of, gain, metric_named
from tunewise.training.batches import epoch_plan, passes
from tunewise.training.classifier import trained

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from torch import Tensor, nn

    from tunewise.contracts import Inputs, Matrix
    from tunewise.rng import Rng
    from tunewise.training.settings import GradientSettings

CHECKPOINT = "best.safetensors"
RECORDS = 100
"""Points of a fit's curve; every one waits for the device once."""


@dataclass(frozen=True, eq=False)
class Task:
    """What differs from method to method: how rows become class scores."""

    logits: Callable[[np.ndarray], Tensor]
    """Class scores of training rows, by index. Shape: (n_rows, n_classes)."""
    development: Callable[[], Matrix]
    """Class probabilities of all development rows."""
    lengths: np.ndarray
    """Tokens of each training row."""
    max_tokens: int
    """Most padded tokens of one forward pass with gradients."""
    device: str
    n_scores: int
    """How often development rows are scored, if there are as many epochs."""


def train(
    module: nn.Module, optimizer: torch.optim.Optimizer, task: Task, settings: GradientSettings, inputs: Inputs, rng: Rng
) -> int:
    """Train ``module`` in place, leave it with the weights of its best epoch, and return that epoch's number.

    The module ends in evaluation mode. Of equally good epochs the first is kept; without development
    rows the last. A fit that was interrupted starts anew, because half a fit has no honest cost.

    Args:
        module: Its trainable parameters are those the optimizer holds.
        optimizer: Step sizes of its groups are the highest of the schedule.
        task: How rows become class scores.
        settings: Batch size, least steps, warm-up, clipping.
        inputs: Rows, class weights, epochs, metric, monitor, work folder.
        rng: The streams ``order`` and ``dropout`` are drawn from it.

    Raises:
        FitError: If the loss becomes NaN or infinite.
    """
    n_batches = math.ceil(len(task.lengths) / settings.batch_size)
    n_epochs = max(inputs.epochs, math.ceil(settings.min_steps / n_batches))
    scored = scored_epochs(n_epochs, task.n_scores)
    stepper = _Stepper(module, optimizer, task, settings, inputs, n_batches * n_epochs)
    best = _Best(module, task, inputs)
    order = rng.child("order").numpy()
    with rng.child("dropout").torch():
        for epoch in range(1, n_epochs + 1):
            module.train()
            for rows in epoch_plan(task.lengths, settings.batch_size, order):
                stepper.step(rows)
            if epoch in scored:
                stepper.flush()
                with inputs.monitor.untimed():
                    module.eval()
                    best.score(epoch, stepper.n_done)
    return best.restore()


def rate_factor(step: int, n_steps: int, warmup_share: float) -> float:
    """Return the share of the highest step size at ``step``, counted from 0: a linear rise, then a linear fall towards zero.

    Source: Devlin et al. 2019, "BERT", appendix A.2, without its fixed length of warm-up.
    """
    n_rising = round(warmup_share * n_steps)
    if step < n_rising:
        return (step + 1) / (n_rising + 1)
    return (n_steps - step) / (n_steps - n_rising)


def scored_epochs(n_epochs: int, n_scores: int) -> frozenset[int]:
    """Return the epochs after which development rows are scored: ``n_scores`` or all, evenly spread, the last among them.

    Few rows repeat their epochs many times, and scoring after each would cost more than training.
    """
    return frozenset(math.ceil(n_epochs * (i + 1) / n_scores) for i in range(n_scores))


def weighted_loss(logits: Tensor, labels: Tensor, class_weights: Tensor, total: Tensor) -> Tensor:
    """Return the cross-entropy summed with class weights over one pass and divided by the whole step's weight, ``total``."""
    return functional.cross_entropy(logits.float(), labels, weight=class_weights, reduction="sum") / total


@dataclass(eq=False)
class _Stepper:
    """Takes optimizer steps and keeps the curve."""

    module: nn.Module
    optimizer: torch.optim.Optimizer
    task: Task
    settings: GradientSettings
    inputs: Inputs
    n_steps: int
    n_done: int = 0

    def __post_init__(self) -> None:
        self._parameters = list(trained(self.module).values())
        self._labels = torch.from_numpy(self.inputs.train.labels).to(self.task.device)
        self._weights = torch.from_numpy(self.inputs.class_weights).to(self.task.device)
        self._rates = [group["lr"] for group in self.optimizer.param_groups]
        self._losses: list[Tensor] = []

    def step(self, rows: np.ndarray) -> None:
        factor = rate_factor(self.n_done, self.n_steps, self.settings.warmup_share)
        for group, rate in zip(self.optimizer.param_groups, self._rates, strict=True):
            group["lr"] = rate * factor
        self._losses.append(self._gradient(rows))
        clip_grad_norm_(self._parameters, self.settings.clip_norm)
        self.optimizer.step()
        self.n_done += 1
        self.inputs.monitor.progress("training", self.n_done, self.n_steps)
        if len(self._losses) * RECORDS >= self.n_steps:
            self.flush()

    def _gradient(self, rows: np.ndarray) -> Tensor:
        """Leave the gradient of the rows' mean loss in the parameters, and return that loss."""
        total = self._weights[self._labels[torch.from_numpy(rows)]].sum()
        self.optimizer.zero_grad(set_to_none=True)
        losses = []
        for part in passes(rows, self.task.lengths, self.task.max_tokens):
            loss = weighted_loss(self.task.logits(part), self._labels[torch.from_numpy(part)], self._weights, total)
            loss.backward()
            losses.append(loss.detach())
        return torch.stack(losses).sum()

    def flush(self) -> None:
        """Record the mean loss since the last record."""
        if not self._losses:
            return
        loss, self._losses = float(torch.stack(self._losses).mean()), []
        if not math.isfinite(loss):
            raise FitError(
                f"The training loss became {loss} by step {self.n_done} of {self.n_steps} with learning_rate="
                f"{self.settings.learning_rate}, so these weights answer nothing. Use a smaller learning_rate or clip_norm."
            )
        self.inputs.monitor.record(self.n_done, loss=loss, learning_rate=self.optimizer.param_groups[0]["lr"])


class _Best:
    """Keeps the trained weights of the best epoch in the work folder, so that they cost no memory."""

    def __init__(self, module: nn.Module, task: Task, inputs: Inputs) -> None:
        self._module, self._task, self._inputs = module, task, inputs
        self._file = inputs.work / CHECKPOINT
        self._gain = -math.inf
        self._epoch = self._last = 0

    def score(self, epoch: int, step: int) -> None:
        self._last = epoch
        part, metric = self._inputs.development, self._inputs.metric
        if not len(part):
            return
        answers = answers_of(self._task.development(), part.labels)
        self._inputs.monitor.record(step, **{f"development_{metric}": metric_named(metric)(answers)})
        if (value := gain(metric, answers)) > self._gain:
            self._gain, self._epoch = value, epoch
            save_file({name: value.detach().contiguous() for name, value in trained(self._module).items()}, self._file)

    def restore(self) -> int:
        if self._epoch and self._epoch != self._last:
            kept = load_file(self._file, device=self._task.device)
            with torch.no_grad():
                for name, parameter in trained(self._module).items():
                    parameter.copy_(kept[name])
        self._module.eval()
        self._file.unlink(missing_ok=True)
        return self._epoch or self._last
