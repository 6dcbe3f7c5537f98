"""Tokens without padding, and batches of about equal work."""

import numpy as np
import pytest

from tunewise.backbones.loading import load_tokenizer
from tunewise.embeddings.tokens import plan, tokenize
from tunewise.rng import Rng
from tunewise.testing import encode, tiny_decoder, tiny_encoder, toy_split


def test_plan_on_five_rows():
    """Budget 8: two rows of 4 fill a batch, then three of at most 2; a row above the budget stands alone."""
    batches = plan(np.array([2, 4, 1, 4, 2, 9]), 8)

    assert [batch.tolist() for batch in batches] == [[5], [1, 3], [0, 4, 2]]


def test_a_plan_holds_every_row_once_within_the_budget():
    """Padded to its longest row no batch exceeds the budget, unless it is one row; lengths never rise."""
    lengths = Rng(0).numpy().integers(1, 70, size=500)
    batches = plan(lengths, 64)
    order = np.concatenate(batches)

    assert sorted(order.tolist()) == list(range(500))
    assert (np.diff(lengths[order]) <= 0).all()
    assert all(len(batch) == 1 or len(batch) * lengths[batch].max() <= 64 for batch in batches)
    assert len(batches) < 500


@pytest.mark.parametrize("pairs", [False, True])
def test_tokens_are_those_of_the_tokenizers_own_call(tmp_path, pairs):
    """Numbers, segments of pairs and the cut at the limit are what a padded call gives, padding left out."""
    tokenizer = load_tokenizer(tiny_encoder(tmp_path))
    tokenizer.model_max_length = 9
    tokenizer.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]
    texts = toy_split(20, pairs=pairs).train.texts
    tokens = tokenize(tokenizer, texts)
    batch = encode(tokenizer, texts)

    assert tokens.lengths.tolist() == batch["attention_mask"].sum(1).tolist()
    assert tokens.lengths.max() == 9
    for row in range(len(texts)):
        n = tokens.lengths[row]
        assert tokens.ids[row].tolist() == batch["input_ids"][row, :n].tolist()
        assert tokens.segments[row].tolist() == batch["token_type_ids"][row, :n].tolist()
    assert any(row.any() for row in tokens.segments) == pairs


def test_an_empty_text_keeps_one_token(tmp_path):
    """Where no special token is added, nothing at all would be left to take a feature of."""
    tokenizer = load_tokenizer(tiny_decoder(tmp_path))

    assert tokenize(tokenizer, ["", "baba"]).ids[0].tolist() == [tokenizer.pad_token_id]
