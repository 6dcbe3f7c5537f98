"""How near `tunewise plan` comes to what `tunewise run` then takes: wall and processor seconds, peak memory, disk.

A fresh home, in which only what was downloaded is at hand, gets a plan and then the run that was planned, each in a process
of its own. The plan's numbers come from its JSON; the run's from the clock, from the resident size of its process looked
at every twentieth of a second, and from the outcomes. Processor seconds of the fits tell how good the estimate was where
other work took turns on the cores; wall seconds are believable on a quiet machine alone, and the load stands beside them.

Run it with ``python benchmarks/bench_plan.py``; ``TUNEWISE_HOME`` names the home whose downloads are taken. What it prints is
stored under ``benchmarks/results``, with versions and machine.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from tunewise.artifacts import write_atomically
from tunewise.device import facts, hardware
from tunewise.home import Home
from tunewise.verdict.wording import seconds, size

RESULTS = Path(__file__).parent / "results"
COMMAND = str(Path(sys.executable).with_name("tunewise"))
LOOK_SECONDS = 0.05
FACTOR = 1.5
"""How near an estimate is wanted to come, either way."""


@dataclass(frozen=True)
class Taken:
    """What a command took."""

    seconds: float
    cpu_seconds: float
    peak_bytes: int
    load_before: float
    output: str


def main() -> None:
    options = _options()
    with tempfile.TemporaryDirectory() as scratch:
        home = Home(Path(scratch) / "home")
        for folder in ("backbones", "downloads"):
            if (source := Home.default().root / "cache" / folder).is_dir():
                shutil.copytree(source, home.root / "cache" / folder, symlinks=True)
        arguments = [options.study, *(part for name in options.only for part in ("--only", name))]
        arguments += ["--seeds", options.seeds] if options.seeds else []
        planned = _taken(["plan", *arguments, "--json"], home)
        run = _taken(["run", *arguments], home)
        report = _report(json.loads(planned.output), planned, run, home)
    text = _table(report)
    print(text)
    name = re.sub(r"[^a-z0-9]+", "_", f"plan {options.study} {hardware()}".lower()).strip("_")
    write_atomically(RESULTS / f"{name}.json", json.dumps(report, indent=1) + "\n")
    write_atomically(RESULTS / f"{name}.txt", text + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--study", default="movie_reviews", help="name of a study")
    parser.add_argument("--only", action="append", default=[], help="these variants alone")
    parser.add_argument("--seeds", help="instead of the study's, such as 0")
    return parser.parse_args()


def _taken(arguments: list[str], home: Home) -> Taken:
    """Run the command line in ``home`` and watch its process."""
    load, begin = os.getloadavg()[0], time.perf_counter()
    environment = os.environ | {"TUNEWISE_HOME": str(home.root)}
    with tempfile.TemporaryFile("w+") as out:
        process = subprocess.Popen([COMMAND, *arguments], env=environment, stdout=out, text=True)
        watched, peak, cpu = psutil.Process(process.pid), 0, 0.0
        while process.poll() is None:
            try:
                peak = max(peak, watched.memory_info().rss)
                cpu = max(cpu, sum(watched.cpu_times()[:2]))
            except psutil.Error:
                break
            time.sleep(LOOK_SECONDS)
        if code := process.wait():
            sys.exit(f"tunewise {' '.join(arguments)} ended with {code}")
        out.seek(0)
        return Taken(time.perf_counter() - begin, cpu, peak, load, out.read())


def _report(plan: dict[str, Any], planned: Taken, run: Taken, home: Home) -> dict[str, Any]:
    page = json.loads((home.study(plan["study"]) / "comparison" / "comparison.json").read_text())
    variants = page["estimates"]
    outcomes = sum(path.stat().st_size for path in (home.artifacts / "outcomes").rglob("*") if path.is_file())
    features = sum(path.stat().st_size for path in home.embeddings.rglob("*") if path.is_file())
    total = plan["total"]
    return {
        "study": plan["study"],
        "sentence": plan["sentence"],
        "planning_seconds": planned.seconds,
        "load": {"before_planning": planned.load_before, "before_run": run.load_before},
        "whole": {
            "seconds": [total["seconds"], run.seconds],
            "cpu_seconds_of_fits": [sum(one[name] for one in variants) for name in ("estimated_cpu_seconds", "cpu_seconds")],
            "peak_bytes": [total["peak_bytes"], run.peak_bytes],
            "disk_bytes": [total["disk_bytes"], outcomes + features],
        },
        "run_cpu_seconds": run.cpu_seconds,
        "variants": variants,
        **facts(),
    }


def _table(report: dict[str, Any]) -> str:
    loads = " and ".join(f"{load:.1f} {when.replace('_', ' ')}" for when, load in report["load"].items())
    lines = [
        f"{report['study']}: {report['sentence']}",
        f"Planning took {seconds(report['planning_seconds'])}; load {loads}, on {report['hardware']}.",
        "",
        f"{'':24}{'estimated':>12}{'measured':>12}{'ratio':>8}",
    ]
    for name, (estimated, measured) in report["whole"].items():
        words = size if name.endswith("bytes") else seconds
        ratio = measured / estimated
        near = "" if 1 / FACTOR <= ratio <= FACTOR else f"  beyond {FACTOR}"
        lines.append(f"{name.replace('_', ' '):24}{words(estimated):>12}{words(measured):>12}{ratio:>8.2f}{near}")
    lines += ["", f"{'measured / estimated':24}{'wall':>8}{'cpu':>8}{'memory':>8}{'disk':>8}"]
    for one in report["variants"]:
        pairs = [(one[name], one[f"estimated_{name}"]) for name in ("seconds", "cpu_seconds", "peak_bytes", "disk_bytes")]
        lines.append(f"{one['variant']:24}" + "".join(f"{fact / max(guess, 1e-9):>8.2f}" for fact, guess in pairs))
    return "\n".join(lines)


if __name__ == "__main__":
    main()
