"""One process at a time works on a key; the others wait and say so, or turn to something else."""

import threading

import pytest

from tunewise.claims import claimed
from tunewise.errors import BusyError


def test_who_waits_says_for_what_and_is_served(home):
    """The second block starts when the first ends; its progress says that another process is waited for, and then no more."""
    order, said, is_held = [], [], threading.Event()

    def first():
        with claimed("key", home):
            is_held.set()
            for _ in range(100):
                if said:
                    break
                threading.Event().wait(0.02)
            order.append("first")

    thread = threading.Thread(target=first)
    thread.start()
    is_held.wait()
    with claimed("key", home, what="lora, seed 1", progress=lambda *one: said.append(one)):
        order.append("second")
    thread.join()

    assert order == ["first", "second"]
    assert said == [("lora, seed 1: waiting for another process", 0, 1), ("lora, seed 1: waiting for another process", 1, 1)]


def test_who_does_not_wait_is_told(home):
    """The error names the work; another key is free, and the first is when it is given back."""
    with claimed("key", home):
        said = "Another process is at work on lora; its result can be read when it is done"
        with pytest.raises(BusyError, match=said), claimed("key", home, what="lora", waits=False):
            pass
        with claimed("other", home, waits=False):
            pass
    with claimed("key", home, waits=False):
        pass


def test_an_error_gives_the_claim_back(home):
    """What failed here may be tried elsewhere."""
    with pytest.raises(ZeroDivisionError), claimed("key", home):
        _ = 1 / 0
    with claimed("key", home, waits=False):
        pass
