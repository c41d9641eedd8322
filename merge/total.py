"""A total: what partial results have added up to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ..protocol.errors import RemoteProtocolError
from .lent import Lent
from .nodes import Frame, Key, Nothing, Unmergeable
from .packed import Layout, PackedSum
from .partial import Partial, count_frame, entries_in, tree_of_frames
from .sums import DictSum, Sum, added, check, tree_of

MOST_PATIENCE = 1024


class Total:
    """Adds up partial results; never changes one that it was given or has given.

    A slot has one for its analysis since the last commit, an agent one for its slots, a master one a query. What comes in
    frames is added up frame by frame as long as it is of one tree, which costs what its bytes cost; and else node by node.

    Example::

        total = Total()
        total.add(encode({"muons": 7}, entries=10))
        total.add(encode({"muons": 3}, entries=5))
        decode(total.partial())                      # {"muons": 10}, of 15 entries
    """

    __slots__ = ("_entries", "_known", "_packed", "_patience", "_sum", "_taken")

    def __init__(self) -> None:
        self._sum: Sum[Any] | None = None
        self._packed: PackedSum | None = None
        self._known: tuple[bytes, Layout, list[Lent | None]] | None = None
        self._entries = 0
        self._taken, self._patience = 0, 1

    def add(self, partial: Partial) -> None:
        """Add a partial result and its entries. MergeError, which says where, if it does not fit: nothing is added then."""
        self._unpack()
        with np.errstate(all="ignore"):  # inf and nan in a user's histogram are no news here
            try:
                check(self._sum, partial.tree)
            except Unmergeable as refusal:
                raise refusal.error() from refusal.__cause__
            self._sum = added(self._sum, partial.tree)
        self._entries += partial.entries

    def add_frames(self, frames: Sequence[Frame]) -> None:
        """Add the partial result that these are the frames of. Raises as `add`, and RemoteProtocolError as `from_frames`."""
        entries = entries_in(frames)
        if self._packed is not None:
            with np.errstate(all="ignore"):
                if self._packed.add(frames):
                    self._entries += entries
                    return
        if self.empty and self._known is not None and self._known[0] == tree_of_frames(frames):
            try:
                self._packed = PackedSum(self._known[1], frames, self._known[2])
                self._entries += entries
                return
            except RemoteProtocolError:  # what is wrong with it, is said below
                pass
        partial = Partial.from_frames(frames)
        if self.empty and not isinstance(partial.tree, Nothing):
            self._packed = PackedSum.of(partial, frames)
            if self._packed is not None:
                self._entries += entries
                return
        self.add(partial)

    def partial(self) -> Partial:
        """A snapshot of the total, which later `add`s do not change. Arrays are copied by the next `add`, if anybody holds
        it then."""
        if self._packed is not None:
            return Partial.from_frames(self.to_frames())
        return Partial(tree_of(self._sum), self._entries)

    def to_frames(self, thin: bool = False) -> list[Frame]:
        """The same as frames; `thin` as in `Partial.to_frames`."""
        if self._packed is not None:
            return [count_frame(self._entries, self._packed.tree), *self._packed.frames(thin)]
        partial = self.partial()
        frames = partial.to_frames(thin)
        self._taken += 1
        if self._taken >= self._patience and not isinstance(partial.tree, Nothing):
            # From now on there may come what has the things that are in it by now, and no others.
            self._taken, self._patience = 0, min(2 * self._patience, MOST_PATIENCE)
            self._packed = PackedSum.of(partial, frames)
            self._sum = None if self._packed is not None else self._sum
        return frames

    def part(self, keys: Iterable[Key]) -> Partial | None:
        """What is under these keys of it, if it is a dict all of which can be done without; else None. Of the rest, nothing
        is copied now or later."""
        if self._packed is not None:
            tree = self._packed.part(keys)
        else:
            tree = self._sum.part(keys) if isinstance(self._sum, DictSum) else None
        return None if tree is None else Partial(tree, self._entries)

    def clear(self) -> None:
        """Begin anew with nothing. Of what is like that which was added before, the tree is known, and the memory is there
        to be used again."""
        if self._packed is not None:
            self._known = self._packed.tree, self._packed.layout, self._packed.memory
        self._sum, self._packed, self._entries = None, None, 0
        self._taken, self._patience = 0, 1

    def copy(self) -> Total:
        """The same total, which later `add`s to this one do not change. Arrays are copied when one of the two grows."""
        copied = Total()
        copied._entries = self._entries
        if self._packed is not None:
            copied._packed = self._packed.copy()
        else:
            copied._sum = added(None, tree_of(self._sum))
        return copied

    def _unpack(self) -> None:
        """Go on node by node."""
        if self._packed is not None:
            self._sum = added(None, self.partial().tree)
            self._packed = None

    @property
    def entries(self) -> int:
        """How many entries have been added."""
        return self._entries

    @property
    def nbytes(self) -> int:
        """Bytes of arrays and pickled objects in it. Objects that are live in this process are not counted."""
        if self._packed is not None:
            return self._packed.nbytes
        return 0 if self._sum is None else self._sum.nbytes

    @property
    def frame_sizes(self) -> list[int]:
        """Bytes of each of its frames."""
        if self._packed is not None:
            return self._packed.frame_sizes
        return [len(frame) for frame in self.to_frames()]

    @property
    def pickled_parts(self) -> int:
        """As `Partial.pickled_parts`."""
        return 0 if self._sum is None else self._sum.parts

    @property
    def empty(self) -> bool:
        """Whether nothing but None was ever added."""
        return self._sum is None and self._packed is None
