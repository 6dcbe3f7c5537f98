"""Features that are computed once."""

import json
import shutil
import subprocess
import sys
from dataclasses import asdict, replace

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tunewise.contracts import Device
from tunewise.embeddings import embedder as module
from tunewise.embeddings.cache import RowCache
from tunewise.embeddings.embedder import Embedder, space_of
from tunewise.errors import BackboneError
from tunewise.testing import plain_embed, tiny_encoder, toy_split

CPU = Device("cpu", "float32", 1)
TEXTS = toy_split(500).train.texts


@pytest.fixture
def backbone(tmp_path):
    """A tiny encoder."""
    return tiny_encoder(tmp_path / "tiny")


@pytest.fixture
def cache(tmp_path, backbone):
    """Its rows."""
    return RowCache(tmp_path / "rows", space_of(backbone, CPU))


def test_features_are_the_backbones_and_stay_bit_equal(backbone, cache):
    """The first call computes what one plain batch gives; later ones, in any order and company, return its bits."""
    first = Embedder(backbone, CPU, cache)(TEXTS)
    np.testing.assert_allclose(first, plain_embed(backbone)(TEXTS), rtol=0, atol=1e-5)
    assert first.dtype == np.float32

    later = Embedder(backbone, CPU, cache)
    assert np.array_equal(later(TEXTS[::-1]), first[::-1])
    assert (later.last.n_reused, later.last.n_computed, later.last.n_tokens) == (300, 0, 0)


def test_appended_texts_alone_are_computed(backbone, cache):
    """Three new texts in a table of 300 cost three, whatever their place."""
    embedder = Embedder(backbone, CPU, cache)
    embedder(TEXTS[:297])
    embedder([TEXTS[297], *TEXTS[:297], *TEXTS[298:]])

    assert (embedder.last.n_reused, embedder.last.n_computed) == (297, 3)
    assert embedder.last.n_tokens == sum(len(text.split()) + 2 for text in TEXTS[297:])
    assert embedder.last.seconds > 0


def test_equal_texts_are_computed_once(backbone):
    """Also without a cache; their rows are the same bits."""
    embedder = Embedder(backbone, CPU)
    rows = embedder([TEXTS[0], TEXTS[1], TEXTS[0], (TEXTS[0], TEXTS[1]), TEXTS[0]])

    assert (embedder.last.n_reused, embedder.last.n_computed) == (2, 3)
    assert np.array_equal(rows[0], rows[2])
    assert np.array_equal(rows[0], rows[4])
    assert not np.array_equal(rows[0], rows[3])


def test_no_text_gives_no_row(backbone, cache):
    """An empty call has the width of the backbone and loads nothing."""
    embedder = Embedder(backbone, CPU, cache)

    assert embedder([]).shape == embedder.uncached([]).shape == (0, 32)
    assert "_engine" not in vars(embedder)


def test_uncached_neither_reads_nor_writes(backbone, cache):
    """It computes stored texts anew and stores no new ones."""
    embedder = Embedder(backbone, CPU, cache)
    stored = embedder(TEXTS[:5])
    anew = embedder.uncached(TEXTS[:10])

    assert embedder.last.n_computed == 10
    np.testing.assert_allclose(anew[:5], stored, rtol=0, atol=1e-6)
    embedder(TEXTS[:10])
    assert embedder.last.n_computed == 5


def test_an_interrupted_call_keeps_what_is_done(backbone, cache, monkeypatch):
    """With chunks of 100, an interrupt within the third leaves 200 rows for the next call."""
    monkeypatch.setattr(module, "CHUNK", 100)

    def interrupt(stage, done, total):
        if done > 200:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Embedder(backbone, CPU, cache, interrupt)(TEXTS)
    again = Embedder(backbone, CPU, cache)
    again(TEXTS)
    assert (again.last.n_reused, again.last.n_computed) == (200, 100)


