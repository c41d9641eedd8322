"""Large messages in pieces and parcels.

libzmq has one limit for the size of a frame, also for what somebody says before a key is shown: what is within it is waited
for and kept. So the limit of what is taken off a wire is small, and larger frames travel as *pieces*.

A large message travels as several messages of libzmq, *parcels* of some pieces each, since one of libzmq's is taken off the
wire as a whole: a gigabyte would keep whoever receives it from hearing anybody else meanwhile. A parcel begins with a label;
that of the first one has the sizes of all frames. A message that is not large travels as it is.
"""

from __future__ import annotations

import contextlib
import mmap
from collections.abc import Callable, Iterator, Sequence
from typing import NoReturn

import msgspec

from .errors import RemoteProtocolError

PIECE = 64 * 2**10
"""Bytes. Smaller ones cost more CPU time in libzmq; of larger ones, strangers could have more kept."""
LARGEST_ON_WIRE = PIECE + 1024
"""Bytes of a frame as libzmq sees it, encrypted; what is said while keys are shown takes some 500."""
PARCEL = 512 * 2**10
"""Bytes of a parcel: what is taken in without a look at what others have said."""
MOST_PIECES = 256
"""Of a parcel."""
_HUGE = 4 * 2**20
"""Bytes of a frame for which memory is asked of the system in huge pages: else it hands it out, and takes it back, page by
page, which for 200 MB takes longer than to copy them, and lets no other thread of Python go on."""
MARK = b"\xc1"
"""How a label begins: no MessagePack does. That of a first parcel goes on with the sizes of all frames."""

_sizes = msgspec.msgpack.Decoder(list[int])
Buffer = bytes | memoryview
Room = Callable[[int], memoryview]


def cut(frames: Sequence[Buffer]) -> Iterator[Sequence[Buffer]]:
    """The parcels in which a message travels; one without a label if it is not large.

    Example:
        >>> list(cut([b"header", b"small"]))
        [[b'header', b'small']]
        >>> [[len(piece) for piece in parcel] for parcel in cut([b"header", bytes(600_000)])]
        [[8, 6, 65536, 65536, 65536, 65536, 65536, 65536, 65536], [1, 65536, 65536, 10176]]
    """
    sizes = [len(frame) for frame in frames]
    if len(sizes) <= MOST_PIECES and max(sizes, default=0) <= PIECE and sum(sizes) <= PARCEL:
        yield frames
        return
    parcel: list[Buffer] = [MARK + msgspec.msgpack.encode(sizes)]
    filled = 0
    for piece in _pieces(frames):
        if filled + len(piece) > PARCEL or len(parcel) > MOST_PIECES:
            yield parcel
            parcel, filled = [MARK], 0
        parcel.append(piece)
        filled += len(piece)
    yield parcel


def _pieces(frames: Sequence[Buffer]) -> Iterator[Buffer]:
    for frame in frames:
        if len(frame) <= PIECE:
            yield frame
        else:
            view = memoryview(frame).cast("B")
            for start in range(0, len(view), PIECE):
                yield view[start : start + PIECE]


