"""The row cache: features of texts in immutable Parquet files, on a local disk or any fsspec path.

A file holds the rows of one computation and is never changed: writers only add files, so any number of
processes may share a folder. A folder holds one *space*, all features that one backbone, precision and code
determine. A file that is cut or altered is set aside, and its rows are computed again.
"""

from __future__ import annotations

import hashlib
import io
import json
import time
import uuid
import warnings
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.implementations.local import LocalFileSystem

from tunewise.artifacts import write_atomically
from tunewise.errors import ArtifactError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tunewise.contracts import Matrix, Text

KEY_BYTES = 16
SUFFIX = ".parquet"
SET_ASIDE = ".corrupt"
_METADATA = b"tunewise"
_DAMAGES = (OSError, ValueError, KeyError, TypeError, pa.ArrowException)
"""What reading a cut or altered file raises."""


class RowCache:
    """Features by the hash of their text, within one space."""

    def __init__(self, root: Any, space: str) -> None:
        """Name the folder; nothing is created.

        Args:
            root: A path (text or `Path`), an address such as ``s3://bucket/folder``, or a UPath.
            space: Name of what determines a feature besides the text.
        """
        if hasattr(root, "fs"):
            filesystem, path = root.fs, root.path
        else:
            filesystem, path = fsspec.url_to_fs(str(root))
        self._filesystem = cast("fsspec.AbstractFileSystem", filesystem)
        self._folder = f"{str(path).rstrip('/')}/{space}"
        self._space = space

    def find(self, keys: Iterable[bytes]) -> dict[bytes, np.ndarray]:
        """Return the stored features by key; keys that are not there are left out.

        Where two files hold a key, the elder answers, so that a row never changes once it was read.

        Shapes:
            each feature: (d,), float32
        """
        wanted, found = set(keys), {}
        for path in self._files() if wanted else ():
            rows = self._read(path, wanted)
            found |= rows
            wanted -= rows.keys()
            if not wanted:
                break
        return found

    def add(self, keys: Sequence[bytes], features: Matrix) -> None:
        """Store features as one new file, whole or not at all.

        Shapes:
            features (n, d), one row per key

        Raises:
            ArtifactError: If the file cannot be written.
        """
        path = f"{self._folder}/{time.time_ns():020}-{uuid.uuid4().hex}{SUFFIX}"
        try:
            self._write(path, _to_parquet(keys, features, self._space))
        except OSError as error:
            raise ArtifactError(
                f"{len(keys)} features cannot be stored in {self._folder}: {error}. "
                "What was stored before stands. Make room, or choose another place by TUNEWISE_HOME, and start again."
            ) from error

    def _files(self) -> list[str]:
        self._filesystem.invalidate_cache(self._folder)
        try:
            listed = self._filesystem.ls(self._folder, detail=False)
        except FileNotFoundError:
            return []
        return sorted(path for path in listed if path.endswith(SUFFIX))

    def _write(self, path: str, data: bytes) -> None:
        if isinstance(self._filesystem, LocalFileSystem):
            write_atomically(Path(path), data)
            return
        self._filesystem.makedirs(self._folder, exist_ok=True)
        self._filesystem.pipe_file(f"{path}.part", data)
        self._filesystem.mv(f"{path}.part", path)

    def _read(self, path: str, wanted: set[bytes]) -> dict[bytes, np.ndarray]:
        try:
            with self._filesystem.open(path, "rb") as file:
                return _from_parquet(cast("BinaryIO", file), wanted, self._space)
        except FileNotFoundError:
            return {}  # another process has set it aside
        except _DAMAGES:
            return self._read_again(path, wanted)

    def _read_again(self, path: str, wanted: set[bytes]) -> dict[bytes, np.ndarray]:
        """Tell a file that is damaged from one that did not arrive: the second raises here, and stays."""
        data = self._filesystem.cat_file(path)
        try:
            return _from_parquet(io.BytesIO(cast("bytes", data)), wanted, self._space)
        except _DAMAGES as error:
            with suppress(FileNotFoundError):
                self._filesystem.mv(path, f"{path}{SET_ASIDE}")
            warnings.warn(
                f"{path} is cut or altered ({str(error).strip()}). "
                f"It was set aside as *{SET_ASIDE}, and its features are computed again.",
                RuntimeWarning,
                stacklevel=2,
            )
            return {}


def key_of(text: Text) -> bytes:
    """Return the hash of a text or a pair; a pair never has the key of a single text."""
    digest = hashlib.blake2b(digest_size=KEY_BYTES)
    for part in (text,) if isinstance(text, str) else text:
        data = part.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.digest()


def _to_parquet(keys: Sequence[bytes], features: Matrix, space: str) -> bytes:
    features = np.ascontiguousarray(features, dtype=np.float32)
    n_rows, width = features.shape
    facts = {
        "space": space,
        "n_rows": n_rows,
        "width": width,
        "keys_sha256": _sha256(b"".join(keys)),
        "features_sha256": _sha256(features.data),
    }
    # pa.array and to_numpy would import pandas first, which takes longer than all the rest.
    values = pa.Array.from_buffers(pa.float32(), features.size, [None, pa.py_buffer(features)])
    table = pa.table(
        {
            "key": pa.Array.from_buffers(pa.binary(KEY_BYTES), n_rows, [None, pa.py_buffer(b"".join(keys))]),
            "vector": pa.FixedSizeListArray.from_arrays(values, width),
        }
    ).replace_schema_metadata({_METADATA: json.dumps(facts).encode()})
    stream = io.BytesIO()
    pq.write_table(table, stream, compression="none", use_dictionary=False, write_statistics=False, write_page_checksum=True)
    return stream.getvalue()


def _from_parquet(file: BinaryIO, wanted: set[bytes], space: str) -> dict[bytes, np.ndarray]:
    """Return the wanted rows; the features are read only where there is one.

    Raises:
        ValueError: If the file does not hold what was written; Parquet's own errors besides.
    """
    with pq.ParquetFile(file, page_checksum_verification=True) as parquet:
        facts = json.loads(parquet.schema_arrow.metadata[_METADATA])
        keys = cast("list[bytes]", parquet.read(columns=["key"], use_threads=False).column("key").to_pylist())
        if facts["space"] != space or len(keys) != facts["n_rows"] or _sha256(b"".join(keys)) != facts["keys_sha256"]:
            raise ValueError("its keys are not those that were written")
        rows = {key: i for i, key in enumerate(keys) if key in wanted}
        if not rows:
            return {}
        vectors = parquet.read(columns=["vector"], use_threads=False).column("vector").combine_chunks()
    features = np.from_dlpack(vectors.flatten()).reshape(facts["n_rows"], facts["width"])
    if _sha256(features.data) != facts["features_sha256"]:
        raise ValueError("its features are not those that were written")
    return {key: features[i] for key, i in rows.items()}


def _sha256(data: bytes | memoryview) -> str:
    return hashlib.sha256(data).hexdigest()
