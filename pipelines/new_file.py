"""Writes a new study file from the command line, and says what comes next."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.console import out
from pipelines.study_folders import find_studies, study_folders
from tunewise.errors import StudyError
from tunewise.new_study import choose, look, write_new
from tunewise.verdict.wording import clean

if TYPE_CHECKING:
    from tunewise.new_study import Asked

SUFFIXES = (".yaml", ".yml")


def write_new_study(data: str, file: str | None, asked: Asked, encoding: str | None = None) -> Path:
    """Look at ``data``, write a study file for it, and return its path.

    Args:
        data: A table, a folder with one, or a hub's data set.
        file: Where to write; the study's name in the current folder unless given.
        asked: What is not to be guessed.
        encoding: Of text files; read from them unless given.

    Raises:
        StudyError: If the file is there already or is no YAML file.
        SourceError: If there is no such data.
        DataError: If it cannot be read, or a column cannot be decided.
    """
    if file is not None and Path(file).suffix not in SUFFIXES:
        raise StudyError(f"--out {file} was given; a study file ends in .yaml. Name it so.")
    looked = look(data, Path.cwd(), encoding=encoding)
    chosen = choose(looked, asked, _taken())
    path = Path(file or f"{chosen.name}.yaml").expanduser()
    study = write_new(looked, chosen, path)
    for name in ("text", "label", "ratings", "split", "id"):
        for sentence in chosen.reasons.get(name, ())[:1]:
            out.print(f"{name}: {clean(sentence)}", markup=False, soft_wrap=True)
    out.print(f"Wrote {path}: study {study.name}, {len(study.planned())} variants.", markup=False, soft_wrap=True)
    out.print(f"Next: tunewise plan {path}", style="bold", markup=False, soft_wrap=True)
    return path


def _taken() -> set[str]:
    found, broken = find_studies(study_folders())
    return {one.study.name for one in found} | {one.name for one in broken}
