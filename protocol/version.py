"""The version of eventmill, as the installed package has it: from the tags of git when it was built."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, version


def release_of(version: str) -> str:
    """The release that a version is, or leads to: without what tells commits apart.

    What is kept under a release, such as what calls of an analysis have cost, is of use to each commit before it.

    >>> release_of("0.2.0.dev17+g95bc7b7b0.d20261129"), release_of("0.2.0rc1"), release_of("0.2.0")
    ('0.2.0', '0.2.0', '0.2.0')
    """
    found = re.match(r"\d+(\.\d+)*", version)
    return found[0] if found else version


try:
    __version__ = version("eventmill")
except PackageNotFoundError:  # a source tree that is not installed
    __version__ = "0+unknown"

RELEASE = release_of(__version__)
