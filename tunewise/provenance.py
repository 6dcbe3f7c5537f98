"""Where a number comes from: machine, versions, commit, fingerprints, licences, date."""

from __future__ import annotations

import datetime as dt
import subprocess
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunewise.code_hash import hashes_of
from tunewise.device import facts
from tunewise.request import modules_of

if TYPE_CHECKING:
    from tunewise.contracts import Texts
    from tunewise.request import Request

CHECKOUT = Path(__file__).parents[1]


def provenance(request: Request) -> dict[str, Any]:
    """Return what an outcome has to be read with, as plain JSON values."""
    split, backbone = request.split, request.backbone
    return {
        **facts(),
        **commit(),
        "determinants": request.determinants,
        "code": hashes_of(*modules_of(request.method)),
        "data": {
            "split_sha256": split.fingerprint,
            "licence": split.licence,
            "n_rows": {name: len(part) for name, part in split.parts()},
            "mean_characters": mean_characters(split.train.texts),
        },
        "n_split_train_rows": len(split.train),
        "backbone": None
        if backbone is None
        else {
            "name": backbone.name,
            "architecture": backbone.architecture,
            "fingerprint": backbone.fingerprint,
            "weights_sha256": backbone.weights_sha256,
            "licence": backbone.licence,
        },
        "device": asdict(request.device),
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
    }


def mean_characters(texts: Texts) -> float:
    """Return the mean length of texts in characters; the two texts of a pair count together."""
    return round(sum(len("".join(text)) for text in texts) / max(1, len(texts)), 1)


@cache
def commit() -> dict[str, Any]:
    """Return the commit of the checkout this code runs from and whether it was changed; both none outside a checkout.

    Looked up once per process: what runs was loaded then.
    """
    if not (CHECKOUT / ".git").exists():
        return {"commit": None, "is_dirty": None}
    head = _git("rev-parse", "HEAD")
    status = _git("status", "--porcelain")
    return {"commit": head, "is_dirty": None if status is None else bool(status)}


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(CHECKOUT), *arguments], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
