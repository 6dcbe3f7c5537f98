"""The device a fit runs on, and the facts that go with a measured cost."""

import subprocess
import sys

import pytest
import torch

from tunewise import capacity, device
from tunewise.capacity import Gpu
from tunewise.contracts import Device
from tunewise.errors import StudyError


@pytest.fixture
def cpu(monkeypatch):
    """Gives the machine another processor, without a GPU."""

    def become(**lines):
        monkeypatch.setattr(device, "_cpu_lines", lambda: {name.replace("_", " "): value for name, value in lines.items()})
        monkeypatch.setattr(device, "_has_gpu", lambda: False)
        monkeypatch.setattr(device, "n_cores", lambda: 4)

    return become


@pytest.mark.parametrize(
    ("flags", "dtype"),
    [
        ("avx2", "float32"),
        ("avx2 avx512_bf16", "bfloat16"),
        ("amx_bf16", "bfloat16"),
        ("avx512_bf16x", "float32"),
        ("", "float32"),
    ],
)
def test_bfloat16_only_where_the_processor_multiplies_it(cpu, flags, dtype):
    """Emulated bfloat16 is slower than float32, so a whole flag decides."""
    cpu(flags=flags)

    assert device.detect() == Device("cpu", dtype, 4)


def test_the_given_number_of_threads_holds(cpu):
    """Thread counts change results, so nothing is rounded in silence."""
    cpu()

    assert device.detect(3).n_threads == 3
    with pytest.raises(StudyError, match=r"n_threads=0 was given; at least 1 is needed"):
        device.detect(0)


@pytest.mark.parametrize(("capabilities", "dtype"), [((9.0,), "bfloat16"), ((8.9, 9.0), "bfloat16"), ((7.5,), "float32")])
def test_the_driver_is_asked_for_bfloat16_so_that_cuda_is_not_started(monkeypatch, capabilities, dtype):
    """A question to torch would bind the process to the devices that it sees now."""
    monkeypatch.setattr(device, "_has_gpu", lambda: True)
    found = tuple(Gpu(str(i), str(i), "NVIDIA-L4", 24 << 30, one) for i, one in enumerate(capabilities))
    monkeypatch.setattr(capacity, "find_gpus", lambda: found)
    for name in ("is_bf16_supported", "get_device_properties", "device_count"):
        monkeypatch.setattr(torch.cuda, name, lambda *_, **__: pytest.fail("torch was asked"))

    assert device.detect(1) == Device("cuda", dtype, 1)
    assert device.hardware().count("NVIDIA L4") == len(capabilities)


def test_a_gpu_is_taken_only_where_it_is_allowed(monkeypatch):
    """With ``allow_gpu=False`` the CPU is used on a machine with a GPU."""
    monkeypatch.setattr(device, "_has_gpu", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: False)

    assert device.detect(1) == Device("cuda", "float32", 1)
    assert device.detect(1, allow_gpu=False).kind == "cpu"


def test_apply_sets_the_threads_of_torch():
    """Torch computes with as many threads as the device says."""
    before = torch.get_num_threads()
    try:
        device.apply(Device("cpu", "float32", before + 1))
        assert torch.get_num_threads() == before + 1
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ({"model_name": "AMD EPYC 9R14"}, "AMD EPYC 9R14, 4 cores"),
        ({"model_name": "AMD EPYC", "cpu_family": "25", "model": "17"}, "AMD EPYC (family 25 model 17), 4 cores"),
    ],
)
def test_hardware_tells_generations_apart(cpu, lines, expected):
    """A name without a number, as virtual machines show it, is completed by family and model."""
    cpu(**lines)

    assert device.hardware() == expected


def test_facts_hold_what_was_set(monkeypatch):
    """Only variables that are set are kept, with their values; versions are those of the installed packages."""
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.setenv("MALLOC_TOP_PAD_", "64")
    monkeypatch.delenv("LD_PRELOAD", raising=False)
    facts = device.facts()

    assert facts["environment"]["OMP_NUM_THREADS"] == "7"
    assert facts["environment"]["MALLOC_TOP_PAD_"] == "64"
    assert "LD_PRELOAD" not in facts["environment"]
    assert facts["versions"]["torch"] == torch.__version__
    assert facts["versions"]["python"] == sys.version.split()[0]


def test_asking_imports_no_library():
    """On a machine without a GPU device and facts cost milliseconds: torch stays where it is."""
    code = (
        "import sys; from tunewise import device; device._has_gpu.__module__; device.facts(); device.detect(allow_gpu=False);"
        "print([name for name in ('torch', 'transformers', 'sklearn', 'xgboost') if name in sys.modules])"
    )
    if device._has_gpu():
        pytest.skip("a GPU is asked through torch")
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert output.strip() == "[]"
