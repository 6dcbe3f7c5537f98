"""The catalogue: every way of using a backbone, one file each, found by walking this package.

A module ``tunewise/methods/<family>/<name>.py`` that defines ``METHOD`` is a method called ``<name>``
of the family ``<family>``. Importing one loads neither torch nor scikit-learn: its settings class is
read when a study is checked, its libraries are imported inside ``fit`` and ``load``.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tunewise.contracts import Method

FAMILIES = ("baselines", "frozen", "finetune", "peft")
"""Families in the order tables and pages show them."""


@cache
def catalogue() -> dict[str, Method]:
    """Return all methods by name, ordered by family and then by the place their module gives them."""
    found: dict[str, Method] = {}
    for family in FAMILIES:
        package = importlib.import_module(f"{__name__}.{family}")
        for info in pkgutil.iter_modules(package.__path__):
            module = importlib.import_module(f"{package.__name__}.{info.name}")
            method = getattr(module, "METHOD", None)
            if method is not None:
                summary = (module.__doc__ or "").strip().splitlines()[0]
                found[info.name] = method.named(info.name, family, summary)
    return found


def module_of(method: Method) -> str:
    """Return the dotted name of the module that defines ``method``."""
    return f"{__name__}.{method.family}.{method.name}"
