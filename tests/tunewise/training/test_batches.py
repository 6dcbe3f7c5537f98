"""Plans: every row once, equal weight, bounded tokens; and token numbers as the tokenizer gives them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunewise.backbones.loading import load_tokenizer
from tunewise.testing import tiny_decoder, tiny_encoder
from tunewise.training.batches import collate, encode, epoch_plan, passes

lengths = st.lists(st.integers(1, 300), min_size=1, max_size=200).map(np.array)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    """Return a tokenizer that marks the sides of a pair, as BERT's does."""
    found = load_tokenizer(tiny_encoder(tmp_path_factory.mktemp("tiny")))
    found.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]
    return found


@given(lengths, st.integers(1, 40), st.integers(0, 9))
def test_an_epoch_holds_every_row_once_in_batches_of_one_size(lengths, batch_size, seed):
    """No row is lost or repeated, no batch is larger than asked, and sizes differ by one at most."""
    plan = epoch_plan(lengths, batch_size, np.random.default_rng(seed))
    sizes = [len(batch) for batch in plan]

    assert sorted(np.concatenate(plan)) == list(range(len(lengths)))
    assert max(sizes) <= batch_size
    assert max(sizes) - min(sizes) <= 1
    assert len(plan) == -(-len(lengths) // batch_size)


@given(lengths, st.integers(1, 500))
def test_a_pass_holds_no_more_tokens_than_allowed(lengths, max_tokens):
    """Rows times the longest row stays within the limit; a row that alone exceeds it goes alone."""
    rows = np.arange(len(lengths))[::2]
    plan = passes(rows, lengths, max_tokens)

    assert sorted(np.concatenate(plan)) == list(rows)
    for part in plan:
        assert len(part) == 1 or len(part) * lengths[part].max() <= max_tokens


def test_passes_by_hand():
    """Sorted 1, 2, 2, 5, 9 under 6 tokens: 2 + 2 + 2 fit together, 5 and 9 go alone."""
    plan = passes(np.array([0, 1, 2, 3, 4]), np.array([5, 2, 9, 1, 2]), 6)

    assert [list(part) for part in plan] == [[3, 1, 4], [0], [2]]


def test_rows_of_similar_length_stand_together():
    """Sorting within windows leaves under 6% of the positions as padding, where shuffled batches leave over 40%."""
    rng = np.random.default_rng(0)
    lengths = rng.gamma(5, 5.4, 4000).astype(int) + 2

    def padding(plan):
        return 1 - lengths.sum() / sum(len(batch) * lengths[batch].max() for batch in plan)

    assert padding(epoch_plan(lengths, 32, rng)) < 0.06
    assert padding(np.array_split(rng.permutation(4000), 125)) > 0.4


def test_length_decides_neither_when_a_row_comes_nor_with_whom():
    """Over 200 epochs a short and a long row come at the same mean place, and a row meets many others."""
    lengths = np.arange(1, 1281)
    rng = np.random.default_rng(0)
    plans = [epoch_plan(lengths, 16, rng) for _ in range(200)]
    places = np.array([[next(i for i, batch in enumerate(plan) if row in batch) for row in (0, 640, 1279)] for plan in plans])
    company = {other for plan in plans for batch in plan if 640 in batch for other in batch}

    # 80 batches, so a place has mean 39.5 and deviation 23.1; five standard errors are 8.2.
    assert np.abs(places.mean(0) - 39.5).max() < 8.2
    assert len(company) > 60


def test_a_pair_is_marked_by_side(tokenizer):
    """Both sides stand in one row, up to the first separator on side 0, then on side 1; padding counts as side 0."""
    encoded = encode(tokenizer, [("baba", "bada bada"), ("?", "!")])
    batch = collate(encoded, np.array([1, 0]), "cpu")
    words = tokenizer.convert_ids_to_tokens(encoded.tokens.ids[0].tolist())
    first = words.index("[SEP]") + 1

    assert words.count("[SEP]") == 2
    assert batch["token_type_ids"].tolist() == [
        [0, 0, 0, 1, 1] + [0] * (len(words) - 5),
        [0] * first + [1] * (len(words) - first),
    ]


def test_padding_stands_on_the_right_and_is_masked(tokenizer):
    """Two rows of 3 and 4 tokens become a batch of 2 by 4."""
    encoded = encode(tokenizer, ["?", "? !"])
    batch = collate(encoded, np.array([0, 1]), "cpu")

    assert batch["attention_mask"].tolist() == [[1, 1, 1, 0], [1, 1, 1, 1]]
    assert batch["input_ids"][0, 3] == tokenizer.pad_token_id
    assert batch["input_ids"][1].tolist() == tokenizer("? !")["input_ids"]


def test_an_empty_text_has_one_token(tmp_path):
    """A decoder's tokenizer gives no token for it, and no model answers to nothing."""
    encoded = encode(load_tokenizer(tiny_decoder(tmp_path)), ["", "baba"])

    assert encoded.lengths[0] == 1
    assert collate(encoded, np.array([0]), "cpu")["attention_mask"].tolist() == [[1]]
