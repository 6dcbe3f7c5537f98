"""What orchestration costs: one study as plain calls, in one process under Dagster, and with a process per step.

Timed: whole processes, from their start to their end, on a home folder of their own that has the backbone, the corpus,
Dagster's instance and MLflow's tables, and no outcome. The ways take turns, so that whatever else the machine does meets
all of them; ratios are taken within a round.

- ``plain``: a script that calls ``tunewise.run``: no Dagster, no MLflow.
- ``in process``: ``tunewise run``: the same calls as assets, with events, metadata and MLflow's runs.
- ``in process, no tracking``: the same without MLflow.
- ``processes``: ``tunewise launch``, as the pages and schedules do it: a process per step, forked from one that has
  imported the heavy libraries.

Run it with ``python benchmarks/bench_orchestration.py``; ``--toy`` takes a tiny study on made-up texts.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from record import ratio, start_with_allocator, store

from tunewise.device import detect, facts
from tunewise.home import Home

if TYPE_CHECKING:
    from collections.abc import Callable

REAL = {
    "name": "orchestrated",
    "data": {
        "source": "archive:movie_reviews",
        "ratings": {"column": "rating", "bands": {"negative": {"at_most": -0.5}, "positive": {"at_least": 0.5}}},
    },
    "budget": "quick",
    "seeds": [0],
}
TOY = ["majority", "tfidf_logistic", "logistic_regression", "head_only", "lora"]

RUN_PLAIN = "import sys, tunewise; tunewise.run(sys.argv[1])"
RUN_UNTRACKED = """
import sys
from pathlib import Path
import pipelines.in_process as ours
from resources.tracker import NoTracker
from tunewise.contracts import no_progress
from tunewise.home import Home
from tunewise.study_file import read_study

whole = ours.resources
ours.resources = lambda home: whole(home) | {"tracker": NoTracker()}
path = Path(sys.argv[1])
assert not ours.run_study(read_study(path), path.parent, Home.default(), only=(), progress=no_progress).failures
"""


def main() -> None:
    start_with_allocator()
    options = _options()
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        study = _toy(place) if options.toy else _real(place)
        template = _template(place, study)
        seconds = _take_turns(study, template, place, options.rounds)
    device = detect()
    report = _report(options, seconds)
    store("orchestration_toy" if options.toy else "orchestration", device, report, _table(report))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=3, help="turns of each way")
    parser.add_argument("--toy", action="store_true", help="a tiny study on made-up texts: fetches nothing")
    return parser.parse_args()


def _real(place: Path) -> Path:
    path = place / "real" / "defs.yaml"
    path.parent.mkdir()
    path.write_text(yaml.safe_dump(REAL))
    return path


def _toy(place: Path) -> Path:
    from tunewise.toy_study import write_toy_study

    return write_toy_study(place / "toy", TOY, name="orchestrated")


def _template(place: Path, study: Path) -> Path:
    """Return a home folder that has everything but outcomes: a run of the baseline alone made it, and what it found is gone."""
    home, known = Home(place / "template"), Home.default()
    for ours, theirs in ((home.downloads, known.downloads), (home.backbones, known.backbones)):
        if theirs.exists():
            ours.parent.mkdir(parents=True, exist_ok=True)
            ours.symlink_to(theirs)
    _timed([sys.executable, "-P", "-m", "pipelines.launch", "run", str(study), "--only", "majority"], home.root)
    for made in (home.artifacts, home.root / "studies", home.mlflow / "sent", home.root / "work"):
        shutil.rmtree(made, ignore_errors=True)
    return home.root


def _take_turns(study: Path, template: Path, place: Path, n_rounds: int) -> dict[str, list[float]]:
    launch = [sys.executable, "-P", "-m", "pipelines.launch"]
    ways: dict[str, list[str]] = {
        "plain": [sys.executable, "-P", "-c", RUN_PLAIN, str(study)],
        "in process": [*launch, "run", str(study)],
        "in process, no tracking": [sys.executable, "-P", "-c", RUN_UNTRACKED, str(study)],
        "processes": [*launch, "launch", '+key:"orchestrated/comparison"'],
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for round_ in range(n_rounds):
        # Each round begins with another way.
        names = list(ways)[round_ % len(ways) :] + list(ways)[: round_ % len(ways)]
        for name in names:
            home = place / "home"
            shutil.copytree(template, home, symlinks=True)
            seconds[name].append(_timed(ways[name], home, TUNEWISE_STUDIES=str(study.parent)))
            n_outcomes = len(list(home.glob("artifacts/outcomes/*")))
            print(f"round {round_}: {name}: {seconds[name][-1]:.1f} s, {n_outcomes} outcomes", flush=True)
            shutil.rmtree(home)
    return seconds


def _timed(command: list[str], home: Path, **variables: str) -> float:
    environment = {name: value for name, value in os.environ.items() if name != "DAGSTER_HOME"}
    environment |= {"TUNEWISE_HOME": str(home), "TUNEWISE_LAUNCHED": "1"} | variables
    start = time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - start
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    return seconds


def _report(options: argparse.Namespace, seconds: dict[str, list[float]]) -> dict[str, Any]:
    over = {name: ratio(own, seconds["plain"]) for name, own in seconds.items() if name != "plain"}
    return {
        "study": "toy" if options.toy else REAL,
        "n_rounds": options.rounds,
        "seconds": seconds,
        "over_plain": over,
        "share": {name: 1 - 1 / found["median"] for name, found in over.items()},
        "load_at_end": os.getloadavg()[0],
        "environment": facts(),
    }


def _table(report: dict[str, Any]) -> str:
    environment = report["environment"]
    median: Callable[[list[float]], float] = statistics.median
    what = "toy study" if report["study"] == "toy" else "movie reviews, quick budget, one seed"
    how = f"load {report['load_at_end']:.1f} at the end, {report['n_rounds']} rounds in turn"
    lines = [
        f"{what} on {environment['hardware']}, {how}",
        ", ".join(f"{name} {number}" for name, number in environment["versions"].items()),
        "",
        f"{'':26}{'seconds':>9}{'over plain':>12}{'range':>16}{'share':>9}",
        f"{'plain':26}{median(report['seconds']['plain']):>9.1f}",
    ]
    for name, found in report["over_plain"].items():
        spread = f"{found['least']:.2f} to {found['most']:.2f}"
        share = report["share"][name]
        lines.append(f"{name:26}{median(report['seconds'][name]):>9.1f}{found['median']:>12.2f}{spread:>16}{share:>9.0%}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
