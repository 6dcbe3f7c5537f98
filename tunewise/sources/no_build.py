"""A build backend that builds nothing, copied under the names of real ones while pip downloads a source archive.

pip asks a source archive's backend for its name and version before it keeps the file, and would install
the backend and run the archive's code for that. Only the bytes are wanted here, so this module answers
instead: nothing is built, and no code of the archive runs. It stands alone: pip runs it, not tunewise.
"""

import os
import sys
from pathlib import Path

__legacy__ = sys.modules[__name__]
"""The name under which pip looks for setuptools where an archive declares no backend."""


def get_requires_for_build_wheel(config_settings: object = None) -> list[str]:  # noqa: ARG001 - the hook's signature
    """Return what a build would need: nothing."""
    return []


def prepare_metadata_for_build_wheel(metadata_directory: str, config_settings: object = None) -> str:  # noqa: ARG001 - as above
    """Write the name and version that were asked for; the archive is held to its hash, not to its word."""
    package, version = os.environ["TUNEWISE_PACKAGE"], os.environ["TUNEWISE_VERSION"]
    folder = Path(metadata_directory) / f"{package.replace('-', '_')}-{version}.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
    return folder.name
