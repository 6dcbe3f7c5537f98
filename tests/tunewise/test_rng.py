"""Random numbers from named streams."""

import numpy as np
import pytest
import torch

from tunewise.rng import Rng


def test_a_stream_starts_at_its_start():
    """Asking twice gives the same numbers, in NumPy and in torch."""
    rng = Rng(7).child("dropout")
    draws = []
    for _ in range(2):
        with rng.torch():
            draws.append(torch.rand(3))

    assert np.array_equal(rng.numpy().random(3), rng.numpy().random(3))
    assert torch.equal(*draws)


def test_streams_of_other_names_and_seeds_differ():
    """Name, seed and the way down all count: a/b is neither ab nor b/a."""
    one = Rng(0)
    streams = [
        one,
        Rng(1),
        one.child("a"),
        one.child("b"),
        Rng(1).child("a"),
        one.child("a").child("b"),
        one.child("b").child("a"),
    ]
    streams += [one.child("ab"), one.child("a/b"), one.child("")]

    assert len({rng.seed for rng in streams}) == len(streams)


def test_a_childs_seed_never_changes():
    """Stored outcomes depend on this number: sha256 of ``7/split``, first four bytes, little end first."""
    import hashlib

    digest = hashlib.sha256(b"7/split").digest()
    assert Rng(7).child("split").seed == digest[0] + 256 * digest[1] + 65536 * digest[2] + 16777216 * digest[3]


def test_one_more_draw_moves_no_other_stream():
    """What one stream has drawn is nothing to another."""
    parent = Rng(3)
    expected = parent.child("b").numpy().random()
    parent.child("a").numpy().random(1000)

    assert parent.child("b").numpy().random() == expected


def test_the_global_generators_are_given_back():
    """Inside the block torch's generator is lent; after it, also after an error, it stands where it stood."""

    def draw_and_fail():
        with Rng(5).torch():
            torch.rand(100)
            Rng(5).numpy().random(100)
            raise KeyError

    torch.manual_seed(11)
    expected = torch.rand(2)
    torch.manual_seed(11)
    with pytest.raises(KeyError):
        draw_and_fail()

    assert torch.equal(torch.rand(2), expected)
