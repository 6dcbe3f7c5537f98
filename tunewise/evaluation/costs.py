"""Measuring what a fit and its answers cost: seconds, processor seconds, memory, latency, throughput.

Nothing is estimated. The memory mark is reset before a fit, so a fit is not charged for what ran before it
in the same process; what it shares the machine with shows in the load average.
"""

from __future__ import annotations

import ctypes
import gc
import os
import statistics
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from tunewise.contracts import no_progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tunewise.contracts import Device, Matrix, Progress, Text, Texts

    Predict = Callable[[Texts], Matrix]

N_WARM_UPS = 3
N_LATENCIES = 30
N_THROUGHPUT_TEXTS = 256
BATCH_SIZE = 32
SAMPLE_SECONDS = 0.01
"""How often memory is looked at where the system keeps no mark of its peak that can be reset."""

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@dataclass(frozen=True)
class FitCosts:
    """What a fit took, evaluation left out; of an interrupted one the parts that its result came from, without the lost steps."""

    seconds: float
    cpu_seconds: float
    peak_bytes: int
    peak_above_start_bytes: int
    device_peak_bytes: int | None
    load_at_start: float
    n_resumes: int = 0
    """How often it was interrupted and went on from a checkpoint."""
    features_seconds: float = 0.0
    """What shared states of frozen blocks took when they were computed."""


@dataclass(frozen=True)
class PredictCosts:
    """What answering takes."""

    seconds: float
    cpu_seconds: float
    latency_ms: float
    throughput: float
    answers: Matrix = field(compare=False, repr=False)
    """What was answered to all texts at once."""


class Stopwatch:
    """Wall seconds and processor seconds of all threads, with a clock that can be stopped."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.cpu_seconds = 0.0
        self._started: tuple[float, float] | None = None

    @property
    def runs(self) -> bool:
        """Say whether time counts now."""
        return self._started is not None

    def start(self) -> None:
        """Count from now on."""
        self._started = time.perf_counter(), time.process_time()

    def stop(self) -> None:
        """Add what passed since `start`."""
        if self._started is not None:
            self.seconds += time.perf_counter() - self._started[0]
            self.cpu_seconds += time.process_time() - self._started[1]
            self._started = None


class MemoryMark(Protocol):
    """Tells resident bytes: now, and the most since the last reset."""

    def reset(self) -> None:
        """Forget the peak."""

    def now(self) -> int:
        """Return the resident bytes of this process."""
        ...

    def peak(self) -> int:
        """Return the most resident bytes since `reset`."""
        ...

    def close(self) -> None:
        """End what the mark runs."""


class KernelMark:
    """Linux keeps the peak itself; writing 5 to ``clear_refs`` resets it (proc(5))."""

    def reset(self) -> None:
        """Set the kernel's peak to what is resident now."""
        _CLEAR.write_text("5")

    def now(self) -> int:
        """Return ``VmRSS``."""
        return _status_bytes("VmRSS")

    def peak(self) -> int:
        """Return ``VmHWM``; the kernel updates it lazily, so never less than what is resident."""
        return max(_status_bytes("VmHWM"), self.now())

    def close(self) -> None:
        """Do nothing: the kernel keeps the mark."""


class SampledMark:
    """Looks at the resident size every hundredth of a second; shorter peaks are missed."""

    def __init__(self) -> None:
        import psutil

        self._process = psutil.Process()
        self._peak = self.now()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    def _sample(self) -> None:
        while not self._closed.wait(SAMPLE_SECONDS):
            self._peak = max(self._peak, self.now())

    def reset(self) -> None:
        """Forget the peak."""
        self._peak = self.now()

    def now(self) -> int:
        """Return the resident bytes."""
        return self._process.memory_info().rss

    def peak(self) -> int:
        """Return the most that was seen."""
        self._peak = max(self._peak, self.now())
        return self._peak

    def close(self) -> None:
        """End the thread."""
        self._closed.set()
        self._thread.join()


def memory_mark() -> MemoryMark:
    """Return the kernel's mark where it can be reset, and a sampled one elsewhere."""
    try:
        KernelMark().reset()
        _status_bytes("VmHWM")
    except (OSError, KeyError):
        return SampledMark()
    return KernelMark()


