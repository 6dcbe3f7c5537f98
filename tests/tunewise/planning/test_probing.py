"""A fit tried for a moment tells what the whole of it takes."""

import time
from contextlib import suppress
from dataclasses import replace

import pytest

from tunewise.contracts import Runtime
from tunewise.errors import FitError
from tunewise.planning import probing
from tunewise.planning.calibration import calibrate, kept_calibration
from tunewise.planning.probing import Probe, extrapolated, probe, probed_to_the_end
from tunewise.trials import Surroundings


@pytest.fixture
def around(tmp_path):
    """A place to fit in, without a backbone."""
    runtime = Runtime(None)
    return Surroundings(runtime, runtime, tmp_path)


def steps_of(n_steps, seconds):
    """Return work of as many steps, each of which is reported."""

    def work(inputs):
        for done in range(n_steps):
            time.sleep(seconds)
            inputs.monitor.progress("training", done + 1, n_steps)

    return work


def probe_of(n_rows, seconds, n_bytes=0):
    """Return a probe that took so long on so many rows."""
    return Probe(n_rows, seconds, seconds, seconds, seconds, n_bytes, n_bytes, None)


def test_a_long_fit_is_ended_once_its_pace_is_known(slow_request, around):
    """Of 400 steps of 5 ms a few are taken, and the two seconds or more of all of them are told."""
    taken = []

    def work(inputs):
        steps_of(400, 0.005)(replace(inputs, monitor=Counting(inputs.monitor, taken)))

    found = probe(slow_request(work), around, 144, limit_seconds=0.05)

    assert found.predictor is None
    assert len(taken) < 200
    assert found.seconds > 2.0


class Counting:
    """A monitor that counts the steps before it passes them on."""

    def __init__(self, monitor, taken):
        self.monitor, self.taken = monitor, taken

    def progress(self, stage, done, total):
        """Count and pass on."""
        self.taken.append(done)
        self.monitor.progress(stage, done, total)


def test_a_fit_that_catches_every_error_is_ended_all_the_same(slow_request, around):
    """What ends it is no error that a method could take for its own."""

    def work(inputs):
        for done in range(1_000):
            time.sleep(0.002)
            with suppress(Exception):
                inputs.monitor.progress("training", done + 1, 1_000)

    assert probe(slow_request(work), around, 144, limit_seconds=0.05).predictor is None


def test_evaluation_does_not_count_as_fitting(slow_request, around):
    """The clock of a probe stops where that of a fit does."""

    def work(inputs):
        with inputs.monitor.untimed():
            time.sleep(0.2)

    found = probe(slow_request(work), around, 144)

    assert found.predictor is not None
    assert found.seconds < found.spent_seconds - 0.19


def test_a_probe_takes_the_rows_it_is_told_and_few_development_rows(slow_request, around, monkeypatch):
    """Rows are those that a smaller budget would pay for; class weights are those of these rows."""
    monkeypatch.setattr(probing, "N_DEVELOPMENT", 32)
    seen = []
    probe(slow_request(seen.append, class_weights="balanced"), around, 20)

    assert (len(seen[0].train), len(seen[0].development)) == (20, 32)
    assert seen[0].class_weights[seen[0].train.labels].sum() == pytest.approx(20)


def test_too_few_rows_are_replaced_by_more(slow_request, around):
    """A method that cannot be fitted on few rows is tried on more, and its own error stands where none are left."""

    def picky(inputs):
        if len(inputs.train) < 100:
            raise FitError("too few")

    def hopeless(inputs):
        raise FitError("never")

    assert probed_to_the_end(slow_request(picky), around).n_rows == 144
    with pytest.raises(FitError, match="never"):
        probed_to_the_end(slow_request(hopeless), around)


def test_costs_go_on_as_a_power_of_the_rows():
    """Four times the rows took eight times as long, so twice as many take 2 ** 1.5 as long; memory stood still and stays."""
    seconds, cpu_seconds, above = extrapolated([probe_of(100, 1.0, 50), probe_of(400, 8.0, 50)], 800)

    assert seconds == cpu_seconds == pytest.approx(8 * 2**1.5)
    assert above == 50


def test_nothing_is_extrapolated_beyond_what_was_tried():
    """A probe on all rows is the answer, whatever a smaller one took; a cost that fell with the rows stays."""
    assert extrapolated([probe_of(100, 5.0), probe_of(400, 8.0)], 400)[0] == 8.0
    assert extrapolated([probe_of(100, 5.0), probe_of(400, 4.0)], 800)[0] == 4.0


def test_a_calibration_is_kept_for_all_seeds(slow_request, home):
    """It is measured once per hardware, code and data; seeds share it, another epoch count does not."""
    request = slow_request(steps_of(300, 0.005))
    cost = calibrate(request, home)

    assert cost.source == "calibrated"
    assert cost.seconds > 1.5
    assert cost.disk_bytes > 1_000
    assert kept_calibration(slow_request(steps_of(1, 0)), home) == cost
    assert kept_calibration(slow_request(steps_of(1, 0), epochs=5), home) is None
