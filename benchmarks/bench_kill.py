"""What a kill costs: the quick movie-review study killed three times, and what the checkpoints against it take.

1. The command line runs the study undisturbed in a home of its own.
2. In another home it is killed (SIGKILL) at three random moments, each time started again by the same command, and
   then left to end. All answers, curves and stored weights have to be those of the first, bit for bit. Printed are
   the moments, how many fits were gone on from a checkpoint, and the seconds that all runs took beyond the first.
3. One checkpoint of ``all_layers``, the largest trained state, is written and read five times.

Downloads are shared with the user's home through hard links. Run it with ``python benchmarks/bench_kill.py``;
``--only VARIANT`` and ``--seeds 0`` restrict the study, ``--state`` measures the checkpoint alone.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from record import start_with_allocator, store

from tunewise.artifacts import sha256_of_file
from tunewise.device import detect, facts
from tunewise.evaluation.outcomes import ARTEFACT, read_outcome
from tunewise.home import Home

N_KILLS, SEED = 3, 0
COMMAND = [sys.executable, "-P", "-m", "pipelines.launch", "run", "movie_reviews"]


def main() -> None:
    start_with_allocator()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", default=[], metavar="VARIANT")
    parser.add_argument("--seeds", metavar="0,1,2")
    parser.add_argument("--state", action="store_true", help="measure the checkpoint alone")
    asked = parser.parse_args()
    users = Home.default()
    with tempfile.TemporaryDirectory(dir=users.root) as folder:
        report = {"checkpoint": checkpoint_costs(users, Path(folder))}
        if not asked.state:
            restricted = [part for name in asked.only for part in ("--only", name)]
            restricted += ["--seeds", asked.seeds] if asked.seeds else []
            report |= {"kills": kill_and_compare(Path(folder), users, COMMAND + restricted)}
    report |= {"facts": facts()}
    store("kill", detect(), report, "\n".join(written(report)))


def kill_and_compare(folder: Path, users: Home, command: list[str]) -> dict[str, Any]:
    """Run undisturbed, run with kills, compare, and return what it took."""
    undisturbed, killed = (with_downloads(Home(folder / name), users) for name in ("undisturbed", "killed"))
    seconds = timed(command, undisturbed, None)
    moments = np.sort(np.random.default_rng(SEED).uniform(0.05, 0.95, N_KILLS)) * seconds
    parts = np.diff([0.0, *moments])
    lives = [timed(command, killed, float(part)) for part in parts] + [timed(command, killed, None)]
    ours, theirs = numbers_of(undisturbed), numbers_of(killed)
    return {
        "seconds_undisturbed": seconds,
        "killed_after_seconds": parts.tolist(),
        "seconds_of_runs": lives,
        "seconds_beyond": sum(lives) - seconds,
        "n_outcomes": len(ours),
        "n_resumes": sum(read_outcome(path).provenance["n_resumes"] for path in outcomes_of(killed)),
        "is_equal": ours == theirs,
    }


def timed(command: list[str], home: Home, kill_after: float | None) -> float:
    """Run ``command`` on ``home``, kill it if asked to, and return the seconds it lived."""
    start = time.monotonic()
    process = subprocess.Popen(command, env=os.environ | {"TUNEWISE_HOME": str(home.root)})
    try:
        process.wait(timeout=kill_after)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
    else:
        assert process.returncode == 0, f"{command} ended with {process.returncode}"
    return time.monotonic() - start


def with_downloads(home: Home, users: Home) -> Home:
    """Give a new home what the user's has fetched and made ready, without its features."""
    for mine, theirs in ((home.downloads, users.downloads), (home.backbones, users.backbones)):
        if theirs.is_dir():
            shutil.copytree(theirs, mine, copy_function=os.link)
    return home


def outcomes_of(home: Home) -> list[Path]:
    return sorted(path for path in (home.artifacts / "outcomes").iterdir() if not path.name.startswith("."))


def numbers_of(home: Home) -> dict[str, Any]:
    """Return everything that has to be equal to the bit, by the outcome's key."""
    found = {}
    for path in outcomes_of(home):
        outcome = read_outcome(path)
        parts = [scored.answers.probabilities for scored in (outcome.development, outcome.test)]
        answers = [part if part is None else part.tobytes() for part in parts]
        weights = {file.name: sha256_of_file(file) for file in sorted((path / ARTEFACT).iterdir())}
        found[path.name] = (answers, outcome.curve, outcome.chosen, weights)
    return found


def checkpoint_costs(home: Home, folder: Path) -> dict[str, float]:
    """Return what a checkpoint of ``all_layers`` on the embedded encoder takes; seconds are medians of five."""
    import torch

    from tunewise.backbones.opening import open_backbone
    from tunewise.contracts import Runtime
    from tunewise.rng import Rng
    from tunewise.study import BackboneSpec
    from tunewise.training.checkpoint import STEP_SECONDS, Checkpoint, Checkpoints
    from tunewise.training.classifier import new_classifier, trained
    from tunewise.training.optimizer import adamw

    device = detect()
    backbone = open_backbone(
        BackboneSpec(name="minilm", source="archive:minilm", kind="encoder", max_tokens=None), base=folder, home=home
    )
    with Rng(0).torch():
        classifier = new_classifier(Runtime(device, backbone).backbone, 2, device, dropout=0.1)
    optimizer = adamw([(classifier, 1e-4)], 0.01)
    for parameter in trained(classifier).values():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    tensors = {f"module.{name}": value for name, value in trained(classifier).items()}
    for i, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{i}.{name}": value for name, value in state.items()}
    made = Checkpoints(folder, "benchmark")
    writes, reads = [], []
    for _ in range(5):
        start = time.perf_counter()
        made.write(Checkpoint(tensors, {}, None))
        writes.append(time.perf_counter() - start)
        start = time.perf_counter()
        made.read()
        reads.append(time.perf_counter() - start)
    write = statistics.median(writes)
    return {
        "bytes": sum(value.numel() * value.element_size() for value in tensors.values()),
        "write_seconds": write,
        "read_seconds": statistics.median(reads),
        "share_of_training": write / STEP_SECONDS,
    }


def written(report: dict[str, Any]) -> list[str]:
    """Return the report in sentences."""
    one = report["checkpoint"]
    lines = [
        (
            f"A checkpoint of all_layers with every token trained: {one['bytes'] / 1e6:.0f} MB, written in "
            f"{one['write_seconds']:.2f} s, read in {one['read_seconds']:.2f} s; every 30 s that is "
            f"{one['share_of_training']:.1%} of the training."
        )
    ]
    if kills := report.get("kills"):
        moments = ", ".join(f"{part:.0f}" for part in kills["killed_after_seconds"])
        lines += [
            f"Undisturbed: {kills['seconds_undisturbed']:.0f} s, {kills['n_outcomes']} outcomes.",
            (
                f"Killed after {moments} s of its runs, then left alone: {sum(kills['seconds_of_runs']):.0f} s in all, "
                f"{kills['seconds_beyond']:.0f} s more; {kills['n_resumes']} fits went on from a checkpoint."
            ),
            "Answers, curves, choices and stored weights are "
            + ("those of the undisturbed run, bit for bit." if kills["is_equal"] else "NOT those of the undisturbed run."),
        ]
    return lines


if __name__ == "__main__":
    main()
