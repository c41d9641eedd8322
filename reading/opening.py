"""Opening files: by uproot, or without a look at their metadata where their layout was told."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from ..protocol.addresses import shown
from ..protocol.errors import DatasetError
from . import uproots_blocks  # noqa: F401  # by which uproot decompresses what is opened here
from .rntuple.ntuples import Ntuple
from .shared_layout import SharedLayout
from .storage.credentials import CredentialSet
from .storage.local import LocalSource
from .storage.sources import Counts, HTTPAhead, source_class
from .ttree import interpretations  # noqa: F401  # by which uproot reads it
from .ttree.cpp_classes import FileOfItsOwnClasses
from .ttree.streamer_parser import Tree

log = logging.getLogger(__name__)

TREES = ("TTree", "TNtuple", "TNtupleD", "ROOT::RNTuple")
SMALLEST = 100
"""Bytes of the shortest header of a ROOT file; fewer cannot be mapped and read."""


def opened(path: str, timeout: float, credential_set: CredentialSet | None) -> Any:
    """A ROOT file as uproot's root directory; it is checked to be whole, as far as its size says.

    Raises what uproot and its sources raise.
    """
    handler = source_class(path)
    path, options = _options(path, timeout, credential_set)
    file = FileOfItsOwnClasses(path, handler=handler, object_cache=None, array_cache=None, **options)
    try:
        end = file.fEND
        if handler is not HTTPAhead and file.source.num_bytes < end:
            size = file.source.num_bytes
            raise ValueError(f"it has {size} bytes of {end}: it was not written, or not copied, to its end")
        return file.root_directory
    except BaseException:
        file.close()
        raise


def trees_in(directory: Any) -> list[str]:
    """The names of the trees in a file, with their folders, in its order."""
    kinds = directory.classnames(recursive=True, cycle=False)
    return [name for name, kind in kinds.items() if kind in TREES]


def check_closed(directory: Any, path: str) -> None:
    """Check that the writer of a file has closed it, for a file that lacks the tree looked for.

    The list of keys and that of free segments are written on closing. While either is missing ROOT takes the file for one
    "probably not closed", too, and searches all of it for keys; uproot finds the keys that were listed, or none.

    Args:
        directory: uproot's root directory of the file.
        path: where the file is, for the error.

    Raises:
        DatasetError: it was not closed.
    """
    file = directory.file
    if directory.fSeekKeys <= file.fBEGIN or file.fSeekFree <= file.fBEGIN:
        raise DatasetError(
            f"{path} was not closed: its writer died, or is still writing it, and it has no whole list of what is in it. "
            "ROOT may recover what was saved: open it with TFile::Open and write CloneTree() of its tree to a new file"
        ) from None


def told(
    layout: bytes, path: str, timeout: float, credential_set: CredentialSet | None
) -> tuple[Counts | LocalSource, SharedLayout, Tree | Ntuple] | None:
    """A file's bytes and its tree, of which nothing is read: `layout` says it all. None if it is that of another file.

    Raises what the source of the bytes raises.
    """
    try:
        shared = SharedLayout.unpacked(layout)
        described = shared.description()
    except ValueError as error:
        log.warning("the layout that came for %s is of no use: %s", shown(path), error)
        return None
    handler = source_class(path)
    path, options = _options(path, timeout, credential_set)
    source: Counts | LocalSource = handler(path, ends=False, **options)
    if source.stamp == shared.stamp:
        return source, shared, described
    source.__exit__(None, None, None)
    return None


def source_of(path: str, timeout: float, credential_set: CredentialSet | None) -> Counts | LocalSource:
    """The bytes of a file of any format. Raises what the source of them raises."""
    handler = source_class(path)
    path, options = _options(path, timeout, credential_set, smallest=0)
    source: Counts | LocalSource = handler(path, **options)
    return source


def _options(
    path: str, timeout: float, credential_set: CredentialSet | None, smallest: int = SMALLEST
) -> tuple[str, dict[str, Any]]:
    """Where a file is read, and what its source is to know."""
    if "://" in path:
        return path, {"timeout": max(1, round(timeout)), "credential_set": credential_set}
    local = Path(path).expanduser()
    if local.is_dir():
        raise IsADirectoryError("it is a folder")
    if local.stat().st_size < smallest:
        raise ValueError("it is too short for a ROOT file")
    return str(local), {}