def test_progress_runs_from_nothing_to_all(backbone, cache, monkeypatch):
    """Each call names the backbone and the texts to compute; the count never falls, across chunks too."""
    monkeypatch.setattr(module, "CHUNK", 100)
    seen = []
    embedder = Embedder(backbone, CPU, cache, lambda *step: seen.append(step))
    embedder(TEXTS[:50])
    seen.clear()
    embedder(TEXTS)

    assert {(stage, total) for stage, _, total in seen} == {("embedding with tiny_bert", 250)}
    done = [count for _, count, _ in seen]
    assert done == sorted(done)
    assert (done[0], done[-1]) == (0, 250)


_FULLY_CACHED = """
import json, sys
from pathlib import Path
from tunewise.contracts import Backbone, Device
from tunewise.embeddings.cache import RowCache
from tunewise.embeddings.embedder import Embedder, space_of
backbone = Backbone(**{**json.loads(sys.argv[1]), "folder": Path("/nowhere")})
device = Device("cpu", "float32", 1)
embedder = Embedder(backbone, device, RowCache(sys.argv[2], space_of(backbone, device)))
assert embedder(json.loads(sys.argv[3])).shape == (20, 32)
assert embedder.last.n_computed == 0
print(sorted({"torch", "transformers", "tokenizers", "pandas"} & sys.modules.keys()))
"""


def test_a_call_that_finds_all_rows_loads_no_model(backbone, cache, tmp_path):
    """In a new process it needs neither torch nor the model's folder, which is gone."""
    Embedder(backbone, CPU, cache)(TEXTS[:20])
    shutil.rmtree(backbone.folder)
    facts = json.dumps({**asdict(backbone), "folder": ""})
    command = [sys.executable, "-c", _FULLY_CACHED, facts, str(tmp_path / "rows"), json.dumps(TEXTS[:20])]

    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip() == "[]"


def test_a_damaged_file_costs_its_rows_and_no_more(backbone, cache, tmp_path):
    """Its texts are computed again, and the features are what they were."""
    embedder = Embedder(backbone, CPU, cache)
    first = embedder(TEXTS[:100])
    embedder(TEXTS)
    path = min((tmp_path / "rows").rglob("*.parquet"))
    path.write_bytes(path.read_bytes()[:-100])

    with pytest.warns(RuntimeWarning, match="set aside"):
        again = embedder(TEXTS)
    assert (embedder.last.n_reused, embedder.last.n_computed) == (200, 100)
    np.testing.assert_allclose(again[:100], first, rtol=0, atol=1e-6)
    embedder(TEXTS)
    assert embedder.last.n_computed == 0


def test_what_determines_a_feature_names_the_space(backbone, monkeypatch):
    """Weights, tokenizer, pooling, limit, precision and the engine's code do; the thread count and the name do not."""
    space = space_of(backbone, CPU)
    others = [
        replace(backbone, **change)
        for change in ({"weights_sha256": "0"}, {"tokenizer_sha256": "0"}, {"pooling": "cls"}, {"max_tokens": 8})
    ]
    spaces = [*(space_of(other, CPU) for other in others), space_of(backbone, Device("cpu", "bfloat16", 1))]
    assert len({space, *spaces}) == 6

    assert space_of(replace(backbone, name="x"), Device("cpu", "float32", 8)) == space
    monkeypatch.setattr(module, "code_sha256", lambda *_: "other code")
    assert space_of(backbone, CPU) != space


def test_features_that_are_not_finite_are_refused_and_not_stored(backbone, cache, tmp_path):
    """A weight of NaN reaches every feature; the error names backbone and precision, and the cache stays empty."""
    path = backbone.folder / "model.safetensors"
    weights = load_file(path)
    next(value for name, value in weights.items() if name.endswith("LayerNorm.bias"))[:] = np.nan
    save_file(weights, path, {"format": "pt"})

    with pytest.raises(BackboneError, match=r"tiny_bert gives features that are not finite in float32.*Use"):
        Embedder(backbone, CPU, cache)(TEXTS[:3])
    assert not list((tmp_path / "rows").rglob("*.parquet"))
