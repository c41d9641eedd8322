"""Lists that are too long for all that is in them to be there as objects at once."""

from __future__ import annotations

from typing import Any

import msgspec

_LIST_OF = b"\xdd"
"""MessagePack's `array 32`, which four bytes with its length follow."""
_encoder = msgspec.msgpack.Encoder()


class LongList:
    """The MessagePack of a list that is made item by item.

    Example:
        >>> numbers = LongList()
        >>> for number in range(3):
        ...     numbers.append(number)
        >>> msgspec.msgpack.decode(numbers.encoded())
        [0, 1, 2]
    """

    def __init__(self) -> None:
        self._count = 0
        self._content = bytearray(_LIST_OF + bytes(4))

    def append(self, item: Any) -> None:
        """Put one more item at its end."""
        _encoder.encode_into(item, self._content, -1)
        self._count += 1

    def encoded(self) -> memoryview:
        """The list; nothing is put into it from then on."""
        self._content[1:5] = self._count.to_bytes(4, "big")
        return memoryview(self._content)
