"""Reading a study file, and saying everything that is wrong with it at once.

A file holds one study: its fields alone, or ``type:`` and ``attributes:`` as Dagster's pages want them.
It is data: no template is filled in, no class is named, nothing in it is run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import ValidationError

from tunewise.errors import SourceError, StudyError
from tunewise.masking import masked
from tunewise.sources import PathSource, parse
from tunewise.study import Study
from tunewise.study_problems import Complaint, Loc, complaints_of, nearest, printable, written

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

COMPONENT = "pipelines.component.StudyComponent"
"""The one component type that a studies folder may name."""

TEMPLATE = "{{"

MAX_BYTES = 64_000
"""A study of 200 variants with all their settings has half as many."""
MAX_DEPTH = 30
MAX_VALUES = 20_000
"""After every alias has been replaced by what it stands for: a few lines of aliases can stand for billions of values."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong in a study file."""

    file: Path
    line: int
    path: str
    """Where in the study, such as ``variants[2].settings.rank``."""
    message: str
    allowed: tuple[str, ...] = ()
    nearest: str | None = None

    def __str__(self) -> str:
        """Return the problem as one line that editors can jump to."""
        where = f"{self.file}:{self.line}: {self.path}: " if self.path else f"{self.file}:{self.line}: "
        allowed = f" Allowed: {', '.join(self.allowed)}." if self.allowed else ""
        hint = f" Did you mean {self.nearest!r}?" if self.nearest else ""
        return masked(printable(f"{where}{self.message}{allowed}{hint}"))


def read_study(path: Path) -> Study:
    """Return the study that the file at ``path`` declares.

    Raises:
        StudyError: If anything in it is wrong, listing every problem with its line.
    """
    study, problems = _examine(path)
    if study is None or problems:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise StudyError("\n".join([printable(f"{path} is no valid study: {count}."), *map(str, problems)]))
    return study


def check_study(path: Path) -> list[Problem]:
    """Return everything that is wrong with the file at ``path``, in the order of its lines."""
    return _examine(path)[1]


def _examine(path: Path) -> tuple[Study | None, list[Problem]]:
    try:
        root = _compose(_text_of(path))
        # Before the values are made: merging keys (`<<`) changes the nodes.
        misuses = [Problem(path, node.start_mark.line + 1, "", message) for node, message in _misuses(root)]
        body = _body(root)
        value = None if body is None else _value_of(body)
    except (OSError, UnicodeDecodeError) as error:
        return None, [Problem(path, 1, "", f"The file cannot be read: {error}.")]
    except yaml.YAMLError as error:
        return None, [_unreadable(path, error)]
    study, complaints = (None, []) if body is None else _validate(value, path.parent)
    problems = misuses + [_problem(path, body or root, complaint) for complaint in complaints]
    return study, sorted(problems, key=lambda problem: problem.line)


def _text_of(path: Path) -> str:
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise yaml.YAMLError(f"more than {MAX_BYTES:,} bytes, which is no study but perhaps a table")
    return data.decode("utf-8")


def _unreadable(path: Path, error: yaml.YAMLError) -> Problem:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    reason = getattr(error, "problem", None) or str(error)
    return Problem(path, mark.line + 1 if mark else 1, "", f"This is no YAML that tunewise reads: {reason}.")


def _compose(text: str) -> yaml.Node:
    """Return the tree of the only document in ``text``, which keeps the line of every node.

    Raises:
        yaml.YAMLError: If it is no YAML, or one whose values would be too many, too deep or none.
    """
    try:
        _refuse_depth(text)
        root = yaml.compose(text, Loader=yaml.SafeLoader) or yaml.ScalarNode("tag:yaml.org,2002:null", "", *_start())
    except (ValueError, OverflowError) as error:
        # The scanner lets a character code through that no character has.
        raise yaml.YAMLError(str(error)) from error
    _extent(root, (), {})
    for node in _nodes(root, set()):
        if isinstance(node, yaml.ScalarNode):
            _refuse_odd_scalar(node)
    return root


def _refuse_depth(text: str) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise _too_deep(event.start_mark)


def _too_deep(mark: yaml.Mark) -> yaml.YAMLError:
    return yaml.MarkedYAMLError(problem=f"more than {MAX_DEPTH} lists or mappings within one another", problem_mark=mark)


def _extent(node: yaml.Node, above: tuple[int, ...], known: dict[int, tuple[int, int]]) -> tuple[int, int]:
    """Return how many values a node stands for, and how deep they go, every alias being what it stands for.

    Raises:
        yaml.YAMLError: If that is more than a study may hold, or a node holds itself.
    """
    if id(node) in above:
        raise yaml.MarkedYAMLError(problem="an alias stands inside what it refers to itself", problem_mark=node.start_mark)
    if id(node) not in known:
        inner = [_extent(one, (*above, id(node)), known) for one in _inner(node)]
        known[id(node)] = 1 + sum(n for n, _ in inner), 1 + max((depth for _, depth in inner), default=0)
    n_values, depth = known[id(node)]
    if len(above) + depth > MAX_DEPTH + 1:
        raise _too_deep(node.start_mark)
    if n_values > MAX_VALUES:
        problem = f"with its aliases written out it would hold more than {MAX_VALUES:,} values"
        raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)
    return n_values, depth


def _refuse_odd_scalar(node: yaml.ScalarNode) -> None:
    if printable(node.value) != node.value:
        raise yaml.MarkedYAMLError(problem="half of a character, such as \\ud800, stands alone", problem_mark=node.start_mark)
    try:
        _value_of(node)
    except (ValueError, LookupError, AttributeError, TypeError, OverflowError) as error:
        # What the library's constructors raise of a date that no calendar has, a number of 5,000 digits, `!!bool maybe`.
        kind = node.tag.rpartition(":")[2]
        problem = f"{node.value[:80]!r} cannot be read as {kind}; text stands between quotes"
        raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark) from error


