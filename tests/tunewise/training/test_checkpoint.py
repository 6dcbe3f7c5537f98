"""A killed training goes on where it was, and ends with the bits, the curve and the costs of an undisturbed one."""

from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import torch

from tunewise.evaluation.costs import FitMonitor
from tunewise.methods import catalogue
from tunewise.rng import Rng
from tunewise.testing import Toy, toy_inputs
from tunewise.training import checkpoint, loop
from tunewise.training.checkpoint import FACTS, STATE, Checkpoint, Checkpoints

METHODS = {
    "all_layers": {"dropout": 0.2},
    "lora": {"dropout": 0.1},
    "head_only": {"min_steps": 60, "dropout": 0.1, "hidden_layers": [8]},
}
TOY = Toy(n=120, epochs=3)


@pytest.fixture
def often(monkeypatch):
    """Write a checkpoint after every step."""
    monkeypatch.setattr(checkpoint, "STEP_SECONDS", 0.0)
    monkeypatch.setattr(checkpoint, "EPOCH_SECONDS", 0.0)
    monkeypatch.setattr(checkpoint, "MOST_SHARE", 1e9)
    # A record of the curve then holds several steps, so that some of them are pending when the process ends.
    monkeypatch.setattr(loop, "RECORDS", 7)


class Killed(Exception):  # noqa: N818 - what happens, not what is wrong
    """Stands for the end of the process."""


@dataclass
class Mortal(FitMonitor):
    """Ends the process in a step, or at the first score it is told."""

    dies_at: int = 10**9
    dies_scoring: bool = False
    seen: list[int] = field(default_factory=list)

    def progress(self, stage, done, total):  # noqa: ARG002 - the monitor's signature
        """See a step."""
        self.seen.append(done)
        if done >= self.dies_at:
            raise Killed

    def record(self, step, **values):
        """See a score, if it is one and no old one."""
        super().record(step, **values)
        if self.dies_scoring and self.seen and "development_accuracy" in values:
            raise Killed


def fit(name, folder, monitor):
    """Fit on a toy task whose files are in ``folder``, and return the predictor and the inputs."""
    method = catalogue()[name]
    inputs = replace(toy_inputs(folder, needs=method.needs, toy=TOY), monitor=monitor)
    with monitor.measured(inputs.runtime.device):
        return method.fit(inputs, method.settings(**METHODS[name]), rng=Rng(5)), inputs


def equal(one, other, texts):
    """Say whether two predictors answer and were stored alike, bit for bit."""
    same_answers = np.array_equal(one.predict(texts), other.predict(texts))
    kept = [getattr(predictor, "kept", None) or predictor.classifier.kept for predictor in (one, other)]
    same_weights = all(torch.equal(kept[0].tensors[name], kept[1].tensors[name]) for name in kept[0].tensors)
    return same_answers and same_weights and one.chosen == other.chosen


@pytest.mark.parametrize("name", METHODS)
def test_killed_at_many_moments_it_ends_as_if_undisturbed(tmp_path, often, name):
    """Killed in the middle of epochs, at their ends and while it scores, ten times in one fit: same bits, same curve."""
    whole, undisturbed = Mortal(), Mortal()
    expected, _ = fit(name, tmp_path / "undisturbed", undisturbed)
    n_steps = undisturbed.seen[-1]
    chosen = np.sort(np.random.default_rng(0).choice(np.arange(2, n_steps), 8, replace=False))
    lives = [{"dies_at": int(step)} for step in chosen]
    lives[3:3] = lives[6:6] = [{"dies_scoring": True}]
    for life in lives:
        with pytest.raises(Killed):
            fit(name, tmp_path / "killed", Mortal(**life))
    found, inputs = fit(name, tmp_path / "killed", whole)

    assert equal(found, expected, inputs.development.texts)
    assert whole.curve == undisturbed.curve
    assert whole._costs().n_resumes >= 5


def test_no_step_is_taken_twice(tmp_path, often):
    """After a kill the next step is the one after the last checkpoint."""
    first, second = Mortal(dies_at=8), Mortal()
    with pytest.raises(Killed):
        fit("all_layers", tmp_path, first)
    fit("all_layers", tmp_path, second)

    assert first.seen == [1, 2, 3, 4, 5, 6, 7, 8]
    # The eighth ended with the process, before anything was kept of it.
    assert second.seen[0] == 8


def test_costs_are_the_sum_of_what_counts(tmp_path, often):
    """What was lost is not counted, nor what both processes had to do before their first step; peaks are the highest."""
    monitor = FitMonitor()
    cpu = toy_inputs(tmp_path).runtime.device
    with monitor.measured(cpu) as costs, monitor.untimed():
        before = monitor.so_far()
    before["costs"] |= {"seconds": 7.0, "cpu_seconds": 11.0, "peak_bytes": 10**15, "peak_above_start_bytes": 5, "n_resumes": 2}
    with monitor.measured(cpu) as costs, monitor.untimed():
        monitor.go_on_from(before)
    found = costs()

    assert 7.0 <= found.seconds < 7.5
    assert 11.0 <= found.cpu_seconds < 11.5
    assert found.peak_bytes == 10**15
    assert found.peak_above_start_bytes >= 5
    assert found.n_resumes == 3


