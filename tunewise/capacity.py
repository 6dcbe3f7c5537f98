"""What this machine has for a fit: GPUs, found without starting CUDA, and memory; and the refusal of what cannot fit.

CUDA must not be started to look: it reads ``CUDA_VISIBLE_DEVICES`` once, when it starts, and a process that has
started it can fork no other that uses it. So the driver's own tool is asked, or its files.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from tunewise.errors import StudyError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tunewise.study import Compute

GPUS_ENV = "TUNEWISE_GPUS"
"""Says which GPUs there are instead of the driver: ids as ``CUDA_VISIBLE_DEVICES`` takes them, each with its memory
in GB where that is known, such as ``0:80,1:80``; empty where there are none."""

VISIBLE_ENV = "CUDA_VISIBLE_DEVICES"

BYTES_PER_GB = 1 << 30
_ANSWER_SECONDS = 20.0
_QUERY = ("nvidia-smi", "--query-gpu=uuid,name,memory.total,compute_cap", "--format=csv,noheader,nounits")
_DRIVER_FILES = Path("/proc/driver/nvidia/gpus")
_MEMORY_LIMIT = Path("/sys/fs/cgroup/memory.max")


@dataclass(frozen=True)
class Gpu:
    """One device of this machine."""

    token: str
    """What ``CUDA_VISIBLE_DEVICES`` calls it here."""
    identity: str
    """The same for every process: its UUID where the driver tells it."""
    model: str | None = None
    """As node labels of Kubernetes have it, such as ``NVIDIA-H100-80GB-HBM3``."""
    memory_bytes: int | None = None
    capability: float | None = None
    """CUDA's number of what it can do; from 8.0 on it multiplies bfloat16."""


def find_gpus(environment: Mapping[str, str] | None = None) -> tuple[Gpu, ...]:
    """Return the GPUs that this process may use: all of the machine's, or those that ``CUDA_VISIBLE_DEVICES`` leaves.

    None are found where neither the variable `GPUS_ENV` nor NVIDIA's driver tells of one; torch may know of one even so.

    Args:
        environment: The variables; this process's unless given.
    """
    variables = os.environ if environment is None else environment
    given = variables.get(GPUS_ENV)
    there = _driver_gpus() if given is None else tuple(_declared(given))
    return there if variables.get(VISIBLE_ENV) is None else tuple(_visible(there, variables[VISIBLE_ENV]))


def fitting(compute: Compute, gpus: Sequence[Gpu]) -> tuple[Gpu, ...]:
    """Return those of ``gpus`` that have the type and the memory which ``compute`` asks for; what is unknown passes."""
    least_bytes = (compute.gpu_memory_gb or 0) * BYTES_PER_GB
    models = {None, compute.gpu_type}
    return tuple(
        gpu
        for gpu in gpus
        if (compute.gpu_type is None or gpu.model in models) and (gpu.memory_bytes is None or gpu.memory_bytes >= least_bytes)
    )


def refuse_unfit(compute: Compute, gpus: Sequence[Gpu], memory_bytes: int | None = None) -> None:
    """Refuse what this machine can never carry out.

    Where the driver tells of no GPU, or the study lets the fit fall back to the CPU, missing GPUs are no matter here.

    Args:
        compute: What a fit asks for.
        gpus: What `find_gpus` found.
        memory_bytes: The machine's memory; looked up unless given.

    Raises:
        StudyError: If it asks for more GPUs, or more memory of the machine or of a GPU, than there is, with the number.
    """
    has = (memory_bytes or machine_memory_bytes() or 0) / BYTES_PER_GB
    if compute.memory_gb is not None and has and compute.memory_gb > has:
        raise StudyError(
            f"compute.memory_gb={compute.memory_gb:g} was given and this machine has {has:.1f} GB, so the fit could not end. "
            f"Ask for at most {has:.1f}, or run it on a larger machine."
        )
    fit = len(fitting(compute, gpus))
    if not gpus or compute.cpu_fallback or compute.gpus <= fit:
        return
    if fit == len(gpus):
        raise StudyError(
            f"compute.gpus={compute.gpus} was given and this process may use {len(gpus)}, so it would wait for ever. Ask for at "
            f"most {len(gpus)}, widen {VISIBLE_ENV}, or run it on a machine with more."
        )
    there = ", ".join(map(_in_words, gpus))
    raise StudyError(
        f"compute.gpus={compute.gpus}{_qualities(compute)} was given and {fit} of {len(gpus)} GPUs here will do: {there}. "
        "Ask for less, or run it where there are such GPUs."
    )


