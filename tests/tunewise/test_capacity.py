"""What a machine has, found without CUDA, and what is refused because it can never fit."""

import subprocess
import sys

import pytest

from tunewise import capacity
from tunewise.capacity import GPUS_ENV, VISIBLE_ENV, Gpu, find_gpus, fitting, refuse_unfit
from tunewise.errors import StudyError
from tunewise.study import Compute

GB = 1 << 30
H100 = Gpu("GPU-aa11", "GPU-aa11", "NVIDIA-H100-80GB-HBM3", 80 * GB)
T4 = Gpu("GPU-bb22", "GPU-bb22", "Tesla-T4", 15 * GB)


@pytest.fixture
def driver(monkeypatch):
    """Gives the machine an H100 and a T4."""
    monkeypatch.setattr(capacity, "_driver_gpus", lambda: (H100, T4))


def tokens(**variables):
    """Return the devices found under these variables."""
    return [gpu.token for gpu in find_gpus(variables)]


@pytest.mark.parametrize(
    ("visible", "found"),
    [
        (None, ["GPU-aa11", "GPU-bb22"]),
        ("1", ["1"]),
        ("1,0", ["1", "0"]),
        ("GPU-bb", ["GPU-bb"]),
        ("0,7,1", ["0"]),
        ("-1", []),
        ("", []),
        ("MIG-1234", ["MIG-1234"]),
    ],
)
def test_devices_are_those_that_cuda_would_see(driver, visible, found):
    """Numbers and beginnings of UUIDs name devices; what follows an unknown one is hidden, as CUDA has it."""
    assert tokens(**({} if visible is None else {VISIBLE_ENV: visible})) == found


def test_a_device_has_one_identity_whatever_it_is_called(driver):
    """Two processes that call it 1 and GPU-bb22 meet at the same lock."""
    (by_number,) = find_gpus({VISIBLE_ENV: "1"})
    (by_uuid,) = find_gpus({VISIBLE_ENV: "GPU-bb22"})

    assert by_number.identity == by_uuid.identity == "GPU-bb22"


def test_devices_can_be_declared_instead_of_asked_for(driver):
    """The variable says ids and gigabytes; empty, it says that there are none; anything else is refused."""
    assert find_gpus({GPUS_ENV: "0:80, 1"}) == (Gpu("0", "0", None, 80 * GB), Gpu("1", "1"))
    assert find_gpus({GPUS_ENV: ""}) == ()
    with pytest.raises(StudyError, match=r"TUNEWISE_GPUS='0:big' cannot be read at '0:big'. Write ids and GB, such as 0:80,1:80"):
        find_gpus({GPUS_ENV: "0:big"})


def test_the_drivers_tool_is_asked(monkeypatch):
    """Its answer holds UUID, model as node labels write it, and memory in MiB, which some devices do not tell."""
    said = "GPU-aa11, NVIDIA H100 80GB HBM3, 81559, 9.0\nGPU-cc33, NVIDIA GB10, [N/A], [N/A]\n"
    monkeypatch.setattr(capacity.shutil, "which", lambda name: name)
    monkeypatch.setattr(capacity.subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 0, said, ""))

    assert capacity._driver_gpus.__wrapped__() == (
        Gpu("GPU-aa11", "GPU-aa11", "NVIDIA-H100-80GB-HBM3", 81559 << 20, 9.0),
        Gpu("GPU-cc33", "GPU-cc33", "NVIDIA-GB10", None),
    )


def test_without_the_tool_the_drivers_files_tell(monkeypatch, tmp_path):
    """A container may have the driver and not its tool."""
    for bus, uuid in (("0000:b0:00.0", "GPU-bb22"), ("0000:a0:00.0", "GPU-aa11")):
        (tmp_path / bus).mkdir()
        (tmp_path / bus / "information").write_text(f"Model: \t\t Tesla T4\nIRQ:   \t\t 42\nGPU UUID: \t {uuid}\n")
    monkeypatch.setattr(capacity.shutil, "which", lambda _: None)
    monkeypatch.setattr(capacity, "_DRIVER_FILES", tmp_path)

    assert capacity._driver_gpus.__wrapped__() == (
        Gpu("GPU-aa11", "GPU-aa11", "Tesla-T4"),
        Gpu("GPU-bb22", "GPU-bb22", "Tesla-T4"),
    )


def test_looking_does_not_import_torch():
    """Torch's import costs seconds, and its question to CUDA would bind the process to today's devices."""
    code = "import sys; from tunewise.capacity import find_gpus; find_gpus(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "False"


def test_type_and_memory_choose_among_the_devices():
    """A device of which nothing is known is not passed over."""
    unknown = Gpu("2", "2")

    assert fitting(Compute(gpus=1, gpu_type="Tesla-T4"), (H100, T4, unknown)) == (T4, unknown)
    assert fitting(Compute(gpus=1, gpu_memory_gb=40), (H100, T4, unknown)) == (H100, unknown)
    assert fitting(Compute(), (H100, T4)) == (H100, T4)


@pytest.mark.parametrize(
    ("compute", "message"),
    [
        (
            Compute(gpus=3),
            r"compute.gpus=3 was given and this process may use 2, .* at most 2, widen CUDA_VISIBLE_DEVICES",
        ),
        (
            Compute(gpus=2, gpu_memory_gb=40),
            (
                r"compute.gpus=2 with 40 GB each was given and 1 of 2 GPUs here will do: "
                r"NVIDIA-H100-80GB-HBM3 \(80.0 GB\), Tesla-T4 \(15.0 GB\)"
            ),
        ),
        (Compute(gpus=1, gpu_type="NVIDIA-L4"), r"of the type NVIDIA-L4 was given and 0 of 2 GPUs"),
        (Compute(memory_gb=64), r"compute.memory_gb=64 was given and this machine has 32.0 GB.*at most 32.0"),
    ],
)
def test_what_can_never_fit_is_refused_with_the_number(compute, message):
    """The error says what was asked for and how much there is."""
    with pytest.raises(StudyError, match=message):
        refuse_unfit(compute, (H100, T4), memory_bytes=32 * GB)


def test_what_fits_is_not_refused():
    """Nor is a missing GPU where the study allows the CPU, or where torch is to say that there is none."""
    refuse_unfit(Compute(gpus=2, memory_gb=32), (H100, T4), memory_bytes=32 * GB)
    refuse_unfit(Compute(gpus=3, cpu_fallback=True), (H100, T4), memory_bytes=32 * GB)
    refuse_unfit(Compute(gpus=1), (), memory_bytes=32 * GB)


def test_a_containers_limit_is_its_memory(monkeypatch, tmp_path):
    """What the control group allows counts, and not what the machine around it has."""
    (tmp_path / "memory.max").write_text("1073741824\n")
    monkeypatch.setattr(capacity, "_MEMORY_LIMIT", tmp_path / "memory.max")
    limited = capacity.machine_memory_bytes()
    (tmp_path / "memory.max").write_text("max\n")

    assert limited == GB
    assert capacity.machine_memory_bytes() > GB
