"""Where a fit runs and in which precision, and the facts of the machine that go with a measured cost."""

from __future__ import annotations

import os
import platform
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunewise.contracts import Device
from tunewise.errors import StudyError

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGES = ("tunewise", "torch", "transformers", "tokenizers", "scikit-learn", "xgboost-cpu", "xgboost", "peft", "trl", "numpy")
VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "TOKENIZERS_PARALLELISM",
    "MALLOC_MMAP_THRESHOLD_",
    "MALLOC_TRIM_THRESHOLD_",
    "MALLOC_TOP_PAD_",
    "MALLOC_ARENA_MAX",
    "LD_PRELOAD",
    "CUDA_VISIBLE_DEVICES",
    "CUBLAS_WORKSPACE_CONFIG",
)
"""Environment variables that change seconds or results."""
_BF16_FLAGS = ("avx512_bf16", "amx_bf16")
BF16_CAPABILITY = 8.0
"""From here on CUDA devices multiply bfloat16 in hardware."""
_FLAGS = ("avx2", "avx512f", "avx512_vnni", *_BF16_FLAGS)


def detect(n_threads: int | None = None, *, allow_gpu: bool = True) -> Device:
    """Return the best device of this process: a CUDA device where one is allowed and at hand, else the CPU.

    bfloat16 where the hardware multiplies it, float32 elsewhere.

    Args:
        n_threads: CPU threads of torch; every core this process may use unless given.
        allow_gpu: Whether a CUDA device may be chosen.

    Raises:
        StudyError: If ``n_threads`` is below 1.
    """
    if n_threads is not None and n_threads < 1:
        raise StudyError(f"n_threads={n_threads} was given; at least 1 is needed.")
    threads = n_threads or n_cores()
    if allow_gpu and _has_gpu():
        return Device("cuda", "bfloat16" if _gpu_multiplies_bf16() else "float32", threads)
    return Device("cpu", "bfloat16" if any(flag in _cpu_flags() for flag in _BF16_FLAGS) else "float32", threads)


def apply(device: Device) -> None:
    """Give torch the device's number of threads; this process alone is changed."""
    import torch

    torch.set_num_threads(device.n_threads)


def n_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def hardware() -> str:
    """Return the machine in one short string, such as ``AMD EPYC 9R14, 2 cores``; costs are compared only within one."""
    gpus = [gpu["name"] for gpu in _gpus()]
    return ", ".join([f"{_cpu_model()}, {n_cores()} core{'s' * (n_cores() != 1)}", *gpus])


def facts() -> dict[str, Any]:
    """Return what a measured cost has to be read with: machine, versions, environment variables that matter.

    No library is imported for its version.
    """
    return {
        "hardware": hardware(),
        "n_cores": n_cores(),
        "memory_bytes": _memory_bytes(),
        "cpu_flags": [flag for flag in _FLAGS if flag in _cpu_flags()],
        "gpus": _gpus(),
        "system": f"{platform.system()} {platform.machine()}",
        "versions": {"python": platform.python_version(), **dict(_versions())},
        "environment": {name: os.environ[name] for name in VARIABLES if name in os.environ},
    }


def _has_gpu() -> bool:
    """Ask torch only where the driver's device files stand, because asking costs its import."""
    if "torch" not in sys.modules and not any(Path(path).exists() for path in ("/dev/nvidia0", "/dev/nvidiactl", "/dev/dxg")):
        return False
    import torch

    return torch.cuda.is_available()


def _gpu_multiplies_bf16() -> bool:
    """Say what torch's first device can, from the driver where it tells: torch would start CUDA to answer."""
    from tunewise.capacity import find_gpus

    told = {None if gpu.capability is None else gpu.capability >= BF16_CAPABILITY for gpu in find_gpus()}
    # Where devices differ, which of them is the first is CUDA's to say.
    if len(told) == 1 and (is_able := next(iter(told))) is not None:
        return is_able
    import torch

    return torch.cuda.is_bf16_supported(including_emulation=False)


def _gpus() -> list[dict[str, Any]]:
    if not _has_gpu():
        return []
    from tunewise.capacity import find_gpus

    told = find_gpus()
    if told and all(gpu.model for gpu in told):
        # As torch calls them, which would start CUDA to say so.
        return [{"name": str(gpu.model).replace("-", " "), "memory_bytes": gpu.memory_bytes} for gpu in told]
    import torch

    devices = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    return [{"name": device.name, "memory_bytes": device.total_memory} for device in devices]


@cache
def _cpu_lines() -> dict[str, str]:
    """Return the first core's entry of Linux's processor list; empty on other systems."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().split("\n\n", 1)[0].splitlines() if path.is_file() else []
    pairs = [line.partition(":") for line in lines]
    return {name.strip(): value.strip() for name, _, value in pairs}


def _cpu_flags() -> frozenset[str]:
    return frozenset(_cpu_lines().get("flags", "").split())


def _cpu_model() -> str:
    lines = _cpu_lines()
    name = lines.get("model name") or platform.processor() or platform.machine()
    # Virtual machines shorten the name until it tells nothing; family and model still tell the generation.
    place = [f"{label} {lines[key]}" for label, key in (("family", "cpu family"), ("model", "model")) if key in lines]
    return f"{name} ({' '.join(place)})" if place and not any(letter.isdigit() for letter in name) else name


def _memory_bytes() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None


def _versions() -> Iterator[tuple[str, str]]:
    for package in PACKAGES:
        try:
            yield package, version(package)
        except PackageNotFoundError:
            continue
