"""Assets hand on references as JSON; a reference leads to a whole folder or to a sentence."""

import dagster as dg
import pytest

from resources.artifact_store import References
from tunewise.artifacts import ArtifactRef, new_folder, read_folder
from tunewise.errors import ArtifactError

KEY = dg.AssetKey(["toy", "split"])


@pytest.fixture
def references(home):
    """An IO manager on a fresh home."""
    return References(root=str(home.root))


def stored(folder, text="x") -> ArtifactRef:
    """Return the reference of a folder with one file."""
    with new_folder(folder, "split") as staging:
        (staging / "file.txt").write_text(text)
    return read_folder(folder)


def hand_over(references, value):
    """Write ``value`` as the asset's and read it as the next asset would."""
    references.handle_output(dg.build_output_context(asset_key=KEY), value)
    return references.load_input(dg.build_input_context(asset_key=KEY))


def test_a_reference_comes_back_equal(references, tmp_path):
    """What is written as JSON is read as the same reference."""
    reference = stored(tmp_path / "one")

    assert hand_over(references, reference) == reference


def test_anything_else_is_refused(references):
    """An asset that returned the thing itself would have it pickled by other means; here it is told what to do."""
    with pytest.raises(TypeError, match=r"hands on an ArtifactRef, not dict: write a folder and return its reference"):
        hand_over(references, {"weights": [1.0]})


def test_what_was_never_made_is_named(references):
    """The error names the asset to materialise."""
    with pytest.raises(ArtifactError, match=r"toy/split has no stored result yet\. Materialise toy/split first"):
        references.load_input(dg.build_input_context(asset_key=KEY))


def test_a_folder_that_changed_is_not_taken_for_the_stored_one(references, tmp_path):
    """A reference holds the hash of what was written."""
    reference = stored(tmp_path / "one")
    references.handle_output(dg.build_output_context(asset_key=KEY), reference)
    (tmp_path / "one").rename(tmp_path / "old")
    stored(tmp_path / "one", "y")

    with pytest.raises(ArtifactError, match=r"is not what toy/split wrote\. Materialise toy/split again"):
        references.load_input(dg.build_input_context(asset_key=KEY))
