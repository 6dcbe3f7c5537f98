"""What every benchmark needs: the launcher's variables, the machine's peak, paired ratios, a stored result."""

from __future__ import annotations

import json
import os
import re
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.launch import ALLOCATOR
from tunewise.artifacts import write_atomically
from tunewise.device import hardware

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tunewise.contracts import Device

RESULTS = Path(__file__).parent / "results"


def start_with_allocator() -> None:
    """Start this program again under the launcher's allocator variables, which count only before a process starts."""
    if any(os.environ.get(name) != value for name, value in ALLOCATOR.items()):
        os.environ.update(ALLOCATOR)
        os.execv(sys.executable, [sys.executable, *sys.argv])  # noqa: S606 - this program again, no shell


def peak_flops(device: Device, dtype: str) -> float:
    """Return the operations per second of the faster of two ways to multiply square matrices, the best of five."""
    import torch

    n = 2048 if device.kind == "cpu" else 8192
    a, b = torch.randn(2, n, n, device=device.kind, dtype=getattr(torch, dtype)).unbind()
    products = [lambda: a @ b]
    if device.kind == "cpu" and torch.backends.mkldnn.is_available():
        reordered = torch.ops.mkldnn._reorder_linear_weight(b, n)  # noqa: SLF001 - oneDNN's only door
        products.append(lambda: torch.ops.mkldnn._linear_pointwise(a, reordered, None, "none", [], ""))  # noqa: SLF001
    with torch.inference_mode():
        return 2 * n**3 / min(seconds_of(product, device) for product in products for _ in range(5))


def seconds_of(work: Callable[[], Any], device: Device) -> float:
    """Return the wall seconds of ``work``, queued GPU work included."""
    import torch

    wait = torch.cuda.synchronize if device.kind == "cuda" else lambda: None
    wait()
    start = time.perf_counter()
    work()
    wait()
    return time.perf_counter() - start


def ratio(theirs: Sequence[float], ours: Sequence[float]) -> dict[str, float]:
    """Return median, least and most of the ratios of rounds that were run in turn."""
    ratios = [one / other for one, other in zip(theirs, ours, strict=True)]
    return {"median": statistics.median(ratios), "least": min(ratios), "most": max(ratios)}


def store(name: str, device: Device, report: dict[str, Any], text: str) -> None:
    """Print ``text`` and keep it and ``report`` under ``results``, named after benchmark and machine."""
    print(text)
    stem = re.sub(r"[^a-z0-9]+", "_", f"{name} {device.kind} {hardware()} {device.n_threads} threads".lower()).strip("_")
    write_atomically(RESULTS / f"{stem}.json", json.dumps(report, indent=1) + "\n")
    write_atomically(RESULTS / f"{stem}.txt", text + "\n")
