"""Corpora that come inside package archives."""

from __future__ import annotations

import json
import tarfile
from typing import TYPE_CHECKING

import pyarrow as pa

from tunewise.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_FOLDER = "hutto_ICWSM_2014"


def movie_reviews(file: Path) -> pa.Table:
    """Return 10,605 snippets of movie reviews with 15 to 29 single human ratings each, from -4 to 4.

    Columns: ``id``, ``text``, ``rating`` (the mean), ``n_ratings``, ``ratings``. The mean is taken of the
    single ratings, so that -0.5 and 0.5, where the usual bands begin, are met exactly.

    Source: Hutto & Gilbert 2014, "VADER", ICWSM, whose archive ``file`` is; the snippets are from
    Pang & Lee 2004.

    Raises:
        DataError: If the archive is damaged or holds something else.
    """
    try:
        with tarfile.open(file) as archive:
            snippets = _lines(archive, "movieReviewSnippets_GroundTruth.txt")
            single = _lines(archive, "movieReviewSnippets_anonDataRatings.txt")
        texts = {name: text for name, _, text in snippets}
        ratings = {name: json.loads(values) for name, _, _, values in single}
    except (OSError, EOFError, KeyError, ValueError, tarfile.TarError) as error:
        raise DataError(f"{file} does not hold the movie reviews: {error}. Delete it; it will be fetched again.") from error
    if list(texts) != list(ratings):
        raise DataError(f"{file} does not hold the movie reviews: its texts and ratings have different ids. Delete it.")
    return pa.table(
        {
            "id": list(texts),
            "text": pa.array(list(texts.values()), pa.large_string()),
            "rating": [sum(values) / len(values) for values in ratings.values()],
            "n_ratings": [len(values) for values in ratings.values()],
            "ratings": list(ratings.values()),
        }
    )


def _lines(archive: tarfile.TarFile, name: str) -> list[list[str]]:
    member = archive.extractfile(f"{_FOLDER}/{name}")
    if member is None:
        raise KeyError(f"{name} is not a file")
    text = member.read().decode("utf-8").replace("\r\n", "\n")
    return [line.split("\t") for line in text.split("\n") if line.strip()]


CORPORA: dict[str, Callable[[Path], pa.Table]] = {"movie_reviews": movie_reviews}
"""Reader of each built-in corpus, by the name that follows ``archive:``."""
