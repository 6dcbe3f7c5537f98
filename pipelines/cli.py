"""The command line: run, launch, show, methods, check, report, ui."""

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
    from pipelines.in_process import run_study
    from tunewise.running import changed

    path = locate(study)
    declared = changed(read_study(path), budget=budget, seeds=_seeds(seeds))
    with LiveProgress() as progress:
        done = run_study(declared, path.parent, Home.default(), only=only or (), progress=progress)
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
        rows = [(one.name, one.family, ", ".join(sorted(one.needs)) or "text", one.summary) for one in known.values()]
        out.print(table(("method", "family", "needs", "summary"), rows))
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
) -> None:
    """Serve Dagster's and MLflow's pages on this machine until Ctrl-C."""
    from pipelines.servers import HOST, serve_pages

    out.print(f"Dagster: http://{HOST}:{dagster_port}\nMLflow:  http://{HOST}:{mlflow_port}\nCtrl-C ends both.")
    serve_pages(Home.default(), dagster_port, mlflow_port)


def _report(study: Study, done: Run, *, debug: bool) -> None:
    from pipelines.report_table import print_comparison

    for failure in done.failures:
        err.print(f"{failure.asset} failed: {failure.message}", style="red", markup=False, soft_wrap=True)
        if debug:
            err.print(failure.details, markup=False)
    if done.has_comparison:
        print_comparison(Home.default().study(study.name) / "comparison")
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