def machine_memory_bytes() -> int | None:
    """Return the memory of this machine, or of the container where that is given less; none where no system tells."""
    import psutil

    total = psutil.virtual_memory().total
    try:
        return min(total, int(_MEMORY_LIMIT.read_text()))
    except (OSError, ValueError):
        return total


def _qualities(compute: Compute) -> str:
    kind = f" of the type {compute.gpu_type}" if compute.gpu_type else ""
    return kind + (f" with {compute.gpu_memory_gb:g} GB each" if compute.gpu_memory_gb is not None else "")


def _in_words(gpu: Gpu) -> str:
    memory = "" if gpu.memory_bytes is None else f" ({gpu.memory_bytes / BYTES_PER_GB:.1f} GB)"
    return f"{gpu.model or gpu.token}{memory}"


def _declared(text: str) -> Iterator[Gpu]:
    for item in filter(None, (part.strip() for part in text.split(","))):
        token, _, memory = item.partition(":")
        try:
            yield Gpu(token, token, None, int(float(memory) * BYTES_PER_GB) if memory else None)
        except ValueError:
            raise StudyError(f"{GPUS_ENV}={text!r} cannot be read at {item!r}. Write ids and GB, such as 0:80,1:80.") from None


def _visible(gpus: Sequence[Gpu], wanted: str) -> Iterator[Gpu]:
    """Yield the devices that the variable names, by number or by the beginning of a UUID, in its order."""
    if not gpus:
        return
    for token in (part.strip() for part in wanted.split(",")):
        if token.startswith("MIG-"):
            yield Gpu(token, token)
            continue
        named = [gpu for i, gpu in enumerate(gpus) if token in {str(i), gpu.token}]
        named += [gpu for gpu in gpus if token.startswith("GPU-") and gpu.identity.startswith(token)]
        # CUDA passes over whatever follows a device it does not know.
        if not named:
            return
        yield replace(named[0], token=token)


@cache
def _driver_gpus() -> tuple[Gpu, ...]:
    if shutil.which(_QUERY[0]) is None:
        return tuple(_from_files())
    try:
        asked = subprocess.run(_QUERY, capture_output=True, text=True, timeout=_ANSWER_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):
        return tuple(_from_files())
    return tuple(_read_line(line) for line in asked.stdout.splitlines() if line.startswith("GPU-"))


def _read_line(line: str) -> Gpu:
    uuid, model, memory, capability = (part.strip() for part in line.split(","))
    n_bytes = int(memory) << 20 if memory.isdigit() else None
    return Gpu(uuid, uuid, model.replace(" ", "-"), n_bytes, float(capability) if capability[:1].isdigit() else None)


def _from_files() -> Iterator[Gpu]:
    """Yield what the driver's files tell, in the order of the buses."""
    for file in sorted(_DRIVER_FILES.glob("*/information")):
        pairs = (line.partition(":") for line in file.read_text().splitlines())
        said = {name.strip(): value.strip() for name, _, value in pairs}
        uuid = said.get("GPU UUID", "")
        if uuid.startswith("GPU-") and "?" not in uuid:
            yield Gpu(uuid, uuid, said.get("Model", "").replace(" ", "-") or None)
