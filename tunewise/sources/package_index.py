"""Downloads one package archive with pip, from whatever index the user's pip is set to."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from tunewise.artifacts import sha256_of_file
from tunewise.errors import SourceError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tunewise.contracts import Progress
    from tunewise.sources.forms import ArchiveSource

BACKENDS = (
    "setuptools.build_meta",
    "hatchling.build",
    "flit_core.buildapi",
    "poetry.core.masonry.api",
    "pdm.backend",
    "mesonpy",
    "maturin",
    "scikit_build_core.build",
)
_KINDS = (("--no-binary", ":all:"), ("--only-binary", ":all:"))
"""An index that lists no hashes lets pip choose the wrong one of a version's archives; then each kind is asked for by name."""
_POLL_SECONDS = 0.2
_UNREACHABLE = (
    "NewConnectionError",
    "ConnectTimeout",
    "ReadTimeout",
    "NameResolution",
    "ProxyError",
    "SSLError",
    "Connection aborted",
)
_MISMATCH = "DO NOT MATCH THE HASHES"
_FINAL = ("No matching distribution", _MISMATCH, "No module named pip", "Errno 28", *_UNREACHABLE)
"""What pip says of failures that come before any build, so that allowing one could change nothing."""
_UNITS = {"bytes": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9}


@dataclass(frozen=True)
class _Attempt:
    is_done: bool
    output: str


def download(source: ArchiveSource, folder: Path, progress: Progress) -> Path:
    """Download the archive that has the source's hash into ``folder``.

    Source archives are first fetched without building anything; where pip insists on a build, it may.

    Args:
        source: Package, version and hash.
        folder: An empty folder.
        progress: Told how many bytes have come; the total is 0 until pip says it.

    Raises:
        SourceError: If pip finds no such package, reaches no index, or finds other bytes.
    """
    attempt = _try_kinds(source, folder, progress, is_built=False)
    if not attempt.is_done and not any(word in attempt.output for word in _FINAL):
        attempt = _try_kinds(source, folder, progress, is_built=True)
    if not attempt.is_done:
        may_pass = any(word in attempt.output for word in _UNREACHABLE)
        raise (UnreachableError if may_pass else SourceError)(_explain(source, attempt.output))
    return _checked(source, folder)


def _try_kinds(source: ArchiveSource, folder: Path, progress: Progress, *, is_built: bool) -> _Attempt:
    first = _run_pip(source, folder, progress, is_built=is_built)
    if first.is_done or _MISMATCH not in first.output:
        return first
    others = (_run_pip(source, folder, progress, options=kind, is_built=is_built) for kind in _KINDS)
    return next((attempt for attempt in others if attempt.is_done), first)


def _run_pip(
    source: ArchiveSource, folder: Path, progress: Progress, *, options: tuple[str, ...] = (), is_built: bool
) -> _Attempt:
    with TemporaryDirectory(dir=folder, prefix=".pip-") as scratch:
        place = Path(scratch)
        (place / "requirements.txt").write_text(f"{source.package}=={source.version} --hash=sha256:{source.sha256}\n")
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--progress-bar", "off", *options]
        # What is asked for must not depend on a cache's age, and the archive is kept by us.
        command += ["--no-cache-dir", "--dest", str(folder), "--requirement", str(place / "requirements.txt")]
        environment = _environment(place)
        if not is_built:
            command += ["--use-pep517", "--no-build-isolation"]
            environment |= _no_build(source, place)
        return _watch(command, environment, place, lambda done, total: progress(f"downloading {source.package}", done, total))


def _environment(place: Path) -> dict[str, str]:
    scratch = place / "scratch"
    scratch.mkdir()
    return {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1", "TMPDIR": str(scratch)}


def _no_build(source: ArchiveSource, place: Path) -> dict[str, str]:
    for backend in BACKENDS:
        package = place / "backends"
        for part in backend.split("."):
            package /= part
            package.mkdir(parents=True, exist_ok=True)
            # A folder without this file would lose against an installed package of the same name.
            (package / "__init__.py").touch()
        shutil.copyfile(Path(__file__).with_name("no_build.py"), package / "__init__.py")
    paths = [str(place / "backends"), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {"PYTHONPATH": os.pathsep.join(paths), "TUNEWISE_PACKAGE": source.package, "TUNEWISE_VERSION": source.version}


def _watch(command: list[str], environment: dict[str, str], place: Path, report: Callable[[int, int], None]) -> _Attempt:
    log = place / "log.txt"
    with log.open("wb") as file:
        process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT)
        try:
            while process.poll() is None:
                total = _announced_bytes(log)
                # pip unpacks beside what it downloads, so there may be more bytes than were to come.
                report(min(sum(_sizes_below(place / "scratch")), total), total)
                time.sleep(_POLL_SECONDS)
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
    return _Attempt(process.returncode == 0, log.read_text(errors="replace"))


def _sizes_below(folder: Path) -> Iterator[int]:
    """Yield the sizes of files that pip makes and moves away while we look: ``os.walk`` passes over what is gone."""
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                yield Path(place, name).stat().st_size


def _announced_bytes(log: Path) -> int:
    match = re.search(r"Downloading \S+ \(([\d.]+) (bytes|kB|MB|GB)\)", log.read_text(errors="replace"))
    return int(float(match[1]) * _UNITS[match[2]]) if match else 0


def _checked(source: ArchiveSource, folder: Path) -> Path:
    files = [path for path in folder.iterdir() if path.is_file()]
    if len(files) != 1:
        raise SourceError(f"pip left {len(files)} files for {source.package}=={source.version}; one was expected. Try again.")
    found = sha256_of_file(files[0])
    if found != source.sha256:
        raise SourceError(_wrong_hash(source, found))
    return files[0]


def _explain(source: ArchiveSource, output: str) -> str:
    wanted = f"{source.package}=={source.version}"
    if match := re.search(r"Got\s+([0-9a-f]{64})", output):
        return _wrong_hash(source, match[1])
    if "Errno 28" in output:
        return f"The disk was full while {wanted} was downloaded. Free some space and run again."
    if "No module named pip" in output:
        return f"{sys.executable} has no pip, which is needed to fetch {wanted}. Run `{sys.executable} -m ensurepip` once."
    if any(word in output for word in _UNREACHABLE):
        return f"No package index could be reached for {wanted}. Look at `pip config list` and the network.\n{_tail(output)}"
    if "No matching distribution" in output:
        return f"The package index that pip uses has no {wanted}. Check name, version and `pip config list`.\n{_tail(output)}"
    return f"pip could not download {wanted}; nothing was kept. It said:\n{_tail(output)}"


def _wrong_hash(source: ArchiveSource, found: str) -> str:
    return (
        f"{source.package}=={source.version} has sha256 {found}, not {source.sha256} as pinned, so it is not the file that was "
        "asked for and nothing of it was kept. Correct the pin if you meant this file, or find out who changed it."
    )


def _tail(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR")]
    return "\n".join(errors[-3:] or lines[-5:])
