"""Which studies there are: YAML files in the studies folders, read as data and never run."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tunewise.errors import StudyError
from tunewise.study_file import read_study
from tunewise.study_problems import nearest, printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tunewise.study import Study

FOLDERS_ENV = "TUNEWISE_STUDIES"
SHIPPED = Path(__file__).parent / "studies"
SUFFIXES = {".yaml", ".yml"}
REFUSED_SUFFIXES = {".py", ".pyc", ".pyd", ".pyi", ".pyo", ".pyw", ".pyx", ".pyz", ".pth", ".so"}
"""What Python could import, be made to run or take for its own."""


@dataclass(frozen=True)
class FoundStudy:
    """A study and the file it stands in."""

    path: Path
    study: Study


@dataclass(frozen=True)
class BrokenStudy:
    """A file that is no study, under a name that no study has, and what is wrong with it."""

    path: Path
    name: str
    message: str


def study_folders() -> list[Path]:
    """Return the folder of the shipped studies and those that ``TUNEWISE_STUDIES`` names, divided as ``PATH`` is."""
    named = os.environ.get(FOLDERS_ENV, "").split(os.pathsep)
    return [SHIPPED, *(Path(name).expanduser().absolute() for name in named if name)]


def find_studies(folders: Sequence[Path]) -> tuple[list[FoundStudy], list[BrokenStudy]]:
    """Return the studies in ``folders`` and the files there that are none; a broken one takes no other with it.

    A study is a YAML file in a folder, or one in a folder of its own below it.
    """
    found: dict[str, FoundStudy] = {}
    broken: list[tuple[Path, str]] = []
    for path in _files_in(folders):
        try:
            study = _read(path)
        except StudyError as error:
            broken.append((path, str(error)))
            continue
        if study.name in found:
            broken.append(
                (path, f"{path}: the study name {study.name!r} is taken by {found[study.name].path}. Choose another name.")
            )
        else:
            found[study.name] = FoundStudy(path, study)
    return list(found.values()), list(_named(broken, set(found)))


def locate(given: str) -> Path:
    """Return the file of a study given by its name or its path.

    Raises:
        StudyError: If there is no such file and no study of that name.
    """
    path = _file_of(given)
    if path is not None:
        return path
    found, broken = find_studies(study_folders())
    paths = {one.name: one.path for one in broken} | {study.study.name: study.path for study in found}
    if given in paths:
        return paths[given]
    near = nearest(given, tuple(paths))
    hint = f" Did you mean {near!r}?" if near else ""
    names = ", ".join(study.study.name for study in found)
    raise StudyError(f"{given!r} is neither a study file nor the name of a study; there are {names}.{hint}")


def _file_of(given: str) -> Path | None:
    """Return the file that ``given`` is the path of, itself or as its folder."""
    try:
        path = Path(given).expanduser()
        path = path / "defs.yaml" if path.is_dir() else path
        return path.absolute() if path.is_file() else None
    except (OSError, RuntimeError):
        # A name longer than the file system's, or the home folder of a user whom nobody knows.
        return None


def _files_in(folders: Sequence[Path]) -> Iterator[Path]:
    for folder in folders:
        if not folder.is_dir():
            yield folder
            continue
        for path in sorted([*folder.glob("*"), *folder.glob("*/*")]):
            if path.suffix in SUFFIXES | REFUSED_SUFFIXES and path.is_file() and "__pycache__" not in path.parts:
                yield path


def _read(path: Path) -> Study:
    if printable(str(path)) != str(path):
        raise StudyError(f"{printable(str(path))} has a name that is not UTF-8, which no page could show. Rename it.")
    if path.suffix in REFUSED_SUFFIXES:
        raise StudyError(f"{path} is a program. A studies folder holds YAML alone; it was not imported. Move it elsewhere.")
    if path.suffix not in SUFFIXES:
        raise StudyError(f"{path} is no folder, so no study was looked for in it. Correct {FOLDERS_ENV}.")
    return read_study(path)


def _named(broken: list[tuple[Path, str]], taken: set[str]) -> Iterator[BrokenStudy]:
    for path, message in broken:
        is_shipped_shape = path.stem == "defs"
        stem = re.sub(r"[^a-z0-9]+", "_", (path.parent.name if is_shipped_shape else path.stem).lower()).strip("_") or "study"
        name = next(name for name in (stem, *(f"{stem}_{n}" for n in range(2, len(taken) + 3))) if name not in taken)
        taken.add(name)
        yield BrokenStudy(path, name, message)
