"""Made-up outcomes: variants of known quality and cost on texts of known difficulty."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from tunewise.evaluation.metrics import answers_of, per_example
from tunewise.outcome import ClassAnswers, Costs, Missing, Outcome, Row, Scored
from tunewise.study import Study
from tunewise.verdict import build_verdict

CLASSES = ("negative", "positive")
SPLIT = "5b" * 32
MACHINE = "x86_64, 2 cores"

COSTS = Costs(
    fit_seconds=1.0,
    fit_cpu_seconds=1.9,
    features_seconds=0.0,
    predict_seconds=4.0,
    predict_cpu_seconds=7.0,
    latency_ms=9.0,
    throughput=400.0,
    peak_bytes=700_000_000,
    peak_above_start_bytes=200_000_000,
    device_peak_bytes=None,
    n_trained_parameters=1_000,
    n_total_parameters=22_713_216,
    stored_bytes=10_000,
    load_at_start=0.4,
)

PROVENANCE = {
    "versions": {"python": "3.11.2", "torch": "2.13.0", "transformers": "5.23.0", "scikit-learn": "1.9.1"},
    "machine": {"processor": "x86_64", "n_cores": 2, "memory_bytes": 8_000_000_000},
    "commit": "0123456789abcdef0123456789abcdef01234567",
    "is_dirty": False,
    "licences": {"data": "MIT", "backbone": "Apache-2.0"},
}


@dataclass(frozen=True)
class Plan:
    """A variant to make up: how good it is, what it costs, and whether its seed matters."""

    variant: str
    quality: float = 0.8
    family: str = "frozen"
    method: str = ""
    costs: Costs = COSTS
    is_seeded: bool = True
    seeds: tuple[int, ...] = (0, 1, 2)
    marks: tuple[str, ...] = ()
    hardware: str = MACHINE
    settings_changed: dict = field(default_factory=dict)
    curve: tuple = ()
    seeds_sd: float = 0.004
    has_probabilities: bool = True


def scored(rng, plan, labels, easy, classes, probabilities=None):
    """Return answers that are right with the plan's quality, more often on easy texts."""
    n, k = len(labels), len(classes)
    luck = rng.normal(0, plan.seeds_sd) if plan.is_seeded else 0.0
    level = np.log((plan.quality + luck) / (1 - plan.quality - luck))
    strength = 1.6 * (level + easy) + rng.normal(0, 0.8, n)
    logits = rng.normal(0, 0.7, (n, k))
    logits[np.arange(n), labels] += strength
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    answers = answers_of(shares, labels)
    if not plan.has_probabilities:
        answers = ClassAnswers(answers.labels, answers.predicted, None)
    return Scored(tuple(f"row{i:05d}" for i in range(n)), answers, per_example(answers))


def rows_of(plan, *, n=400, classes=CLASSES, split=SPLIT):
    """Return the rows of one plan: one outcome per seed, or one for all seeds where the seed does not matter."""
    world = np.random.default_rng(0)
    labels, easy = world.integers(0, len(classes), n), world.normal(0, 1, n)
    made: list[Row] = []
    for seed in plan.seeds:
        if made and not plan.is_seeded:
            made.append(Row(plan.variant, seed, made[0].outcome))
            continue
        rng = np.random.default_rng([seed, *plan.variant.encode()])
        test = scored(rng, plan, labels, easy, classes)
        made.append(Row(plan.variant, seed, _outcome(plan, seed, test, classes, split)))
    return made


def _outcome(plan, seed, test, classes, split):
    rng = np.random.default_rng([seed, 9, *plan.variant.encode()])
    fit_seconds, latency_ms = (value * rng.uniform(0.95, 1.1) for value in (plan.costs.fit_seconds, plan.costs.latency_ms))
    costs = replace(plan.costs, fit_seconds=fit_seconds, latency_ms=latency_ms)
    return Outcome(
        key=f"{plan.variant}{seed}".encode().hex().ljust(64, "0"),
        task="classify",
        method=plan.method or plan.variant,
        family=plan.family,
        backbone="minilm",
        backbone_sha256="ab" * 32,
        split_sha256=split,
        seed=seed,
        conditions={"budget": "quick", "n_train_rows": 1024, "epochs": 2, "class_weights": "none", "metric": "accuracy"},
        classes=classes,
        development=test,
        test=test,
        costs=costs,
        hardware=plan.hardware,
        settings={"epochs": 2, **plan.settings_changed},
        settings_changed=plan.settings_changed,
        chosen={},
        marks=plan.marks,
        curve=plan.curve,
        provenance=PROVENANCE,
        folder=Path("outcomes") / plan.variant / str(seed),
    )


def study_of(**changes):
    """Return a study that names one variant; a verdict takes its variants from the rows."""
    return Study(**{"name": "reviews", "data": {"source": "reviews.csv"}, "variants": ["majority"], **changes})


