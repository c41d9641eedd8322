"""Small messages to one peer that travel as one.

Whatever its size, a message costs each end some 20 µs of system calls and encryption, and a look at who says it: for small
ones more than what is in them. So what is said to the same peer in one turn of a loop goes out together, at the end of the
turn: a packet's `Opened`, `Finished` and `Commit`, the answer and the next lease. Each is dealt with as if it had come by
itself, in their order.

A bundle is a message of libzmq whose first frame is a MessagePack array of pairs, a message and the number of its frames;
all frames follow. One message alone travels as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

from .pieces import MOST_PIECES, PIECE, Buffer

MOST_TOGETHER = 64
"""Messages of a bundle: so many are taken in without a look at what others have said."""

_ARRAY, _PAIR, _LONG = b"\xdc", b"\x92", b"\xcd"
"""MessagePack: an array with its length in two bytes, one of two, and a number in two bytes."""
_ARRAYS = frozenset((*range(0x90, 0xA0), 0xDC, 0xDD))


class Bundle:
    """What is to be said to one peer.

    Example:
        >>> bundle = Bundle()
        >>> bundle.add([b"one", b"its frame"]), bundle.taken(), bundle.taken()
        (True, [b'one', b'its frame'], [])
    """

    __slots__ = ("_frames", "_messages", "_size")

    def __init__(self) -> None:
        self._messages: list[Sequence[Buffer]] = []
        self._size = self._frames = 0

    def add(self, frames: Sequence[Buffer]) -> bool:
        """One more message. False: there is no room for it, and what there is has to go first, or it is too large."""
        size = self._size + sum([len(frame) for frame in frames])
        count = self._frames + len(frames)
        if size >= PIECE or count > MOST_PIECES or len(self._messages) == MOST_TOGETHER:
            return False
        self._messages.append(frames)
        self._size, self._frames = size, count
        return True

    def put(self, frames: Sequence[Buffer]) -> list[Sequence[Buffer]]:
        """One more message, whether there is room for it or not. Returns what has to go now for it, in this order.

        Example:
            >>> bundle = Bundle()
            >>> bundle.put([b"small"]), bundle.put([bytes(100_000)]) == [[b"small"], [bytes(100_000)]], bundle.taken()
            ([], True, [])
        """
        if self.add(frames):
            return []
        before = [together] if (together := self.taken()) else []
        return before if self.add(frames) else [*before, frames]

    def taken(self) -> Sequence[Buffer]:
        """All of it, as it travels; then nothing is left. Empty if there was nothing."""
        messages, self._messages = self._messages, []
        self._size = self._frames = 0
        if len(messages) < 2:
            return messages[0] if messages else []
        parts: list[Buffer] = [_ARRAY, len(messages).to_bytes(2, "big")]
        for header, *behind in messages:
            count = len(behind)
            parts += _PAIR, header, bytes((count,)) if count < 128 else _LONG + count.to_bytes(2, "big")
        return [b"".join(parts), *chain.from_iterable(behind for _, *behind in messages)]


def is_bundle(header: Buffer) -> bool:
    """Whether several messages have come as one: a message by itself is a map.

    Example:
        >>> is_bundle(b"\\xdc..."), is_bundle(b"\\x81..."), is_bundle(b"")
        (True, False, False)
    """
    return len(header) > 0 and header[0] in _ARRAYS
