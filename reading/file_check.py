"""A look at whether a file is there, and what it is: for the dataset catalogue. For slots."""

from __future__ import annotations

import hashlib
import zlib
from typing import Any

import msgspec

from ..dataset.catalogue.verification import FileFacts
from ..protocol.addresses import shown
from ..protocol.errors import DatasetError
from .opening import source_of
from .read_errors import read_errors
from .storage.credentials import CredentialSet, at_work
from .tree_series import open_tree

_PIECE = 16 << 20
"""Bytes that are read at a time for a checksum."""
_TIMEOUT = 30.0
CHECKSUMS = ("adler32", "crc32", "md5", "sha1", "sha256", "sha512")


class ToCheck(msgspec.Struct, frozen=True, array_like=True):
    """A copy of a file, the tree that it is to have, what kind of checksum is to be made of its bytes, if one is, and how
    long a layout of it may be that is told."""

    path: str
    tree: str = ""
    checksum: str = ""
    layout: int = 0


def check_item(item: tuple[int, str, str, str, int]) -> dict[int, bytes]:
    """What there is at a path, by its number: the analysis of a query over such items, as those of `ToCheck`."""
    number, path, tree, checksum, layout = item
    return {number: msgspec.msgpack.encode(facts_of(ToCheck(path, tree, checksum, layout), at_work()))}


def facts_of(wanted: ToCheck, credential_set: CredentialSet | None = None) -> FileFacts:
    """Open a file and look. What is wrong with it is in the answer: nothing is raised for that.

    Example:
        >>> facts_of(ToCheck("/nowhere/a.root", "Events")).error
        'there is no file /nowhere/a.root'
    """
    try:
        reader = open_tree(wanted.path, wanted.tree, _TIMEOUT, credential_set)
        try:
            entries, identity, tree = int(reader.entries), reader.identity, wanted.tree or reader.tree
            layout = reader.news() if wanted.layout else b""
        finally:
            reader.close()
        size = int(identity.partition(":")[2].partition(":")[0] or 0)
        checksum = _checksum(wanted, credential_set) if wanted.checksum else ""
    except DatasetError as error:
        return FileFacts(error=str(error), transient=error.transient)
    told = layout if len(layout) <= wanted.layout else b""
    return FileFacts(entries, identity, size, checksum, tree, layout=told)


def _checksum(wanted: ToCheck, credential_set: CredentialSet | None) -> str:
    """The checksum of all bytes of a file, which are read for it."""
    summed: Any = 1 if wanted.checksum == "adler32" else 0
    digest = None if wanted.checksum in ("adler32", "crc32") else hashlib.new(wanted.checksum)
    name = shown(wanted.path)
    with read_errors(name, "cannot be opened"):
        source = source_of(wanted.path, _TIMEOUT, credential_set)
    try:
        with read_errors(name, "cannot be read"):
            end = int(source.num_bytes)
            for start in range(0, end, _PIECE):
                piece = bytes(source.chunk(start, min(start + _PIECE, end)).raw_data)
                if digest is not None:
                    digest.update(piece)
                else:
                    summed = (zlib.adler32 if wanted.checksum == "adler32" else zlib.crc32)(piece, summed)
    finally:
        source.__exit__(None, None, None)
    return f"{wanted.checksum}:{digest.hexdigest() if digest is not None else f'{summed:08x}'}"
