"""A study file with a comment on every choice: what was seen, and what else could be written."""

from __future__ import annotations

import os
import re
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import ValidationError

from tunewise.errors import DataError, StudyError
from tunewise.study import Study
from tunewise.study_file import TEMPLATE
from tunewise.verdict.wording import clean, count

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tunewise.new_study.choosing import Chosen
    from tunewise.new_study.looking import Looked

WIDTH = 110
PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*")
DEFAULT_SHARES = {"development": 0.1, "test": 0.2}


def write_new(looked: Looked, chosen: Chosen, file: Path) -> Study:
    """Write the study file and return the study it declares.

    Args:
        looked: The table.
        chosen: What is said of it.
        file: Where to; nothing may stand there.

    Raises:
        StudyError: If there is a file already, or a name cannot be written in a study.
    """
    text = as_yaml(looked, chosen, file)
    study = _checked(text)
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        with file.open("x", encoding="utf-8") as out:
            out.write(text)
    except FileExistsError:
        raise StudyError(f"{file} is there already and was left as it is. Name another with --out FILE, or delete it.") from None
    return study


def as_yaml(looked: Looked, chosen: Chosen, file: Path) -> str:
    """Return the study file's text; ``file`` is where relative paths will start from."""
    return "\n".join(_lines(looked, chosen, file)) + "\n"


def _lines(looked: Looked, chosen: Chosen, file: Path) -> Iterator[str]:
    n_columns = len(looked.columns)
    yield from _comment(f"Written by `tunewise new {looked.given}` from {count(chosen.n_rows)} rows of {n_columns} columns.")
    yield from _comment(
        f"Change what you like; `tunewise check {file.name}` says what is wrong, `tunewise methods` what there is."
    )
    yield f"name: {chosen.name}"
    yield "data:"
    yield from _indented(_data(looked, chosen, file))
    if chosen.backbone:
        yield from _backbone(chosen.backbone, file)
    else:
        yield from _comment(
            "The embedded encoder. Also a model of your own: {name: mine, source: FOLDER or hub:ORG/NAME@REVISION}."
        )
        yield "backbones: [minilm]"
    yield from _comment("Without `variants` every default method that fits the backbone is run; list some to run those alone:")
    yield "# variants: [tfidf_logistic, logistic_regression, lora]"
    yield from _commented("budget", chosen.reasons)
    yield f"budget: {chosen.budget}"
    yield from _comment("Each seeded method is fitted once per seed; their spread shows how much of a difference is luck.")
    yield "seeds: [0, 1, 2]"
    yield from _commented("metric", chosen.reasons)
    yield f"metric: {chosen.metric}"
    if chosen.class_weights != "none":
        yield from _commented("class_weights", chosen.reasons)
        yield f"class_weights: {chosen.class_weights}"


def _data(looked: Looked, chosen: Chosen, file: Path) -> Iterator[str]:
    yield f"source: {_scalar(_address(looked.source, file))}"
    if looked.encoding is not None and looked.encoding.note:
        yield from _comment(looked.encoding.note)
        yield f"encoding: {_scalar(looked.encoding.name)}"
    yield from _commented("text", chosen.reasons)
    names = [_scalar(name) for name in chosen.text]
    yield f"text: {names[0]}" if len(names) == 1 else f"text: [{', '.join(names)}]"
    if chosen.ratings:
        column, bands = chosen.ratings
        yield from _commented("ratings", chosen.reasons)
        yield "ratings:"
        yield f"  column: {_scalar(column)}"
        yield "  bands:"
        for name, band in bands.items():
            yield f"    {_scalar(name)}: {{{', '.join(f'{bound}: {value:g}' for bound, value in band.items())}}}"
    else:
        yield from _commented("label", chosen.reasons)
        yield f"label: {_scalar(chosen.label)}"
    yield from _commented("id", chosen.reasons)
    if chosen.id:
        yield f"id: {_scalar(chosen.id)}"
    yield from _split(looked, chosen, file)


