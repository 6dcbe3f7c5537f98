"""Dagster's runs in PostgreSQL instead of files: one variable, and the home's ``dagster.yaml`` says so from then on."""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import TYPE_CHECKING

from resources.tracking_store import with_driver
from tunewise.artifacts import write_atomically
from tunewise.errors import TunewiseError
from tunewise.masking import masked

if TYPE_CHECKING:
    from pathlib import Path

POSTGRES_ENV = "TUNEWISE_DAGSTER_POSTGRES_URL"

STORAGE = f"""\
# Runs and events are kept in the database that this variable names; the address itself, with its login, stands nowhere.
storage:
  postgres:
    postgres_url: {{env: {POSTGRES_ENV}}}
"""

SECONDS_TO_ANSWER = 10


class InstanceError(TunewiseError):
    """Dagster's instance cannot be used as it is set up."""


def use_postgres(settings: Path) -> bool:
    """Let ``settings`` name the database of ``TUNEWISE_DAGSTER_POSTGRES_URL`` where it is set, and say whether that is new.

    What was kept in files before stays there and is not moved.

    Args:
        settings: The home's ``dagster.yaml``, which exists.

    Raises:
        InstanceError: If the variable is missing where the file names it, or the database cannot be used.
    """
    url, said = os.environ.get(POSTGRES_ENV), settings.read_text()
    is_said = POSTGRES_ENV in said
    if not url:
        if is_said:
            raise InstanceError(
                f"{settings} keeps runs in the database that {POSTGRES_ENV} names, and that variable is not set. Set it, or take "
                "the lines below `storage:` out to keep them in files again."
            )
        return False
    # Those started from here read it again.
    os.environ[POSTGRES_ENV] = url = with_driver(url)
    _refuse_unusable(url)
    if not is_said:
        if any(line.startswith("storage:") for line in said.splitlines()):
            raise InstanceError(
                f"{POSTGRES_ENV} is set and {settings} has a storage of its own, so it is not clear where runs are to be kept. "
                "Remove one of the two."
            )
        write_atomically(settings, said + STORAGE)
    return not is_said


def _refuse_unusable(url: str) -> None:
    if find_spec("dagster_postgres") is None:
        raise InstanceError(f"{POSTGRES_ENV} is set and dagster-postgres is not installed. Run: pip install 'tunewise[postgres]'")
    from sqlalchemy import create_engine
    from sqlalchemy.exc import SQLAlchemyError

    try:
        engine = create_engine(url, connect_args={"connect_timeout": SECONDS_TO_ANSWER})
        engine.connect().close()
        engine.dispose()
    except (SQLAlchemyError, ImportError) as error:
        reason = masked(" ".join(str(error).split()))
        raise InstanceError(
            f"{POSTGRES_ENV}={masked(url)} cannot be used: {reason}. Nothing was started. Look at address, login and server."
        ) from None
