"""The version of eventmill, as the installed package has it."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("eventmill")
except PackageNotFoundError:  # a source tree that is not installed
    __version__ = "0+unknown"
