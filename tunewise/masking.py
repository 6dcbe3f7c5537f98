"""Takes names and passwords out of text that is shown or kept.

Addresses of databases, servers and buckets carry secrets, and whatever fails over one of them quotes it. Where an
address cannot be read for certain, more is hidden than had to be.
"""

from __future__ import annotations

import re

MASK = "***"

# A login ends at the last @ before a space or a quote: passwords are written with / and @ in them, whatever standards say.
_LOGIN = re.compile(r"://(?:[^\s/:@'\"]*:[^\s'\"]*|[^\s/?#'\"]+)@")
_NAMED = re.compile(
    r"""(?ix)
    (?P<name> (?: \b[\w.-]* (?:password|passwd|pwd|secret|secret[-_]?key|access[-_]?key(?:[-_]?id)?|api[-_]?key
                 |(?:access|auth|api|bearer|session|security)[-_]?token) | [?&](?:token|sig|signature|key|x-amz-[\w-]+) )
      \s* = \s* )
    (?: '[^']*' | "[^"]*" | [^\s&;,'"]+ )
    """
)


def masked(text: str) -> str:
    """Return ``text`` with every login in an address, and every value that is named a password or key, replaced by ``***``.

    >>> masked("postgresql://me:open@host/db?sslpassword=sesame cannot be reached")
    'postgresql://***@host/db?sslpassword=*** cannot be reached'
    """
    return _NAMED.sub(rf"\g<name>{MASK}", _LOGIN.sub(f"://{MASK}@", text))


def without_login(address: str) -> str:
    """Return an address as a browser is given it: with no login at all.

    >>> without_login("https://me:open@host:5000/mlflow")
    'https://host:5000/mlflow'
    """
    return masked(address).replace(f"://{MASK}@", "://")
