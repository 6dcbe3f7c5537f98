"""The movie reviews, from a small archive of the same shape and from the real one."""

import io
import tarfile
from pathlib import Path

import pytest

from tunewise.data.corpora import movie_reviews
from tunewise.data.dataset import build_dataset
from tunewise.errors import DataError
from tunewise.study import Data

BANDS = {"negative": {"at_most": -0.5}, "positive": {"at_least": 0.5}}


def archive_of(path: Path, texts: str, ratings: str) -> Path:
    """Write an archive with these two tables."""
    with tarfile.open(path, "w:gz") as archive:
        for name, content in (("movieReviewSnippets_GroundTruth", texts), ("movieReviewSnippets_anonDataRatings", ratings)):
            info = tarfile.TarInfo(f"hutto_ICWSM_2014/{name}.txt")
            info.size = len(content.encode())
            archive.addfile(info, io.BytesIO(content.encode()))
    return path


def test_the_mean_is_taken_of_the_single_ratings(tmp_path):
    """The printed means are rounded; the mean of -1 and 0 is -0.5 exactly."""
    file = archive_of(
        tmp_path / "a.tar.gz",
        "1\t-0.50000000001\tIt''s \"so\" so\u2026\r\n2\t2.3333\tFine",
        "1\t-0.5\t0.5\t[-1, 0]\r\n2\t2.3333\t0.1\t[2, 2, 3]",
    )

    assert movie_reviews(file).to_pylist() == [
        {"id": "1", "text": "It''s \"so\" so\u2026", "rating": -0.5, "n_ratings": 2, "ratings": [-1, 0]},
        {"id": "2", "text": "Fine", "rating": 7 / 3, "n_ratings": 3, "ratings": [2, 2, 3]},
    ]


def test_other_archives_are_refused(tmp_path):
    """An archive that is cut, or whose two tables differ in their ids, is no corpus."""
    file = archive_of(tmp_path / "a.tar.gz", "1\t0\ta\n2\t0\tb", "1\t0\t0\t[0]")
    with pytest.raises(DataError, match=r"a\.tar\.gz does not hold the movie reviews: its texts and ratings have different ids"):
        movie_reviews(file)
    file.write_bytes(file.read_bytes()[:40])
    with pytest.raises(DataError, match=r"does not hold the movie reviews: .*Delete it; it will be fetched again"):
        movie_reviews(file)


@pytest.mark.real
def test_the_real_corpus(real_home, tmp_path):
    """10,605 snippets with 15 to 29 ratings; the two bands keep 4,996 positive and 5,076 negative ones."""
    data = Data(source="archive:movie_reviews", id="id", ratings={"bands": BANDS})

    dataset = build_dataset(data, base=tmp_path, home=real_home)

    assert len(dataset) == 10_072
    assert dataset.classes == ("negative", "positive")
    assert (dataset.labels == 1).sum() == 4_996
    assert dataset.n_left_out == {"rating in no band": 533}
    assert dataset.licence == "MIT"
