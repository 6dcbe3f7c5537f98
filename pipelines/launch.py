"""The command's entry point: sets what has to be set before a process starts, then starts it again once."""

from __future__ import annotations

import os
import sys

LAUNCHED = "TUNEWISE_LAUNCHED"

ALLOCATOR = {
    "MALLOC_MMAP_THRESHOLD_": str(4 << 30),
    "MALLOC_TRIM_THRESHOLD_": str(8 << 30),
    "MALLOC_TOP_PAD_": str(256 << 20),
}
"""Keeps freed activations in the process. glibc otherwise returns them after each batch and faults them in
again, which costs sorted fp32 batches a third of their speed; it reads these when a process starts."""


OTHERS = {
    "TOKENIZERS_PARALLELISM": "true",
    # Torch then asks the driver whether there is a GPU: CUDA would be started by the question.
    "PYTORCH_NVML_BASED_CUDA_CHECK": "1",
}


def environment(cores: int) -> dict[str, str]:
    """Return the variables every run is started with; what is set already stays.

    Args:
        cores: Cores this process may use.
    """
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(cores))
    return {name: value for name, value in (ALLOCATOR | threads | OTHERS).items() if name not in os.environ}


def equip_children() -> None:
    """Set the variables for every process that is started from here, where nobody set them before.

    What Dagster starts gets them so, whoever started Dagster: runs, their steps, and what steps are forked from.
    """
    from tunewise.device import n_cores

    os.environ.update(environment(n_cores()))


def start_rightly(*arguments: str) -> None:
    """Replace this process by one with the right environment, unless it is one already.

    Args:
        arguments: What Python is started with: a script and its arguments, or ``-m`` and a module.
    """
    from tunewise.device import n_cores
    from tunewise.privacy import silence_reports

    silence_reports()
    if LAUNCHED not in os.environ:
        os.environ.update(environment(n_cores()))
        os.environ[LAUNCHED] = "1"
        os.execv(sys.executable, [sys.executable, *arguments])  # noqa: S606 - the same program, no shell


def main() -> None:
    """Run the command line in a process that started with the right environment."""
    start_rightly("-P", "-m", "pipelines.launch", *sys.argv[1:])
    from pipelines.cli import start

    start()


if __name__ == "__main__":
    main()
