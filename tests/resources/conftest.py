"""An outcome made by hand, and a study that asks for it."""

import shutil

import numpy as np
import pytest
from mlflow import MlflowClient

from tunewise.artifacts import new_folder
from tunewise.evaluation.outcomes import KIND, folder_of, write_outcome
from tunewise.outcome import ClassAnswers, Costs, Outcome, Row, Scored
from tunewise.study import Study


@pytest.fixture(scope="session")
def fresh_database(tmp_path_factory):
    """MLflow's tables without a row; making them takes seconds."""
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def store(home, fresh_database):
    """The home's tracking store, made ready."""
    home.mlflow.mkdir(parents=True)
    shutil.copy(fresh_database, home.mlflow / "mlflow.db")


@pytest.fixture
def study():
    """A study of one variant."""
    return Study.model_validate({"name": "mine", "data": {"source": "texts.csv"}, "variants": ["majority"], "seeds": [0, 1]})


def scored(labels, predicted):
    """Return answers without probabilities to rows called ``r0``, ``r1``, ..."""
    ids = tuple(f"r{i}" for i in range(len(labels)))
    answers = ClassAnswers(np.array(labels), np.array(predicted), None)
    return Scored(ids, answers, {"accuracy": (answers.labels == answers.predicted).astype(np.float64)})


@pytest.fixture
def make_row(home):
    """Return a function that makes a row of which 3 of 4 test texts are right, its outcome stored."""

    def make(seed: int = 0, key: str = "a" * 64, variant: str = "majority") -> Row:
        folder = folder_of(key, home)
        costs = Costs(1.5, 2.5, 0.5, 0.1, 0.2, 3.0, 40.0, 1000, 100, None, 7, 70, 11, 0.3)
        outcome = Outcome(
            key=key,
            task="classify",
            method="majority",
            family="baselines",
            backbone=None,
            backbone_sha256=None,
            split_sha256="5" * 64,
            seed=seed,
            conditions={"budget": "quick", "epochs": 2},
            classes=("no", "yes"),
            development=scored([0, 1], [0, 1]),
            test=scored([0, 1, 0, 1], [0, 1, 0, 0]),
            costs=costs,
            hardware="a machine",
            settings={"rank": 8, "targets": ["query", "value"]},
            settings_changed={},
            chosen={"epoch": 2},
            marks=("predicts one class for every text",),
            curve=({"step": 1, "loss": 0.7}, {"step": 2, "loss": 0.5}),
            provenance={},
            folder=folder,
        )
        with new_folder(folder, KIND) as staging:
            write_outcome(outcome, staging)
        return Row(variant, seed, outcome)

    return make
