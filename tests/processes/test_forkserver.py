"""Steps of the pages and schedules: forked from a process that imported torch and never started CUDA, rightly set."""

import json
import os
import subprocess
import sys

import pytest

from pipelines.executors import PRELOADED, _one_by_one
from pipelines.launch import ALLOCATOR

STEP = """
import json, multiprocessing, os, sys

def step(queue):
    known = {name: name in sys.modules for name in ("torch", "transformers", "pipelines.definitions")}
    import torch
    variables = dict(pair.split("=", 1) for pair in open("/proc/self/environ").read().split("\\0") if "=" in pair)
    queue.put({
        "known": known,
        "is_bad_fork": torch.cuda._is_in_bad_fork(),
        "has_started": torch.cuda.is_initialized(),
        "environment": variables,
    })

if __name__ == "__main__":
    from pipelines.definitions import defs
    defs()
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(json.loads(sys.argv[1]))
    queue = context.Queue()
    process = context.Process(target=step, args=(queue,))
    process.start()
    print(json.dumps(queue.get(timeout=60)))
    process.join()
"""

WATCHED = """
import json, torch
asked = []
for name in ("_lazy_init", "is_available", "device_count", "init", "current_device", "get_device_properties"):
    def watched(*given, _name=name, _whole=getattr(torch.cuda, name), **named):
        asked.append(_name)
        return _whole(*given, **named)
    setattr(torch.cuda, name, watched)
import importlib
for module in json.loads(__import__("sys").argv[1]):
    importlib.import_module(module)
importlib.import_module("pipelines.definitions").defs()
print(json.dumps([asked, torch.cuda.is_initialized()]))
"""


@pytest.fixture
def script(tmp_path, home):
    """Run a script as a program of its own, as Dagster's code server is, and return what it printed as JSON."""

    def _script(code, **variables):
        (tmp_path / "program.py").write_text(code)
        plain = {name: value for name, value in os.environ.items() if name not in {*ALLOCATOR, "PYTORCH_NVML_BASED_CUDA_CHECK"}}
        command = [sys.executable, str(tmp_path / "program.py"), json.dumps(PRELOADED)]
        done = subprocess.run(command, env=plain | variables, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return _script


def test_a_step_finds_torch_imported_and_its_variables_set(script):
    """Although nobody launched the code server rightly: what it starts is, by the environment the kernel gave the process."""
    found = script(STEP)

    assert found["known"] == {"torch": True, "transformers": True, "pipelines.definitions": True}
    assert ALLOCATOR.items() <= found["environment"].items()
    assert found["environment"]["OMP_NUM_THREADS"]
    assert found["environment"]["PYTORCH_NVML_BASED_CUDA_CHECK"] == "1"
    assert (found["is_bad_fork"], found["has_started"]) == (False, False)


def test_what_is_preloaded_asks_nothing_of_cuda(script):
    """Not even whether there is a GPU: on a machine with one the question can start it."""
    asked, has_started = script(WATCHED)

    assert (asked, has_started) == ([], False)


def test_the_executor_preloads_it():
    """What is tried here is what Dagster is told."""
    assert _one_by_one({"max_concurrent": 1})["start_method"] == {"forkserver": {"preload_modules": list(PRELOADED)}}
