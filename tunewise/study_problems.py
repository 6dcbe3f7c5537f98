"""What pydantic found wrong with a study, in words for the person who wrote it."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from tunewise.study import NAME, Study

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

Loc: TypeAlias = "tuple[str | int, ...]"

MAX_COMPLAINTS = 100
"""More are not looked at: whoever wrote so many will mend the first and ask again."""


@dataclass(frozen=True)
class Complaint:
    """One thing that is wrong, by its place in the study."""

    loc: Loc
    message: str
    allowed: tuple[str, ...] = ()
    given: str | None = None
    """The name that was written, to be compared with the allowed ones."""


def written(loc: Loc) -> str:
    """Return a place as users write it, such as ``variants[2].settings.rank``."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc).lstrip(".")


def nearest(given: str | None, allowed: Sequence[str]) -> str | None:
    """Return the allowed name most like ``given``, or nothing where none is like it."""
    found = difflib.get_close_matches(given, allowed, n=1, cutoff=0.6) if given else []
    return found[0] if found else None


def complaints_of(error: ValidationError, value: Any) -> list[Complaint]:
    """Return the complaints of a failed validation of ``value``.

    Fields that contradict one another are looked for among the parts that are right, too, which
    pydantic does only once every field is.
    """
    details = error.errors(include_url=False)[:MAX_COMPLAINTS]
    # What follows from one another in a circle is shown whole rather than not at all.
    meant = list(_without_echoes(details)) or details
    found = {complaint: None for detail in meant for complaint in _complaints(detail)}
    if not any(detail["type"] == "contradiction" for detail in details):
        found |= dict.fromkeys(_contradictions_among_the_rest(value, [detail["loc"] for detail in details]))
    return list(found)


def _without_echoes(details: Sequence[Any]) -> Iterator[Any]:
    """Leave out what follows from another complaint: emptied lists, and branches of a union that were not meant."""
    for detail in details:
        loc = detail["loc"]
        is_emptied = detail["type"] == "too_short" and any(
            len(other["loc"]) > len(loc) and other["loc"][: len(loc)] == loc for other in details
        )
        if not is_emptied and not _is_other_branch(detail, details):
            yield detail


def _is_other_branch(detail: Any, details: Sequence[Any]) -> bool:
    loc = detail["loc"]
    for n, part in enumerate(loc):
        branches = _branches(_type_at(loc[:n]))
        if part in branches:
            siblings = [other for other in details if other["loc"][:n] == loc[:n]]
            meant = _meant_branch(branches, siblings, n)
            return part != meant
    return False


def _meant_branch(branches: Mapping[str | int, Any], siblings: Sequence[Any], n: int) -> str | int:
    """Return the branch that a mapping was written for, or else the last that complained."""
    deeper = [other["loc"][n] for other in siblings if len(other["loc"]) > n + 1 and _is_model(branches.get(other["loc"][n]))]
    return deeper[0] if deeper else siblings[-1]["loc"][n]


def _complaints(detail: Any) -> Iterator[Complaint]:
    kind, loc, given = detail["type"], _without_tags(detail["loc"]), detail["input"]
    context = detail.get("ctx", {})
    if kind == "extra_forbidden":
        names = _fields(_type_at(detail["loc"][:-1]))
        yield Complaint(loc, f"{loc[-1]!r} is no field here.", names, str(loc[-1]))
    elif kind == "missing":
        yield Complaint(loc, f"{loc[-1]!r} is missing.")
    elif kind == "union_tag_invalid":
        names = tuple(re.findall(r"'([^']*)'", context["expected_tags"]))
        yield Complaint((*loc, "method"), f"There is no method {context['tag']!r}.", names, str(context["tag"]))
    elif kind == "union_tag_not_found":
        key = next((key for key in given if nearest(str(key), ["method"])), None) if isinstance(given, dict) else None
        yield Complaint((*loc, key) if key else loc, "A variant names its method: `method: NAME`.", ("method",), key)
    elif kind == "literal_error":
        names = tuple(re.findall(r"'([^']*)'", context["expected"])) or (context["expected"],)
        yield Complaint(loc, f"{_shown(given)} is not allowed.", names, str(given))
    elif kind == "string_pattern_mismatch" and context["pattern"] == NAME:
        yield Complaint(
            loc, f"{_shown(given)} is no name. Use lower-case letters, digits and single `_` between them, a letter first."
        )
    elif kind == "contradiction":
        yield Complaint(loc, detail["msg"])
    elif kind == "value_error":
        yield Complaint(loc, str(context["error"]))
    else:
        yield Complaint(loc, f"{detail['msg']}; {_shown(given)} was given.")


