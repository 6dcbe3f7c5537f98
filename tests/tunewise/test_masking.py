"""No login and no named secret survives in text that is shown or kept."""

import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunewise import masking
from tunewise.errors import SourceError, StudyError, words_of
from tunewise.masking import masked, without_login
from tunewise.study_file import check_study

HIDDEN = [
    ("postgresql://me:sesame@host/db", "postgresql://***@host/db"),
    ("postgresql+psycopg2://me:sesame@host:5432/db?sslmode=require", "postgresql+psycopg2://***@host:5432/db?sslmode=require"),
    ("http://me:o@p/en@host:80/x", "http://***@host:80/x"),
    ("https://token@host/simple", "https://***@host/simple"),
    ("mysql://:open@host/db", "mysql://***@host/db"),
    ("from 'ftp://me:open@a/b' to \"ftp://you:shut@c/d\"", "from 'ftp://***@a/b' to \"ftp://***@c/d\""),
    ("host=db user=me password='o p e n' dbname=x", "host=db user=me password=*** dbname=x"),
    ("https://host/x?a=1&X-Amz-Signature=abc&token=def&b=2", "https://host/x?a=1&X-Amz-Signature=***&token=***&b=2"),
    ("AWS_SECRET_ACCESS_KEY=abc AWS_SESSION_TOKEN=def", "AWS_SECRET_ACCESS_KEY=*** AWS_SESSION_TOKEN=***"),
]
KEPT = [
    "http://127.0.0.1:5000/#/experiments/1/runs/2",
    "s3://bucket/folder of mail@host",
    "hub:org/model@main at http://host:80/a and mail@host",
    "max_tokens=128 and pad_token='[PAD]' and seed=3",
    "sqlite:////home/me/mlflow.db",
]


@pytest.mark.parametrize(("text", "shown"), HIDDEN)
def test_a_secret_is_hidden_and_the_rest_stays(text, shown):
    """The login or value is gone; host, path and the words around it are as they were."""
    assert masked(text) == shown


@pytest.mark.parametrize("text", KEPT)
def test_a_text_without_secrets_stays_as_it_is(text):
    """Ports, at-signs in prose and settings whose names only sound alike are no secrets."""
    assert masked(text) == text


@given(
    st.text(st.characters(exclude_categories=["Z", "C"], exclude_characters="'\""), min_size=1).map(lambda text: f"pw{text}wp"),
    st.sampled_from(["http", "postgresql", "mysql+pymysql", "s3"]),
)
def test_no_password_whatever_its_characters_is_shown(password, scheme):
    """A password with slashes, colons or at-signs in it, written as it is, does not show; masking twice changes nothing."""
    shown = masked(f"cannot reach {scheme}://me:{password}@host/db today")

    assert password not in shown
    assert shown == f"cannot reach {scheme}://***@host/db today"
    assert masked(shown) == shown


def test_a_browser_gets_an_address_without_login():
    """Links are kept by Dagster and printed, so they carry no login."""
    assert without_login("https://me:sesame@host:5000/mlflow") == "https://host:5000/mlflow"


def test_every_error_on_purpose_is_masked():
    """What a study file quotes of an address is hidden wherever the error is shown, also inside another one."""
    error = SourceError("The source 'https://me:sesame@host/x.csv' is not read here.")

    assert str(error) == "The source 'https://***@host/x.csv' is not read here."
    assert "sesame" not in str(StudyError(f"Not so: {error}"))
    assert "sesame" not in repr(error)


def test_an_error_of_others_is_masked_in_words():
    """What a library says of an address is kept as the reason of a failed fit, so it is masked too."""
    assert words_of(OSError("cannot reach https://me:sesame@host")) == "OSError: cannot reach https://***@host"
    assert words_of(SourceError("gone")) == "gone"


def test_what_is_wrong_in_a_study_file_is_shown_without_its_secrets(tmp_path):
    """A line of `tunewise check` may quote what was written, and logs of build servers keep it."""
    path = tmp_path / "bad.yaml"
    path.write_text(
        'name: bad\ndata: {source: x.csv}\nvariants: ["http://me:sesame@host"]\ntracking: {uri: "http://me:sesame@host"}\n'
    )
    problems = [str(problem) for problem in check_study(path)]

    assert len(problems) == 2
    assert not [line for line in problems if "sesame" in line]


def test_the_examples_hold():
    """What the docstrings show is what comes."""
    assert doctest.testmod(masking).failed == 0
