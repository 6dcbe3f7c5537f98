"""The command line: new, plan, run, launch, show, methods, check, report, ui, daemon, sync, clean."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import click
import typer

from pipelines.console import LiveProgress, err, out, table
from pipelines.study_folders import find_studies, locate, study_folders
from tunewise.errors import StudyError, TunewiseError
from tunewise.home import Home
from tunewise.methods import catalogue
from tunewise.study_file import check_study, read_study

if TYPE_CHECKING:
    from pathlib import Path

    from pipelines.in_process import Run
    from tunewise.study import Study

INTERRUPTED = 130
"""What shells expect of a command that was stopped by Ctrl-C."""

app = typer.Typer(
    help="Which way of using a pretrained transformer pays, on your data, at what cost.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

StudyName = Annotated[str, typer.Argument(metavar="STUDY", help="Name of a study, or path of its file.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the stack of an error.")]


@app.command()
def new(
    data: Annotated[
        str, typer.Argument(metavar="DATA", help="A table (csv, tsv, jsonl, parquet), a folder with one, or hub:ORG/NAME.")
    ],
    out_file: Annotated[
        str | None, typer.Option("--out", metavar="FILE", help="Where to write it; NAME.yaml here unless given.")
    ] = None,
    text: Annotated[
        list[str] | None, typer.Option("--text", metavar="COLUMN", help="Column of the text; two of them are judged as a pair.")
    ] = None,
    label: Annotated[str | None, typer.Option("--label", metavar="COLUMN", help="Column of the classes, or of ratings.")] = None,
    encoding: Annotated[str | None, typer.Option("--encoding", help="Of a text file; read from it unless given.")] = None,
    backbone: Annotated[
        str | None, typer.Option("--backbone", metavar="SOURCE", help="path:FOLDER or hub:ORG/NAME instead of the embedded one.")
    ] = None,
) -> None:
    """Look at a table and write a study file for it, with a comment on every choice."""
    from pipelines.new_file import write_new_study
    from tunewise.new_study import Asked

    write_new_study(data, out_file, Asked(tuple(text or ()), label, backbone), encoding)


@app.command()
def plan(
    study: StudyName,
    only: Annotated[
        list[str] | None, typer.Option("--only", metavar="VARIANT", help="Plan this variant; may be repeated.")
    ] = None,
    budget: Annotated[str | None, typer.Option(help="quick, standard or thorough, instead of the study's.")] = None,
    seeds: Annotated[str | None, typer.Option(help="Instead of the study's, such as 0,1,2.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print it for machines.")] = False,
) -> None:
    """Say what a run would fit and reuse, why, and what it takes: minutes, memory, disk. Fits and downloads nothing."""
    from pipelines.plan_table import make_plan, print_plan, print_plan_as_json
    from tunewise.running import changed
    from tunewise.steps import Workplace

    path = locate(study)
    declared = changed(read_study(path), budget=budget, seeds=_seeds(seeds))
    with LiveProgress() as progress:
        made = make_plan(Workplace(declared, path.parent, Home.default(), progress), only or ())
    (print_plan_as_json if as_json else print_plan)(made)


@app.command()
def run(
    study: StudyName,
    only: Annotated[
        list[str] | None, typer.Option("--only", metavar="VARIANT", help="Fit this variant; may be repeated.")
    ] = None,
    budget: Annotated[str | None, typer.Option(help="quick, standard or thorough, instead of the study's.")] = None,
    seeds: Annotated[str | None, typer.Option(help="Instead of the study's, such as 0,1,2.")] = None,
    debug: Debug = False,
) -> None:
    """Fit what a study plans, reuse what is there, and write the comparison."""
    from pipelines.estimated_run import estimated
    from pipelines.in_process import run_study
    from tunewise.running import changed
    from tunewise.steps import Workplace

    path = locate(study)
    declared = changed(read_study(path), budget=budget, seeds=_seeds(seeds))
    with (
        LiveProgress() as progress,
        estimated(Workplace(declared, path.parent, Home.default(), progress), only or ()) as watched,
    ):
        done = run_study(declared, path.parent, Home.default(), only=only or (), progress=watched)
    _report(declared, done, debug=debug)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def launch(
    context: typer.Context,
    selection: Annotated[str, typer.Argument(metavar="SELECTION", help="Of assets, such as 'key:\"movie_reviews/lora\"'.")],
) -> None:
    """Materialise assets as `dg launch --assets` does, in the instance that the pages show; further options go to dg."""
    from pipelines.instance import launch_assets

    launch_assets(selection, context.args, Home.default())


@app.command()
def report(study: StudyName, debug: Debug = False) -> None:
    """Compare the outcomes a study has, without fitting anything."""
    from pipelines.in_process import compare_study

    path = locate(study)
    declared = read_study(path)
    with LiveProgress() as progress:
        done = compare_study(declared, path.parent, Home.default(), progress)
    _report(declared, done, debug=debug)


@app.command()
def check(
    studies: Annotated[
        list[str] | None, typer.Argument(metavar="[STUDY]...", help="Names or paths; all known studies unless given.")
    ] = None,
) -> None:
    """Say everything that is wrong with studies: file, line, what is allowed, the nearest right name."""
    found, broken = find_studies(study_folders()) if not studies else ([], [])
    paths = [locate(name) for name in studies or ()] + [one.path for one in found]
    problems = [problem for path in paths for problem in check_study(path)]
    for line in [*map(str, problems), *(one.message for one in broken)]:
        out.print(line, markup=False, soft_wrap=True)
    if problems or broken:
        raise typer.Exit(1)
    out.print(f"{len(paths)} {'study is' if len(paths) == 1 else 'studies are'} right.")


@app.command()
def methods(name: Annotated[str | None, typer.Argument(metavar="[METHOD]", help="Show this method's settings.")] = None) -> None:
    """List the ways of using a backbone, or the settings of one."""
    known = catalogue()
    if name is None:
        rows = [(one.name, one.family, f"{one.summary} Trains {one.trains}. {one.source}.") for one in known.values()]
        out.print(table(("method", "family", "idea, what is trained, source"), rows))
        return
    if name not in known:
        raise StudyError(f"There is no method {name!r}. There are {', '.join(known)}.")
    method = known[name]
    out.print(f"{method.summary}\nSource: {method.source}", markup=False)
    fields = method.settings.model_fields.items()
    rows = [(key, _default(field), field.description or "") for key, field in fields]
    out.print(table(("setting", "default", "meaning"), rows) if rows else "It has no settings.")


@app.command()
def show(
    variant: Annotated[str, typer.Argument(metavar="VARIANT", help="STUDY/VARIANT, or VARIANT where one study alone has it.")],
) -> None:
    """Show what a variant is, what it reached and where its outcomes are."""
    from pipelines.variant_page import print_variant

    path, name = _variant(variant)
    print_variant(read_study(path), name, Home.default())


@app.command()
def ui(
    dagster_port: Annotated[int, typer.Option(help="Port of Dagster's page.")] = 3000,
    mlflow_port: Annotated[int, typer.Option(help="Port of MLflow's page.")] = 5000,
    host: Annotated[str, typer.Option(help="Address to serve on; another than this machine's own lets others run code here.")] = (
        "127.0.0.1"
    ),
) -> None:
    """Serve Dagster's and MLflow's pages on this machine until Ctrl-C."""
    from pipelines.servers import serve_pages, warning_of

    if warning := warning_of(host):
        err.print(warning, style="red", markup=False, soft_wrap=True)
    out.print(f"Dagster: http://{host}:{dagster_port}\nMLflow:  http://{host}:{mlflow_port}\nCtrl-C ends both.")
    serve_pages(Home.default(), dagster_port, mlflow_port, host)


@app.command()
def daemon() -> None:
    """Start what schedules and sensors ask for, without pages, until Ctrl-C."""
    from pipelines.daemon import run_daemon

    run_daemon(Home.default())


@app.command()
def sync(
    study: Annotated[str | None, typer.Argument(metavar="[STUDY]", help="Name or path; all studies unless given.")] = None,
) -> None:
    """Send to MLflow the results that wait because its store was away, each once."""
    from pipelines.upkeep import send_waiting

    send_waiting(Home.default(), study)


@app.command()
def clean(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be removed and change nothing.")] = False,
    older_than: Annotated[str, typer.Option(help="Keep what was used within this time: 12h, 30d, 8w.")] = "30d",
    keep_bytes: Annotated[
        str | None,
        typer.Option(help="Where more than this is kept, such as 10GB, younger ones go too, longest unused first."),
    ] = None,
    embeddings: Annotated[bool, typer.Option("--embeddings", help="Also features; they are computed anew when needed.")] = False,
    downloads: Annotated[bool, typer.Option("--downloads", help="Also archives and models; they are downloaded anew.")] = False,
) -> None:
    """Remove from the home folder what no study needs any more."""
    from pipelines.upkeep import bytes_of, clean_home, seconds_of
    from tunewise.cleaning import Limits

    size = None if keep_bytes is None else bytes_of(keep_bytes)
    limits = Limits(seconds_of(older_than), size, has_embeddings=embeddings, has_downloads=downloads)
    clean_home(Home.default(), limits, is_dry=dry_run)


def _report(study: Study, done: Run, *, debug: bool) -> None:
    from pipelines.report_table import print_comparison
    from resources.tracker import in_plain_words

    for failure in done.failures:
        err.print(f"{failure.asset} failed: {failure.message}", style="red", markup=False, soft_wrap=True)
        if debug:
            err.print(failure.details, markup=False)
    if done.has_comparison:
        print_comparison(Home.default().study(study.name) / "comparison")
    if waits := in_plain_words(Home.default(), study.name):
        err.print(waits, style="yellow", markup=False, soft_wrap=True)
    if done.failures:
        raise typer.Exit(1)


def _seeds(given: str | None) -> list[int]:
    parts = [] if given is None else given.split(",")
    try:
        return [int(part) for part in parts]
    except ValueError:
        raise typer.BadParameter(f"{given!r} is no list of whole numbers, such as 0,1,2.", param_hint="--seeds") from None


def _variant(given: str) -> tuple[Path, str]:
    """Return the study's file and the variant's name.

    Raises:
        StudyError: If no study has it, or several have.
    """
    study, _, name = given.rpartition("/")
    if study:
        return locate(study), name
    found = [one for one in find_studies(study_folders())[0] if name in {variant.name for variant in one.study.planned()}]
    if len(found) != 1:
        owners = ", ".join(one.study.name for one in found)
        raise StudyError(
            f"Several studies have a variant {name!r}: {owners}. Write STUDY/{name}."
            if found
            else f"No study in the studies folders has a variant {name!r}. Write STUDY/{name}, STUDY being a name or a path."
        )
    return found[0].path, name


def _default(field: Any) -> str:
    value = field.get_default(call_default_factory=True)
    return "none" if value is None else str(value)


def start() -> NoReturn:
    """Run the command line and end the process: 0 done, 1 failed, 2 asked wrongly, 130 interrupted."""
    sys.exit(_exit_code())


def _exit_code() -> int:
    try:
        code = app(standalone_mode=False, prog_name="tunewise") or 0
        # Typer turns Ctrl-C into an exit of its own.
        return _interrupted() if code == INTERRUPTED else code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        return _interrupted()
    except TunewiseError as error:
        if "--debug" in sys.argv:
            raise
        err.print(f"Error: {error}", style="red", markup=False, soft_wrap=True)
        return 1


def _interrupted() -> int:
    err.print("Interrupted. What was finished is kept; the same command goes on from there.")
    return INTERRUPTED
