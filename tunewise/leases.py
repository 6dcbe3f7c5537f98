"""One device, one fit: a lease on GPUs of this machine, by a lock per device that the kernel frees when its holder dies.

A lease belongs to the process, as CUDA's choice of devices does: ``CUDA_VISIBLE_DEVICES`` is read once, when CUDA
starts, and cannot be changed after. A step with a process of its own holds its devices as long as it runs; where a
whole run is one process, the run holds what it took at first until it ends.
"""

from __future__ import annotations

import json
import logging
import os
import platform
import re
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from tunewise.artifacts import write_atomically
from tunewise.capacity import VISIBLE_ENV, Gpu, find_gpus, fitting, refuse_unfit
from tunewise.contracts import no_progress
from tunewise.errors import FitError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tunewise.contracts import Progress
    from tunewise.home import Home
    from tunewise.study import Compute

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 2.0
"""Seconds between attempts: doubled from the first to the longest."""

SECONDS_BETWEEN_LINES = 60.0

log = logging.getLogger(__name__)


@dataclass
class Lease:
    """Devices that no other process which asks here may use meanwhile."""

    gpus: tuple[Gpu, ...]
    _locks: list[tuple[FileLock, Path]] = field(repr=False)

    def release(self) -> None:
        """Give the devices back; the kernel does it where the process dies."""
        while self._locks:
            lock, note = self._locks.pop()
            note.unlink(missing_ok=True)
            lock.release()


@dataclass
class _OfThisProcess:
    """What this process holds and shows to CUDA, and what it was told to expect."""

    lease: Lease | None = None
    is_shown: bool = False
    """Whether ``CUDA_VISIBLE_DEVICES`` is ours."""
    shown_before: str | None = None
    """What the variable was without us."""
    n_expected: int = 0


_process = _OfThisProcess()


