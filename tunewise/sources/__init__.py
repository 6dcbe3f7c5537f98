"""Where bytes come from: a path, a hub, or a file inside a package of the user's own index.

`forms` reads what a study says, `fetching` brings it here, `package_index` asks pip, `unpacking` takes
members out of archives, `hub` asks a hub, `embedded` names the archives that need no address.
"""

from tunewise.sources.embedded import licence_of
from tunewise.sources.fetching import at_hand, fetch_file, fetch_folder
from tunewise.sources.forms import ArchiveSource, HubSource, PathSource, parse

__all__ = ["ArchiveSource", "HubSource", "PathSource", "at_hand", "fetch_file", "fetch_folder", "licence_of", "parse"]
