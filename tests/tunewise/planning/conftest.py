"""Studies whose plan is made, and fits that take as long as they say."""

from dataclasses import replace

import numpy as np
import pytest

from tunewise.contracts import Device
from tunewise.methods import catalogue
from tunewise.planning import plan_study
from tunewise.request import Effort, Request
from tunewise.steps import Workplace
from tunewise.study_file import read_study
from tunewise.testing import toy_split
from tunewise.toy_study import write_toy_study


@pytest.fixture
def plan(tmp_path, home):
    """Return the function from a toy study's variants and fields to its plan."""

    def made(variants=("majority", "tfidf_logistic"), *, only=(), may_measure=True, **fields):
        path = write_toy_study(tmp_path / "toy", variants, **fields)
        return plan_study(Workplace(read_study(path), path.parent, home), only=only, may_measure=may_measure)

    return made


class Constant:
    """A predictor that answers the first class."""

    n_trained_parameters = n_total_parameters = 0
    chosen: dict[str, float] = {}  # noqa: RUF012 - read, never changed

    def predict(self, texts):
        """Return one row per text."""
        return np.tile(np.array([0.6, 0.4], dtype=np.float32), (len(texts), 1))

    def save(self, folder):
        """Write a kilobyte."""
        (folder / "answers.json").write_text("0" * 1_000)


def load(folder, runtime):
    """Read nothing."""
    return Constant()


@pytest.fixture
def slow_request():
    """Return the function from what a fit does with its inputs to a request for it, on 144 toy rows."""

    def made(work, **effort):
        def fit(inputs, settings, *, rng):
            work(inputs)
            return Constant()

        method = replace(catalogue()["majority"], fit=fit, load=load)
        effort = {"budget": "quick", "max_train_rows": 144, "epochs": 2} | effort
        return Request(method, method.settings(), 0, toy_split(), None, Device("cpu", "float32", 1), Effort(**effort))

    return made
