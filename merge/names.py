"""What things in a result are called in displays: the keys that lead to them."""

from __future__ import annotations

from typing import Any

_QUOTED = "'\"["
"""One of them begins the name of a key that cannot stand as it is."""


def key_name(key: Any) -> str:
    """A key within a name: as it stands where that can be nothing else, so that each thing in a result has its own name.

    Example:
        >>> key_name("mass"), key_name("a/b"), key_name(3)
        ('mass', "'a/b'", '[3]')
    """
    if not isinstance(key, str):
        return f"[{key!r}]"
    return repr(key) if not key or "/" in key or key[0] in _QUOTED else key


def joined(name: str, key: Any) -> str:
    """What lies under a key of what has a name; the result itself is called "".

    Example:
        >>> joined("", "cutflow"), joined("cutflow", "two muons")
        ('cutflow', 'cutflow/two muons')
    """
    return f"{name}/{key_name(key)}" if name else key_name(key)
