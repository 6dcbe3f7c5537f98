"""Leases between real processes: freed when the holder is killed, never shared, never stuck."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from tunewise.capacity import GPUS_ENV, VISIBLE_ENV

HOLD = """
import json, sys, time
from pathlib import Path
from tunewise.home import Home
from tunewise.leases import hold_gpus, release_gpus
from tunewise.study import Compute

n, rounds, seconds, log = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), Path(sys.argv[4])
for _ in range(rounds):
    stages = []
    gpus = hold_gpus(Compute(gpus=n), home=Home.default(), holder=f"toy/of_{n}", progress=lambda stage, *_: stages.append(stage))
    with log.open("a") as file:
        got = {"at": time.monotonic(), "event": "got", "gpus": [gpu.token for gpu in gpus], "said": stages}
        file.write(json.dumps(got) + "\\n")
    time.sleep(seconds)
    with log.open("a") as file:
        file.write(json.dumps({"at": time.monotonic(), "event": "gave", "gpus": [gpu.token for gpu in gpus]}) + "\\n")
    release_gpus()
"""


@pytest.fixture
def start(tmp_path, home):
    """Start processes that take leases on fake devices, and end those that are left."""
    started = []
    environment = {name: value for name, value in os.environ.items() if name != VISIBLE_ENV}

    def _start(n, *, devices, rounds=1, seconds=60.0):
        log = tmp_path / f"{len(started)}.log"
        log.touch()
        command = [sys.executable, "-c", HOLD, str(n), str(rounds), str(seconds), str(log)]
        process = subprocess.Popen(command, env=environment | {GPUS_ENV: devices}, start_new_session=True)
        started.append(process)
        return process, log

    yield _start
    for process in started:
        process.kill()
        process.wait(10)


def events(log):
    """Return what a process noted."""
    return [json.loads(line) for line in log.read_text().splitlines()]


def wait_for(condition, seconds=30.0):
    """Wait until the condition is true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.05)


def test_a_killed_holder_leaves_its_device_free(start):
    """Who waited is told for whom, gets the device after the kill, and not before."""
    holder, held = start(1, devices="0")
    wait_for(lambda: events(held))
    _, waited = start(1, devices="0")
    time.sleep(2.5)
    assert events(waited) == []
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait(10)
    killed = time.monotonic()
    wait_for(lambda: events(waited))
    (got,) = events(waited)

    assert got["gpus"] == ["0"]
    assert got["said"][0] == f"waiting for 1 of 1 GPUs: 0 is held by process {holder.pid} (toy/of_1)"
    assert killed - 1 < got["at"] < killed + 10


def test_devices_are_never_shared_and_nobody_waits_for_ever(start):
    """Three processes that want one, two and two of two devices take turns until each had its share."""
    logs = [start(n, devices="0,1", rounds=4, seconds=0.05) for n in (1, 2, 2)]
    for process, _ in logs:
        assert process.wait(60) == 0
    everything = sorted((event for _, log in logs for event in events(log)), key=lambda event: event["at"])
    busy = set()
    for event in everything:
        if event["event"] == "got":
            assert not busy & set(event["gpus"])
            busy |= set(event["gpus"])
        else:
            busy -= set(event["gpus"])

    assert len(everything) == 2 * 3 * 4


def test_two_processes_have_two_devices(start):
    """Neither waits for the other while both are free."""
    _, one = start(1, devices="0,1")
    _, two = start(1, devices="0,1")
    wait_for(lambda: events(one) and events(two))

    assert sorted(events(one)[0]["gpus"] + events(two)[0]["gpus"]) == ["0", "1"]