@dataclass
class FitMonitor:
    """The monitor a measured fit is given: progress goes on, the curve is kept, evaluation stops clock and memory mark."""

    report: Progress = no_progress
    curve: list[dict[str, float]] = field(default_factory=list)
    _watch: Stopwatch = field(default_factory=Stopwatch)
    _mark: MemoryMark | None = None
    _start_bytes: int = 0
    _peak_bytes: int = 0
    _has_gpu: bool = False
    _load: float = 0.0
    _features_seconds: float = 0.0
    _before: FitCosts | None = None
    """What was measured until the interruption."""

    def progress(self, stage: str, done: int, total: int) -> None:
        """Pass progress on."""
        self.report(stage, done, total)

    def count_features(self, seconds: float) -> None:
        """Add what shared features or states took."""
        self._features_seconds += seconds

    @property
    def elapsed(self) -> tuple[float, float]:
        """Return the wall and processor seconds of the fit until now."""
        if self._watch.runs:
            self._watch.stop()
            self._watch.start()
        return self._watch.seconds, self._watch.cpu_seconds

    def record(self, step: int, **values: float) -> None:
        """Keep the values of one step."""
        self.curve.append({"step": step, **values})

    @contextmanager
    def untimed(self) -> Iterator[None]:
        """Stop clock and memory mark inside the block; blocks may lie within one another."""
        if self._mark is None or not self._watch.runs:
            yield
            return
        _wait_for_device()
        self._watch.stop()
        self._peak_bytes = max(self._peak_bytes, self._mark.peak())
        try:
            yield
        finally:
            self._mark.reset()
            _wait_for_device()
            self._watch.start()

    def so_far(self) -> dict[str, Any]:
        """Return costs and curve as plain JSON values; the clock stands still, as in `untimed`."""
        return {"costs": asdict(self._costs()), "curve": self.curve}

    def go_on_from(self, measured: dict[str, Any]) -> None:
        """Take those costs and that curve instead of what came until here in this process, which they hold already."""
        self._before = FitCosts(**measured["costs"])
        self._watch.seconds, self._watch.cpu_seconds = self._before.seconds, self._before.cpu_seconds
        self._load = self._before.load_at_start
        self.curve.clear()
        for point in measured["curve"]:
            self.record(**point)

    @contextmanager
    def measured(self, device: Device) -> Iterator[Callable[[], FitCosts]]:
        """Measure the block; call what is yielded after it for the costs.

        Memory that was freed before the block is given back first, since allocators keep it and a fit that
        finds it would seem to need none.
        """
        _release_freed_memory()
        self._has_gpu = device.kind == "cuda"
        self._load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
        _reset_device_peak(has_gpu=self._has_gpu)
        self._mark = memory_mark()
        self._start_bytes = self._mark.now()
        self._watch.start()
        try:
            yield self._costs
        finally:
            _wait_for_device()
            self._watch.stop()
            self._peak_bytes = max(self._peak_bytes, self._mark.peak())
            self._mark.close()
            self._mark = None

    def _costs(self) -> FitCosts:
        above, device = max(0, self._peak_bytes - self._start_bytes), _device_peak(has_gpu=self._has_gpu)
        costs = FitCosts(self._watch.seconds, self._watch.cpu_seconds, self._peak_bytes, above, device, self._load)
        before = self._before
        costs = replace(costs, features_seconds=self._features_seconds)
        if before is None:
            return costs
        return replace(
            costs,
            peak_bytes=max(costs.peak_bytes, before.peak_bytes),
            peak_above_start_bytes=max(costs.peak_above_start_bytes, before.peak_above_start_bytes),
            device_peak_bytes=None if device is None else max(device, before.device_peak_bytes or 0),
            n_resumes=before.n_resumes + 1,
        )


def measure_predictions(predict: Predict, texts: Sequence[Text]) -> PredictCosts:
    """Measure ``predict``, which must use no cache, on ``texts``: all at once, one by one, and in batches of 32.

    Three single texts warm it up. Latency is the median of up to 30 single texts that are spread evenly over
    the lengths; throughput is taken over up to 256 texts spread evenly over their order.
    """
    by_length = sorted(range(len(texts)), key=lambda i: len("".join(texts[i])))
    singles = [texts[by_length[i]] for i in evenly(len(texts), N_LATENCIES)]
    for text in singles[:N_WARM_UPS]:
        predict([text])
    latencies = [_seconds_of(predict, [text]) for text in singles]
    watch = Stopwatch()
    watch.start()
    answers = predict(texts)
    watch.stop()
    some = [texts[i] for i in evenly(len(texts), N_THROUGHPUT_TEXTS)]
    batches = [some[start : start + BATCH_SIZE] for start in range(0, len(some), BATCH_SIZE)]
    seconds = sum(_seconds_of(predict, batch) for batch in batches)
    latency_ms, throughput = 1_000 * statistics.median(latencies), len(some) / seconds
    return PredictCosts(watch.seconds, watch.cpu_seconds, latency_ms, throughput, answers)


def evenly(n: int, n_wanted: int) -> list[int]:
    """Return up to ``n_wanted`` of the indices below ``n``, spread evenly, the first and the last among them."""
    if n <= n_wanted:
        return list(range(n))
    return [round(i * (n - 1) / (n_wanted - 1)) for i in range(n_wanted)]


def stored_bytes(folder: Path) -> int:
    """Return the bytes of all files below ``folder``."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _seconds_of(predict: Predict, texts: Sequence[Text]) -> float:
    start = time.perf_counter()
    predict(texts)
    return time.perf_counter() - start


def _status_bytes(name: str) -> int:
    for line in _STATUS.read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1_024
    raise KeyError(name)


def _release_freed_memory() -> None:
    gc.collect()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc alone has it
        if trim is not None:
            trim(0)


def _wait_for_device() -> None:
    """Let queued GPU work end, so that it is charged to who queued it."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.synchronize()


def _reset_device_peak(*, has_gpu: bool) -> None:
    if has_gpu:
        import torch

        torch.cuda.init()
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()


def _device_peak(*, has_gpu: bool) -> int | None:
    if not has_gpu:
        return None
    import torch

    return torch.cuda.max_memory_allocated()
