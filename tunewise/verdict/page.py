"""Writes the verdict's folder: one self-contained page, a Markdown table, all numbers as JSON."""

from __future__ import annotations

import json
import re
import shutil
from base64 import b64encode
from glob import escape
from hashlib import sha256
from importlib.resources import files
from typing import TYPE_CHECKING

from filelock import FileLock

from tunewise.artifacts import MANIFEST, new_folder
from tunewise.errors import ComparisonError
from tunewise.verdict import earlier, estimates, pictures, sections, table
from tunewise.verdict.costs import AXES
from tunewise.verdict.markdown import as_markdown
from tunewise.verdict.numbers import numbers, plain
from tunewise.verdict.wording import METRIC_TITLES, clean, count, listed, visible

if TYPE_CHECKING:
    from pathlib import Path

    from tunewise.verdict.conclusion import Verdict

PAGE, TABLE, NUMBERS = "index.html", "comparison.md", "comparison.json"


def write_page(verdict: Verdict, folder: Path) -> Path:
    """Write ``index.html``, ``comparison.md`` and ``comparison.json`` into ``folder`` and return the page's path.

    An earlier verdict in it is replaced, by one writer at a time (a lock file stands beside the folder). What
    stands under the name is always a whole verdict: the old one or the new one. Between the two renames that
    exchange them a reader may meet no folder. An error there puts the old one back at once; a kill there leaves
    it under a hidden name, from which the next writer puts it back before it does anything else.

    Raises:
        ComparisonError: If the folder holds files that are no verdict's.
    """
    contents = {
        PAGE: as_page(verdict),
        TABLE: as_markdown(verdict),
        NUMBERS: json.dumps(numbers(verdict), indent=1, allow_nan=False),
    }
    made, old = (folder.with_name(f".{folder.name}.{name}") for name in ("new", "old"))
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(f".{folder.name}.lock")):
        _tidy_after_a_kill(folder, made, old)
        _refuse_foreign_files(folder)
        with new_folder(made, "comparison") as staging:
            for name, text in contents.items():
                (staging / name).write_text(text, encoding="utf-8")
        _exchange(folder, made, old)
    return folder / PAGE


def _tidy_after_a_kill(folder: Path, made: Path, old: Path) -> None:
    """Put back the verdict that a killed writer had moved away, and drop what it left unfinished."""
    if old.exists() and not folder.exists():
        old.rename(folder)
    for left in (old, made, *folder.parent.glob(f".{escape(made.name)}.*")):
        shutil.rmtree(left, ignore_errors=True)


def _exchange(folder: Path, made: Path, old: Path) -> None:
    """Put ``made`` in the place of ``folder``, or leave the place as it was."""
    if folder.exists():
        folder.rename(old)
    try:
        made.rename(folder)
    except BaseException:
        if old.exists():
            old.rename(folder)
        shutil.rmtree(made, ignore_errors=True)
        raise
    shutil.rmtree(old, ignore_errors=True)


def as_page(verdict: Verdict) -> str:
    """Return the page: it loads nothing, runs no script but its own, and shows foreign text as text."""
    from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    environment = Environment(
        loader=PackageLoader("tunewise.verdict", ""),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"visible": visible, "breakable": _breakable}
    has_rows = bool(verdict.standings)
    scripts = [get_plotlyjs(), _own("page.js")] if has_rows else []
    return environment.get_template("page.html.j2").render(
        **_texts(verdict),
        css=Markup(_own("page.css")),  # noqa: S704 - our own file
        scripts=[Markup(script) for script in scripts],  # noqa: S704 - our own file and the library's
        policy=_policy(scripts),
        payload=pictures.payload(verdict),
    )


def _texts(verdict: Verdict) -> dict[str, object]:
    rows, hardest, missing = table.rows(verdict), sections.hardest(verdict), sections.missing(verdict)
    told, has_curves = verdict.recommendation, any(row["has_curve"] for row in rows)
    places = {
        "variants": ("All variants", rows),
        "missing": ("Without an outcome", missing),
        "cost": ("Quality against cost", rows),
        "errors": ("Wrong answers", hardest),
        "confusion": ("Confusion", rows),
        "curves": ("Training curves", has_curves),
        "earlier": ("Then and now", verdict.earlier),
        "estimates": ("Estimate and fact", verdict.estimates),
        "data": ("Data audit", verdict.findings),
        "provenance": ("Provenance", True),
    }
    lede = " ".join(f"{clean(part)}." for part in (told.comparison, told.alternative, told.reservation) if part)
    study_file = plain(verdict.study.model_dump(mode="json", exclude_defaults=True))
    return {
        "study": verdict.study,
        "told": {"headline": _unbroken(clean(told.headline)), "lede": lede, "notes": [clean(note) for note in told.notes]},
        "facts": table.facts(verdict),
        "sections": [(anchor, title) for anchor, (title, is_there) in places.items() if is_there],
        "rows": rows,
        "columns": table.columns(verdict),
        "chance": table.chance(verdict),
        "n_texts": count(verdict.n_texts),
        "conditions": sections.conditions(verdict),
        "missing": missing,
        "axes": AXES,
        "metrics": [{"name": name, "title": METRIC_TITLES[name]} for name in pictures.metrics(verdict)],
        "families": pictures.families(verdict),
        "hardest": hardest,
        "has_curves": has_curves,
        "earlier": verdict.earlier
        and {
            "at": verdict.earlier.at,
            "heading": earlier.heading(verdict.earlier),
            "sentence": verdict.earlier.sentence,
            "rows": earlier.table(verdict.earlier),
        },
        "estimates": estimates.rows(verdict),
        "findings": sections.findings(verdict),
        "uncommitted": _uncommitted(verdict),
        "command": f"tunewise run {verdict.study.name}",
        "provenance": sections.provenance(verdict.outcomes),
        "study_file": json.dumps(study_file, indent=1, ensure_ascii=False),
    }


def _breakable(name: str) -> str:
    """Return a name that may be broken after its underscores."""
    from markupsafe import Markup, escape

    return Markup("_<wbr>").join(visible(name).split("_")) if "_" in name else escape(visible(name))


def _unbroken(text: str) -> str:
    """Return the text with intervals that no line break tears apart."""
    return re.sub(r"\((\S+) to (\S+)\)", "(\\1\u00a0to\u00a0\\2)", text)


def _uncommitted(verdict: Verdict) -> str:
    changed = [one.variant for one in verdict.standings if any(outcome.provenance.get("is_dirty") for outcome in one.outcomes)]
    whose = "All" if len(changed) == len(verdict.standings) else listed(changed, at_most=6)
    return f"{whose} ran from code with uncommitted changes, so the commit below does not tell what ran." if changed else ""


def _policy(scripts: list[str]) -> str:
    """Return the content policy: no network at all, and no script but those whose hash is listed."""
    hashes = " ".join(f"'sha256-{b64encode(sha256(script.encode()).digest()).decode()}'" for script in scripts) or "'none'"
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
    )


def _own(name: str) -> str:
    return files("tunewise.verdict").joinpath(name).read_text(encoding="utf-8")


def _refuse_foreign_files(folder: Path) -> None:
    ours = {PAGE, TABLE, NUMBERS, MANIFEST}
    foreign = sorted(path.name for path in folder.iterdir() if path.name not in ours) if folder.exists() else []
    if foreign:
        raise ComparisonError(
            f"{folder} holds {foreign[0]}, which is no part of a verdict and would be deleted with the folder. "
            f"Name a folder that is new or holds a verdict alone."
        )
