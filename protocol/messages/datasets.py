"""The dataset catalogue: what a master keeps of datasets by their names, for everybody who uses it.

The master looks at what a dataset is called, whose it is, and how large. Its files are opaque bytes to it: `CatalogueFiles`
in MessagePack, compressed, which sessions make and read.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from ..values import Metadata, NonNegative, Word, Words
from .parts import File, Message

LARGEST_ENTRY = 64 << 20
"""Bytes of the compressed list of files of a dataset."""
MOST_DATASETS = 10_000
LARGEST_LAYOUTS = 16 << 20
"""Bytes of the layouts that come with a dataset."""


class DatasetInfo(msgspec.Struct, frozen=True):
    """A dataset of the catalogue, without its files.

    `owner` is what its owner is called, `user` whose key registered it ("" is the master's owner); both, the time
    (`registered`, seconds since 1970) and the `version`, which changes with every change, are set by the master. `entries`
    and `size` (bytes) are those of all files, None where nobody has looked. `parts` are the names of the datasets in it, if
    there are several.
    """

    name: Word
    files: NonNegative = 0
    entries: NonNegative | None = None
    size: NonNegative | None = None
    trees: list[Word] = []
    parts: list[Word] = []
    metadata: Metadata = {}
    owner: Word = ""
    user: Word = ""
    registered: float = 0.0
    version: NonNegative = 0


class CatalogueFile(msgspec.Struct, frozen=True, array_like=True):
    """A file of a dataset as it was registered: where it is, its length and identity, its `size` in bytes, and its
    `checksum`, as "adler32:8bdf41ac", where somebody has said it."""

    file: File
    size: NonNegative | None = None
    checksum: Word = ""


class CatalogueFiles(msgspec.Struct, frozen=True, array_like=True):
    """The files of a dataset, and what was `given` for them, patterns perhaps, for when it is looked for new ones."""

    files: list[CatalogueFile]
    given: list[File] = []


class CatalogueLayout(msgspec.Struct, frozen=True, array_like=True):
    """The `layout` of a tree of a file, opaque, as slots describe it to each other (`Described`)."""

    path: Words
    tree: Word
    layout: bytes


# --- session to master ------------------------------------------------------------------------------------------------


class PutDataset(Message, frozen=True):
    """Keep a dataset by its name. Frames: its files, and layouts of some of them, if they are known, a list of
    `CatalogueLayout`. `DatasetIs` or `Refused` answers.

    It is to be new, or, with `replaces`, takes the place of the one that has this version: 0 is whatever there is.
    """

    request: NonNegative
    info: DatasetInfo
    replaces: NonNegative | None = None


class AskDatasets(Message, frozen=True):
    """Ask for the datasets that there are, or those of them that have these `names`; `Datasets` answers."""

    request: NonNegative
    names: Annotated[list[Words], Meta(max_length=MOST_DATASETS)] | None = None


class GetDataset(Message, frozen=True):
    """Ask for the files of a dataset; `DatasetIs`, with a frame, or `Refused` answers."""

    request: NonNegative
    name: Word


class RemoveDataset(Message, frozen=True):
    """Forget a dataset; its files stay where they are. `Done` or `Refused` answers."""

    request: NonNegative
    name: Word


# --- master to session ------------------------------------------------------------------------------------------------


class Datasets(Message, frozen=True):
    """Answer to `AskDatasets`, in the order of their names."""

    request: NonNegative
    datasets: list[DatasetInfo]


class DatasetIs(Message, frozen=True):
    """A dataset as the master has it: answer to `PutDataset`, and, with the frame of its files, to `GetDataset`."""

    request: NonNegative
    info: DatasetInfo
