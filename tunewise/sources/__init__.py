"""Where bytes come from: a path, a hub, a package archive; checked by hash, kept in a cache."""
