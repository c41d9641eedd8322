"""The version of eventmill, by the tags of git: written down when it is built, as to look it up takes a process 20 ms."""

from __future__ import annotations

import re
from importlib.util import find_spec

__all__ = ["RELEASE", "__version__", "has_compiled_cores", "release_of", "shown_version"]


def release_of(version: str) -> str:
    """The release that a version is, or leads to: without what tells commits apart.

    What is kept under a release, such as what calls of an analysis have cost, is of use to each commit before it.

    >>> release_of("0.2.0.dev17+g95bc7b7b0.d20261129"), release_of("0.2.0rc1"), release_of("0.2.0")
    ('0.2.0', '0.2.0', '0.2.0')
    """
    found = re.match(r"\d+(\.\d+)*", version)
    return found[0] if found else version


def has_compiled_cores() -> bool:
    """Whether the master's pure cores are machine code here (`make compiled`), and not Python."""
    core = find_spec("..master.core", __package__)
    return core is not None and not str(core.origin).endswith(".py")


try:
    from ._version import __version__
except ModuleNotFoundError:  # a source tree of which nothing was built
    __version__ = "0+unknown"

RELEASE = release_of(__version__)


def shown_version() -> str:
    """What users are shown: which version this is, and whether its cores are compiled."""
    return f"{__version__}, with compiled cores" if has_compiled_cores() else __version__
