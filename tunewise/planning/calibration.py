"""Measuring on this machine what a fit will cost: a few steps on the study's own texts, kept for the next time.

A kept calibration is named by hardware and by all that determines the fit but its seed, so by the code, the backbone and the
rows, too.
"""

from __future__ import annotations

import json
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tunewise.artifacts import sha256_of_json, write_atomically
from tunewise.contracts import Need, Runtime, no_progress
from tunewise.device import apply, hardware
from tunewise.effort import affordable
from tunewise.evaluation.costs import BATCH_SIZE, N_LATENCIES, N_THROUGHPUT_TEXTS, N_WARM_UPS, evenly, stored_bytes
from tunewise.planning.costs import Cost, busy_load, load_now
from tunewise.planning.probing import FEW_ROWS, N_DEVELOPMENT, Probe, extrapolated, power, probe, probed_to_the_end
from tunewise.trials import Surroundings

if TYPE_CHECKING:
    from collections.abc import Callable

    from tunewise.contracts import Predictor, Progress, Text
    from tunewise.features import Pace
    from tunewise.home import Home
    from tunewise.request import Request

STEP_SECONDS = 1.5
"""Seconds of steps that are timed of a fit that has more of them."""
LONGEST_SECONDS = 4.0
"""A fit that cannot be ended is tried on as many rows as it takes about so long with."""
N_EMBEDDED = 512
"""Training rows whose features are computed for calibrating; the run finds them in the cache."""
N_ANSWERED = 64
"""Texts that are answered to learn the pace of answering."""
N_SINGLES = 5
BYTES_PER_ROW, BYTES_PER_PROBABILITY = 20, 4
"""Of the stored answers: ids and numbers of a row, and each of its probabilities, compressed."""
RECORD_BYTES = 12_000
"""Of an outcome's settings, curve and provenance."""


@dataclass(frozen=True)
class Answering:
    """What answering takes."""

    load_seconds: float
    text_seconds: float
    """Of one text among many."""
    cpu_text_seconds: float
    latency_seconds: float
    """Of one text alone."""


def kept_calibration(request: Request, home: Home, *, may_measure: bool = True) -> Cost | None:
    """Return what was measured for this fit, with any seed, on this hardware.

    What was measured beside other work is left out where the machine is quiet now and it may be measured again.
    """
    try:
        kept = json.loads(_file(request, home).read_text())
        was_busy, cost = kept["load"] > busy_load(), Cost(**kept["cost"])
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return None if was_busy and may_measure and load_now() <= busy_load() else cost


def calibrate(request: Request, home: Home, progress: Progress = no_progress) -> Cost:
    """Return what ``request`` will cost, measured by probes and kept.

    Raises:
        TunewiseError: If the method cannot be fitted.
    """
    load = load_now()
    apply_threads(request)
    with tempfile.TemporaryDirectory() as scratch:
        around = _surroundings(request, Path(scratch), home, progress)
        cost = _measured(request, around, Path(scratch))
    write_atomically(_file(request, home), json.dumps({"cost": cost.to_json(), "load": load}))
    return cost


def apply_threads(request: Request) -> None:
    """Give torch the request's threads, where torch will be used."""
    if request.method.needs:
        apply(request.device)


def pace_of_features(request: Request, home: Home, progress: Progress = no_progress) -> Pace | None:
    """Return how fast features are computed here, measured on a part of the rows where it is not known yet."""
    from tunewise.features import embedder_for, known_pace, measured_pace

    if request.backbone is None:
        return None
    if (known := known_pace(request.backbone, request.device, home)) is not None:
        return known
    apply_threads(request)
    embedder = embedder_for(request.backbone, request.device, home, progress)
    texts = request.split.train.texts
    return measured_pace(embedder, [texts[i] for i in evenly(len(texts), N_DEVELOPMENT + FEW_ROWS)])


def _file(request: Request, home: Home) -> Path:
    determinants = {name: value for name, value in request.determinants.items() if name != "seed"}
    return home.root / "cache" / "calibration" / f"{sha256_of_json([hardware(), determinants])}.json"


def _surroundings(request: Request, work: Path, home: Home, progress: Progress) -> Surroundings:
    plain = Runtime(request.device, request.backbone)
    if request.backbone is None or Need.EMBEDDINGS not in request.method.needs:
        return Surroundings(plain, plain, work)
    from tunewise.features import embedder_for

    embedder = embedder_for(request.backbone, request.device, home, progress)
    development = request.split.development
    few = development.take(evenly(len(development), N_DEVELOPMENT))
    embedder([*affordable(request.split.train, min(N_EMBEDDED, request.n_train_rows)).texts, *few.texts])
    # A fit's own embedder loads the backbone when it answers without a cache, and that is part of what it costs.
    fresh = embedder_for(request.backbone, request.device, home)
    return Surroundings(replace(plain, embed=embedder), replace(plain, embed=fresh.uncached), work)