def _start() -> tuple[yaml.Mark, yaml.Mark]:
    mark = yaml.Mark("", 0, 0, 0, "", 0)
    return mark, mark


def _validate(value: Any, base: Path) -> tuple[Study | None, list[Complaint]]:
    try:
        study = Study.model_validate(value)
    except ValidationError as error:
        return None, complaints_of(error, value)
    return study, list(_sources_that_are_not_there(study, base))


def _value_of(node: yaml.Node) -> Any:
    return yaml.constructor.SafeConstructor().construct_document(node)


def _sources_that_are_not_there(study: Study, base: Path) -> Iterator[Complaint]:
    rule = study.data.split
    sources: list[tuple[Loc, Any]] = [(("data", "source"), study.data.source)]
    sources += [(("data", "split", name), getattr(rule, name)) for name in ("development", "test")]
    sources += [(("backbones", i, "source"), spec.source) for i, spec in enumerate(study.backbones)]
    for loc, source in sources:
        if isinstance(source, (int, float)):
            continue
        try:
            parsed = parse(source)
        except SourceError as error:
            yield Complaint(loc, str(error))
            continue
        if isinstance(parsed, PathSource) and not _is_there(base, parsed.path):
            yield Complaint(loc, f"There is no {base / parsed.path}. Relative paths start from the study's folder.")


def _is_there(base: Path, path: str) -> bool:
    try:
        return (base / path).expanduser().exists()
    except (OSError, RuntimeError):
        # A name longer than the file system's, or the home folder of a user whom nobody knows.
        return False


def _body(root: yaml.Node) -> yaml.MappingNode | None:
    """Return the node of the study's fields: the file itself, or what stands under ``attributes``."""
    if not isinstance(root, yaml.MappingNode):
        return None
    if _child(root, "type") is None and _child(root, "attributes") is None:
        return root
    attributes = _child(root, "attributes")
    return attributes if isinstance(attributes, yaml.MappingNode) else None


def _misuses(root: yaml.Node) -> Iterator[tuple[yaml.Node, str]]:
    """Yield what is wrong with the file before its values are looked at."""
    if not isinstance(root, yaml.MappingNode):
        yield root, "A study is a mapping of fields, such as `name: my_study`; this file holds none."
        return
    yield from _repeated_keys(root, set())
    yield from _templates(root, set())
    if _body(root) is not root:
        yield from _misused_envelope(root)


def _misused_envelope(root: yaml.MappingNode) -> Iterator[tuple[yaml.Node, str]]:
    for key, value in root.value:
        name = key.value if isinstance(key, yaml.ScalarNode) else "a key that is no name"
        if name not in {"type", "attributes"}:
            yield key, f"{name!r} cannot stand beside `type` and `attributes`; a study is data and loads nothing else."
        elif name == "type" and value.value != COMPONENT:
            given = repr(value.value) if isinstance(value, yaml.ScalarNode) else "that is no name"
            yield value, f"The type {given} is not accepted, and was not imported. The only one is {COMPONENT}."
    for name in ("type", "attributes"):
        if _child(root, name) is None:
            yield root, f"`{name}` is missing; `type` and `attributes` stand together, or neither does."
    if (attributes := _child(root, "attributes")) is not None and not isinstance(attributes, yaml.MappingNode):
        yield attributes, "`attributes` holds the study's fields, such as `name: my_study`; here it holds none."


def _nodes(root: yaml.Node, seen: set[int]) -> Iterator[yaml.Node]:
    if id(root) in seen:
        return
    seen.add(id(root))
    yield root
    for node in _inner(root):
        yield from _nodes(node, seen)


def _inner(node: yaml.Node) -> Iterator[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        for pair in node.value:
            yield from pair
    elif isinstance(node, yaml.SequenceNode):
        yield from node.value


def _repeated_keys(root: yaml.Node, seen: set[int]) -> Iterator[tuple[yaml.Node, str]]:
    for node in _nodes(root, seen):
        if isinstance(node, yaml.MappingNode):
            keys: dict[str, int] = {}
            for key, _ in node.value:
                if not isinstance(key, yaml.ScalarNode):
                    continue
                if str(key.value) in keys:
                    first = keys[str(key.value)]
                    yield (
                        key,
                        f"{key.value!r} stands here a second time (first in line {first}). YAML would drop the first silently.",
                    )
                keys.setdefault(str(key.value), key.start_mark.line + 1)


def _templates(root: yaml.Node, seen: set[int]) -> Iterator[tuple[yaml.Node, str]]:
    for node in _nodes(root, seen):
        if isinstance(node, yaml.ScalarNode) and TEMPLATE in node.value:
            yield (
                node,
                f"{node.value!r} is a template; studies have none. Write the value; name secrets by their variable (`uri_env`).",
            )


def _child(node: yaml.Node, part: str | int) -> yaml.Node | None:
    pair = _pair(node, part)
    return pair[1] if pair else None


def _pair(node: yaml.Node, part: str | int) -> tuple[yaml.Node, yaml.Node] | None:
    """Return the key and value nodes of one step down; an item of a list is its own key."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode) and (key.value == str(part) or str(_value_of(key)) == str(part)):
                return key, value
    elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part], node.value[part]
    return None


def _problem(file: Path, body: yaml.Node, complaint: Complaint) -> Problem:
    here, node = body, body
    for part in complaint.loc:
        pair = _pair(node, part)
        if pair is None:
            break
        here, node = pair
    near = nearest(complaint.given, complaint.allowed)
    line = here.start_mark.line + 1
    return Problem(file, line, written(complaint.loc), complaint.message, complaint.allowed, near)
