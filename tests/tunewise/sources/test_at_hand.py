"""What a source needs before it can be read is known without asking anybody."""

import pytest

from tunewise.artifacts import new_folder
from tunewise.errors import SourceError
from tunewise.sources import at_hand
from tunewise.sources.embedded import EMBEDDED


def test_a_path_is_at_hand_or_wrong(tmp_path, home):
    """A file that is not there will not be downloaded either."""
    (tmp_path / "texts.csv").write_text("text,label\n")

    assert at_hand("texts.csv", base=tmp_path, home=home, is_folder=False)
    with pytest.raises(SourceError, match="There is no file"):
        at_hand("text.csv", base=tmp_path, home=home, is_folder=False)


def test_an_archive_is_at_hand_once_it_was_downloaded(tmp_path, home):
    """Unpacked or not; a folder that a killed download left is none."""
    given = {"base": tmp_path, "home": home, "is_folder": True}
    assert not at_hand("archive:minilm", **given)
    found = EMBEDDED["minilm"]
    folder = home.downloads / f"{found.package}-{found.version}-{found.sha256[:12]}"
    folder.mkdir(parents=True)
    assert not at_hand("archive:minilm", **given)
    folder.rmdir()
    with new_folder(folder, "archive") as staging:
        (staging / "model.whl").write_bytes(b"")

    assert at_hand("archive:minilm", **given)


def test_a_hub_is_not_asked(tmp_path, home, monkeypatch):
    """A model counts where the library's cache holds it; a table's rows are never taken to be here."""
    monkeypatch.setattr("tunewise.sources.hub._ask", lambda *_: pytest.fail("asked"))
    monkeypatch.setattr("tunewise.sources.hub._local_copy", lambda source: tmp_path if source.revision == "here" else None)

    assert at_hand("hub:some/model@here", base=tmp_path, home=home, is_folder=True)
    assert not at_hand("hub:some/model@there", base=tmp_path, home=home, is_folder=True)
    assert not at_hand("hub:some/table@here", base=tmp_path, home=home, is_folder=False)
