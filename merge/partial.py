"""A partial result: what some ranges of entries gave, as it travels from slot to agent to master to session."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from ..protocol.errors import RemoteProtocolError
from .nodes import DTYPES, MAX_DEPTH, Cells, Digits, Frame, Part, Pickled, Scalar, Tree, depth, walk
from .rows import Held
from .sparse import MOST_SPREAD, Thinning, sparse_in

MAX_DIMENSIONS = 32
_MOST = 2**48  # entries of one partial result, whose sum must fit into 8 bytes, too
_NAMES = {dtype: name for name, dtype in DTYPES.items()}


SMALL = 2**16
"""Bytes of an array below which it shares a frame with others of its type, for the sake of many histograms."""
MOST_ALONE = 2000
"""Large arrays that have a frame each; more than these share frames, too, since a message has so many frames at most."""
FULL = 64 * 2**20
"""Bytes of a shared frame that takes no more arrays."""
_digits = msgspec.msgpack.Decoder(list[Digits])
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

    def to_frames(self, thin: bool = False) -> list[Frame]:
        """The number of entries and the tree as MessagePack, then the frames that it refers to; large arrays are not copied.
        In `thin` ones, of large arrays that are nearly empty only what is in them travels.

        Of partial results that differ in numbers only, all trees are equal, and so is the length of each frame but that of
        plain numbers, and of what is thin. Raises MergeError when an object does not pickle.
        """
        aside = _Aside(Thinning() if thin else None)
        tree = msgspec.msgpack.encode(self.tree, enc_hook=aside.put)
        return [self.entries.to_bytes(_COUNT, "big") + tree, *aside.frames()]

    @classmethod
    def from_frames(cls, frames: Sequence[Frame]) -> Partial:
        """The partial that `to_frames` made; arrays are read where they lie in the frames, and not copied.

        Raises RemoteProtocolError for anything that `to_frames` could not have made, and nothing else.
        """
        entries = entries_in(frames)
        buffers = _Buffers(frames[1:])
        try:
            tree: Tree = msgspec.msgpack.decode(tree_of_frames(frames), type=Tree, dec_hook=buffers.take)
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


def tree_of_frames(frames: Sequence[Frame]) -> memoryview:
    """The tree of the partial result that these frames are of, as MessagePack."""
    return memoryview(frames[0])[_COUNT:]


def count_frame(entries: int, tree: Frame) -> bytes:
    """The first frame of a partial result of so many entries."""
    return entries.to_bytes(_COUNT, "big") + bytes(tree)


def digits_in(frame: Frame) -> list[complex]:
    """The numbers in a frame of numbers. RemoteProtocolError when it is none."""
    try:
        return [Scalar.of(digits).number for digits in _digits.decode(frame)]
    except (msgspec.MsgspecError, ValueError) as error:
        raise RemoteProtocolError(f"a malformed partial result: {error}") from error


def digits_frame(numbers: Sequence[complex]) -> bytes:
    """The frame of these numbers."""
    return msgspec.msgpack.encode([Scalar(number).digits for number in numbers])


def is_alone(nbytes: int, before: int) -> bool:
    """Whether an array of so many bytes has a frame of its own, where so many before it have one."""
    return nbytes >= FULL or (nbytes >= SMALL and before < MOST_ALONE)


class _Aside:
    """What does not travel in the tree but in frames beside it.

    A large array and a pickled object have one each; small arrays of a type follow one another in one, and so do numbers,
    in the order in which they are in the tree, so that nothing has to say where. What follows a full one has another. Which
    frame is whose depends on the kinds of things in the tree and on the shapes of arrays, and on no value.
    """

    def __init__(self, thinning: Thinning | None) -> None:
        self._thinning = thinning
        self._frames: list[Frame | list[Cells] | list[Digits]] = []
        self._shared: dict[str, tuple[int, list[Cells]]] = {}
        self._filled: dict[str, int] = {}
        self._arrays: set[int] = set()
        self._alone = 0
        self._numbers: tuple[int, list[Digits]] | None = None

    def put(self, value: object) -> object:
        """For msgspec: put this aside, and say where it is."""
        if isinstance(value, Scalar):
            if self._numbers is None:
                self._numbers = len(self._frames), []
                self._frames.append(self._numbers[1])
            self._numbers[1].append(value.digits)
            return self._numbers[0]
        if isinstance(value, Part):
            self._frames.append(value.frame)
            return len(self._frames) - 1
        assert isinstance(value, np.ndarray)
        name = _NAMES[value.dtype]
        if is_alone(value.nbytes, self._alone):
            self._alone += 1
            cells = np.ascontiguousarray(value)
            thinning = self._thinning
            self._frames.append(cells.reshape(-1).view(np.uint8).data if thinning is None else thinning.frame(cells))
            return len(self._frames) - 1, name, value.shape
        shared = self._shared.get(name)
        if shared is None or self._filled[name] >= FULL:
            shared = self._shared[name] = len(self._frames), []
            self._filled[name] = 0
            self._arrays.add(shared[0])
            self._frames.append(shared[1])
        self._filled[name] += value.nbytes
        # numpy joins what has fields slowly
        shared[1].append(value.reshape(-1) if value.dtype.fields is None else value.reshape(-1).view(np.float64))
        return -1 - shared[0], name, value.shape

    def frames(self) -> list[Frame]:
        """All of them."""
        joined: list[Frame] = []
        for at, frame in enumerate(self._frames):
            if at in self._arrays:
                joined.append(np.concatenate(frame).view(np.uint8).data)
            elif isinstance(frame, list):
                joined.append(msgspec.msgpack.encode(frame))
            else:
                joined.append(frame)
        return joined


class _Shared:
    """A frame that small arrays of one type share."""

    __slots__ = ("at", "cells", "name")

    def __init__(self, name: str, frame: Frame) -> None:
        if len(frame) % DTYPES[name].itemsize:
            raise ValueError(f"a frame of {len(frame)} bytes for arrays of {name}")
        self.name, self.at = name, 0
        self.cells = np.frombuffer(frame, DTYPES[name])
        self.cells.flags.writeable = False

    def take(self, name: str, shape: list[int]) -> Cells:
        """The next array."""
        start, self.at = self.at, self.at + math.prod(shape)
        if name != self.name or self.at > len(self.cells):
            raise ValueError("a frame that is too short for its arrays, or of another type")
        return self.cells[start : self.at].reshape(shape)


class _Buffers:
    """The frames beside a tree; each byte of them is taken once."""

    def __init__(self, frames: Sequence[Frame]) -> None:
        self._frames: list[Frame | None] = list(frames)
        self._left = MOST_SPREAD
        self._shared: dict[int, _Shared] = {}
        self._numbers: tuple[int, list[Digits]] | None = None

    @property
    def unused(self) -> int:
        """Frames that nothing refers to, or more than is in them."""
        left = sum(shared.at < len(shared.cells) for shared in self._shared.values())
        left += self._numbers is not None and bool(self._numbers[1])
        return left + sum(frame is not None for frame in self._frames)

    def take(self, kind: type, reference: Any) -> Cells | Part | Scalar:
        """For msgspec: what `reference`, from a peer, stands for. ValueError or TypeError when it is malformed."""
        if kind is Scalar:
            return self._number(reference)
        if kind is Part:
            return Part(frame=self._frame(reference))
        if kind is Held:
            raise ValueError("rows that are in no file")
        index, name, shape = reference
        if not isinstance(name, str) or name not in DTYPES or not isinstance(shape, list):
            raise ValueError("an array of no known type or shape")
        if len(shape) > MAX_DIMENSIONS or any(type(length) is not int or length < 0 for length in shape):
            raise ValueError("an array of impossible shape")
        if type(index) is int and index < 0:
            shared = self._shared.get(index)
            if shared is None:
                shared = self._shared[index] = _Shared(name, self._frame(-1 - index))
            return shared.take(name, shape)
        frame, dtype, size = self._frame(index), DTYPES[name], math.prod(shape)
        if size * dtype.itemsize == len(frame):
            data = np.frombuffer(frame, dtype).reshape(shape)
        else:
            self._left -= size * dtype.itemsize
            if self._left < 0:
                raise ValueError(f"an array of {name} and shape {shape} in a frame of {len(frame)} bytes")
            data = sparse_in(frame, name, size).dense.reshape(shape)
        data.flags.writeable = False
        return data

    def _number(self, index: object) -> Scalar:
        if self._numbers is None:
            digits = _digits.decode(self._frame(index))
            assert isinstance(index, int)
            self._numbers = index, digits[::-1]
        if index != self._numbers[0] or not self._numbers[1]:
            raise ValueError("more numbers than there are in their frame")
        return Scalar.of(self._numbers[1].pop())

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
