"""The search for settings: equal effort, kept choices, no test row, and nothing lost by an interruption."""

import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from pydantic import Field

from tunewise.contracts import Device, Settings
from tunewise.errors import FitError
from tunewise.evaluation.metrics import answers_of
from tunewise.methods import catalogue
from tunewise.outcome import Scored
from tunewise.ranges import LogUniform, OneOf
from tunewise.request import Effort, Request
from tunewise.search import Plan, folder_of, open_ranges, search
from tunewise.testing import toy_split

EIGHT = Plan(n_trials=8, max_train_rows=20)
RATES = LogUniform(1e-5, 1e-1, "a source")


class Wished(Settings):
    """Settings with two ranges."""

    rate: float = Field(1e-1, gt=0)
    kind: str = "poor"
    fixed: int = 3

    ranges: ClassVar = {"rate": RATES, "kind": OneOf(("poor", "good"), "a source")}


def wanted(**given):
    """Return a request whose method has ranges."""
    effort = Effort("quick", None, 2)
    return Request(catalogue()["majority"], Wished(**given), 0, toy_split(60), None, Device("cpu", "float32", 1), effort)


def scored(request, share):
    """Return answers to the development rows of which ``share`` are right."""
    part = request.split.development
    right = np.arange(len(part)) < round(share * len(part))
    answered = np.where(right, part.labels, 1 - part.labels)
    return Scored(part.ids, answers_of(np.eye(2)[answered], part.labels), {})


class Fitter:
    """Scores a rate by how near it comes to 1e-3, in three steps, and remembers what it was asked."""

    def __init__(self):
        self.asked = []

    def __call__(self, request, monitor, _work):
        """Return better answers the nearer the rate."""
        self.asked.append(request)
        share = max(0.0, 1 - abs(math.log10(request.settings.rate) + 3) / 4)
        for step in (1, 2, 3):
            monitor.record(step, development_accuracy=share * (0.7 + 0.1 * step))
        return scored(request, share)


def test_the_best_finished_trial_wins(home):
    """Eight trials are made, the first with the given settings, on the wanted number of rows; the best is found and named."""
    fitter = Fitter()

    found = search(wanted(), EIGHT, fitter, home=home)

    assert len(found.trials) == len(fitter.asked) == 8
    assert found.trials[0].settings == {"rate": 1e-1, "kind": "poor"}
    assert {request.n_train_rows for request in fitter.asked} == {20} == {found.n_train_rows}
    best = max(found.finished_values)
    winner = next(trial for trial in found.trials if trial.value == best and trial.state == "finished")
    assert (found.settings.rate, found.settings.kind, found.settings.fixed) == (*winner.settings.values(), 3)
    assert "best development accuracy" in found.rule


def test_the_worse_half_is_stopped(home):
    """Some trials end early, and none of those was better at its last score than the winner was there."""
    found = search(wanted(), EIGHT, Fitter(), home=home)

    stopped = [trial for trial in found.trials if trial.state == "stopped"]
    assert stopped
    assert all(trial.value <= max(found.finished_values) for trial in stopped)


def test_given_settings_are_not_searched(home):
    """A setting that the study gives stays, also where it gives the default."""
    found = search(wanted(rate=1e-1), EIGHT, Fitter(), home=home)

    assert found.settings.rate == 1e-1
    assert all(set(trial.settings) == {"kind"} for trial in found.trials)
    assert set(open_ranges(Wished(rate=1e-1, kind="poor"))) == set()


def test_one_trial_is_no_search(home):
    """With one trial, or nothing to search, the settings stay and nothing is fitted."""
    fitter = Fitter()

    assert search(wanted(), Plan(1, None), fitter, home=home).settings == Wished()
    assert search(wanted(rate=1, kind="good"), EIGHT, fitter, home=home).trials == ()
    assert fitter.asked == []


def test_a_search_is_made_once(home):
    """The second time it is read; another number of trials is another search."""
    first, fitter = search(wanted(), EIGHT, Fitter(), home=home), Fitter()

    assert search(wanted(), EIGHT, fitter, home=home) == first
    assert fitter.asked == []
    assert folder_of(wanted(), EIGHT, home) != folder_of(wanted(), Plan(9, 20), home)


def test_divergence_is_a_trial_and_not_an_end(home):
    """A trial that diverges is noted as failed and cannot win; where all do, the search fails."""

    def diverging(request, monitor, work):
        if request.settings.rate > 1e-3:
            raise FitError("diverged")
        return scored(request, 0.5)

    def hopeless(request, monitor, work):
        raise FitError("diverged")

    states = [trial.state for trial in search(wanted(), EIGHT, diverging, home=home).trials]

    assert states[0] == "failed"
    assert "finished" in states
    with pytest.raises(FitError, match=r"None of 8 trials of majority ran to its end \(8 diverged\)"):
        search(wanted(kind="good"), EIGHT, hopeless, home=home)


def test_another_error_ends_the_search(home):
    """What is no divergence is no trial: it ends the search, and no search is kept."""

    def broken(request, monitor, work):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        search(wanted(), EIGHT, broken, home=home)
    assert not folder_of(wanted(), EIGHT, home).exists()


def test_a_killed_search_goes_on(home):
    """A process killed in its fourth trial leaves three; the next one makes five more and finds what an undisturbed one does."""
    script = (
        "import os, signal; from test_search import *; from tunewise.home import Home\n"
        "class Killed(Fitter):\n"
        "    def __call__(self, *given):\n"
        "        if len(self.asked) == 3: os.kill(os.getpid(), signal.SIGKILL)\n"
        "        return super().__call__(*given)\n"
        "search(wanted(), EIGHT, Killed(), home=Home.default())"
    )
    killed = subprocess.run([sys.executable, "-c", script], env=_environment(home), check=False)
    fitter = Fitter()

    resumed = search(wanted(), EIGHT, fitter, home=home)

    other = replace(home, root=home.root / "undisturbed")
    assert killed.returncode == -9
    assert len(fitter.asked) == 5
    undisturbed = search(wanted(), EIGHT, Fitter(), home=other)
    assert [replace(trial, seconds=0) for trial in resumed.trials] == [replace(trial, seconds=0) for trial in undisturbed.trials]


def _environment(home):
    return os.environ | {"TUNEWISE_HOME": str(home.root), "PYTHONPATH": str(Path(__file__).parent)}


def test_defaults_lie_in_their_ranges():
    """The first trial of every method, with its defaults, is one that the search could have drawn."""
    for method in catalogue().values():
        defaults = method.settings()
        for name, one in method.settings.ranges.items():
            assert one.holds(getattr(defaults, name)), f"{method.name}.{name}"
            assert one.source
