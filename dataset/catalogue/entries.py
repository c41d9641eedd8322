"""Entries of a master's catalogue: how their files travel, and how a dataset that names them gets these."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from ...protocol.codec import Buffer
from ...protocol.errors import DatasetError
from ...protocol.messages import LARGEST_ENTRY, CatalogueFile, CatalogueFiles, DatasetInfo, File
from ...protocol.values import Metadata

MOST_UNPACKED = 2**30
"""Bytes of an entry's files, unpacked."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")
_decoder = msgspec.msgpack.Decoder(CatalogueFiles)


def may_be_entry(path: str) -> bool:
    """Whether a path may be the name of a dataset in a catalogue: one word, without the ending of a file of data.

    Example:
        >>> [may_be_entry(path) for path in ("ttbar_2018", "ttbar.root", "data/ttbar", "*", "root://host//a")]
        [True, False, False, False, False]
    """
    return _NAME.fullmatch(path) is not None and ".root" not in path


def check_name(name: object) -> str:
    """A name for a dataset. Raises `DatasetError` if it is none."""
    if not isinstance(name, str) or len(name) > 1000 or not may_be_entry(name):
        raise DatasetError(
            f"{name!r:.200} is no name for a dataset of the catalogue: it must be letters, digits and _ . + -, as "
            "ttbar_2018, and no name of a .root file"
        )
    return name


def packed(files: CatalogueFiles, name: str) -> bytes:
    """An entry's files as they travel. Raises `DatasetError` when they are too many."""
    frame = zlib.compress(msgspec.msgpack.encode(files))
    if len(frame) > LARGEST_ENTRY:
        raise DatasetError(
            f"the list of the {len(files.files):,} files of {name} takes {len(frame) >> 20} MB, and "
            f"{LARGEST_ENTRY >> 20} MB are the most: register parts of it"
        )
    return frame


def unpacked(frame: Buffer) -> CatalogueFiles:
    """An entry's files. Raises `DatasetError` when the frame is none."""
    try:
        unpacker = zlib.decompressobj()
        files = _decoder.decode(unpacker.decompress(bytes(frame), MOST_UNPACKED))
        if unpacker.unconsumed_tail:
            raise ValueError("it is too large")
        return files
    except (zlib.error, msgspec.MsgspecError, ValueError) as error:
        raise DatasetError(f"what the catalogue has of the files cannot be read: {error}") from error


def info_of(name: str, owner: str, files: Sequence[CatalogueFile]) -> DatasetInfo:
    """What is told of a dataset in lists: metadata are those that all its files have."""
    entries = [it.file.entries for it in files]
    sizes = [it.size for it in files]
    common = dict(files[0].file.metadata)
    for it in files[1:]:
        common = {key: value for key, value in common.items() if it.file.metadata.get(key, _Missing) == value}
    parts = list(dict.fromkeys(it.file.dataset for it in files))
    return DatasetInfo(
        name,
        len(files),
        None if None in entries else sum(filter(None, entries)),
        None if None in sizes else sum(filter(None, sizes)),
        list(dict.fromkeys(it.file.tree for it in files if it.file.tree)),
        parts if len(parts) > 1 else [],
        common,
        owner,
    )


class _Missing:
    """Stands for metadata that a file does not have."""


def taken(file: File, name: str, entry: CatalogueFiles) -> list[File]:
    """The files for which a `file` stands that names the entry `name`: with what is said of it where it is used.

    Raises:
        DatasetError: something is said of it that is not of a whole dataset.
    """
    if file.listed is not None or file.entries is not None:
        raise DatasetError(f"{name} is a dataset of the catalogue: num_entries and steps are of one file")
    parts = {it.file.dataset for it in entry.files}
    if file.dataset and len(parts) > 1:
        raise DatasetError(
            f"{name} in the catalogue consists of {len(parts)} datasets ({', '.join(sorted(parts))}), which have their own "
            f"names: it cannot be called {file.dataset}"
        )
    return [_one(file, name, it.file) for it in entry.files]


def _one(said: File, name: str, file: File) -> File:
    metadata: Metadata = {**file.metadata, **said.metadata}
    other_tree = said.tree not in ("", file.tree)
    return msgspec.structs.replace(
        file,
        tree=said.tree or file.tree,
        dataset=said.dataset or file.dataset or name,
        entries=None if other_tree else file.entries,
        metadata=metadata,
    )


def replaced(files: Iterable[File], entries: Mapping[str, CatalogueFiles]) -> tuple[list[File], frozenset[str]]:
    """Files in which entries of a catalogue may be named, with these in the place of their names; and their paths."""
    found: list[File] = []
    paths: set[str] = set()
    for file in files:
        entry = entries.get(file.path)
        if entry is None:
            found.append(file)
            continue
        its = taken(file, file.path, entry)
        found += its
        paths.update(path for it in its for path in (it.path, *it.replicas))
    return found, frozenset(paths)
