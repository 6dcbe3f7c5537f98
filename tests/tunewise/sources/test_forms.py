"""What a study may write where bytes are meant."""

import pytest
from pydantic import ValidationError

from tunewise.errors import SourceError
from tunewise.sources import ArchiveSource, HubSource, PathSource, licence_of, parse
from tunewise.study import PackageFile


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("texts.csv", PathSource("texts.csv")),
        ("path:a b/texts.csv", PathSource("a b/texts.csv")),
        ("path:hub:odd", PathSource("hub:odd")),
        ("C:\\texts.csv", PathSource("C:\\texts.csv")),
        ("folder/a:b.csv", PathSource("folder/a:b.csv")),
        ("hub:org/name@0123abc", HubSource("org/name", "0123abc")),
        ("hub:org/name@refs/pr/3", HubSource("org/name", "refs/pr/3")),
        ("hub:org/na-me.v2", HubSource("org/na-me.v2", "main")),
    ],
)
def test_each_form_means_one_thing(given, meant):
    """A scheme decides; without one it is a path."""
    assert parse(given) == meant


def test_an_embedded_archive_is_pinned():
    """A name stands for a package, a version, a hash and a member, and has a licence."""
    found = parse("archive:movie_reviews")

    assert isinstance(found, ArchiveSource)
    assert (found.package, found.version, found.member) == (
        "vaderSentiment",
        "0.5",
        "additional_resources/hutto_ICWSM_2014.tar.gz",
    )
    assert [licence_of(source) for source in ("archive:movie_reviews", "archive:minilm", "texts.csv")] == [
        "MIT",
        "Apache-2.0",
        "unknown",
    ]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("", r"The source '' names nothing. Write path:FILE or a bare path, hub:ORG/NAME@REVISION, archive:NAME"),
        ("path:", r"The source 'path:' names nothing"),
        ("s3://bucket/texts.csv", r"starts with s3:, which is not read here. Write path:FILE"),
        ("https://host/texts.csv", r"starts with https:"),
        ("hub:name", r"'hub:name' is no hub repository. Write hub:ORG/NAME@REVISION"),
        ("hub:../../etc@main", r"is no hub repository"),
        (
            "archive:movie_review",
            r"No archive is called 'movie_review'.*minilm, movie_reviews.*Did you mean archive:movie_reviews",
        ),
        ("archive:zzz", r"No archive is called 'zzz'.*For a package of your own, give package, version, sha256, member"),
    ],
)
def test_other_forms_are_answered_with_the_allowed_ones(given, message):
    """The error names what was given and what would have worked."""
    with pytest.raises(SourceError, match=message):
        parse(given)


@pytest.mark.parametrize("package", ["../corpus", "-rfile", "corpus --pre", "corpus\n", "https://host/x"])
def test_a_package_is_a_name_and_nothing_else(package):
    """What pip would read as an option, a place or a second line is refused where the study is read."""
    with pytest.raises(ValidationError, match="package"):
        PackageFile(package=package, version="1.0", sha256="0" * 64, member="a")
    with pytest.raises(ValidationError, match="version"):
        PackageFile(package="corpus", version=f"1.0 {package}", sha256="0" * 64, member="a")
