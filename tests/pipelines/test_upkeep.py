"""`tunewise clean` and `tunewise sync` say what they did, and what they could not."""

import json
import os
import time

import click
import pytest
from typer.testing import CliRunner

from pipelines import cli, upkeep
from pipelines.upkeep import bytes_of, seconds_of
from tunewise.artifacts import new_folder
from tunewise.errors import StudyError, TunewiseError


@pytest.mark.parametrize(("text", "seconds"), [("90m", 5400), ("12h", 43_200), ("30d", 2_592_000), (" 1.5w ", 907_200)])
def test_times_are_read(text, seconds):
    """A number and its unit are seconds."""
    assert seconds_of(text) == seconds


@pytest.mark.parametrize(("text", "n_bytes"), [("10GB", 10**10), ("1.5 tb", 15 * 10**11), ("0B", 0), ("7kB", 7000)])
def test_sizes_are_read(text, n_bytes):
    """A number and its unit are bytes, in powers of ten as disks are sold."""
    assert bytes_of(text) == n_bytes


@pytest.mark.parametrize("text", ["", "30", "d", "-1d", "30 days", "1e3d"])
def test_what_is_no_time_is_answered_with_one(text):
    """The error shows what would have worked."""
    with pytest.raises(click.BadParameter, match="such as 30d"):
        seconds_of(text)


@pytest.mark.parametrize("text", ["", "10", "GB", "-1GB", "10 gigabytes"])
def test_what_is_no_size_is_answered_with_one(text):
    """The error shows what would have worked."""
    with pytest.raises(click.BadParameter, match="such as 10GB"):
        bytes_of(text)


def test_cleaning_shows_what_goes_and_a_dry_run_changes_nothing(home):
    """The table has kinds, counts and bytes; only without --dry-run anything is gone."""
    folder = home.artifacts / "outcomes" / ("a" * 64)
    with new_folder(folder, "outcome") as staging:
        (staging / "data").write_bytes(b"x" * 2_000_000)
    for path in [*folder.rglob("*"), folder]:
        os.utime(path, (time.time() - 90 * 86_400,) * 2)

    dry = CliRunner().invoke(cli.app, ["clean", "--dry-run"])
    assert "unneeded outcomes" in dry.output
    assert "2.0 MB" in dry.output
    assert "90 to 90 days ago" in dry.output
    assert "would be removed; nothing was changed" in dry.output
    assert folder.exists()
    assert "Nothing to remove" in CliRunner().invoke(cli.app, ["clean", "--older-than", "20w"]).output

    wet = CliRunner().invoke(cli.app, ["clean"])
    assert "2.0 MB: removed." in wet.output
    assert not folder.exists()


def test_nothing_to_send_is_said(home):
    """A home in which nothing waits is no error."""
    assert CliRunner().invoke(cli.app, ["sync"]).output.strip() == "Nothing waits."


def test_what_still_waits_fails_with_its_reason(home, monkeypatch, capsys):
    """A store that is away is named, the exit is an error, and what waits is kept."""
    from resources.run_record import StudyCard
    from resources.waiting import Waiting, keep, waiting_of

    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    card = StudyCard("gone", "", "x.csv", "gone", "http://me:sesame@127.0.0.1:9", None)
    keep(Waiting("row", card, "5" * 64, 1, "lora", 0, "a" * 64), home)

    with pytest.raises(TunewiseError, match=r"Not all could be sent\. What waits is kept"):
        upkeep.send_waiting(home, "gone")
    said = "".join(capsys.readouterr())
    assert "gone: 1 still wait" in said
    assert "sesame" not in said
    assert len(waiting_of(home, "gone")) == 1


def test_a_study_that_is_not_known_is_named(home):
    """A name that neither a file nor anything waiting has is an error, and no path is followed."""
    with pytest.raises(StudyError, match="no_such_study"):
        upkeep.send_waiting(home, "no_such_study")


def test_the_waiting_line_stands_below_a_run(home, tmp_path, monkeypatch):
    """A run whose store is away ends with what waits, and with exit code 0."""
    from tunewise.toy_study import write_toy_study

    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    path = write_toy_study(tmp_path / "toy", ["majority"], tracking={"uri": "http://127.0.0.1:9"})
    done = CliRunner().invoke(cli.app, ["run", str(path)])
    monkeypatch.delenv("DAGSTER_HOME", raising=False)

    assert done.exit_code == 0, done.output
    # The page and the one outcome.
    assert len(list((home.study("toy") / "unsent").glob("*.json"))) == 2
    assert all(json.loads(file.read_text()) for file in (home.study("toy") / "unsent").glob("*.json"))
