"""What soft prompts and prefixes need in order to beat frozen features: pooling, positions, start, scale, learning rate.

One thing is changed at a time, from the defaults, on the first rows of the shipped movie-review study, one seed. What
is printed is accuracy on development rows of the best epoch; no test row is read. Frozen features (logistic regression)
stand beside it, pooled in the same way.

Run it with ``python benchmarks/reproduce/soft_prompt_ablation.py``; an interrupted run goes on with what is missing.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console

from pipelines.launch import start_rightly
from tunewise.artifacts import write_atomically
from tunewise.backbones.opening import open_backbone
from tunewise.contracts import Need, Runtime
from tunewise.device import apply, detect, facts, hardware
from tunewise.features import embedder_for
from tunewise.home import Home
from tunewise.methods import catalogue
from tunewise.request import Effort, Request
from tunewise.steps import Workplace, prepare_dataset, read_stored_split, split_dataset
from tunewise.study_file import read_study
from tunewise.trials import Surroundings, fit_once

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tunewise.contracts import Backbone, Split

ROOT = Path(__file__).parents[2]
STUDY = ROOT / "pipelines" / "studies" / "movie_reviews" / "defs.yaml"
RESULTS = ROOT / "benchmarks" / "results" / "soft_prompt_ablation.json"
N_ROWS, EPOCHS, N_THREADS, SEED = 1024, 2, 1, 0

Cell = tuple[str, str, dict[str, Any]]
"""A method, the backbone's pooling, and the settings that differ from the default."""

CELLS: tuple[Cell, ...] = (
    ("logistic_regression", "mean", {}),
    ("soft_prompt", "mean", {}),
    ("prefix", "mean", {}),
    ("soft_prompt", "mean", {"pooled": "all"}),
    ("soft_prompt", "mean", {"positions": "shifted"}),
    ("soft_prompt", "mean", {"pooled": "all", "positions": "shifted"}),
    ("soft_prompt", "mean", {"init": "random"}),
    ("soft_prompt", "mean", {"init_scale": 0.1}),
    *(("soft_prompt", "mean", {"learning_rate": rate}) for rate in (2e-3, 5e-3, 5e-2, 1e-1)),
    *(("prefix", "mean", {"learning_rate": rate}) for rate in (1e-3, 3e-3, 3e-2, 1e-1)),
    ("prefix", "mean", {"init": "random"}),
    ("prefix", "mean", {"init_scale": 0.1}),
    ("prefix", "mean", {"mid_dim": 256, "learning_rate": 1e-3}),
    ("logistic_regression", "cls", {}),
    ("soft_prompt", "cls", {}),
    ("soft_prompt", "cls", {"pooled": "all", "positions": "shifted"}),
    ("prefix", "cls", {}),
)

console = Console()


def main() -> None:
    """Fit every cell that is missing, print it, store it."""
    measure(CELLS, RESULTS)


def measure(cells: Iterable[Cell], results: Path) -> None:
    """Fit the cells that ``results`` lacks, one after the other, and store each at once."""
    place = Workplace(read_study(STUDY), STUDY.parent, Home.default())
    split = read_stored_split(split_dataset(place, prepare_dataset(place)))
    backbone = open_backbone(place.study.backbone("minilm"), base=place.base, home=place.home)
    conditions = {"n_train_rows": N_ROWS, "epochs": EPOCHS, "threads": N_THREADS, "seed": SEED, "split": split.fingerprint}
    report = json.loads(results.read_text()) if results.is_file() else {}
    if report.get("conditions") != conditions:
        report = {"conditions": conditions, "cells": []}
    known = [(cell["method"], cell["pooling"], cell["changed"]) for cell in report["cells"]]
    for method, pooling, changed in cells:
        if (method, pooling, changed) not in known:
            found = _fitted(method, changed, replace(backbone, pooling=pooling), split, place.home)
            report["cells"].append({"method": method, "pooling": pooling, "changed": changed, **found})
            report |= {"hardware": hardware(), "environment": facts()}
            write_atomically(results, json.dumps(report, indent=1) + "\n")
            console.print(report["cells"][-1])


def _fitted(name: str, changed: dict[str, Any], backbone: Backbone, split: Split, home: Home) -> dict[str, Any]:
    device = detect(N_THREADS, allow_gpu=False)
    apply(device)
    method = catalogue()[name]
    embed = embedder_for(backbone, device, home) if Need.EMBEDDINGS in method.needs else None
    request = Request(method, method.settings(**changed), SEED, split, backbone, device, Effort("ablation", N_ROWS, EPOCHS))
    with tempfile.TemporaryDirectory() as work:
        runtime, start = Runtime(device, backbone, embed), time.process_time()
        fitted = fit_once(request, Surroundings(runtime, runtime, Path(work)))
    return {
        "development_accuracy": float(np.mean(fitted.development.values["accuracy"])),
        "by_epoch": [point["development_accuracy"] for point in fitted.curve if "development_accuracy" in point],
        "n_trained_parameters": fitted.predictor.n_trained_parameters,
        "fit_cpu_seconds": fitted.costs.cpu_seconds,
        "cpu_seconds": time.process_time() - start,
    }


if __name__ == "__main__":
    start_rightly(*sys.argv)
    main()
