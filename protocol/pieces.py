"""Large frames in pieces, so that a socket need not take large ones from people it does not know.

libzmq has one limit for the size of a frame, also for what somebody says before a key is shown: what is within it is waited
for and kept. So the limit of what is taken off a wire is small, and larger frames travel as pieces: in front of them is a
table, of how many pieces each frame has. A message of small frames travels as it is.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from .errors import RemoteProtocolError

PIECE = 64 * 2**10
"""Bytes. Smaller ones cost more CPU time in libzmq; of larger ones, strangers could have more kept."""
LARGEST_ON_WIRE = PIECE + 1024
"""Bytes of a frame as libzmq sees it, encrypted; what is said while keys are shown takes some 500."""
MARK = b"\xc1"
"""How a table begins: no MessagePack does."""

_table = msgspec.msgpack.Decoder(list[int])
Buffer = bytes | memoryview


def cut(frames: Sequence[Buffer]) -> Sequence[Buffer]:
    """The frames as they travel.

    Example:
        >>> cut([b"header", b"small"])
        [b'header', b'small']
        >>> [len(it) for it in cut([b"header", bytes(100_000)])]
        [4, 6, 65536, 34464]
    """
    if all(len(frame) <= PIECE for frame in frames):
        return frames
    table, pieces = [], list[Buffer]()
    for frame in frames:
        before = len(pieces)
        if len(frame) <= PIECE:
            pieces.append(frame)
        else:
            view = memoryview(frame).cast("B")
            pieces += [view[start : start + PIECE] for start in range(0, len(view), PIECE)]
        table.append(len(pieces) - before)
    return [MARK + msgspec.msgpack.encode(table), *pieces]


def joined(frames: list[Buffer], most: int) -> list[Buffer]:
    """The frames as they were; the list is emptied meanwhile, so that no piece is kept for longer than it is needed.

    Args:
        frames: as they came.
        most: bytes that a frame may have.

    Raises:
        RemoteProtocolError: what stands in the table is not what came, or a frame is too large.

    Example:
        >>> [len(it) for it in joined(list(cut([b"header", bytes(100_000)])), most=10**6)]
        [6, 100000]
    """
    if not frames or bytes(frames[0][:1]) != MARK:
        return frames
    try:
        table = _table.decode(frames[0][1:])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise RemoteProtocolError(f"a message in pieces without a table of them: {error}") from None
    if min(table, default=0) < 1 or sum(table) != len(frames) - 1:
        raise RemoteProtocolError(f"a message of {len(frames) - 1} pieces is not what its table says")
    frames.reverse()
    frames.pop()
    return [_next(frames, count, most) for count in table]


def _next(pieces: list[Buffer], count: int, most: int) -> Buffer:
    """The frame that the last `count` pieces are, the last one being its first."""
    if count == 1:
        return pieces.pop()
    size = sum(map(len, pieces[-count:]))
    if size > most:
        raise RemoteProtocolError(f"a frame of {size:,} bytes in pieces, the limit is {most:,}")
    whole = memoryview(bytearray(size))
    start = 0
    for _ in range(count):
        piece = pieces.pop()
        whole[start : start + len(piece)] = piece
        start += len(piece)
    return whole.toreadonly()
