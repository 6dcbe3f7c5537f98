"""A lease names its devices to CUDA before CUDA starts, and belongs to the process."""

import os
import sys
from types import SimpleNamespace

import pytest

from tunewise import leases
from tunewise.capacity import GPUS_ENV, VISIBLE_ENV, Gpu
from tunewise.errors import FitError, StudyError
from tunewise.leases import _OfThisProcess, expect_gpus, hold_gpus, release_gpus, take
from tunewise.study import Compute

TWO = (Gpu("0", "0"), Gpu("1", "1"))


@pytest.fixture(autouse=True)
def process(monkeypatch):
    """A process that holds nothing, on a machine with two GPUs, and never had CUDA started."""
    monkeypatch.setattr(leases, "_process", _OfThisProcess())
    monkeypatch.setenv(GPUS_ENV, "0:80,1:80")
    monkeypatch.delenv(VISIBLE_ENV, raising=False)
    yield
    release_gpus()


@pytest.fixture
def cuda(monkeypatch):
    """A torch whose CUDA can be started, or was started before a fork."""
    state = SimpleNamespace(has_started=False, is_bad_fork=False)
    torch = SimpleNamespace(
        cuda=SimpleNamespace(is_initialized=lambda: state.has_started, _is_in_bad_fork=lambda: state.is_bad_fork)
    )
    monkeypatch.setitem(sys.modules, "torch", torch)
    return state


def hold(home, **compute):
    """Return the tokens of what this process holds for a fit."""
    return [gpu.token for gpu in hold_gpus(Compute(**compute), home=home, holder="toy/lora")]


def test_what_is_leased_is_named_to_cuda_and_given_back(home):
    """The variable holds the devices meanwhile, and is as it was afterwards."""
    assert hold(home, gpus=2) == ["0", "1"]
    assert os.environ[VISIBLE_ENV] == "0,1"
    release_gpus()
    assert VISIBLE_ENV not in os.environ


def test_what_the_user_set_is_respected(home, monkeypatch):
    """Only devices that the variable leaves are leased, under the names that it has; it stands again afterwards."""
    monkeypatch.setenv(VISIBLE_ENV, "1")

    assert hold(home, gpus=1) == ["1"]
    release_gpus()
    assert os.environ[VISIBLE_ENV] == "1"
    with pytest.raises(StudyError, match=r"compute.gpus=2 was given and this process may use 1"):
        hold(home, gpus=2)


def test_a_study_that_says_nothing_of_gpus_takes_one(home):
    """One that says 0 takes none."""
    assert hold(home) == ["0"]
    assert hold(home, gpus=0) == []


def test_what_is_held_serves_again(home):
    """Variants of one process take turns on its devices; one that needs more gets more, as long as CUDA has not started."""
    assert hold(home, gpus=1) == ["0"]
    assert hold(home, gpus=1) == ["0"]
    assert hold(home, gpus=2) == ["0", "1"]
    assert hold(home, gpus=1) == ["0", "1"]


def test_the_first_takes_enough_for_those_that_are_expected(home):
    """A run in one process is bound to the devices it starts with."""
    expect_gpus(2)

    assert hold(home, gpus=1) == ["0", "1"]


def test_once_cuda_has_started_the_devices_stand(home, cuda):
    """A fit that needs more is refused with the way out, and giving back does not unname what CUDA is bound to."""
    hold(home, gpus=1)
    cuda.has_started = True

    assert hold(home, gpus=1) == ["0"]
    with pytest.raises(FitError, match=r"toy/lora asks for 2 GPUs and CUDA has started in this process with 1.*tunewise launch"):
        hold(home, gpus=2)
    release_gpus()
    assert os.environ[VISIBLE_ENV] == "0"
    assert hold(home, gpus=1) == ["0"]


def test_where_torch_is_on_the_first_device_that_one_is_leased(home, cuda):
    """A notebook that used CUDA before has its device leased, even where another is free; it waits for it if it must."""
    cuda.has_started = True
    other = take(1, TWO[:1], folder=home.root / "elsewhere", holder="none", waiting=pytest.fail)

    assert hold(home, gpus=1) == ["0"]
    assert VISIBLE_ENV not in os.environ
    other.release()


def test_a_process_forked_from_one_with_cuda_is_refused(home, cuda):
    """CUDA fails there with a message of its own that nobody understands."""
    cuda.is_bad_fork = True
    with pytest.raises(FitError, match="forked from one that had started CUDA"):
        hold(home, gpus=1)


def test_the_cpu_is_taken_only_where_the_study_allows_it(home):
    """The devices that are too few are hidden then, so that the fit is not measured on them."""
    with pytest.raises(StudyError, match=r"compute.gpus=3 .* may use 2"):
        hold(home, gpus=3)

    assert hold(home, gpus=3, cpu_fallback=True) == []
    assert os.environ[VISIBLE_ENV] == ""
    assert hold(home, gpus=1) == ["0"]


def test_one_who_waits_is_told_for_whom(home, monkeypatch):
    """The message names device, process and fit; the lease comes when the holder gives it back."""
    said = []
    folder = home.root / "leases"
    first = take(2, TWO, folder=folder, holder="toy/all_layers", waiting=pytest.fail)

    def sleep(seconds):
        if len(said) == 1:
            first.release()

    monkeypatch.setattr(leases.time, "sleep", sleep)
    second = take(1, TWO, folder=folder, holder="toy/lora", waiting=said.append)

    assert second.gpus == TWO[:1]
    assert said == [
        (
            f"waiting for 1 of 2 GPUs: 0 is held by process {os.getpid()} (toy/all_layers); "
            f"1 is held by process {os.getpid()} (toy/all_layers)"
        )
    ]
    second.release()


def test_an_attempt_gets_all_or_none(home, monkeypatch):
    """Who waits for two holds none meanwhile, so that a fit which needs one can run."""
    folder = home.root / "leases"
    first = take(1, TWO, folder=folder, holder="a", waiting=pytest.fail)
    between = []

    def sleep(seconds):
        if not between:
            between.append(take(1, TWO, folder=folder, holder="b", waiting=pytest.fail))
        else:
            first.release()
            between[0].release()

    monkeypatch.setattr(leases.time, "sleep", sleep)
    both = take(2, TWO, folder=folder, holder="c", waiting=lambda _: None)

    assert [gpu.token for gpu in between[0].gpus] == ["1"]
    assert both.gpus == TWO
    both.release()


def test_a_note_that_is_no_note_stops_nobody(home, monkeypatch):
    """What a killed process left half written, or another version wrote, is passed over."""
    folder = home.root / "leases"
    first = take(1, TWO[:1], folder=folder, holder="a", waiting=pytest.fail)
    (folder / "0.json").write_text("{")
    said = []
    monkeypatch.setattr(leases.time, "sleep", lambda _: first.release())
    take(1, TWO[:1], folder=folder, holder="b", waiting=said.append).release()

    assert said == ["waiting for 1 of 1 GPUs: 0 is held by another process"]
