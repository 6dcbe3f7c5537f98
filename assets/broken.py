"""A study file with an error, as an asset: it shows the error and fails with it."""

from pathlib import Path

import dagster as dg

from assets.keys import OWNERS
from tunewise.study_problems import printable


def broken_study_asset(name: str, path: Path, message: str) -> dg.AssetsDefinition:
    """Return the asset that stands for a file that is no study.

    Args:
        name: What the study is called in the graph.
        path: The file.
        message: What is wrong with it.
    """
    shown = printable(str(path))

    @dg.asset(
        key=[name, "study"],
        group_name="broken_studies",
        description=f"`{shown}` could not be loaded:\n\n```\n{message}\n```",
        owners=OWNERS,
        metadata={"file": dg.MetadataValue.path(shown)},
    )
    def study() -> None:
        raise dg.Failure(message, allow_retries=False)

    return study