def cut(folder):
    """Cut the tensors in half."""
    data = (folder / STATE).read_bytes()
    (folder / STATE).write_bytes(data[: len(data) // 2])


def alter(folder):
    """Change one byte of a weight."""
    data = bytearray((folder / STATE).read_bytes())
    data[-5] ^= 1
    (folder / STATE).write_bytes(data)


def replace_by_another_training(folder):
    """Put the checkpoint of another training in the place."""
    other = Checkpoints(folder.parent, "another training")
    other.write(Checkpoint({"module.weight": torch.ones(2)}, {"epoch": 9}, None))
    (found,) = [path for path in folder.parent.glob("checkpoint-*") if path != folder]
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()
    found.rename(folder)


@pytest.mark.parametrize("damage", [cut, alter, replace_by_another_training])
def test_a_checkpoint_that_is_cut_altered_or_foreign_is_set_aside(tmp_path, often, damage, caplog):
    """The fit starts anew, says so, and ends as it would have without it."""
    expected, _ = fit("all_layers", tmp_path / "undisturbed", Mortal())
    with pytest.raises(Killed):
        fit("all_layers", tmp_path / "killed", Mortal(dies_at=7))
    (kept,) = (tmp_path / "killed" / "work").glob("checkpoint-*")
    damage(kept)
    again = Mortal()
    found, inputs = fit("all_layers", tmp_path / "killed", again)

    assert again.seen[0] == 1
    assert "goes on without this checkpoint. It was set aside" in caplog.text
    assert again._costs().n_resumes == 0
    assert equal(found, expected, inputs.development.texts)


def test_other_settings_or_another_seed_see_no_checkpoint_of_ours(tmp_path, often):
    """They leave it where it is, and it is gone on from afterwards."""
    with pytest.raises(Killed):
        fit("all_layers", tmp_path, Mortal(dies_at=7))
    method, other, ours = catalogue()["all_layers"], Mortal(), Mortal()
    inputs = replace(toy_inputs(tmp_path, needs=method.needs, toy=TOY), monitor=other)
    method.fit(inputs, method.settings(**METHODS["all_layers"]), rng=Rng(6))
    fit("all_layers", tmp_path, ours)

    assert (other.seen[0], ours.seen[0]) == (1, 7)


def test_a_short_fit_writes_none(tmp_path):
    """Under five seconds nothing is written: toy and small real fits pay nothing."""
    _, inputs = fit("head_only", tmp_path, Mortal())

    assert list(inputs.work.iterdir()) == []


def test_slow_writing_makes_them_rarer(tmp_path, monkeypatch):
    """After one that took a second the next is due 50 seconds later, not 30."""
    now = [0.0]
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: now[0])
    made = Checkpoints(tmp_path, "x")
    assert not made.is_due(ends_epoch=True)
    now[0] = 5.0
    assert (made.is_due(ends_epoch=True), made.is_due(ends_epoch=False)) == (True, False)
    monkeypatch.setattr(made, "_fill", lambda *_: now.__setitem__(0, now[0] + 1.0))
    made.write(Checkpoint({}, {}, None))
    now[0] = 6.0 + 49.9
    assert not made.is_due(ends_epoch=False)
    now[0] = 6.0 + 50.0
    assert made.is_due(ends_epoch=False)


def test_a_full_disk_does_not_stop_the_training(tmp_path, often, monkeypatch, caplog):
    """The checkpoint before stays, no half one is left, and the log says what follows."""
    made = Checkpoints(tmp_path, "x")
    made.write(Checkpoint({"module.weight": torch.ones(2)}, {"epoch": 1}, None))

    def fail(folder, _):
        (folder / "half").write_bytes(b"x")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(made, "_fill", fail)
    made.write(Checkpoint({}, {"epoch": 2}, None))

    assert "No checkpoint could be written: [Errno 28] No space left on device" in caplog.text
    assert made.read().facts == {"epoch": 1}
    assert len(list(tmp_path.iterdir())) == 1


def test_the_best_epoch_s_weights_survive_in_the_checkpoint(tmp_path):
    """They are those of the moment it was written, also when a better epoch replaces the file beside it."""
    best = tmp_path / "best.safetensors"
    best.write_bytes(b"first")
    made = Checkpoints(tmp_path, "x")
    made.write(Checkpoint({}, {}, best))
    (tmp_path / "new").write_bytes(b"second")
    (tmp_path / "new").replace(best)

    assert made.read().best.read_bytes() == b"first"


def test_a_state_read_is_the_state_written(tmp_path):
    """Tensors bit for bit, also without dimensions and of bytes; large whole numbers in the facts exactly."""
    tensors = {
        "a": torch.tensor(3.0),
        "b": torch.arange(5, dtype=torch.uint8),
        "c": torch.randn(2, 3, generator=torch.Generator()),
    }
    facts = {"order": np.random.default_rng(3).bit_generator.state, "loss": 0.1 + 0.2}
    made = Checkpoints(tmp_path, "x")
    made.write(Checkpoint(tensors, facts, None))
    found = made.read()

    assert all(torch.equal(found.tensors[name], value) for name, value in tensors.items())
    assert found.facts == facts
    assert FACTS in {file.name for file in next(tmp_path.iterdir()).iterdir()}
