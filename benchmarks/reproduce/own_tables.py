"""A user's own tables, from the CSV to the page with the embedded encoder: six classes, 77 classes, sentence pairs.

Each has a study file of at most ten lines in a folder outside the repository, and is run by the command that a user
would type. TREC's questions (Li & Roth 2002, six classes) are read from ``--data DIR``, which holds ``trec/train.csv``
with the columns ``text`` and ``label``; the other two tables are written here by a fixed seed, and are easy on purpose:
they show that the way is open, not what the methods are worth.

Run it with ``python benchmarks/reproduce/own_tables.py --data DIR``; what it prints is stored under ``benchmarks/results``.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunewise.artifacts import write_atomically
from tunewise.device import facts, hardware
from tunewise.home import Home

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

RESULTS = Path(__file__).parents[1] / "results" / "own_tables.md"
VARIANTS = ("majority", "tfidf_logistic", "logistic_regression", "head_only")
SEED = 0

VERBS = ("open", "close", "pay", "move", "check", "renew", "report", "share", "stop", "find", "change")
THINGS = ("card", "account", "loan", "transfer", "address", "password", "bill")
ASKING = ("how do I {} my {}", "please {} the {} for me", "I want to {} a {}", "can you help me {} this {}", "time to {} the {}")
FILLING = ("today", "right now", "before noon", "if possible", "thank you", "once more", "from abroad", "by phone")
PEOPLE = ("a man", "a woman", "the boy", "two children", "an old couple", "the driver", "a nurse", "some tourists")
DOINGS = ("sleeps", "reads a book", "plays the guitar", "waits for a bus", "eats soup", "paints a wall", "calls a friend")
PLACES = ("in the park", "near the station", "at home", "on the beach", "in a small shop", "behind the church")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds trec/train.csv")
    trec = parser.parse_args().data / "trec" / "train.csv"
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        shutil.copyfile(trec, folder / "trec.csv")
        _write(folder / "intents.csv", ["text", "label"], _intents())
        _write(folder / "pairs.csv", ["premise", "hypothesis", "gold"], _pairs())
        parts = [
            _part(folder, "own_trec", "TREC's questions, six classes", "source: ../trec.csv"),
            _part(folder, "own_intents", "77 intents, written by this script", "source: ../intents.csv"),
            _part(
                folder,
                "own_pairs",
                "Sentence pairs in three classes, written by this script",
                "source: ../pairs.csv, text: [premise, hypothesis], label: gold",
            ),
        ]
    versions = ", ".join(f"{name} {value}" for name, value in facts()["versions"].items())
    text = "\n\n".join(
        ["# A user's own tables, from the CSV to the page", f"Quick budget, one seed, on {hardware()}; {versions}.", *parts]
    )
    print(text)
    write_atomically(RESULTS, text + "\n")


def _part(folder: Path, name: str, title: str, data: str) -> str:
    """Run a study by the command line and return its section."""
    study = folder / name / "defs.yaml"
    study.parent.mkdir()
    lines = [f"name: {name}", f"data: {{{data}}}", "backbones: [minilm]", f"variants: [{', '.join(VARIANTS)}]", "seeds: [0]"]
    study.write_text("\n".join(lines) + "\n")
    command = ["run", str(study), "--budget", "quick", *(word for one in VARIANTS for word in ("--only", one))]
    subprocess.run([str(Path(sys.executable).with_name("tunewise")), *command], check=True)
    found = json.loads((Home.default().study(name) / "comparison" / "comparison.json").read_text())
    shown = " ".join(["tunewise", "run", f"{name}/defs.yaml", *command[2:]])
    yaml = "\n".join(lines)
    return "\n\n".join(
        [
            f"## {title}",
            f"```yaml\n{yaml}\n```",
            f"`{shown}`; {len(found['classes'])} classes, {found['n_test_texts']:,} test texts.",
            _table(found["variants"]),
        ]
    )


def _table(variants: list[dict[str, Any]]) -> str:
    rows = ["| variant | accuracy (95% interval) | macro F1 |", "|---|---:|---:|"]
    for one in variants:
        accuracy, f1 = one["test"]["accuracy"], one["test"]["macro_f1"]
        interval = f"{accuracy['value']:.3f} ({accuracy['low']:.3f} to {accuracy['high']:.3f})"
        rows.append(f"| {one['variant']} | {interval} | {f1['value']:.3f} |")
    return "\n".join(rows)


def _write(path: Path, head: Sequence[str], rows: Iterator[tuple[str, ...]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([head, *rows])


def _intents() -> Iterator[tuple[str, str]]:
    """Yield 30 texts for each of 77 intents: a verb and a thing, asked for in several ways."""
    rng = random.Random(SEED)  # noqa: S311 - a table, no secret
    for verb in VERBS:
        for thing in THINGS:
            for _ in range(30):
                asked = rng.choice(ASKING).format(verb, thing)
                yield f"{rng.choice(FILLING)} {asked} {rng.choice(FILLING)} {rng.choice(FILLING)}", f"{verb}_{thing}"


def _pairs() -> Iterator[tuple[str, str, str]]:
    """Yield 1,800 pairs: the second sentence repeats the first without its place, changes the doing, or speaks of others."""
    rng = random.Random(SEED)  # noqa: S311 - a table, no secret
    for _ in range(600):
        person, other = rng.sample(PEOPLE, 2)
        doing, another = rng.sample(DOINGS, 2)
        premise = f"{person} {doing} {rng.choice(PLACES)} {rng.choice(FILLING)}"
        yield premise, f"{person} {doing}", "follows"
        yield premise, f"{person} {another} instead", "contradicts"
        yield premise, f"{other} {another} {rng.choice(PLACES)}", "unrelated"


if __name__ == "__main__":
    main()