def _split(looked: Looked, chosen: Chosen, file: Path) -> Iterator[str]:
    yield from _commented("split", chosen.reasons)
    given: dict[str, Any] = {side: _address(path, file) for side, path in looked.beside.items()}
    if looked.beside:
        names = ", ".join(path.name for path in looked.beside.values())
        yield from _comment(f"Beside the table, and what the names say: {names}.")
    if looked.hub_sides:
        yield from _comment(f"The data set's own splits are kept: {', '.join(sorted(looked.hub_sides))}.")
    if drawn := [side for side in DEFAULT_SHARES if not given and not chosen.side and side not in looked.hub_sides]:
        yield from _comment(
            f"Shares of the rows for {' and '.join(drawn)}, by a keyed hash of each text: appended rows move none."
        )
    shares = DEFAULT_SHARES if not given else {side: share for side, share in DEFAULT_SHARES.items() if side not in given}
    shares = {} if chosen.side or looked.hub_sides else shares
    yield "split:"
    if chosen.side:
        yield f"  column: {_scalar(chosen.side)}"
    for side in DEFAULT_SHARES:
        if side in given:
            yield f"  {side}: {_scalar(given[side])}"
        elif side in shares:
            yield f"  {side}: {shares[side]:g}"
    yield from (f"  {line}" for line in _comment("The key of the hash; leave it once you have seen a result."))
    yield f"  salt: {chosen.name}"


def _backbone(source: str, file: Path) -> Iterator[str]:
    name = source.removeprefix("archive:")
    if source.startswith("archive:"):
        yield f"backbones: [{_scalar(name)}]"
        return
    folder = source.removeprefix("path:")
    written = source if source.startswith("hub:") else _address(Path(folder), file)
    slug = re.sub(r"[^a-z0-9]+", "_", re.split(r"[/\\]", folder.partition("@")[0].rstrip("/"))[-1].lower()).strip("_")
    slug = slug if re.match(r"[a-z]", slug) else f"model_{slug}".rstrip("_")
    yield f"backbones: [{{name: {slug[:40].rstrip('_')}, source: {_scalar(written)}}}]"


def _address(source: Path | str, file: Path) -> str:
    """Return a path as a study writes it: from the study's own folder; a colon in it would look like a scheme."""
    if isinstance(source, str):
        return source
    path = os.path.relpath(source.absolute(), file.absolute().parent)
    return f"path:{path}" if ":" in path else path


def _commented(field: str, reasons: dict[str, list[str]]) -> Iterator[str]:
    for sentence in reasons.get(field, ()):
        yield from _comment(sentence)


def _comment(sentence: str) -> Iterator[str]:
    """Yield a sentence as comment lines; signs in it that break lines or hide are written out."""
    for line in textwrap.wrap(clean(sentence), WIDTH, break_long_words=False, break_on_hyphens=False):
        yield f"# {line}"


def _indented(lines: Iterator[str]) -> Iterator[str]:
    yield from (f"  {line}" for line in lines)


def _scalar(value: str | None) -> str:
    """Return a value on one line as YAML reads it back: plain where it is a plain word, else quoted."""
    if value is None:
        raise DataError("A column was not decided. Say which with --text and --label.")
    if TEMPLATE in value:
        raise StudyError(f"{value!r} holds {TEMPLATE}, which a study takes for a template. Rename the column or the file.")
    if PLAIN.fullmatch(value) and yaml.safe_load(value) == value:
        return value
    return yaml.safe_dump(value, default_style='"', width=10**9, allow_unicode=True).strip()


def _checked(text: str) -> Study:
    try:
        return Study.model_validate(yaml.safe_load(text))
    except ValidationError as error:
        from tunewise.study_problems import complaints_of, written

        said = " ".join(f"{written(one.loc)}: {one.message}" for one in complaints_of(error, yaml.safe_load(text)))
        raise StudyError(f"No valid study came of it. {said}") from error