def take(n: int, gpus: Sequence[Gpu], *, folder: Path, holder: str, waiting: Callable[[str], None]) -> Lease:
    """Return a lease on ``n`` of ``gpus``, waiting until so many are free at once.

    An attempt gets all or none and is made by one process at a time, so that two which want several cannot hold
    half each and wait for one another. Who comes first is not who waited longest.

    Args:
        n: How many.
        gpus: From which; the first that are free.
        folder: Where the locks are; processes that share it respect one another.
        holder: Who asks, in words for those who wait.
        waiting: Told who holds the devices, when it changes and each minute.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pause, said, told_at = FIRST_PAUSE, "", 0.0
    while (lease := _attempt(n, gpus, folder, holder)) is None:
        line = f"waiting for {n} of {len(gpus)} GPUs: {_holders(gpus, folder)}"
        if line != said or time.monotonic() - told_at > SECONDS_BETWEEN_LINES:
            said, told_at = line, time.monotonic()
            waiting(line)
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)
    return lease


def hold_gpus(compute: Compute, *, home: Home, holder: str, progress: Progress = no_progress) -> tuple[Gpu, ...]:
    """Lease for this process the GPUs that ``compute`` asks for, name them to CUDA, and return them.

    A study that says nothing of GPUs takes one where there is one. Call it before anything that starts CUDA. What
    the process holds already serves again, as long as it is enough.

    Args:
        compute: What a fit may use.
        home: Its ``leases`` folder holds the locks; studies of another home are not known here.
        holder: The fit, in words for those who wait.
        progress: Told while it waits, and for whom.

    Raises:
        StudyError: If the machine can never carry it out, with the number.
        FitError: If CUDA was started too early: in the process that this one was forked from, or here on fewer devices.
    """
    _refuse_bad_fork()
    # Whether a GPU is there is then asked of the driver; CUDA would be bound to today's devices by the question.
    os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
    gpus = find_gpus(os.environ if _cuda_has_started() else _variables_without_us())
    fit = fitting(compute, gpus)
    n = compute.gpus if "gpus" in compute.model_fields_set else min(1, len(fit))
    if _cuda_has_started() and n > len(fit):
        raise FitError(
            f"{holder} asks for {n} GPUs and CUDA has started in this process with {len(fit)} such, which it cannot change any "
            "more. Run it in a process of its own: `tunewise launch`, or the pages."
        )
    refuse_unfit(compute, gpus)
    if n > len(fit):
        # Either the study allows the CPU, or no driver tells of a GPU and torch is to say so.
        release_gpus()
        _show(() if gpus else None)
        return ()
    if not n:
        return ()
    held = _process.lease
    if held is not None and len(set(held.gpus) & set(fit)) >= n:
        return held.gpus
    return _hold(max(n, min(_process.n_expected, len(fit))), fit, home=home, holder=holder, progress=progress)


def expect_gpus(n: int) -> None:
    """Note that this process will run fits of up to ``n`` GPUs one after the other, so that the first takes enough for all."""
    _process.n_expected = n


def release_gpus() -> None:
    """Give back what this process holds. Where CUDA has started, it stays bound to the same devices all the same."""
    lease, _process.lease = _process.lease, None
    if lease is not None:
        lease.release()
    _show(None)


def _hold(n: int, fit: Sequence[Gpu], *, home: Home, holder: str, progress: Progress) -> tuple[Gpu, ...]:
    release_gpus()
    # Where CUDA has started, torch is on the first ones already.
    among = fit[:n] if _cuda_has_started() else fit
    stages: list[str] = []

    def waiting(line: str) -> None:
        log.info("%s is %s", holder, line)
        for stage in stages[-1:]:
            progress(stage, 1, 1)
        stages.append(line)
        progress(line, 0, 1)

    lease = take(n, among, folder=home.root / "leases" / platform.node(), holder=holder, waiting=waiting)
    for stage in stages[-1:]:
        progress(stage, 1, 1)
    _process.lease = lease
    _show(lease.gpus)
    return lease.gpus


def _attempt(n: int, gpus: Sequence[Gpu], folder: Path, holder: str) -> Lease | None:
    locks: list[tuple[FileLock, Path]] = []
    taken: list[Gpu] = []
    with FileLock(folder / "attempt.lock"):
        for gpu in gpus:
            lock, note = FileLock(_file(gpu, folder, "lock"), thread_local=False), _file(gpu, folder, "json")
            with suppress(Timeout):
                lock.acquire(timeout=0)
                locks.append((lock, note))
                taken.append(gpu)
            if len(taken) == n:
                break
        lease = Lease(tuple(taken), locks)
        if len(taken) < n:
            # Nothing was noted, so there is nothing to tell others of.
            lease.release()
            return None
        for _, note in locks:
            write_atomically(note, json.dumps({"process": os.getpid(), "holder": holder}))
    return lease


def _holders(gpus: Sequence[Gpu], folder: Path) -> str:
    return "; ".join(f"{gpu.token} is held by {who}" for gpu in gpus if (who := _holder(gpu, folder))) or "others were faster"


def _holder(gpu: Gpu, folder: Path) -> str | None:
    try:
        said = json.loads(_file(gpu, folder, "json").read_text())
        return f"process {said['process']} ({said['holder']})"
    except FileNotFoundError:
        return None
    except (OSError, ValueError, LookupError, TypeError):
        return "another process"


def _file(gpu: Gpu, folder: Path, ending: str) -> Path:
    return folder / f"{re.sub(r'[^A-Za-z0-9-]', '_', gpu.identity)}.{ending}"


def _show(gpus: Sequence[Gpu] | None) -> None:
    """Name ``gpus`` to CUDA, or what was named before us; too late where CUDA has started."""
    if _cuda_has_started():
        return
    variables = _variables_without_us()
    _process.shown_before, _process.is_shown = variables.get(VISIBLE_ENV), gpus is not None
    if gpus is not None:
        os.environ[VISIBLE_ENV] = ",".join(gpu.token for gpu in gpus)
    elif _process.shown_before is None:
        os.environ.pop(VISIBLE_ENV, None)
    else:
        os.environ[VISIBLE_ENV] = _process.shown_before


def _variables_without_us() -> dict[str, str]:
    variables = dict(os.environ)
    if _process.is_shown:
        variables.pop(VISIBLE_ENV, None)
        if _process.shown_before is not None:
            variables[VISIBLE_ENV] = _process.shown_before
    return variables


def _cuda_has_started() -> bool:
    return "torch" in sys.modules and sys.modules["torch"].cuda.is_initialized()


def _refuse_bad_fork() -> None:
    if "torch" in sys.modules and sys.modules["torch"].cuda._is_in_bad_fork():  # noqa: SLF001 - torch has no public way to ask
        raise FitError(
            "This process was forked from one that had started CUDA, and CUDA cannot be used in it. What forks steps must not "
            "use a GPU itself: start steps from a process that only imports torch."
        )
