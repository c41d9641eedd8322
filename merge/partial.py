"""A partial result: what some ranges of entries gave, as it travels from slot to agent to master to session."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from ..protocol.errors import RemoteProtocolError
from .nodes import DTYPES, MAX_DEPTH, Cells, Frame, Part, Pickled, Tree, depth, walk
from .rows import Held

MAX_DIMENSIONS = 32
_MOST = 2**48  # entries of one partial result, whose sum must fit into 8 bytes, too
_NAMES = {dtype: name for name, dtype in DTYPES.items()}


_COUNT = 8
"""The first bytes of a partial result, the highest first, are how many entries are in it."""


class Partial:
    """A result as a tree of nodes, and how many entries have been added to it; never changes.

    Args:
        tree: what the analysis returned for them.
        entries: counted where that was added, and added up as it is: a result that lacks entries, or has some twice,
            says so itself.

    Example::

        partial = encode({"mass": histogram, "events": 1000}, entries=1000)
        frames = partial.to_frames()                 # what a commit carries
        Partial.from_frames(frames).nbytes
    """

    __slots__ = ("entries", "tree")

    def __init__(self, tree: Tree, entries: int = 0) -> None:
        self.tree = tree
        self.entries = entries

    def to_frames(self) -> list[Frame]:
        """The number of entries and the tree as MessagePack, then one frame a buffer, not copied.

        Raises MergeError when an object does not pickle.
        """
        buffers: list[Frame] = []

        def put_aside(value: object) -> object:
            if isinstance(value, Part):
                buffers.append(value.frame)
                return len(buffers) - 1
            assert isinstance(value, np.ndarray)
            buffers.append(np.ascontiguousarray(value).reshape(-1).view(np.uint8).data)
            return len(buffers) - 1, _NAMES[value.dtype], value.shape

        tree = msgspec.msgpack.encode(self.tree, enc_hook=put_aside)
        return [self.entries.to_bytes(_COUNT, "big") + tree, *buffers]

    @classmethod
    def from_frames(cls, frames: Sequence[Frame]) -> Partial:
        """The partial that `to_frames` made; arrays are read where they lie in the frames, and not copied.

        Raises RemoteProtocolError for anything that `to_frames` could not have made, and nothing else.
        """
        entries = entries_in(frames)
        buffers = _Buffers(frames[1:])
        try:
            tree: Tree = msgspec.msgpack.decode(memoryview(frames[0])[_COUNT:], type=Tree, dec_hook=buffers.take)
            levels = depth(tree)
        except (
            msgspec.MsgspecError,
            ValueError,
            TypeError,
            OverflowError,
            BufferError,
            RecursionError,
            MemoryError,
        ) as error:
            raise RemoteProtocolError(f"a malformed partial result: {error}") from error
        if buffers.unused:
            raise RemoteProtocolError(f"a partial result with {buffers.unused} frames that nothing refers to")
        if levels > MAX_DEPTH:
            raise RemoteProtocolError(f"a partial result nested deeper than {MAX_DEPTH}")
        return cls(tree, entries)

    @property
    def nbytes(self) -> int:
        """Bytes of all frames. Pickles what is live, and keeps the pickle for `to_frames`."""
        return sum(len(frame) for frame in self.to_frames())

    @property
    def pickled_parts(self) -> int:
        """The largest number of parts that one object of the user's is in; above 1, `compact` in a slot would help."""
        return max((len(node.parts) for node in walk(self.tree) if isinstance(node, Pickled)), default=0)

    def __repr__(self) -> str:
        return f"Partial({self.tree!r}, {self.entries})"


def entries_in(frames: Sequence[Frame]) -> int:
    """How many entries are in the partial result that these frames are of, without a look at the rest of it.

    Raises RemoteProtocolError when they are of none.
    """
    if not frames or len(frames[0]) < _COUNT:
        raise RemoteProtocolError("a partial result needs a frame that says how many entries are in it")
    entries = int.from_bytes(bytes(frames[0][:_COUNT]), "big")
    if entries > _MOST:
        raise RemoteProtocolError(f"a partial result of {entries} entries, more than there are")
    return entries


class _Buffers:
    """The frames beside a tree; each is taken once."""

    def __init__(self, frames: Sequence[Frame]) -> None:
        self._frames: list[Frame | None] = list(frames)

    @property
    def unused(self) -> int:
        return sum(frame is not None for frame in self._frames)

    def take(self, kind: type, reference: Any) -> Cells | Part:
        """For msgspec: what `reference`, from a peer, stands for. ValueError or TypeError when it is malformed."""
        if kind is Part:
            return Part(frame=self._frame(reference))
        if kind is Held:
            raise ValueError("rows that are in no file")
        index, name, shape = reference
        if not isinstance(name, str) or name not in DTYPES or not isinstance(shape, list):
            raise ValueError("an array of no known type or shape")
        if len(shape) > MAX_DIMENSIONS or any(type(length) is not int or length < 0 for length in shape):
            raise ValueError("an array of impossible shape")
        frame, dtype = self._frame(index), DTYPES[name]
        if math.prod(shape) * dtype.itemsize != len(frame):
            raise ValueError(f"an array of {name} and shape {shape} in a frame of {len(frame)} bytes")
        data = np.frombuffer(frame, dtype).reshape(shape)
        data.flags.writeable = False
        return data

    def _frame(self, index: object) -> Frame:
        if type(index) is not int or not 0 <= index < len(self._frames):
            raise ValueError("a reference to a frame that is not there")
        frame = self._frames[index]
        if frame is None:
            raise ValueError("two references to one frame")
        if isinstance(frame, memoryview) and not (frame.c_contiguous and frame.format == "B" and frame.ndim == 1):
            raise ValueError("a frame that is not plain bytes")
        self._frames[index] = None
        return frame
