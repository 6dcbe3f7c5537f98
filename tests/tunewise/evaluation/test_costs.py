"""Measured costs: the clock and the memory mark count the fit and not what it evaluates."""

import time

import numpy as np
import pytest

from tunewise.contracts import Device
from tunewise.evaluation.costs import (
    FitMonitor,
    KernelMark,
    SampledMark,
    evenly,
    measure_predictions,
    memory_mark,
    stored_bytes,
)

CPU = Device("cpu", "float32", 1)
MEGABYTE = 2**20


def touched(megabytes):
    """Return an array that is resident, not only promised."""
    return np.ones(megabytes * MEGABYTE // 8)


def test_untimed_seconds_are_not_counted():
    """Of 0.05 s timed and 0.3 s untimed, the first alone counts."""
    monitor = FitMonitor()
    with monitor.measured(CPU) as costs:
        time.sleep(0.05)
        with monitor.untimed(), monitor.untimed():
            time.sleep(0.3)

    assert 0.05 <= costs().seconds < 0.3


def test_processor_seconds_are_not_wall_seconds():
    """Sleeping takes wall seconds alone, computing takes both."""
    monitor = FitMonitor()
    with monitor.measured(CPU) as costs:
        time.sleep(0.2)
    assert costs().cpu_seconds < 0.1 < costs().seconds

    monitor = FitMonitor()
    with monitor.measured(CPU) as costs:
        end = time.process_time() + 0.2
        while time.process_time() < end:
            pass
    assert costs().cpu_seconds >= 0.2


def test_a_peak_is_seen_after_it_was_freed():
    """80 MB that a fit held and gave back are in its peak, and 200 MB of evaluation are not."""
    monitor = FitMonitor()
    with monitor.measured(CPU) as costs:
        touched(80)
        with monitor.untimed():
            touched(200)

    assert 75 * MEGABYTE < costs().peak_above_start_bytes < 150 * MEGABYTE
    assert costs().peak_bytes > costs().peak_above_start_bytes
    assert costs().device_peak_bytes is None


def test_a_fit_is_not_charged_for_the_one_before():
    """The mark is reset: after a fit of 200 MB, a fit of nothing has a small peak above start."""
    for megabytes in (200, 0):
        monitor = FitMonitor()
        with monitor.measured(CPU) as costs:
            touched(megabytes)

    assert costs().peak_above_start_bytes < 20 * MEGABYTE


def test_memory_kept_by_a_fit_counts():
    """What is still held when the fit ends is in the peak as well."""
    monitor = FitMonitor()
    with monitor.measured(CPU) as costs:
        kept = touched(60)

    assert costs().peak_above_start_bytes > 55 * MEGABYTE
    assert kept.size


def test_the_sampled_mark_sees_what_lasts():
    """Where the kernel keeps no mark, memory held for a few samples is seen."""
    mark = SampledMark()
    mark.reset()
    start = mark.now()
    held = touched(60)
    time.sleep(0.1)
    del held
    seen = mark.peak() - start
    mark.close()

    assert seen > 55 * MEGABYTE


def test_a_system_without_a_kernel_mark_is_sampled(monkeypatch):
    """A refused reset leads to the sampled mark, not to an error."""

    def refuse(self):
        raise PermissionError

    monkeypatch.setattr(KernelMark, "reset", refuse)
    mark = memory_mark()
    mark.close()

    assert isinstance(mark, SampledMark)


def test_the_clock_stops_when_a_fit_fails():
    """An error passes through, and its monitor measures no further."""
    monitor = FitMonitor()
    with pytest.raises(ZeroDivisionError), monitor.measured(CPU):
        _ = 1 / 0
    with monitor.untimed():
        pass

    assert not monitor._watch.runs


def test_predictions_are_timed_whole_single_and_in_batches():
    """A predictor of 2 ms per call plus 0.1 ms per text shows both in latency and throughput."""
    sizes = []

    def predict(texts):
        sizes.append(len(texts))
        time.sleep(0.002 + 0.0001 * len(texts))
        return np.zeros((len(texts), 2), dtype=np.float32)

    costs = measure_predictions(predict, ["a" * (i % 7) for i in range(300)])

    assert sizes == [1] * 33 + [300] + [32] * 8
    assert costs.latency_ms >= 2.1
    assert costs.seconds >= 0.032
    assert 1_000 < costs.throughput < 32 / 0.0052
    assert costs.cpu_seconds < costs.seconds
    assert costs.answers.shape == (300, 2)


def test_pairs_and_few_texts_are_timed():
    """Three pairs are enough to be measured."""
    costs = measure_predictions(lambda texts: np.zeros((len(texts), 2)), [("a", "b"), ("c", "d"), ("e", "f")])

    assert costs.latency_ms > 0


def test_evenly_takes_both_ends():
    """Of 10 indices 4 are 0, 3, 6, 9; of 3 all are taken."""
    assert evenly(10, 4) == [0, 3, 6, 9]
    assert evenly(3, 4) == [0, 1, 2]


def test_stored_bytes_are_those_of_all_files(tmp_path):
    """Files in folders count."""
    (tmp_path / "in").mkdir()
    (tmp_path / "a").write_bytes(b"123")
    (tmp_path / "in" / "b").write_bytes(b"4567")

    assert stored_bytes(tmp_path) == 7


def test_the_monitor_keeps_the_curve_and_passes_progress_on():
    """Recorded steps stand in order, progress reaches who asked for it."""
    seen = []
    monitor = FitMonitor(lambda *progress: seen.append(progress))
    monitor.progress("training", 1, 2)
    monitor.record(3, loss=0.5)

    assert seen == [("training", 1, 2)]
    assert monitor.curve == [{"step": 3, "loss": 0.5}]
