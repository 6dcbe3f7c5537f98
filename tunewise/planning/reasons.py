"""Why a fit is not reused: what determines it now and did not determine the nearest outcome there is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tunewise.code_hash import hashes_of
from tunewise.planning.past import PastFit, rows_by_id
from tunewise.request import modules_of
from tunewise.verdict.wording import count, listed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from tunewise.contracts import Backbone, Split
    from tunewise.home import Home
    from tunewise.request import Request

NEVER = "never fitted"
MOST_MODULES = 3
"""Changed modules that are named."""

_NUMBERS = {"n_train_rows": "training rows", "epochs": "epochs", "seed": "seed"}
_NAMES_WITHOUT_PATH = ("versions.", "device.")


def why(request: Request, past: Sequence[PastFit], own: frozenset[str], latest: Mapping[str, Any], home: Home) -> str:
    """Return in a few words why ``request`` has no outcome: what changed since the nearest one, or that there is none.

    Args:
        request: What would be fitted.
        past: All stored outcomes.
        own: Keys of the outcomes that the study had.
        latest: What the study notes of this fit's latest attempt.
        home: Where splits are kept.
    """
    if "failed" in latest:
        return f"failed: {latest['failed']}"
    nearest = _nearest(request, past, own, latest)
    if nearest is None:
        return NEVER if "key" not in latest else "its outcome was deleted"
    found = list(changes(request, nearest, home))
    if found and found[0].startswith("seed ") and len(found) == 1:
        return f"{NEVER} with this seed"
    return "; ".join(found) or NEVER


def changes(request: Request, then: PastFit, home: Home) -> Iterator[str]:
    """Yield in words each determinant of ``request`` that differs from those of ``then``."""
    told: dict[str, Callable[[], str]] = {
        "code": lambda: _code(hashes_of(*modules_of(request.method)), then.provenance.get("code")),
        "split": lambda: split_change(request.split, then, home),
        "backbone": lambda: _backbone(request.backbone, then.backbone),
        "format": lambda: "outcomes are stored in another format",
    }
    for name, now, before in _differences(request.determinants, then.determinants):
        if name in told:
            yield told[name]()
        elif name in _NUMBERS:
            yield f"{_NUMBERS[name]} {_shown(before)} → {_shown(now)}"
        else:
            prefix = next((prefix for prefix in _NAMES_WITHOUT_PATH if name.startswith(prefix)), "")
            yield f"{name.removeprefix(prefix)} {_shown(before)} → {_shown(now)}"


def split_change(split: Split, then: PastFit, home: Home) -> str:
    """Return how the rows differ from those an outcome was fitted on: ``split changed: 212 rows added``."""
    before = rows_by_id(home, then.determinants["split"])
    if before is None:
        n_before, n_now = then.provenance["n_split_train_rows"], len(split.train)
        return f"split changed: {count(n_before)} → {count(n_now)} training rows" if n_before != n_now else "split changed"
    now = {
        name: (side, str(split.classes[label]))
        for side, part in split.parts()
        for name, label in zip(part.ids, part.labels.tolist(), strict=True)
    }
    both = before.keys() & now.keys()
    counts = {
        "added": len(now.keys() - before.keys()),
        "removed": len(before.keys() - now.keys()),
        "with another label": sum(before[name][1] != now[name][1] for name in both),
        "on another side": sum(before[name][0] != now[name][0] for name in both),
    }
    told = [f"{count(n)} {'row' if n == 1 else 'rows'} {what}" for what, n in counts.items() if n]
    return f"split changed: {', '.join(told)}" if told else "split changed: texts or classes differ"


def _nearest(request: Request, past: Sequence[PastFit], own: frozenset[str], latest: Mapping[str, Any]) -> PastFit | None:
    """Return the outcome this very fit had, or else that with the fewest differences among those on the study's own data."""
    same_method = [one for one in past if one.method == request.method.name]
    if found := [one for one in same_method if one.key == latest.get("key")]:
        return found[0]
    near = [one for one in same_method if one.key in own or one.determinants["split"] == request.split.fingerprint]
    return min(near, key=lambda one: _distance(request, one), default=None)


def _distance(request: Request, one: PastFit) -> tuple[int, int]:
    found = [name for name, _, _ in _differences(request.determinants, one.determinants)]
    return len(found), "seed" in found


def _differences(now: Mapping[str, Any], before: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield dotted name, value now and value before of whatever differs, those of the present first."""
    for name in dict.fromkeys([*now, *before]):
        one, other = now.get(name), before.get(name)
        if isinstance(one, dict) and isinstance(other, dict):
            yield from _differences(one, other, f"{prefix}{name}.")
        elif one != other:
            yield f"{prefix}{name}", one, other


def _code(now: Mapping[str, str], before: Mapping[str, str] | None) -> str:
    if not before:
        return "code changed"
    changed = sorted(name for name in now.keys() | before.keys() if now.get(name) != before.get(name))
    # The parts are equal where only the way of hashing them changed.
    return f"code of {listed(changed, at_most=MOST_MODULES)} changed" if changed else "code changed"


def _backbone(now: Backbone | None, before: Mapping[str, Any] | None) -> str:
    if now is None or before is None:
        return "a backbone is used" if before is None else "no backbone is used any more"
    if now.name != before["name"] and now.weights_sha256 != before["weights_sha256"]:
        return f"backbone {before['name']} → {now.name}"
    what = "weights" if now.weights_sha256 != before["weights_sha256"] else "tokenizer, configuration or text limit"
    return f"{what} of backbone {now.name} changed"


def _shown(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return count(value)
    text = "none" if value is None else value if isinstance(value, str) else str(value)
    return text if len(text) <= 40 else f"{text[:39]}…"
