"""The hash of the code that determines a result."""

from textwrap import dedent

import pytest

from tunewise import code_hash


def forget():
    """Let files be read again, as in a new process."""
    for function in vars(code_hash).values():
        if hasattr(function, "cache_clear"):
            function.cache_clear()


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """Returns the hash of the module ``toycode.main`` of a package that a test writes."""
    (tmp_path / "toycode").mkdir()
    (tmp_path / "toycode" / "__init__.py").write_text("")
    monkeypatch.setattr(code_hash, "PACKAGE", "toycode")
    monkeypatch.setattr(code_hash, "ROOT", tmp_path / "toycode")

    def hash_of(**modules):
        for name, text in modules.items():
            (tmp_path / "toycode" / f"{name}.py").write_text(dedent(text))
        forget()
        return code_hash.code_sha256("toycode.main")

    yield hash_of
    forget()


BEFORE = '''
    """A module."""
    import math

    RATE = 2.0
    """What it is."""

    class Thing:
        """A class."""

        n: int = 1
        """A field."""

    def area(r):
        """Return an area."""
        # why
        return math.pi * r**2
'''

AFTER = '''
    import math
    RATE = 2.0



    class Thing:
        """Another text."""
        n: int = 1
    def area(r):
        return (math.pi
                * r ** 2)  # another comment
'''


def test_words_about_the_code_change_nothing(toy):
    """Docstrings of modules, classes, functions and values, comments, blank lines and line breaks are no code."""
    assert toy(main=BEFORE) == toy(main=AFTER)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("r**2", "r**3"),
        ("2.0", "2.5"),
        ("area(r)", "area(r, s=1)"),
        ("n: int = 1", "n: int = 2"),
        ("import math", "import cmath as math"),
    ],
)
def test_code_changes_the_hash(toy, old, new):
    """A number, a name, a default or an import is code."""
    assert toy(main=BEFORE) != toy(main=BEFORE.replace(old, new))


def test_a_function_that_only_had_a_docstring_is_still_one(toy):
    """A body of nothing but its docstring equals ``pass``."""
    assert toy(main='def f():\n    """Do nothing."""\n') == toy(main="def f():\n    pass\n")


@pytest.mark.parametrize(
    "importing",
    [
        "from toycode import loop",
        "from toycode.loop import step",
        "import toycode.loop",
        "from . import loop",
        "from .loop import step as s",
        "def f():\n    from toycode.loop import step\n",
        "try:\n    import toycode.loop\nexcept ImportError:\n    pass\n",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    pass\nelse:\n    from toycode.loop import step\n",
    ],
)
def test_what_is_imported_counts_however_it_is_written(toy, importing):
    """An edit two imports away changes the hash, an import inside a function included."""
    deep = "def twice(x):\n    return 2 * x\n"
    one = toy(main=importing, loop="from toycode.deep import twice\nstep = 1\n", deep=deep)
    two = toy(deep=deep.replace("2 * x", "x + x"))

    assert one != two


@pytest.mark.parametrize("name", ["TYPE_CHECKING", "typing.TYPE_CHECKING"])
def test_what_is_imported_for_types_alone_does_not_count(toy, name):
    """A module read by the type checker only cannot change a result."""
    importing = f"import typing\nfrom typing import TYPE_CHECKING\nif {name}:\n    from toycode.loop import step\n"

    assert toy(main=importing, loop="step = 1\n") == toy(loop="step = 2\n")


def test_modules_that_import_one_another_have_a_hash(toy):
    """A circle of imports ends."""
    assert toy(main="import toycode.loop\n", loop="import toycode.main\n") != toy(loop="import toycode.main\nx = 1\n")


def test_a_module_nobody_imports_does_not_count(toy):
    """Editing an unrelated module leaves outcomes fresh."""
    assert toy(main="x = 1\n", other="y = 1\n") == toy(other="y = 2\n")


def test_a_packages_own_module_counts(toy, tmp_path):
    """Importing ``a.b`` runs ``a/__init__.py`` too."""
    (tmp_path / "toycode" / "inner").mkdir()
    (tmp_path / "toycode" / "inner" / "__init__.py").write_text("x = 1\n")
    (tmp_path / "toycode" / "inner" / "leaf.py").write_text("")
    one = toy(main="import toycode.inner.leaf\n")
    (tmp_path / "toycode" / "inner" / "__init__.py").write_text("x = 2\n")

    assert one != toy()


def test_fetching_and_pages_are_no_part_of_a_methods_code():
    """Editing how a model is downloaded or a page is drawn makes no outcome of a frozen method stale."""
    reached = code_hash._closure(("tunewise.methods.frozen.logistic_regression", "tunewise.backbones.loading"))

    assert "tunewise.backbones.loading" in reached
    assert not [name for name in reached if name.startswith(("tunewise.sources", "tunewise.verdict", "tunewise.testing"))]
    assert "tunewise.backbones.inspection" not in reached
