"""The files of a dataset as they travel: a list of them; of many files, a list of blocks.

A block has the columns of some files: what all of them share is there once. Who gets a million of them takes one block after
the other, has time for others in between, and makes an object of a file when it is its turn.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import Literal, TypeVar

import msgspec

from .codec import Buffer
from .long_lists import LongList
from .messages import File
from .messages.parts import FriendTree
from .values import Metadata, NonNegative, Runs, Word, Words

A_BLOCK = 1000
"""Files of a block: to look at them takes about a millisecond."""

T = TypeVar("T")


class FileColumns(msgspec.Struct, frozen=True):
    """Some files: their paths, and for each other field of `File` the values of all of them, or the one that they share."""

    path: list[Words]
    tree: list[Word]
    dataset: list[Word]
    entries: list[NonNegative | None]
    metadata: list[Metadata]
    kind: list[Literal["tree", "cycles", "items"]]
    seed: list[NonNegative]
    replicas: list[tuple[Words, ...]]
    listed: list[Runs | None]
    friends: list[dict[Word, FriendTree]]
    identity: list[Word]
    place: list[NonNegative]

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            if len(getattr(self, name)) not in (1, len(self.path)) or not self.path:
                raise ValueError(f"{len(self.path)} files in columns, of which {name} has {len(getattr(self, name))}")

    @classmethod
    def of(cls, files: Sequence[File]) -> FileColumns:
        """Those of these files, of which there is one at least."""
        columns = {name: list(map(attrgetter(name), files)) for name in cls.__struct_fields__}
        return cls(**{name: column if name == "path" else _shared(column) for name, column in columns.items()})

    def __len__(self) -> int:
        return len(self.path)

    def each(self, column: Sequence[T]) -> Sequence[T]:
        """A column with a value for each file."""
        return column if len(column) == len(self) else [column[0]] * len(self)

    def file(self, number: int) -> File:
        """One of the files."""
        return File(*[column[number] if len(column) > 1 else column[0] for column in _columns(self)])


_columns = attrgetter(*FileColumns.__struct_fields__)
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[File] | FileColumns)
_outer = msgspec.msgpack.Decoder(list[memoryview | File])


def encode_files(files: Sequence[File]) -> Buffer:
    """The files as they travel, each with its number as its `place`.

    Raises:
        msgspec.ValidationError: one of them is over the limits of the protocol; so do `UnicodeEncodeError` and
            `OverflowError` say.

    Example:
        >>> [len(block) for block in blocks_of(encode_files([File(f"{number}.root") for number in range(2500)]))]
        [1000, 1000, 500]
    """
    if len(files) <= A_BLOCK:
        return _checked([msgspec.structs.replace(file, place=place) for place, file in enumerate(files)])
    together = LongList()
    for start in range(0, len(files), A_BLOCK):  # one by one, as of a million files all of them would be there twice
        some = files[start : start + A_BLOCK]
        columns = msgspec.structs.replace(FileColumns.of(some), place=list(range(start, start + len(some))))
        together.append(_checked(columns))
    return together.encoded()


def _checked(block: list[File] | FileColumns) -> bytes:
    encoded = _encoder.encode(block)
    _decoder.decode(encoded)
    return encoded


def _shared(column: list[T]) -> list[T]:
    """A column, of which the first value is enough if all others are the same."""
    first = column[0]
    if column.count(first) < len(column):
        return column
    if isinstance(first, dict):  # 1, 1.0 and True are equal, and not the same
        different = {id(value): value for value in column}.values()
        if len(set(map(_encoder.encode, different))) > 1:
            return column
    return [first]


def split(frame: Buffer) -> list[Buffer]:
    """The blocks that files travel in; files that are not in blocks are one.

    Raises:
        ValueError: the frame has neither, or both; `msgspec.MsgspecError` says so, too.
    """
    found = _outer.decode(frame)
    if not any(isinstance(it, memoryview) for it in found):
        return [frame] if found else []
    blocks: list[Buffer] = [it for it in found if isinstance(it, memoryview)]
    if len(blocks) < len(found):
        raise ValueError("files are either in blocks, or not")
    return blocks


def columns_of(block: Buffer) -> FileColumns:
    """The files of a block. Raises as `split`."""
    found = _decoder.decode(block)
    if isinstance(found, FileColumns):
        return found
    if not found:
        raise ValueError("a block without files")
    return FileColumns.of(found)


def blocks_of(frame: Buffer) -> Iterable[FileColumns]:
    """The files of each block of a frame. Raises as `split`."""
    return map(columns_of, split(frame))
