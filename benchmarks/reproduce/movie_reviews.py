"""What the embedded encoder reaches on the embedded corpus, and what it reaches where there is nothing to learn.

Three parts, each a study of its own that reuses whatever it finds done:

1. all training rows, three seeds, the shipped study's own split;
2. logistic regression over five split salts, all five shown;
3. the same texts with their ratings dealt out anew, quick budget, three seeds: every variant has to be at chance, and said to be.

Run it with ``python benchmarks/reproduce/movie_reviews.py``; what it prints is stored under ``benchmarks/results``.
"""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console
from rich.progress import Progress, TaskID

import tunewise
from pipelines.launch import start_rightly
from tunewise.artifacts import write_atomically
from tunewise.data.tables import read_table
from tunewise.device import facts, hardware
from tunewise.home import Home
from tunewise.study_file import read_study

if TYPE_CHECKING:
    from tunewise.study import Study
    from tunewise.verdict import Verdict

ROOT = Path(__file__).parents[2]
STUDY = ROOT / "pipelines" / "studies" / "movie_reviews" / "defs.yaml"
RESULTS = ROOT / "benchmarks" / "results" / "movie_reviews.json"
SALTS = ("movie_reviews", "salt_1", "salt_2", "salt_3", "salt_4")
"""The first is the shipped study's; all five were written down before any of them was run."""
SHUFFLE_SEED = 0

console = Console()


def main() -> None:
    """Run the three parts, print them, store them."""
    shipped = read_study(STUDY)
    own_split = {name: row["accuracy"] for name, row in _accuracies(_run(_changed(shipped, budget="standard"))).items()}
    by_salt = {salt: _of_salt(shipped, salt) for salt in SALTS}
    shuffled = _accuracies(_run(_shuffled(shipped)))
    report = {
        "all training rows, test accuracy (mean over seeds, 95% interval)": own_split,
        "logistic_regression by split salt": by_salt,
        "logistic_regression, mean over salts": float(np.mean(list(by_salt.values()))),
        "shuffled ratings": shuffled,
        "hardware": hardware(),
        "environment": facts(),
    }
    console.print_json(json.dumps(report))
    write_atomically(RESULTS, json.dumps(report, indent=1) + "\n")


def _of_salt(shipped: Study, salt: str) -> float:
    split = shipped.data.split.model_copy(update={"salt": salt})
    study = _changed(
        shipped, budget="standard", name=f"movie_reviews_{salt}", data=shipped.data.model_copy(update={"split": split})
    )
    return _accuracies(_run(study, ("logistic_regression",)))["logistic_regression"]["accuracy"][0]


def _shuffled(shipped: Study) -> Study:
    """Return the study with ratings dealt out anew, as a table in the home folder."""
    home = Home.default()
    table = read_table(shipped.data.source, base=ROOT, home=home, columns=("text", "rating"))
    ratings = np.random.default_rng(SHUFFLE_SEED).permutation(table["rating"].to_numpy())
    path = home.root / "cache" / "movie_reviews_shuffled.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "rating"])
        writer.writerows(zip(table["text"].to_pylist(), ratings.tolist(), strict=True))
    data = shipped.data.model_copy(update={"source": str(path)})
    return _changed(shipped, name="movie_reviews_shuffled", data=data)


def _changed(study: Study, **values: object) -> Study:
    return study.model_copy(update=values)


def _run(study: Study, only: tuple[str, ...] = ()) -> Verdict:
    with Progress(console=console, transient=True) as bars:
        tasks: dict[str, TaskID] = {}

        def progress(stage: str, done: int, total: int) -> None:
            task = tasks.setdefault(stage, bars.add_task(f"{study.name}: {stage}") if stage not in tasks else tasks[stage])
            bars.update(task, completed=done, total=total, visible=done < total)

        return tunewise.run(study, only=only, progress=progress)


def _accuracies(verdict: Verdict) -> dict[str, dict[str, object]]:
    """Return each variant's accuracy with its interval, each seed's, and its marks."""
    found = {}
    for one in verdict.standings:
        estimate = one.estimates["accuracy"]
        found[one.variant] = {
            "accuracy": [estimate.value, estimate.low, estimate.high],
            "by_seed": [float(outcome.test.values["accuracy"].mean()) for outcome in one.outcomes],
            "marks": sorted({mark for outcome in one.outcomes for mark in outcome.marks}),
        }
    return found


if __name__ == "__main__":
    start_rightly(*sys.argv)
    main()
