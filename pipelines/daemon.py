"""Schedules and sensors without pages: Dagster's daemon on the home folder's instance."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from pipelines.instance import prepare_instance
from pipelines.servers import WORKSPACE
from tunewise.artifacts import write_atomically

if TYPE_CHECKING:
    from tunewise.home import Home


def run_daemon(home: Home) -> NoReturn:
    """Replace this process by the daemon, which starts what is due until it is ended.

    One daemon serves an instance; `tunewise ui` has one of its own.

    Args:
        home: Whose studies are run.
    """
    folder = prepare_instance(home)
    workspace = folder / "workspace.yaml"
    write_atomically(workspace, WORKSPACE)
    program = str(Path(sys.executable).with_name("dagster-daemon"))
    sys.stdout.flush()
    os.execv(program, [program, "run", "-w", str(workspace)])  # noqa: S606 - a list, no shell
