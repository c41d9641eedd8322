"""What ROOT writes of any object, read from its bytes: counts, versions, texts, references, classes.

See https://root.cern/doc/master/dobject.html and the `Streamer`s of TObject, TNamed and TObjArray.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

COUNTED = 0x40000000
"""In the number of bytes that follow: that it is one."""
COUNTED_BYTE, BY_MEMBERS_BYTE = 0x40, 0x40
"""The same in its first byte, and what the first byte of a version has in it where objects are written member by member."""
_NEW_CLASS = 0xFFFFFFFF
_CLASS = 0x80000000
_COUNTED_VERSION = 0x4000
_MAP_OFFSET = 2
_REFERENCED = 1 << 4
_NUMBER, _VERSION = struct.Struct(">I"), struct.Struct(">H")


class UnusualError(Exception):
    """The object is not written in the usual way."""


WRONG = (UnusualError, struct.error, IndexError, UnicodeDecodeError, ValueError, OverflowError)
"""What is raised where bytes are not what they are taken for."""


@dataclass(slots=True)
class Streamed:
    """The bytes of an object, taken one after the other; all methods raise `UnusualError`, or what `WRONG` has, where these
    are not what they are taken for.

    Attributes:
        data: the object, decompressed.
        offset: the length of its key, from whose start references in it are counted.
        at: the next byte.
        classes: by the numbers that refer to them.
    """

    data: bytes
    offset: int
    at: int = 0
    classes: dict[int, str] = field(default_factory=dict)

    def number(self) -> int:
        """A number of four bytes, without a sign."""
        (number,) = _NUMBER.unpack_from(self.data, self.at)
        self.at += 4
        return int(number)

    def fields(self, layout: struct.Struct) -> tuple[Any, ...]:
        """Numbers one behind the other."""
        self.at += layout.size
        return layout.unpack_from(self.data, self.at - layout.size)

    def text(self) -> str:
        """A `TString`."""
        size = self.data[self.at]
        self.at += 1
        if size == 255:
            size = self.number()
        self.at += size
        return self.data[self.at - size : self.at].decode()

    def begin(self) -> tuple[int, int]:
        """The byte after an object whose bytes are counted, and its version."""
        count = self.number()
        if not count & COUNTED:
            raise UnusualError
        stop = self.at + (count & ~COUNTED)
        (version,) = _VERSION.unpack_from(self.data, self.at)
        self.at += 2
        return stop, int(version)

    def skip(self) -> None:
        """Pass over an object whose bytes are counted."""
        self.at, _ = self.begin()

    def root_object(self) -> None:
        """What is in every TObject."""
        (version,) = _VERSION.unpack_from(self.data, self.at)
        if version & _COUNTED_VERSION:
            raise UnusualError
        self.at += 6
        if self.number() & _REFERENCED:
            self.at += 2

    def named(self) -> tuple[str, str]:
        """Name and title of a TNamed."""
        stop, _ = self.begin()
        self.root_object()
        name, title = self.text(), self.text()
        if self.at != stop:
            raise UnusualError
        return name, title

    def items(self) -> int:
        """How many objects are in a TObjArray; they follow."""
        self.begin()
        self.root_object()
        self.text()
        size = self.number()
        self.at += 4
        return size

    def object(self) -> tuple[int, str]:
        """An object with its class: the number that refers to it, and the class; "" if it only refers to another one."""
        begin = self.at
        count = self.number()
        if not count & COUNTED or count == _NEW_CLASS:
            return count, ""
        tag_at = self.at
        tag = self.number()
        if tag == _NEW_CLASS:
            end = self.data.index(0, self.at)
            kind = self.data[self.at : end].decode()
            self.at = end + 1
            self.classes[tag_at + self.offset + _MAP_OFFSET] = kind
        elif tag & _CLASS and (tag & ~_CLASS) in self.classes:
            kind = self.classes[tag & ~_CLASS]
        else:
            raise UnusualError
        return begin + self.offset + _MAP_OFFSET, kind

    def array(self, dtype: str, size: int) -> NDArray[np.int64]:
        """Numbers behind a byte that tells whether there are any."""
        values = np.frombuffer(self.data, dtype, size, self.at + 1)
        self.at += 1 + values.nbytes
        return values.astype(np.int64)
