"""The training loop: AdamW steps over length-sorted batches, and the epoch that is best on development rows.

Killed at any moment, it goes on from its last checkpoint and ends as it would have ended.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.nn import functional
from torch.nn.utils import clip_grad_norm_

from tunewise.errors import FitError
from tunewise.training.batches import epoch_plan, passes
from tunewise.training.best_epoch import BestEpoch, fill_trained
from tunewise.training.classifier import trained
from tunewise.training.progress import Progress, generator_states, set_generator_states

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from torch import Tensor, nn

    from tunewise.contracts import Inputs, Matrix
    from tunewise.rng import Rng
    from tunewise.training.settings import GradientSettings

RECORDS = 100
"""Points of a fit's curve; every one waits for the device once."""

LEAST_TOKENS = 256
"""Forward passes are not cut below so many tokens where memory runs out; a long text may need as many."""

log = logging.getLogger(__name__)


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
    loss: Callable[[np.ndarray], Tensor] | None = None
    """The mean loss of training rows, by index, where it is another than the cross-entropy of their class scores."""


def train(
    module: nn.Module, optimizer: torch.optim.Optimizer, task: Task, settings: GradientSettings, inputs: Inputs, rng: Rng
) -> int:
    """Train ``module`` in place, leave it with the weights of its best epoch, and return that epoch's number.

    The module ends in evaluation mode. Of equally good epochs the first is kept; without development
    rows the last. Where ``inputs.work`` holds a checkpoint of this training, it goes on from there: the
    weights, the curve and, but for what was lost, the costs are those of a fit that nobody interrupted.

    Args:
        module: Its trainable parameters are those the optimizer holds.
        optimizer: New, with a state of tensors alone; step sizes of its groups are the highest of the schedule.
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
    stepper = Stepper(module, optimizer, task, settings, inputs, n_batches * n_epochs)
    best = BestEpoch(module, task, inputs)
    order = rng.child("order").numpy()
    progress = Progress(stepper, best, order, rng.seed)
    with rng.child("dropout").torch():
        first, n_taken = progress.resume()
        for epoch in range(first, n_epochs + 1):
            module.train()
            progress.begin(epoch)
            for rows in epoch_plan(task.lengths, settings.batch_size, order)[n_taken:]:
                stepper.step(rows)
                progress.keep(stepper.n_done - (epoch - 1) * n_batches)
            n_taken = 0
            if epoch in scored:
                stepper.flush()
                with inputs.monitor.untimed():
                    module.eval()
                    best.score(epoch, stepper.n_done)
            progress.begin(epoch + 1)
            progress.keep(0)
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


def is_out_of_memory(error: Exception) -> bool:
    """Say whether ``error`` is torch's way of saying that memory ran out; on CPUs it has no class of its own."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def weighted_loss(logits: Tensor, labels: Tensor, class_weights: Tensor, total: Tensor) -> Tensor:
    """Return the cross-entropy summed with class weights over one pass and divided by the whole step's weight, ``total``."""
    return functional.cross_entropy(logits.float(), labels, weight=class_weights, reduction="sum") / total


@dataclass(eq=False)
class Stepper:
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
        self._max_tokens = self.task.max_tokens

    def step(self, rows: np.ndarray) -> None:
        """Take one step on ``rows``.

        Raises:
            FitError: If the loss has become NaN or infinite.
        """
        for group, rate in zip(self.optimizer.param_groups, self._rates_at(self.n_done), strict=True):
            group["lr"] = rate
        self._losses.append(self._gradient(rows))
        clip_grad_norm_(self._parameters, self.settings.clip_norm)
        self.optimizer.step()
        self.n_done += 1
        self.inputs.monitor.progress("training", self.n_done, self.n_steps)
        if len(self._losses) * RECORDS >= self.n_steps:
            self.flush()

    def _gradient(self, rows: np.ndarray) -> Tensor:
        """Leave the gradient of the rows' mean loss in the parameters, and return that loss.

        Where memory runs out the step is taken again in smaller passes, and so are those after it: the same rows and
        the same dropout generator, other sums of rounding.

        Raises:
            FitError: If the smallest passes do not fit either.
        """
        while True:
            states = generator_states(self.task.device)
            try:
                return self._gradient_in_passes(rows)
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                if self._max_tokens <= LEAST_TOKENS:
                    raise FitError(
                        f"Memory ran out in a forward pass of {self._max_tokens} tokens, the fewest that are tried, so this fit "
                        "has no place here. Cut texts with the backbone's max_tokens, free memory, or use a smaller backbone."
                    ) from error
            # Outside of the handler, whose traceback holds on to what the pass had allocated.
            self._max_tokens = max(LEAST_TOKENS, self._max_tokens // 2)
            log.warning("Memory ran out; training goes on in passes of at most %d tokens.", self._max_tokens)
            set_generator_states(states)
            self.optimizer.zero_grad(set_to_none=True)
            if torch.cuda.is_initialized():
                torch.cuda.empty_cache()

    def _gradient_in_passes(self, rows: np.ndarray) -> Tensor:
        total = self._weights[self._labels[torch.from_numpy(rows)]].sum()
        self.optimizer.zero_grad(set_to_none=True)
        losses = []
        for part in passes(rows, self.task.lengths, self._max_tokens):
            if (own_loss := self.task.loss) is not None:
                loss = own_loss(part) * (len(part) / len(rows))
            else:
                loss = weighted_loss(self.task.logits(part), self._labels[torch.from_numpy(part)], self._weights, total)
            loss.backward()
            losses.append(loss.detach())
        return torch.stack(losses).sum()

    def tensors(self) -> dict[str, Tensor]:
        """Return what the next step depends on, by name."""
        found = {f"module.{name}": parameter for name, parameter in trained(self.module).items()}
        for i, state in self.optimizer.state_dict()["state"].items():
            found |= {f"optimizer.{i}.{name}": value for name, value in state.items()}
        return found | ({"losses": torch.stack(self._losses)} if self._losses else {})

    def go_on_from(self, tensors: dict[str, Tensor], n_done: int) -> None:
        """Take what `tensors` returned after ``n_done`` steps."""
        self.n_done = n_done
        self._losses = list(tensors["losses"].to(self.task.device)) if "losses" in tensors else []
        fill_trained(self.module, {name: tensors[f"module.{name}"] for name in trained(self.module)})
        state: dict[int, dict[str, Tensor]] = {}
        for place, value in tensors.items():
            if place.startswith("optimizer."):
                _, i, name = place.split(".", 2)
                state.setdefault(int(i), {})[name] = value
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": state})

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
        self.inputs.monitor.record(self.n_done, loss=loss, learning_rate=self._rates_at(self.n_done - 1)[0])

    def _rates_at(self, step: int) -> list[float]:
        factor = rate_factor(step, self.n_steps, self.settings.warmup_share)
        return [rate * factor for rate in self._rates]
