"""Two machines share a bucket of a real S3 server; a writer that is killed in it leaves nothing that is taken for whole."""

import signal
import subprocess
import sys
import time
import uuid

import numpy as np
import pytest

from tunewise.artifacts import is_whole, new_folder
from tunewise.embeddings.cache import RowCache, key_of
from tunewise.errors import ArtifactError
from tunewise.home import Home
from tunewise.object_store import PLACE_ENV, ObjectStore
from tunewise.steps import Workplace, fit_variant, prepare_dataset, split_dataset
from tunewise.study_file import read_study
from tunewise.toy_study import write_toy_study

NAME = "outcomes/" + "a" * 64
PUSH = """
import sys
from pathlib import Path
from tunewise import object_store
from tunewise.object_store import ObjectStore

files, _ = object_store._open(sys.argv[1])
put, left = files.put_file, [int(sys.argv[4])]

def wait_between(*arguments, **options):
    if left[0] == 0:
        print("between", flush=True)
        sys.stdin.read()
    left[0] -= 1
    return put(*arguments, **options)

def wait_before_the_manifest(*arguments):
    print("between", flush=True)
    sys.stdin.read()

files.put_file, object_store._write_at_once = wait_between, wait_before_the_manifest
ObjectStore(sys.argv[1]).push(Path(sys.argv[2]), sys.argv[3])
"""


@pytest.fixture(scope="module")
def server():
    """The address of moto's S3 server on the loopback address."""
    moto = pytest.importorskip("moto.server")
    running = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    yield f"http://127.0.0.1:{running.get_host_and_port()[1]}"
    running.stop()


@pytest.fixture
def bucket(server, monkeypatch):
    """The address of an empty bucket."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "me")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "sesame")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    import s3fs

    # Instances are kept by their options, to which the variables above do not belong.
    s3fs.S3FileSystem.clear_instance_cache()
    name = f"bucket-{uuid.uuid4().hex}"
    s3fs.S3FileSystem(skip_instance_cache=True).mkdir(name)
    return f"s3://{name}/team"


@pytest.mark.parametrize("n_files", [0, 1, 2, 3], ids=["before any", "after one", "after two", "before the manifest"])
def test_a_writer_killed_between_files_leaves_nothing_whole(bucket, home, tmp_path, n_files):
    """`SIGKILL` after 0, 1, 2 or all 3 files: no reader takes it for whole, and another writer's folder is read right."""
    folder = home.artifacts / NAME
    with new_folder(folder, "outcome") as staging:
        for name in ("a.json", "b.parquet", "c.safetensors"):
            (staging / name).write_bytes(name.encode() * 100)
    command = [sys.executable, "-c", PUSH, bucket, str(folder), NAME, str(n_files)]
    writer = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert writer.stdout.readline() == b"between\n"
    finally:
        writer.send_signal(signal.SIGKILL)
        writer.communicate(timeout=20)
    store = ObjectStore(bucket)

    assert writer.returncode == -signal.SIGKILL
    assert not store.pull(NAME, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()
    store.push(folder, NAME)
    assert store.pull(NAME, tmp_path / "copy")
    assert is_whole(tmp_path / "copy")


def test_a_second_machine_reuses_the_outcome(bucket, tmp_path, monkeypatch):
    """Another home with the same bucket has every fit at once, and never trains."""
    monkeypatch.setenv(PLACE_ENV, bucket)
    study = read_study(write_toy_study(tmp_path / "toy", ["tfidf_logistic"]))

    def fits(name):
        place = Workplace(study, tmp_path / "toy", Home(tmp_path / name))
        split = split_dataset(place, prepare_dataset(place))
        return fit_variant(place, study.variant("tfidf_logistic"), split, None)

    (made,) = fits("one").rows
    monkeypatch.setattr("tunewise.trials.fit_once", _must_not)
    (found,) = fits("two").rows

    assert (made.is_reused, found.is_reused) == (False, True)
    assert found.outcome.key == made.outcome.key
    assert found.outcome.folder.is_relative_to(tmp_path / "two")
    assert np.array_equal(found.outcome.test.answers.probabilities, made.outcome.test.answers.probabilities)


def test_the_row_cache_works_in_a_bucket(bucket):
    """Features that one process put there another finds bit for bit; a key that is not there is left out."""
    keys = [key_of(text) for text in ("a", "b", "c")]
    features = np.arange(6, dtype=np.float32).reshape(3, 2)
    RowCache(bucket, "space").add(keys, features)
    reader = "import sys\nfrom tunewise.embeddings.cache import RowCache, key_of\n"
    reader += "print({key.hex(): row.tolist() for key, row in RowCache(sys.argv[1], 'space').find(map(key_of, 'cax')).items()})"
    said = subprocess.run([sys.executable, "-c", reader, bucket], check=True, capture_output=True, text=True, timeout=60).stdout

    assert said.strip() in {
        str({keys[2].hex(): [4.0, 5.0], keys[0].hex(): [0.0, 1.0]}),
        str({keys[0].hex(): [0.0, 1.0], keys[2].hex(): [4.0, 5.0]}),
    }


def test_a_bucket_that_is_not_there_is_named(bucket, home):
    """Neither library's stack is shown, but the variable, the address and what to look at."""
    with pytest.raises(ArtifactError, match=r"TUNEWISE_ARTIFACTS=s3://no-such-bucket/x cannot be used"):
        ObjectStore("s3://no-such-bucket/x").push(_folder(home), NAME)


def test_a_server_that_is_not_there_is_named_in_seconds(bucket, home, monkeypatch):
    """The libraries' own patience is cut, so that a fit's record does not wait for minutes."""
    import s3fs

    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    s3fs.S3FileSystem.clear_instance_cache()
    began = time.monotonic()
    with pytest.raises(ArtifactError, match="cannot be used"):
        ObjectStore(f"{bucket}/elsewhere").push(_folder(home), NAME)
    assert time.monotonic() - began < 30


def _folder(home):
    folder = home.artifacts / NAME
    with new_folder(folder, "outcome") as staging:
        (staging / "a").write_bytes(b"a")
    return folder


def _must_not(*_, **__):
    raise AssertionError("it was fitted again")
