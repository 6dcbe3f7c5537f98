"""A block in which the hub's libraries may ask nobody: local folders are loaded from their files alone."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from threading import RLock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# Two threads that left the block in the order they came would restore one another's state.
_ONE_AT_A_TIME = RLock()


@contextmanager
def offline() -> Iterator[None]:
    """Refuse the hub's libraries any request inside the block; what was set before holds again after it."""
    with _ONE_AT_A_TIME:
        before = os.environ.get("HF_HUB_OFFLINE")
        was_offline = _library_is_offline()
        os.environ["HF_HUB_OFFLINE"] = "1"
        _tell_library(is_offline=True)
        try:
            yield
        finally:
            os.environ.pop("HF_HUB_OFFLINE")
            if before is not None:
                os.environ["HF_HUB_OFFLINE"] = before
            _tell_library(is_offline=was_offline)


def _library_is_offline() -> bool:
    """Return the hub library's own constant, or what it will become when the library is first imported."""
    constants = sys.modules.get("huggingface_hub.constants")
    if constants is not None:
        return bool(vars(constants)["HF_HUB_OFFLINE"])
    said = os.environ.get("HF_HUB_OFFLINE") or os.environ.get("TRANSFORMERS_OFFLINE") or ""
    return said.upper() in {"1", "ON", "YES", "TRUE"}


def _tell_library(*, is_offline: bool) -> None:
    """Set the constant that the hub's library reads from the environment once, when it is imported."""
    constants = sys.modules.get("huggingface_hub.constants")
    if constants is not None:
        vars(constants)["HF_HUB_OFFLINE"] = is_offline
