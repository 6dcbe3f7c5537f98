"""The page's table of what the latest run was estimated to take, beside what it took."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tunewise.verdict.wording import count, seconds, size

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tunewise.planning.kept import Compared
    from tunewise.verdict.conclusion import Verdict


def rows(verdict: Verdict) -> list[dict[str, Any]]:
    """Return one row per variant that was estimated and fitted, and their sum where they are several, as text."""
    found = [_row(one.variant, [one]) for one in verdict.estimates]
    return [*found, _row("together", verdict.estimates)] if len(found) > 1 else found


def _row(name: str, of: Sequence[Compared]) -> dict[str, Any]:
    sums = [
        sum(getattr(one, name) for one in of) for name in ("estimated_seconds", "seconds", "estimated_disk_bytes", "disk_bytes")
    ]
    peaks = [max(getattr(one, name) for one in of) for name in ("estimated_peak_bytes", "peak_bytes")]
    return {
        "name": name,
        "n_fits": count(sum(one.n_done for one in of)),
        "cells": [*_pair(seconds, *sums[:2]), *_pair(size, *peaks), *_pair(size, *sums[2:])],
    }


def _pair(words: Callable[[float], str], estimated: float, measured: float) -> list[str]:
    """Return estimate, fact, and how many times the estimate the fact is."""
    return [words(estimated), words(measured), f"{measured / estimated:.2f}" if estimated else "–"]
