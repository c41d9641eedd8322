"""A sum of partial results that have the same tree, frame by frame: ten thousand histograms add up as one array does.

What a tree says of the frames beside it is the same for all partial results that differ in numbers only (`partial.py`). Of
those, no tree is looked at a second time; and of one with fewer things in it, as of one dataset of many, once. Whatever does
not fit so, `Total` adds up node by node, with the same sums.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat

import numpy as np
from msgspec.structs import replace

from ..protocol.errors import RemoteProtocolError
from . import nodes
from .arithmetic import limit, plus, reach
from .growing import Growing
from .lent import Lent
from .nodes import DTYPES, Cells, Frame, Key, Tree, Unmergeable
from .partial import FULL, Partial, digits_frame, digits_in, is_alone, tree_of_frames
from .sparse import Sparse, Thinning, sparse_in

_PLAIN = (
    nodes.Nothing, nodes.Constant, nodes.Binary, nodes.Number, nodes.Array, nodes.Counter, nodes.Set, nodes.Tuple,
    nodes.Dict, nodes.Histogram, nodes.Cutflow,
)  # fmt: skip
"""What adds up number by number where the rest of it is the same."""
NUMBERS = "numbers"
MOST_PLANS = 64
"""Trees of others for which is kept where their numbers go."""

Path = tuple[Key | int, ...]
Place = tuple[int, int, int]
"""A frame, and from where to where in it."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """Something in a tree: what it is, but for the numbers beside it, and the places of these."""

    node: Tree
    places: tuple[Place, ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """Where in the frames of a partial result which of its numbers are.

    Attributes:
        tree: of it, with arrays that say of what type and shape they are and take no memory.
        kinds: of each frame, the name of the type of its cells, or `NUMBERS`.
        sizes: how many are in it.
        alone: whether it is that of one array.
        leaves: by their path in the tree.
    """

    tree: Tree
    kinds: tuple[str, ...]
    sizes: tuple[int, ...]
    alone: tuple[bool, ...]
    leaves: dict[Path, Leaf]

    @classmethod
    def of(cls, tree: Tree) -> Layout | None:
        """Of this tree; None if there is something in it that does not add up number by number."""
        if not all(isinstance(node, _PLAIN) for node in nodes.walk(tree)):
            return None
        making = _Making()
        tree = nodes.rebuilt(tree, _hollow)
        leaves = {path: Leaf(node, tuple(map(making.place, _parts(node)))) for path, node in _leaves(tree, ())}
        return cls(tree, tuple(making.kinds), tuple(making.sizes), tuple(making.alone), leaves)


class _Making:
    """Gives numbers their places, as `Partial.to_frames` does."""

    def __init__(self) -> None:
        self.kinds: list[str] = []
        self.sizes: list[int] = []
        self.alone: list[bool] = []
        self._shared: dict[str, int] = {}
        self._filled: dict[str, int] = {}
        self._alone = 0

    def place(self, part: tuple[str, int]) -> Place:
        """The place of so many numbers of a kind, which come next."""
        name, size = part
        nbytes = 0 if name == NUMBERS else size * DTYPES[name].itemsize
        alone = is_alone(nbytes, self._alone)
        if alone or name not in self._shared or self._filled[name] >= FULL:
            if not alone:
                self._shared[name] = len(self.kinds)
                self._filled[name] = 0
            self.kinds.append(name)
            self.sizes.append(0)
            self.alone.append(alone)
            self._alone += alone
        frame = len(self.kinds) - 1 if alone else self._shared[name]
        if not alone:
            self._filled[name] += nbytes
        start = self.sizes[frame]
        self.sizes[frame] += size
        return frame, start, start + size


class PackedSum:
    """What partial results with the tree of the first one, or with parts of it, have added up to.

    It changes no frame that it was given or has given.

    Example:
        >>> from .encode import decode, encode
        >>> one, two = encode({"n": 1, "x": 2.5}, 10), encode({"x": 0.5}, 10)
        >>> total = PackedSum.of(one, one.to_frames())
        >>> total.add(one.to_frames()), total.add(two.to_frames()), total.add(encode({"other": 1}).to_frames())
        (True, True, False)
        >>> decode(Partial.from_frames([bytes(8) + total.tree, *total.frames()]))
        {'n': 2, 'x': 5.5}
    """

    def __init__(self, layout: Layout, frames: Sequence[Frame], memory: Sequence[Lent | None] = ()) -> None:
        read = _read(layout, frames)
        if read is None:
            raise RemoteProtocolError("a partial result whose frames are not those of its tree")
        coming, self._numbers = read
        self.tree = bytes(tree_of_frames(frames))
        self.layout = layout
        self._plans: dict[bytes, tuple[Layout, list[tuple[Place, Place]]] | None] = {}
        self._cells = list(map(Growing, coming, memory or repeat(None)))
        self._reach = [reach(it.cells) for it in self._cells]

    @classmethod
    def of(cls, partial: Partial, frames: Sequence[Frame]) -> PackedSum | None:
        """The sum of one partial result, which these are the frames of; None if it does not add up so."""
        layout = Layout.of(partial.tree)
        return None if layout is None else cls(layout, frames)

    def add(self, frames: Sequence[Frame]) -> bool:
        """Add what is in these frames; false, and nothing is added, if it is to be looked at node by node.

        Raises RemoteProtocolError when they are no partial result.
        """
        tree = bytes(tree_of_frames(frames))
        if tree == self.tree:
            whole = [(frame, 0, size) for frame, size in enumerate(self.layout.sizes)]
            return self._add(self.layout, [(place, place) for place in whole], frames)
        if tree not in self._plans:
            if len(self._plans) >= MOST_PLANS:
                self._plans.clear()
            self._plans[tree] = self._plan(frames)
        plan = self._plans[tree]
        return plan is not None and self._add(*plan, frames)

    def frames(self, thin: bool = False) -> list[Frame]:
        """The frames beside the tree, which later `add`s do not change; `thin` as in `Partial.to_frames`."""
        given: list[Frame] = []
        thinning = Thinning()
        for at, kind in enumerate(self.layout.kinds):
            if kind == NUMBERS:
                given.append(digits_frame(self._numbers))
                continue
            shorter = thinning.shorter(self._cells[at].cells) if thin and self.layout.alone[at] else None
            given.append(self._cells[at].lend() if shorter is None else shorter)
        return given

    def part(self, keys: Iterable[Key]) -> Tree | None:
        """What is under these keys of the dict that it is, copied; None if it is none."""
        whole = self.layout.tree
        if not isinstance(whole, nodes.Dict):
            return None
        return nodes.Dict({key: self._filled(whole.items[key], (key,)) for key in keys if key in whole.items})

    @property
    def memory(self) -> list[Lent | None]:
        """What another sum with this layout can go on in, when this one is used no more."""
        return [it.memory for it in self._cells]

    def copy(self) -> PackedSum:
        """The same sum, which later `add`s to this one do not change. Arrays are copied when one of the two grows."""
        return PackedSum(self.layout, [bytes(8) + self.tree, *self.frames()])

    def _filled(self, tree: Tree, path: Path) -> Tree:
        """A tree of the layout with its numbers."""
        match tree:
            case nodes.Dict(items=named):
                return nodes.Dict({key: self._filled(branch, (*path, key)) for key, branch in named.items()})
            case nodes.Tuple(items=items):
                return nodes.Tuple([self._filled(branch, (*path, at)) for at, branch in enumerate(items)])
            case nodes.Nothing():
                return tree
        cells: list[Cells] = []
        numbers: list[complex] = []
        for frame, start, stop in self.layout.leaves[path].places:
            if self.layout.kinds[frame] == NUMBERS:
                numbers = self._numbers[start:stop]
            else:
                cells.append(self._cells[frame].cells[start:stop].copy())
        match tree:
            case nodes.Number():
                return nodes.Number.of(numbers[0])
            case nodes.Counter(counts=counts):
                return nodes.Counter(
                    {key: nodes.Number.of(number) for key, number in zip(counts, numbers, strict=True)}
                )
            case nodes.Array(data=data):
                return nodes.Array(cells[0].reshape(data.shape))
            case nodes.Histogram():
                return replace(tree, cells=cells[0].reshape(tree.cells.shape))
            case nodes.Cutflow():
                counted, sums = cells[0].reshape(tree.counts.shape), cells[1].reshape(tree.sums.shape)
                return nodes.Cutflow(tree.names, counted, sums)
        return tree

    @property
    def nbytes(self) -> int:
        """Bytes of its arrays."""
        return sum(it.cells.nbytes for it in self._cells)

    @property
    def frame_sizes(self) -> list[int]:
        """Bytes of the tree, and of each of the frames beside it."""
        return [len(self.tree), *(it.cells.nbytes for it in self._cells)]

    def _plan(self, frames: Sequence[Frame]) -> tuple[Layout, list[tuple[Place, Place]]] | None:
        """Where the numbers of a partial result with another tree go; None if not all of them have a place."""
        layout = Layout.of(Partial.from_frames(frames).tree)
        if layout is None:
            return None
        moves: list[tuple[Place, Place]] = []
        for path, leaf in layout.leaves.items():
            mine = self.layout.leaves.get(path)
            if mine is None:  # also of None, for which a key stands in the sum as for anything else
                return None
            if isinstance(leaf.node, nodes.Nothing):
                continue
            if not _alike(mine.node, leaf.node):
                return None
            moves += zip(mine.places, leaf.places, strict=True)
        return layout, _joined(moves)

    def _add(self, layout: Layout, moves: list[tuple[Place, Place]], frames: Sequence[Frame]) -> bool:
        read = _read(layout, frames)
        if read is None:
            return False
        coming, numbers = read
        try:
            sums = self._sums(layout, moves, numbers)
        except Unmergeable:  # where, the tree says
            return False
        if not self._fit(layout, moves, coming):
            return False
        self._numbers = sums
        for (mine, start, stop), (theirs, first, last) in moves:
            if layout.kinds[theirs] == NUMBERS:
                continue
            source = coming[theirs]
            if isinstance(source, Sparse):
                source.add_to(self._cells[mine].own()[start:stop], first)
            else:
                self._cells[mine].add(start, source[first:last])
        return True

    def _sums(self, layout: Layout, moves: list[tuple[Place, Place]], numbers: list[complex]) -> list[complex]:
        """The plain numbers with those that come."""
        sums = list(self._numbers)
        for (_, start, stop), (theirs, first, last) in moves:
            if layout.kinds[theirs] == NUMBERS:
                sums[start:stop] = map(plus, sums[start:stop], numbers[first:last])
        return sums

    def _fit(self, layout: Layout, moves: list[tuple[Place, Place]], coming: list[Cells | Sparse]) -> bool:
        """Whether no sum of whole numbers can overflow. What might is looked at array by array."""
        reaches = [reach(cells.values if isinstance(cells, Sparse) else cells) for cells in coming]
        for (mine, _, _), (theirs, _, _) in moves:
            cells = self._cells[mine].cells
            if layout.kinds[theirs] != NUMBERS and self._reach[mine] + reaches[theirs] > limit(cells):
                self._reach[mine] = reach(cells)
                if self._reach[mine] + reaches[theirs] > limit(cells):
                    return False
        for mine, theirs in {(mine, theirs) for (mine, _, _), (theirs, _, _) in moves}:
            self._reach[mine] += reaches[theirs]
        return True


def _hollow(tree: Tree) -> Tree:
    """The same with arrays of no memory."""
    match tree:
        case nodes.Array(data=data):
            return nodes.Array(_nothing_like(data))
        case nodes.Histogram(cells=cells):
            return replace(tree, cells=_nothing_like(cells))
        case nodes.Cutflow(counts=counts, sums=sums):
            return nodes.Cutflow(tree.names, _nothing_like(counts), _nothing_like(sums))
    return tree


def _nothing_like(cells: Cells) -> Cells:
    return np.broadcast_to(np.zeros((), cells.dtype), cells.shape)


def _read(layout: Layout, frames: Sequence[Frame]) -> tuple[list[Cells | Sparse], list[complex]] | None:
    """What is in the frames beside a tree of this layout; None if that is to be looked at node by node."""
    if len(frames) != 1 + len(layout.kinds):
        return None
    coming: list[Cells | Sparse] = []
    numbers: list[complex] = []
    for kind, size, frame in zip(layout.kinds, layout.sizes, frames[1:], strict=True):
        if kind == NUMBERS:
            numbers = digits_in(frame)
            coming.append(np.empty(0))
        elif len(frame) == size * DTYPES[kind].itemsize:
            coming.append(np.frombuffer(frame, DTYPES[kind]))
        else:
            try:
                coming.append(sparse_in(frame, kind, size))
            except ValueError:  # what is wrong with it, is said node by node
                return None
        if kind == NUMBERS and len(numbers) != size:
            return None
    return coming, numbers


def _leaves(tree: Tree, path: Path) -> Iterator[tuple[Path, Tree]]:
    match tree:
        case nodes.Dict(items=named):
            yield path, nodes.Dict({})
            for key, branch in named.items():
                yield from _leaves(branch, (*path, key))
        case nodes.Tuple(items=items):
            yield path, nodes.Tuple([nodes.Nothing()] * len(items))
            for at, branch in enumerate(items):
                yield from _leaves(branch, (*path, at))
        case _:
            yield path, tree


def _parts(node: Tree) -> Iterator[tuple[str, int]]:
    """What of a leaf is beside the tree, in its order: the kind, and how many."""
    match node:
        case nodes.Number():
            yield NUMBERS, 1
        case nodes.Counter(counts=counts):
            if counts:
                yield NUMBERS, len(counts)
        case nodes.Array(data=cells) | nodes.Histogram(cells=cells):
            yield _NAMES[cells.dtype], cells.size
        case nodes.Cutflow(counts=counts, sums=sums):
            yield _NAMES[counts.dtype], counts.size
            yield _NAMES[sums.dtype], sums.size


def _alike(mine: Tree, theirs: Tree) -> bool:
    """Whether two leaves are the same but for their numbers; if they are not, they may add up nevertheless."""
    if type(mine) is not type(theirs):
        return False
    match mine, theirs:
        case (nodes.Constant(value=one), nodes.Constant(value=other)) | (
            nodes.Binary(value=one),
            nodes.Binary(value=other),
        ):
            return type(one) is type(other) and one == other
        case nodes.Set(items=one), nodes.Set(items=other):
            return one == other
        case nodes.Counter(counts=one), nodes.Counter(counts=other):
            return list(one) == list(other)
        case nodes.Tuple(items=one), nodes.Tuple(items=other):
            return len(one) == len(other)
        case nodes.Array(data=one), nodes.Array(data=other):
            return one.dtype == other.dtype and one.shape == other.shape
        case nodes.Cutflow(names=one, counts=counts), nodes.Cutflow(names=other, counts=others):
            return one == other and counts.shape == others.shape
        case nodes.Histogram(), nodes.Histogram():
            kind = mine.axes, mine.storage, mine.variance_known, mine.cells.shape, mine.of
            return kind == (theirs.axes, theirs.storage, theirs.variance_known, theirs.cells.shape, theirs.of)
    return True


def _joined(moves: list[tuple[Place, Place]]) -> list[tuple[Place, Place]]:
    """The same moves, those that follow one another on both sides in one."""
    joined: list[tuple[Place, Place]] = []
    for mine, theirs in sorted(moves, key=lambda move: move[0]):
        if joined:
            (frame, start, stop), (other, first, last) = joined[-1]
            if (frame, stop, other, last) == (mine[0], mine[1], theirs[0], theirs[1]):
                joined[-1] = (frame, start, mine[2]), (other, first, theirs[2])
                continue
        joined.append((mine, theirs))
    return joined


_NAMES = {dtype: name for name, dtype in DTYPES.items()}