def printable(text: str) -> str:
    """Return ``text`` with halves of characters, as names of files may hold them, written out as their codes."""
    return text.encode("utf-8", "backslashreplace").decode()


def _shown(given: object) -> str:
    text = repr(given)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _contradictions_among_the_rest(value: Any, wrong: list[Loc]) -> Iterator[Complaint]:
    """Validate the list items that are right, inside an otherwise empty study, and give their places back."""
    rest: dict[str, Any] = {"name": "rest", "data": {"source": "rest"}}
    places: dict[str, list[int]] = {}
    for field in ("backbones", "variants", "seeds"):
        items = value.get(field) if isinstance(value, dict) else None
        if isinstance(items, list) and items:
            bad = {loc[1] for loc in wrong if loc[0] == field and len(loc) > 1}
            places[field] = [i for i in range(len(items)) if i not in bad]
            rest[field] = [items[i] for i in places[field]]
    if not any(rest.get(field) for field in places):
        return
    try:
        Study.model_validate({name: items for name, items in rest.items() if items})
    except ValidationError as error:
        for detail in error.errors(include_url=False)[:MAX_COMPLAINTS]:
            if detail["type"] == "contradiction":
                loc = _without_tags(detail["loc"])
                yield Complaint((loc[0], places[str(loc[0])][int(loc[1])], *loc[2:]), detail["msg"])


def _without_tags(loc: Loc) -> Loc:
    """Drop the parts that name a branch of a union, which no file holds, and pydantic's marks of keys."""
    kept = [part for n, part in enumerate(loc) if part != "[key]" and part not in _branches(_type_at(loc[:n]))]
    return tuple(kept)


def _type_at(loc: Loc) -> Any:
    """Return the type that the schema has at ``loc``, where branches of unions are steps like others."""
    current: Any = Study
    for part in loc:
        current = _step(_bare(current), part)
    return _bare(current)


def _step(current: Any, part: str | int) -> Any:
    if _is_model(current) and part in current.model_fields:
        return current.model_fields[part].annotation
    if branches := _branches(current):
        return branches.get(part)
    origin, arguments = get_origin(current), get_args(current)
    if origin in {tuple, list}:
        return arguments[0]
    return arguments[1] if origin is dict else None


def _bare(annotation: Any) -> Any:
    """Take ``Annotated`` and an optional ``None`` off."""
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) in {Union, UnionType}:
        rest = [branch for branch in get_args(annotation) if branch is not type(None)]
        return _bare(rest[0]) if len(rest) == 1 else annotation
    return annotation


def _branches(annotation: Any) -> dict[str | int, Any]:
    """Return the branches of a union under the labels pydantic gives them; one method alone is a union, too."""
    branches = get_args(annotation) if get_origin(annotation) in {Union, UnionType} else [annotation]
    labels: dict[str | int, Any] = {}
    for branch in map(_bare, branches):
        if _is_model(branch) and "method" in branch.model_fields:
            labels[get_args(branch.model_fields["method"].annotation)[0]] = branch
        elif len(branches) > 1:
            labels |= dict.fromkeys(_labels(branch), branch)
    return labels


def _labels(branch: Any) -> Iterator[str]:
    yield getattr(branch, "__name__", str(branch)) if get_origin(branch) is None else str(branch).replace("typing.", "")
    if get_origin(branch) in {Union, UnionType}:
        for inner in get_args(branch):
            yield from _labels(_bare(inner))


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _fields(model: Any) -> tuple[str, ...]:
    return tuple(model.model_fields) if _is_model(model) else ()
