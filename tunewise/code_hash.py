"""The hash of the code that determines a result: syntax trees without docstrings, imports followed.

Renaming a variable in the training loop makes an outcome stale; rewording a docstring or a comment,
or moving a blank line, does not.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = "tunewise"
ROOT = Path(__file__).parent


@cache
def code_sha256(*modules: str) -> str:
    """Return one hash over ``modules`` and every tunewise module they import, directly or not."""
    digest = hashlib.sha256()
    for name in sorted(_closure(modules)):
        digest.update(f"{name}\n{_tree_without_docstrings(_file_of(name))}\n".encode())
    return digest.hexdigest()


@cache
def hashes_of(*modules: str) -> dict[str, str]:
    """Return the hash of each module that `code_sha256` covers, by its name: what tells which of them changed."""
    names = sorted(_closure(modules))
    return {name: hashlib.sha256(_tree_without_docstrings(_file_of(name)).encode()).hexdigest()[:12] for name in names}


@cache
def libraries_of(*modules: str) -> tuple[str, ...]:
    """Return the packages besides tunewise that ``modules`` and every tunewise module they import need, by import name."""
    names = {name.partition(".")[0] for module in _closure(modules) for name in _imported_names(module)}
    return tuple(sorted(names - {PACKAGE}))


def _closure(modules: tuple[str, ...]) -> set[str]:
    seen: set[str] = set()
    todo = list(modules)
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            todo += _imports_of(name)
    return seen


def _file_of(module: str) -> Path:
    """Return a module's file by its place below the package; asking the import system would import its parents."""
    place = ROOT.joinpath(*module.split(".")[1:])
    file = place / "__init__.py" if place.is_dir() else place.with_name(f"{place.name}.py")
    if module.partition(".")[0] != PACKAGE or not file.is_file():
        raise ModuleNotFoundError(module)
    return file


def _is_module(name: str) -> bool:
    try:
        return _file_of(name).is_file()
    except ModuleNotFoundError:
        return False


@cache
def _imports_of(module: str) -> list[str]:
    # The root package only re-exports `tunewise.run`, through which everything would follow.
    return [name for name in _imported_names(module) if name.startswith(f"{PACKAGE}.") and _is_module(name)]


@cache
def _imported_names(module: str) -> set[str]:
    """Return the dotted names a module imports and its packages; of ``from x import y`` both ``x`` and ``x.y``."""
    file = _file_of(module)
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    found = {".".join(module.split(".")[:n]) for n in range(1, module.count(".") + 1)}
    for node in _walk_what_runs(_parsed(file)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            origin = importlib.util.resolve_name("." * node.level + (node.module or ""), package) if node.level else node.module
            found |= {str(origin)} | {f"{origin}.{alias.name}" for alias in node.names}
    return found


def _walk_what_runs(node: ast.AST) -> Iterator[ast.AST]:
    """Yield every node except those below ``if TYPE_CHECKING``, which never run; its ``else`` does."""
    yield node
    children = ast.iter_child_nodes(node)
    if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
        children = iter(node.orelse)
    for child in children:
        yield from _walk_what_runs(child)


@cache
def _parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_bytes())


@cache
def _tree_without_docstrings(file: Path) -> str:
    tree = _parsed(file)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            # A bare string constant does nothing when it runs: it documents what stands above it.
            node.body = [line for line in body if not _is_bare_string(line)] or [ast.Pass()]  # pyright: ignore[reportAttributeAccessIssue]
    return ast.dump(tree)


def _is_bare_string(line: ast.stmt) -> bool:
    return isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant) and isinstance(line.value.value, str)
