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


def environment(cores: int) -> dict[str, str]:
    """Return the variables every run is started with; what is set already stays.

    Args:
        cores: Cores this process may use.
    """
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(cores))
    wanted = ALLOCATOR | threads | {"TOKENIZERS_PARALLELISM": "true"}
    return {name: value for name, value in wanted.items() if name not in os.environ}


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
