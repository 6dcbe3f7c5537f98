"""The loop: its schedule by hand, its gradients against a plain sum, its best epoch, its refusals."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from tunewise.errors import FitError
from tunewise.rng import Rng
from tunewise.testing import Toy, toy_inputs
from tunewise.training.loop import Task, rate_factor, scored_epochs, train
from tunewise.training.optimizer import adamw
from tunewise.training.settings import GradientSettings

SETTINGS = GradientSettings(batch_size=8, min_steps=0, dropout=0.0)


class Setting:
    """A linear layer over random features of 48 training rows, and what its training needs."""

    def __init__(self, folder, *, epochs=3, settings=SETTINGS, answers=None, max_tokens=1000, seed=0):
        generator = torch.Generator().manual_seed(seed)
        self.inputs = toy_inputs(folder, toy=Toy(n=80, epochs=epochs))
        self.labels = torch.from_numpy(self.inputs.train.labels)
        self.features = torch.randn(len(self.labels), 4, generator=generator) + self.labels[:, None]
        self.module = nn.Linear(4, 2)
        with torch.no_grad():
            self.module.weight.copy_(torch.randn(2, 4, generator=generator))
            self.module.bias.zero_()
        self.settings = settings
        self.snapshots = []
        self.answers = iter(answers) if answers else None
        self.task = Task(
            logits=lambda rows: self.module(self.features[torch.from_numpy(rows)]),
            development=self.develop,
            lengths=np.arange(len(self.labels)) % 7 + 1,
            max_tokens=max_tokens,
            device="cpu",
            n_scores=epochs,
        )

    def develop(self):
        """Answer as scripted, every n-th row rightly, and keep the weights of the moment."""
        self.snapshots.append(self.module.weight.detach().clone())
        labels = self.inputs.development.labels
        n_right = next(self.answers) if self.answers else 8
        shown = np.where(np.arange(len(labels)) < n_right, labels, 1 - labels)
        return np.eye(2, dtype=np.float32)[shown]

    def train(self, seed=0, rate=0.05):
        """Train and return the best epoch."""
        optimizer = adamw([(self.module, rate)], self.settings.weight_decay)
        return train(self.module, optimizer, self.task, self.settings, self.inputs, Rng(seed))


def test_step_sizes_by_hand():
    """With 10 steps, 2 of them rising: a third, two thirds, the whole, then an eighth less each time."""
    factors = [rate_factor(step, 10, 0.2) for step in range(10)]

    assert factors == pytest.approx([1 / 3, 2 / 3, 1, 7 / 8, 6 / 8, 5 / 8, 4 / 8, 3 / 8, 2 / 8, 1 / 8])
    assert rate_factor(0, 1, 0.06) == 1


def test_scored_epochs_are_evenly_spread_and_end_last():
    """Few rows repeated 40 times are scored as often as the budget has epochs."""
    assert scored_epochs(3, 3) == {1, 2, 3}
    assert scored_epochs(40, 2) == {20, 40}
    assert scored_epochs(5, 3) == {2, 4, 5}
    assert scored_epochs(3, 20) == {1, 2, 3}


def test_one_step_is_adamw_on_the_weighted_mean(tmp_path):
    """One step over all rows, cut into many passes, is torch's step on torch's weighted cross-entropy."""
    made = Setting(tmp_path, epochs=1, settings=SETTINGS.model_copy(update={"batch_size": 48, "clip_norm": 1e6}), max_tokens=9)
    made.inputs = replace(made.inputs, class_weights=np.array([3.0, 1.0], dtype=np.float32))
    plain = nn.Linear(4, 2)
    plain.load_state_dict(made.module.state_dict())
    optimizer = torch.optim.AdamW(
        [{"params": [plain.weight], "weight_decay": 0.01}, {"params": [plain.bias], "weight_decay": 0.0}], lr=0.05
    )
    loss = functional.cross_entropy(plain(made.features), made.labels, weight=torch.tensor([3.0, 1.0]))
    loss.backward()
    optimizer.step()

    made.train()

    assert torch.allclose(made.module.weight, plain.weight, atol=1e-6)
    assert torch.allclose(made.module.bias, plain.bias, atol=1e-6)
    assert made.inputs.monitor.curve[0]["loss"] == pytest.approx(loss.item(), abs=1e-5)


def test_gradients_are_clipped(tmp_path):
    """The norm over all trained numbers is at most clip_norm when the optimizer steps."""
    made = Setting(tmp_path, epochs=1, settings=SETTINGS.model_copy(update={"clip_norm": 1e-3}))
    norms = []
    optimizer = adamw([(made.module, 0.05)], 0.0)
    optimizer.register_step_pre_hook(
        lambda *_: norms.append(torch.stack([p.grad.norm() for p in made.module.parameters()]).norm().item())
    )
    train(made.module, optimizer, made.task, made.settings, made.inputs, Rng(0))

    assert len(norms) == 6
    assert max(norms) == pytest.approx(1e-3, rel=1e-3)


@pytest.mark.parametrize(("answers", "best"), [([4, 9, 7], 2), ([4, 7, 9], 3), ([9, 9, 2], 1)])
def test_the_best_epoch_is_kept(tmp_path, answers, best):
    """The weights are those that were scored highest; of equal ones the first; no checkpoint is left behind."""
    made = Setting(tmp_path, answers=answers)

    assert made.train() == best
    assert torch.equal(made.module.weight, made.snapshots[best - 1])
    assert not made.module.training
    assert list(made.inputs.work.iterdir()) == []


def test_the_metric_decides_and_less_log_loss_is_better(tmp_path):
    """More right answers have less log loss, whose value is recorded with its own sign."""
    made = Setting(tmp_path, answers=[4, 9, 7])
    made.inputs = replace(made.inputs, metric="log_loss")

    assert made.train() == 2
    values = [point["development_log_loss"] for point in made.inputs.monitor.curve if "development_log_loss" in point]
    assert min(values) == values[1] > 0


def test_without_development_rows_the_last_epoch_stands(tmp_path):
    """Nothing is scored, and nothing is pretended to be chosen."""
    made = Setting(tmp_path)
    made.inputs = replace(made.inputs, development=made.inputs.development.take(np.array([], dtype=np.int64)))

    assert made.train() == 3
    assert made.snapshots == []


def test_few_rows_are_repeated_until_min_steps(tmp_path):
    """48 rows in batches of 8 make 6 steps an epoch: 40 steps need 7 epochs, scored 3 times."""
    made = Setting(tmp_path, settings=SETTINGS.model_copy(update={"min_steps": 40}))
    made.train()

    assert made.inputs.monitor.stages[-1] == ("training", 42, 42)
    # Besides the scores, the look for a checkpoint to go on from is not timed.
    assert made.inputs.monitor.n_untimed - 1 == len(made.snapshots) == 3


def test_the_curve_holds_losses_step_sizes_and_scores(tmp_path):
    """The loss falls, the step size ends near zero, scores stand at the steps that end an epoch."""
    made = Setting(tmp_path, epochs=20)
    made.train()
    curve = made.inputs.monitor.curve
    losses = [point["loss"] for point in curve if "loss" in point]
    rates = [point["learning_rate"] for point in curve if "loss" in point]

    assert np.mean(losses[-10:]) < 0.75 * np.mean(losses[:10])
    assert 0 < rates[-1] < 0.01 * max(rates) == pytest.approx(0.0005, rel=0.02)
    assert [point["step"] for point in curve if "development_accuracy" in point] == [6 * i for i in range(1, 21)]


def test_the_same_seed_trains_the_same_weights(tmp_path):
    """Bit for bit; another seed takes the rows in another order."""
    found = []
    for i, seed in enumerate((0, 0, 1)):
        made = Setting(tmp_path / str(i))
        made.train(seed)
        found.append(made.module.weight)

    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_the_global_generator_is_left_alone(tmp_path):
    """What runs after a fit draws what it would have drawn without it."""
    made = Setting(tmp_path)
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    made.train()

    assert torch.equal(torch.rand(3), expected)


def test_a_loss_that_is_no_number_is_refused(tmp_path):
    """The error names the step, the step size that was given, and what to change."""
    made = Setting(tmp_path)
    made.features[5] = float("nan")

    with pytest.raises(FitError, match=r"became nan by step \d of 18 with learning_rate=0\.001.*Use a smaller learning_rate"):
        made.train()


def test_where_memory_runs_out_passes_become_smaller(tmp_path, caplog):
    """Passes over 300 tokens that find no memory are cut and taken again, and training ends with the same weights."""
    setting = Setting(tmp_path / "small", max_tokens=512)
    setting.task = replace(setting.task, lengths=np.full(48, 60))
    undisturbed = Setting(tmp_path / "whole", max_tokens=512)
    undisturbed.task = replace(undisturbed.task, lengths=np.full(48, 60))
    whole, asked = setting.task.logits, []

    def short_of_memory(rows):
        asked.append(len(rows))
        if len(rows) * 60 > 300:
            raise torch.OutOfMemoryError("no memory")
        return whole(rows)

    setting.task = replace(setting.task, logits=short_of_memory)
    setting.train()
    undisturbed.train()

    assert max(asked) == 8
    assert asked.count(8) == 1
    assert "at most 256 tokens" in caplog.text
    assert torch.allclose(setting.module.weight, undisturbed.module.weight, atol=1e-6)


def test_where_the_smallest_pass_finds_no_memory_the_fit_is_refused(tmp_path):
    """The error says how small the passes were and what to do; another error of torch stays what it is."""

    def failing(error):
        def logits(rows):
            raise error

        return logits

    setting = Setting(tmp_path)
    with pytest.raises(FitError, match=r"forward pass of 256 tokens.*max_tokens"):
        train_with(setting, failing(torch.OutOfMemoryError("no memory")))
    with pytest.raises(RuntimeError, match="another"):
        train_with(setting, failing(RuntimeError("another")))


def train_with(setting, logits):
    """Train with other class scores."""
    setting.task = replace(setting.task, logits=logits)
    return setting.train()
