"""Real processes, killed at any moment or two at once: the same numbers, nothing half, nothing done twice."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager

import numpy as np
import pytest

from tunewise.artifacts import sha256_of_file
from tunewise.evaluation.outcomes import ARTEFACT, read_outcome
from tunewise.home import Home
from tunewise.staging import is_staging
from tunewise.toy_study import write_toy_study

N_KILLS = 10
SEED = 2
VARIANTS = [
    "majority",
    "tfidf_logistic",
    {"method": "head_only", "settings": {"min_steps": 300, "dropout": 0.1}},
    {"method": "all_layers", "settings": {"min_steps": 130, "dropout": 0.2}},
]

NURSERY = """
import gc, os, sys
from pathlib import Path
import sklearn.feature_extraction.text, sklearn.linear_model, torch, transformers
import tunewise.verdict.page
from tunewise import running, trials
from tunewise.backbones import loading
from tunewise.embeddings import cache, embedder
from tunewise.code_hash import code_sha256
from tunewise.home import Home
from tunewise.methods import catalogue
from tunewise.request import determinants_of_code
from tunewise.training import checkpoint, features, fitting

for name in ("data.dataset", "data.split", "data.audit", "features", "embeddings.engine", "embeddings.embedder"):
    code_sha256(f"tunewise.{name}")
for name in ("majority", "tfidf_logistic", "head_only", "all_layers"):
    determinants_of_code(catalogue()[name])
gc.freeze()
checkpoint.STEP_SECONDS = checkpoint.EPOCH_SECONDS = 0.05
checkpoint.MOST_SHARE = 1e9

def fit_and_note(request, around, folder, fit=trials._fit_and_store):
    fit(request, around, folder)
    with open(os.environ["FITTED"], "a") as file:
        file.write(f"{request.key} {os.getpid()}\\n")

trials._fit_and_store = fit_and_note

def live(study, home):
    os.environ["FITTED"] = home + ".fitted"
    running.run(Path(study), home=Home(Path(home)))

print("ready", flush=True)
for line in sys.stdin:
    order, *rest = line.split()
    if order == "wait":
        print(os.waitstatus_to_exitcode(os.waitpid(int(rest[0]), 0)[1]), flush=True)
    elif (child := os.fork()) == 0:
        try:
            live(*rest)
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    else:
        print(child, flush=True)
"""
"""Starts processes that have the libraries and the hashes of the code already, which would take most of their time."""


class Nursery:
    """Starts runs of studies as processes of their own."""

    def __init__(self, process):
        self._process = process
        assert self._said() == "ready"

    def start(self, study, home):
        """Start a run and return the number of its process."""
        return int(self._ask(f"start {study} {home.root}"))

    def wait(self, process):
        """Wait until a run ends and return its exit code, -9 where it was killed."""
        return int(self._ask(f"wait {process}"))

    def _ask(self, order):
        self._process.stdin.write(f"{order}\n")
        self._process.stdin.flush()
        return self._said()

    def _said(self):
        return self._process.stdout.readline().strip()


@pytest.fixture(scope="module")
def nursery():
    """A nursery that ends with the tests."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    with subprocess.Popen(
        [sys.executable, "-c", NURSERY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        yield Nursery(process)
        process.stdin.close()


def outcomes_of(home):
    """Return the outcomes by key."""
    folder = home.artifacts / "outcomes"
    return {path.name: read_outcome(path) for path in folder.iterdir() if not is_staging(path)}


def numbers_of(home):
    """Return all that has to be equal to the bit: answers, curves, choices, hashes of what is stored."""
    return {
        key: {
            "method": outcome.method,
            "development": outcome.development.answers.probabilities.tolist(),
            "test": outcome.test.answers.probabilities.tolist(),
            "curve": outcome.curve,
            "chosen": outcome.chosen,
            "stored": {file.name: sha256_of_file(file) for file in sorted((outcome.folder / ARTEFACT).iterdir())},
        }
        for key, outcome in outcomes_of(home).items()
    }


def leftovers_of(home):
    """Return what should be nowhere when a run has ended."""
    staging = [path for path in home.root.rglob("*") if is_staging(path)]
    return staging + [path for path in home.work.iterdir() if path.is_dir()]


@contextmanager
def fresh(folder):
    """Yield a new home, removed afterwards."""
    yield Home(folder)
    shutil.rmtree(folder)


@pytest.mark.slow
def test_killed_at_ten_random_moments_the_numbers_are_those_of_an_undisturbed_run(nursery, tmp_path):
    """Ten runs are killed anywhere between start and end, started again, and end with the same bits and without leftovers."""
    study = write_toy_study(tmp_path / "toy", VARIANTS)
    undisturbed = Home(tmp_path / "undisturbed")
    start = time.monotonic()
    assert nursery.wait(nursery.start(study, undisturbed)) == 0
    seconds = time.monotonic() - start
    expected = numbers_of(undisturbed)
    moments = np.random.default_rng(SEED)
    ends, n_resumes = [], 0
    for i in range(N_KILLS):
        with fresh(tmp_path / f"killed{i}") as home:
            process = nursery.start(study, home)
            time.sleep(moments.uniform(0, seconds))
            os.kill(process, signal.SIGKILL)
            ends.append(nursery.wait(process))
            assert nursery.wait(nursery.start(study, home)) == 0
            assert numbers_of(home) == expected
            assert leftovers_of(home) == []
            n_resumes += sum(outcome.provenance["n_resumes"] for outcome in outcomes_of(home).values())

    assert len(expected) == len(VARIANTS)
    assert ends.count(-signal.SIGKILL) >= N_KILLS - 2
    assert n_resumes > 0


def test_two_runs_at_once_fit_each_outcome_once(nursery, tmp_path):
    """Both end well, with the numbers of one run; each outcome was fitted by one of them, and both had a share."""
    study = write_toy_study(tmp_path / "toy", VARIANTS, seeds=[0, 1])
    alone, shared = Home(tmp_path / "alone"), Home(tmp_path / "shared")
    assert nursery.wait(nursery.start(study, alone)) == 0
    processes = [nursery.start(study, shared) for _ in range(2)]

    assert [nursery.wait(process) for process in processes] == [0, 0]
    fitted = [line.split() for line in (tmp_path / "shared.fitted").read_text().splitlines()]
    assert set(Counter(key for key, _ in fitted).values()) == {1}
    assert {int(process) for _, process in fitted} == set(processes)
    assert numbers_of(shared) == numbers_of(alone)
    assert leftovers_of(shared) == []


def test_one_of_two_is_killed_and_the_other_finishes_its_work(nursery, tmp_path):
    """What the dead one held is free at once; the living one goes on from its checkpoints and ends with the same numbers."""
    study = write_toy_study(tmp_path / "toy", VARIANTS, seeds=[0, 1])
    alone, shared = Home(tmp_path / "alone"), Home(tmp_path / "shared")
    start = time.monotonic()
    assert nursery.wait(nursery.start(study, alone)) == 0
    seconds = time.monotonic() - start
    first, second = (nursery.start(study, shared) for _ in range(2))
    time.sleep(0.6 * seconds)
    os.kill(first, signal.SIGKILL)

    assert (nursery.wait(first), nursery.wait(second)) == (-signal.SIGKILL, 0)
    assert numbers_of(shared) == numbers_of(alone)
