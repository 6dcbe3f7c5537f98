"""What a table's rows cost before anything is fitted, from 10,000 to 1,000,000: seconds and memory of each stage, and the slope.

Two kinds of table are written by a fixed seed. ``ordinary`` has 6 to 18 words a text, drawn as in natural language (a few
words are common, most are rare), one text in fifty being a copy or a near copy of another; ``template`` has one sentence
with five gaps of twenty words each, which is the worst that the search for near duplicates meets.

Every stage runs in a process of its own that first loads what the stage before stored; that is not timed, but counts in
the peak, which is the most memory the process ever held, libraries included. Seconds are those of a core, so that other
work on the machine hardly counts; wall seconds are stored beside them. The slope is that of seconds against rows, both as
logarithms: 1 is linear, 2 quadratic.

Run it with ``python benchmarks/bench_rows.py``; what it prints is stored under ``benchmarks/results``, with versions and
machine.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

STAGES = {
    "read": "CSV in, labelled rows with ids and their fingerprint out",
    "write": "the rows as a Parquet file",
    "load": "the rows from the Parquet file",
    "fingerprint": "the rows' hash alone, which reading and splitting take, too",
    "duplicates": "the search for near duplicates alone, which splitting takes, too, and the audit twice",
    "split": "a side for every row, near duplicates together, and the fingerprint",
    "audit": "every check but that of lengths, which needs a backbone",
    "together": "the steps of a study in one process, from the CSV to the stored audit",
}
SIZES = (10_000, 30_000, 100_000, 300_000, 1_000_000)
KINDS = ("ordinary", "template")
SEED = 0
N_WORDS = 60_000
TEMPLATE = "dear {} your order of the {} is now on its way and will come to you on {} at the {} in the {} street with best wishes"


def main() -> None:
    options = _options()
    if options.stage:
        print(json.dumps(_measured(options.stage, Path(options.folder), options.rows[0], options.kinds[0])))
        return
    report = {kind: {n: _of_size(n, kind) for n in options.rows} for kind in options.kinds}
    # Only now, since a child's peak is never told as less than its parent's.
    from record import store

    from tunewise.device import detect, facts

    text = "\n\n".join([*(_table(kind, report[kind]) for kind in options.kinds), _versions(facts())])
    store("_".join(["rows", *options.kinds]), detect(1), {"seconds_and_peaks": report, "environment": facts()}, text)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, nargs="+", default=SIZES, help="sizes of the table")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--stage", help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    return parser.parse_args()


def _of_size(n_rows: int, kind: str) -> dict[str, dict[str, float]]:
    with tempfile.TemporaryDirectory() as folder:
        _child("make", folder, n_rows, kind)
        return {stage: _child(stage, folder, n_rows, kind) for stage in STAGES}


def _child(stage: str, folder: str, n_rows: int, kind: str) -> dict[str, float]:
    command = [sys.executable, __file__, "--stage", stage, "--folder", folder, "--rows", str(n_rows), "--kinds", kind]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    found = json.loads(done.stdout)
    print(f"{kind}, {n_rows:,} rows, {stage}: {found['cpu_seconds']:.2f} s, {found['peak_bytes'] / 1e6:,.0f} MB", file=sys.stderr)
    return found


def _measured(stage: str, folder: Path, n_rows: int, kind: str) -> dict[str, float]:
    """Run one stage in this process and return its seconds, and the most memory the process held."""
    work, after = _write_table(folder, n_rows, kind) if stage == "make" else _STAGES[stage](folder)
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    spent = {"seconds": time.perf_counter() - wall, "cpu_seconds": time.process_time() - cpu}
    after(result)
    return spent | {"peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}


Work = tuple["Callable[[], Any]", "Callable[[Any], object]"]
"""What is timed, and what is done with its result afterwards."""


def _write_table(folder: Path, n_rows: int, kind: str) -> Work:
    import csv

    def write() -> None:
        with (folder / "table.csv").open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["text", "label"])
            rows.writerows((text, f"class {i % 4}") for i, text in enumerate(_texts(n_rows, kind)))

    return write, lambda _: None


def _texts(n_rows: int, kind: str) -> Iterator[str]:
    import numpy as np

    rng = np.random.default_rng(SEED)
    if kind == "template":
        for gaps in rng.integers(20, size=(n_rows, 5)).tolist():
            yield TEMPLATE.format(*(f"{name}{gap}" for name, gap in zip("abcde", gaps, strict=True)))
        return
    chances = 1 / np.arange(1, N_WORDS + 1)
    ends = np.cumsum(chances / chances.sum())
    kept: list[str] = []
    for i in range(n_rows):
        words = [f"w{word}" for word in np.searchsorted(ends, rng.random(int(rng.integers(6, 19)))).tolist()]
        if i % 50 == 49:
            words = [*kept[int(rng.integers(len(kept)))].split(), *words[: int(rng.integers(2))]]
        elif len(kept) < 10_000:
            kept.append(" ".join(words))
        yield " ".join(words)


def _reading(folder: Path) -> Work:
    from tunewise.data.dataset import build_dataset
    from tunewise.home import Home
    from tunewise.study import Data

    return lambda: build_dataset(Data(source="table.csv"), base=folder, home=Home(folder / "home")), _storing(folder / "rows")


def _storing(folder: Path) -> Callable[[Any], object]:
    from tunewise.data.dataset import write_dataset

    folder.mkdir(exist_ok=True)
    return lambda dataset: write_dataset(dataset, folder)


def _writing(folder: Path) -> Work:
    from tunewise.data.dataset import read_dataset

    dataset, write = read_dataset(folder / "rows"), _storing(folder / "again")
    return lambda: write(dataset), lambda _: None


def _loading(folder: Path) -> Work:
    from tunewise.data.dataset import read_dataset

    return lambda: read_dataset(folder / "rows"), lambda _: None


def _fingerprinting(folder: Path) -> Work:
    from tunewise.data.dataset import read_dataset
    from tunewise.data.storage import fingerprint_of

    rows = read_dataset(folder / "rows")
    facts = zip(rows.ids, rows.texts, rows.labels.tolist(), [None] * len(rows), strict=True)
    return lambda: fingerprint_of(rows.classes, facts), lambda _: None


def _searching(folder: Path) -> Work:
    from tunewise.data.dataset import read_dataset
    from tunewise.data.duplicates import eldest_duplicate

    rows = read_dataset(folder / "rows")
    return lambda: eldest_duplicate(rows.texts), lambda _: None


def _splitting(folder: Path) -> Work:
    from tunewise.data.dataset import read_dataset
    from tunewise.data.split import make_split, write_split
    from tunewise.study import SplitRule

    rows = read_dataset(folder / "rows")
    (folder / "split").mkdir()
    return lambda: make_split(rows, SplitRule(), "salt"), lambda split: write_split(split, folder / "split")


def _auditing(folder: Path) -> Work:
    from tunewise.data.audit import audit
    from tunewise.data.dataset import read_dataset
    from tunewise.data.split import read_split

    rows, split = read_dataset(folder / "rows"), read_split(folder / "split")
    return lambda: audit(rows, split), lambda _: None


def _together(folder: Path) -> Work:
    from tunewise.home import Home
    from tunewise.steps import Workplace, audit_split, prepare_dataset, split_dataset
    from tunewise.study import Study

    study = Study.model_validate({"name": "rows", "data": {"source": "table.csv"}, "variants": ["majority"]})
    place = Workplace(study, folder, Home(folder / "home"))

    def steps() -> object:
        dataset = prepare_dataset(place)
        return audit_split(place, dataset, split_dataset(place, dataset))

    return steps, lambda _: None


_STAGES: dict[str, Callable[[Path], Work]] = {
    "read": _reading,
    "write": _writing,
    "load": _loading,
    "fingerprint": _fingerprinting,
    "duplicates": _searching,
    "split": _splitting,
    "audit": _auditing,
    "together": _together,
}


def _table(kind: str, found: dict[int, dict[str, dict[str, float]]]) -> str:
    sizes = list(found)
    lines = [
        f"{kind}: seconds of a core (peak of the process, MB)",
        f"{'rows':12}" + "".join(f"{n:>16,}" for n in sizes) + "   slope",
    ]
    for stage in STAGES:
        cells = [found[n][stage] for n in sizes]
        shown = "".join(f"{_cell(cell):>16}" for cell in cells)
        lines.append(f"{stage:12}{shown}{_slope(sizes, [cell['cpu_seconds'] for cell in cells]):8.2f}")
    return "\n".join(lines)


def _cell(found: dict[str, float]) -> str:
    return f"{found['cpu_seconds']:.2f} ({found['peak_bytes'] / 1e6:,.0f})"


def _slope(sizes: list[int], seconds: list[float]) -> float:
    """Return the slope of the least-squares line through the points, both axes logarithmic."""
    if len(sizes) < 2:
        return math.nan
    x, y = [math.log(n) for n in sizes], [math.log(max(one, 1e-9)) for one in seconds]
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    covariance = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True))
    return covariance / sum((a - mean_x) ** 2 for a in x)


def _versions(facts: dict[str, Any]) -> str:
    import pyarrow as pa

    named = {name: facts["versions"][name] for name in ("python", "tunewise", "numpy")} | {"pyarrow": pa.__version__}
    versions = ", ".join(f"{name} {value}" for name, value in named.items())
    meanings = "\n".join(f"{stage}: {what}" for stage, what in STAGES.items())
    return f"{meanings}\n{facts['hardware']}; {versions}; one process at a time"


if __name__ == "__main__":
    main()