def _measured(request: Request, around: Surroundings, scratch: Path) -> Cost:
    few = probed_to_the_end(request, around)
    probes = [few, *_larger(request, around, few)]
    seconds, cpu_seconds, above = extrapolated(probes[1:] or probes, request.n_train_rows)
    folder, saving, stored = _saved(probes, request.n_train_rows, scratch)
    answering = _answering(request, around, folder)
    n_alone, n_answers = _answers(request)
    answers = n_answers * answering.text_seconds + n_alone * answering.latency_seconds + answering.load_seconds + saving
    base = max(one.peak_bytes - one.peak_above_start_bytes for one in probes)
    rows = request.split.development, request.split.test
    n_bytes = sum(len(part) for part in rows) * (BYTES_PER_ROW + BYTES_PER_PROBABILITY * len(request.split.classes))
    return Cost(
        seconds=seconds + answers,
        cpu_seconds=cpu_seconds + n_answers * answering.cpu_text_seconds + n_alone * answering.latency_seconds,
        peak_bytes=base + max(above, *(one.peak_above_start_bytes for one in probes)),
        disk_bytes=stored + n_bytes + RECORD_BYTES,
        source="calibrated",
    )


def _saved(probes: list[Probe], n_rows: int, scratch: Path) -> tuple[Path, float, int]:
    """Store the predictors there are; return the last one's folder, its seconds, and the bytes that one of all rows takes."""
    sizes: list[tuple[int, int]] = []
    folder, seconds = scratch, 0.0
    for i, (rows, predictor) in enumerate((one.n_rows, one.predictor) for one in probes):
        if predictor is not None:
            folder = scratch / f"artefact{i}"
            folder.mkdir()
            seconds = _seconds_of(lambda save=predictor.save, folder=folder: save(folder))
            sizes.append((rows, stored_bytes(folder)))
    if len(sizes) < 2 or sizes[-1][0] >= n_rows:
        return folder, seconds, sizes[-1][1]
    # No artefact grows faster than its rows do; those that stop early grow by chance.
    linear = sizes[-1][1] * n_rows / sizes[-1][0]
    return folder, seconds, round(min(power(*sizes[0], *sizes[-1], n_rows), linear))


def _larger(request: Request, around: Surroundings, few: Probe) -> list[Probe]:
    """Return the fit as it is asked for, tried on all its rows, or else on two numbers of them that can be afforded."""
    most = min(request.n_train_rows, N_EMBEDDED) if Need.EMBEDDINGS in request.method.needs else request.n_train_rows
    seconds_per_row = max(few.start_seconds if few.start_seconds < few.spent_seconds else few.seconds, 1e-4) / few.n_rows
    n_rows = min(most, max(few.n_rows, round(LONGEST_SECONDS / seconds_per_row)))
    # Outside the trunk a fit may stop before the steps it announces, which is seen only where it is not ended.
    limit = STEP_SECONDS if Need.TRUNK in request.method.needs else LONGEST_SECONDS
    first = probe(request, around, n_rows, limit_seconds=limit)
    if first.n_rows >= request.n_train_rows:
        return [first]
    return [probe(request, around, max(few.n_rows, first.n_rows // 4), limit_seconds=limit), first]


def _answers(request: Request) -> tuple[int, int]:
    """Return how many texts are answered alone and how many among others until an outcome is stored.

    Without any cache: the test texts at once and a sample in batches. With the features in the cache nothing else takes
    time. A trunk scores the development rows, once more per epoch, and the test rows; a method of the texts alone does so
    twice, as fitted and as stored.
    """
    split, needs = request.split, request.method.needs
    n_test = len(split.test)
    n_timed = n_test + min(n_test, N_THROUGHPUT_TEXTS)
    if Need.EMBEDDINGS in needs:
        return N_WARM_UPS + N_LATENCIES, n_timed
    if Need.TRUNK in needs:
        return N_WARM_UPS + N_LATENCIES, n_timed + n_test + (1 + request.effort.epochs) * len(split.development)
    return N_WARM_UPS + N_LATENCIES, n_timed + 2 * (n_test + len(split.development))


def _answering(request: Request, around: Surroundings, folder: Path) -> Answering:
    development = request.split.development.texts
    texts = [development[i] for i in evenly(len(development), N_ANSWERED)]
    loaded: list[Predictor] = []
    loading = _seconds_of(lambda: loaded.append(request.method.load(folder, around.timed_runtime)))
    first = _seconds_of(lambda: loaded[0].predict(texts[:1]))
    singles = [_seconds_of(lambda text=text: loaded[0].predict([text])) for text in _some(texts)]
    latency = sum(singles) / len(singles)
    many = list(texts) * max(1, BATCH_SIZE * 2 // len(texts))
    cpu = time.process_time()
    seconds = _seconds_of(lambda: loaded[0].predict(many))
    cpu_seconds = time.process_time() - cpu
    return Answering(loading + max(0.0, first - latency), seconds / len(many), cpu_seconds / len(many), latency)


def _some(texts: list[Text]) -> list[Text]:
    return [texts[i] for i in evenly(len(texts), N_SINGLES)]


def _seconds_of(action: Callable[[], object]) -> float:
    begin = time.perf_counter()
    action()
    return time.perf_counter() - begin
