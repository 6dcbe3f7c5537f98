"""Every way of using a pretrained transformer on your own labelled texts, compared honestly."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tunewise.running import run

__all__ = ["run"]


def __getattr__(name: str) -> Any:
    """Import `run` when it is first used, so that importing the package stays light."""
    if name == "run":
        from tunewise.running import run

        return run
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
