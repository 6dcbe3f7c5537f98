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


@cache
def code_sha256(*modules: str) -> str:
    """Return one hash over ``modules`` and every tunewise module they import, directly or not."""
    digest = hashlib.sha256()
    for name in sorted(_closure(modules)):
        digest.update(f"{name}\n{_tree_without_docstrings(_file_of(name))}\n".encode())
    return digest.hexdigest()


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
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(module)
    return Path(spec.origin)


def _is_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def _imports_of(module: str) -> list[str]:
    file = _file_of(module)
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    found = {".".join(module.split(".")[:n]) for n in range(1, module.count(".") + 1)}
    for node in _walk_what_runs(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            origin = importlib.util.resolve_name("." * node.level + (node.module or ""), package) if node.level else node.module
            found |= {str(origin)} | {f"{origin}.{alias.name}" for alias in node.names}
    # The root package only re-exports `tunewise.run`, through which everything would follow.
    return [name for name in found if name.startswith(f"{PACKAGE}.") and _is_module(name)]


def _walk_what_runs(node: ast.AST) -> Iterator[ast.AST]:
    """Yield every node except those below ``if TYPE_CHECKING``, which never run."""
    yield node
    if not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
        for child in ast.iter_child_nodes(node):
            yield from _walk_what_runs(child)


def _tree_without_docstrings(file: Path) -> str:
    tree = ast.parse(file.read_bytes())
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            # A bare string constant does nothing when it runs: it documents what stands above it.
            node.body = [line for line in body if not _is_bare_string(line)] or [ast.Pass()]  # pyright: ignore[reportAttributeAccessIssue]
    return ast.dump(tree)


def _is_bare_string(line: ast.stmt) -> bool:
    return isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant) and isinstance(line.value.value, str)