class Joiner:
    """Puts together what comes from one peer.

    Args:
        most: bytes that a frame may have.
        most_frames: that a message may have.
        room: gives memory for so many bytes of a frame, or raises OSError or MemoryError.

    Example:
        >>> joiner = Joiner(most=10**6, most_frames=100)
        >>> joiner.add([b"header", b"small"])
        [b'header', b'small']
        >>> came = [joiner.add(parcel) for parcel in cut([b"header", bytes(600_000)])]
        >>> came[0], [len(frame) for frame in came[1]]
        (None, [6, 600000])
    """

    def __init__(self, most: int, most_frames: int, room: Room | None = None) -> None:
        self._most, self._most_frames = most, most_frames
        self._room = room or _room
        self._sizes: list[int] = []
        self._whole: list[Buffer] = []
        self._begun: memoryview | None = None
        self._filled = 0

    @property
    def idle(self) -> bool:
        """Whether nothing is begun."""
        return not self._sizes

    def add(self, parcel: Sequence[Buffer]) -> list[Buffer] | None:
        """A parcel came. Returns the message, when it was the last one of it.

        Of a message whose connection broke, or that was refused, there may be a half: one without its beginning is passed
        over, one without its end is forgotten as soon as another message begins.

        Raises:
            RemoteProtocolError: it is not what the label says, or a frame is too large.
        """
        if not parcel or bytes(parcel[0][:1]) != MARK:
            self._forget()
            return list(parcel)
        if len(parcel[0]) > 1:
            self._forget()
            self._begin(parcel[0][1:])
        elif not self._sizes:
            return None
        for piece in parcel[1:]:
            self._take(piece)
        if len(self._whole) < len(self._sizes):
            return None
        whole = self._whole
        self._sizes, self._whole = [], []
        return whole

    def _begin(self, label: Buffer) -> None:
        try:
            sizes = _sizes.decode(label)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise RemoteProtocolError(f"a message in pieces without their sizes: {error}") from None
        if not 0 < len(sizes) <= self._most_frames or min(sizes) < 0:
            raise RemoteProtocolError(
                f"a message in pieces of {len(sizes):,} frames is too large: the limit is {self._most_frames:,}"
            )
        if max(sizes) > self._most:
            raise RemoteProtocolError(
                f"a frame of {max(sizes):,} bytes in pieces is too large: the limit is {self._most:,}"
            )
        self._sizes = sizes

    def _take(self, piece: Buffer) -> None:
        """Take in the next piece: a frame, or a part of one."""
        if len(self._whole) == len(self._sizes):
            self._refuse("a message has more pieces than its label says")
        size = self._sizes[len(self._whole)]
        if len(piece) != min(PIECE, size - self._filled):
            self._refuse(f"a piece of {len(piece):,} bytes does not fit into a frame of {size:,}")
        if size <= PIECE:
            self._whole.append(piece)
            return
        if self._begun is None:
            try:
                self._begun = self._room(size)
            except (OSError, MemoryError) as error:
                self._refuse(f"there is no room for a frame of {size:,} bytes: {error}")
        self._begun[self._filled : self._filled + len(piece)] = piece
        self._filled += len(piece)
        if self._filled == size:
            self._whole.append(self._begun.toreadonly())
            self._begun, self._filled = None, 0

    def _forget(self) -> None:
        self._sizes, self._whole, self._begun, self._filled = [], [], None, 0

    def _refuse(self, reason: str) -> NoReturn:
        self._forget()
        raise RemoteProtocolError(f"{reason} (pieces of a large one)")


class Joiners:
    """Puts together what comes from many peers; whose message has begun is `in` it.

    Args:
        make: makes a joiner for one.
    """

    def __init__(self, make: Callable[[], Joiner]) -> None:
        self._make = make
        self._busy: dict[bytes, Joiner] = {}

    def __contains__(self, peer: bytes) -> bool:
        return peer in self._busy

    def add(self, peer: bytes, parcel: Sequence[Buffer]) -> list[Buffer] | None:
        """A parcel came from a peer; as `Joiner.add`."""
        if peer not in self._busy and parcel and parcel[0][:1] != MARK:
            return list(parcel)  # it is whole, as nearly all are
        joiner = self._busy.pop(peer, None) or self._make()
        whole = joiner.add(parcel)
        if not joiner.idle:
            self._busy[peer] = joiner
        return whole

    def forget(self, peer: bytes) -> None:
        """A peer is gone."""
        self._busy.pop(peer, None)


def _room(size: int) -> memoryview:
    """So many bytes; they take memory as they are written."""
    if size < _HUGE:
        return memoryview(bytearray(size))
    room = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with contextlib.suppress(OSError):  # a kernel without huge pages
        room.madvise(mmap.MADV_HUGEPAGE)
    return memoryview(room)