def curve_of(n_steps, seed):
    """Return a loss that falls and a development accuracy that rises."""
    rng = np.random.default_rng(seed)
    return tuple(
        {"step": float(step), "loss": float(0.3 + 0.4 * np.exp(-step / 60) + rng.normal(0, 0.03))}
        | ({"development_accuracy": float(0.84 - 0.3 * np.exp(-step / 50) + rng.normal(0, 0.004))} if step % 20 == 0 else {})
        for step in range(n_steps)
    )


TEXT_COSTS = {"predict_seconds": 0.08, "latency_ms": 0.4, "throughput": 9_000.0, "peak_bytes": 210_000_000}
KINDS = {
    "text": Plan("", family="baselines", costs=replace(COSTS, n_total_parameters=48_000, **TEXT_COSTS)),
    "frozen": Plan("", family="frozen", costs=replace(COSTS, features_seconds=2.6)),
    "tuned": Plan("", family="finetune", costs=replace(COSTS, peak_bytes=1_400_000_000), curve=curve_of(200, 0)),
    "peft": Plan("", family="peft", costs=replace(COSTS, peak_bytes=1_100_000_000), curve=curve_of(200, 0)),
}

LARGE = (
    ("majority", "text", 0.5, 0.001, 2, 80, {}),
    ("tfidf_logistic", "text", 0.70, 0.4, 48_000, 900_000, {}),
    ("logistic_regression", "frozen", 0.78, 0.3, 770, 10_000, {}),
    ("linear_svm", "frozen", 0.775, 0.5, 770, 10_000, {}),
    ("random_forest", "frozen", 0.73, 6.0, 90_000, 14_000_000, {}),
    ("xgboost", "frozen", 0.74, 9.0, 6_000, 700_000, {}),
    ("xgboost", "frozen", 0.735, 21.0, 25_000, 2_700_000, {"max_depth": 8}),
    ("knn", "frozen", 0.72, 0.1, 393_216, 12_000_000, {}),
    ("head_only", "tuned", 0.785, 3.1, 770, 4_000, {}),
    ("head_only", "tuned", 0.79, 3.9, 99_000, 400_000, {"n_hidden": 256}),
    ("all_layers", "tuned", 0.853, 95.0, 22_713_984, 90_900_000, {}),
    ("all_layers", "tuned", 0.5, 95.0, 22_713_984, 90_900_000, {"learning_rate": 1}),
    ("lora", "peft", 0.85, 61.0, 75_000, 310_000, {}),
    ("lora", "peft", 0.852, 66.0, 296_000, 1_200_000, {"rank": 32}),
    ("lora", "peft", 0.83, 58.0, 10_000, 48_000, {"rank": 1, "targets": ["query", "key", "value"]}),
    ("ia3", "peft", 0.81, 55.0, 9_000, 40_000, {}),
)
"""Method, kind, quality, seconds of the fit, trained numbers, stored bytes, settings."""

UNSEEDED = {"majority", "tfidf_logistic", "logistic_regression", "linear_svm", "knn"}
BLIND = ("at chance: its test accuracy cannot be told from answering the largest class alone",)


def large_study(*, classes=CLASSES, n=2_000):
    """Return sixteen variants with three seeds on 2,000 texts, the size a page has to carry."""
    made = []
    for method, kind, quality, fit_seconds, n_trained, stored, changed in LARGE:
        costs = replace(KINDS[kind].costs, fit_seconds=fit_seconds, n_trained_parameters=n_trained, stored_bytes=stored)
        plan = replace(
            KINDS[kind],
            variant="_".join([method, *(f"{name}_{value}" for name, value in changed.items() if isinstance(value, int))]),
            method=method,
            quality=quality,
            costs=costs,
            is_seeded=method not in UNSEEDED,
            settings_changed=changed,
            marks=BLIND if quality == 0.5 and method != "majority" else (),
        )
        made += rows_of(plan, n=n, classes=classes)
    return made


@pytest.fixture
def missing():
    """A variant that failed and one that never ran."""
    return [
        Missing("prefix_tuning", 0, "failed", "FitError: the loss became NaN at step 31. Lower learning_rate (0.1)."),
        Missing("prefix_tuning", 1, "failed", "FitError: the loss became NaN at step 12. Lower learning_rate (0.1)."),
        Missing("prompt_tuning", 0, "never ran"),
    ]


@pytest.fixture
def costs():
    """The costs that a made-up variant has unless it is given others."""
    return COSTS


@pytest.fixture
def make():
    """Return the function from a variant's name, quality and anything else of its plan to its rows."""

    def made(variant, quality=0.8, *, classes=CLASSES, split=SPLIT, n=400, **plan):
        return rows_of(Plan(variant, quality, **plan), n=n, classes=classes, split=split)

    return made


@pytest.fixture
def judge():
    """Return the function from rows to the verdict of a study on them."""

    def judged(rows, missing=(), *, texts=None, findings=(), **study):
        return build_verdict(study_of(**study), rows, missing, texts=texts, findings=findings)

    return judged


@pytest.fixture(scope="session")
def large_rows():
    """Sixteen variants with three seeds on 2,000 texts."""
    return large_study()
