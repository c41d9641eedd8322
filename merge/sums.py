"""How each kind of node adds up, and the one table of what can be merged (`RULES`, at the end).

A `Sum` grows by the nodes of its kind. Adding has two steps: `fits` refuses, or prepares, and changes nothing that
shows; `add` cannot fail. So a total either takes all of a partial or none of it. A sum never writes into an array that
it was given or has given out: `node()` gives the array itself away, and the next `add` goes on with a fresh one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
from msgspec.structs import replace

from ..analysis.passed import differ
from . import nodes
from .arithmetic import limit, plus, reach, sum_fits
from .cells import add_histogram, joined_axes, moved
from .nodes import Key, Node, Part, Tree, Unmergeable
from .objects import merged
from .row_agreement import check_rows
from .rows import Held, in_common

AWKWARD_LIMIT = 256 * 2**20  # bytes of one awkward array, all packets together, from which on it takes no more

N = TypeVar("N", bound=Node)


class Sum(Generic[N]):
    """What nodes of one kind have added up to."""

    takes: ClassVar[type[Node]]

    def __init__(self, node: N) -> None:
        raise NotImplementedError

    def fits(self, node: N) -> None:
        """Refuse a node that cannot be added, with Unmergeable."""

    def add(self, node: N) -> None:
        """Add a node that fits."""
        raise NotImplementedError

    def node(self) -> N:
        """The sum so far, which later `add`s do not change."""
        raise NotImplementedError

    @property
    def nbytes(self) -> int:
        """Bytes of its buffers."""
        return 0

    @property
    def parts(self) -> int:
        """The largest number of parts that one object of the user's in it is in."""
        return 0


def check(total: Sum[Any] | None, tree: Tree) -> None:
    """Whether `tree` can be added to `total`, where None is the sum of nothing; Unmergeable if not."""
    if total is None or isinstance(tree, nodes.Nothing):
        return
    if type(tree) is not total.takes:
        raise Unmergeable(
            f"{_words(total.takes)} in one packet and {_words(type(tree))} in another; an analysis must return the "
            "same kinds for every packet (None, for nothing, goes with all of them)"
        )
    total.fits(tree)


def added(total: Sum[Any] | None, tree: Tree) -> Sum[Any] | None:
    """`total`, or a new sum if there was none, with `tree` added, for which `check` has been asked."""
    if isinstance(tree, nodes.Nothing):
        return total
    if total is None:
        return _SUMS[type(tree)](tree)
    total.add(tree)
    return total


def tree_of(total: Sum[Any] | None) -> Tree:
    """The sum so far as a tree."""
    if total is None:
        return nodes.Nothing()
    tree: Tree = total.node()
    return tree


class ConstantSum(Sum[Any]):
    takes: ClassVar[type[Node]] = nodes.Constant

    def __init__(self, node: nodes.Constant | nodes.Binary) -> None:
        self._node = node

    def fits(self, node: nodes.Constant | nodes.Binary) -> None:
        mine, theirs = self._node.value, node.value
        if type(mine) is not type(theirs) or mine != theirs:
            raise Unmergeable(
                f"{mine!r} in one packet and {theirs!r} in another; text and truth values must be the same in all "
                "packets (to count them, return a collections.Counter; to collect them, a set)"
            )

    def add(self, node: nodes.Constant | nodes.Binary) -> None:
        pass

    def node(self) -> nodes.Constant | nodes.Binary:
        return self._node


class BinarySum(ConstantSum):
    takes = nodes.Binary


class NumberSum(Sum[nodes.Number]):
    takes = nodes.Number

    def __init__(self, node: nodes.Number) -> None:
        self._number = node.number

    def fits(self, node: nodes.Number) -> None:
        plus(self._number, node.number)

    def add(self, node: nodes.Number) -> None:
        self._number = plus(self._number, node.number)

    def node(self) -> nodes.Number:
        return nodes.Number.of(self._number)


class ArraySum(Sum[nodes.Array]):
    takes = nodes.Array

    def __init__(self, node: nodes.Array) -> None:
        self._data = node.data
        self._own = False
        self._reach, self._coming = reach(node.data), 0  # of the sum, and of what fits it

    def fits(self, node: nodes.Array) -> None:
        mine, theirs = self._data, node.data
        if mine.shape != theirs.shape:
            raise Unmergeable(
                f"numpy arrays of shapes {mine.shape} and {theirs.shape}; arrays are summed element by element over "
                "all packets. To collect values of events instead, return an awkward array: ak.Array(values)"
            )
        if mine.dtype != theirs.dtype:
            raise Unmergeable(
                f"numpy arrays of {mine.dtype} and {theirs.dtype}; give them the same dtype in every packet"
            )
        self._coming = reach(theirs)
        if self._reach + self._coming > limit(mine):
            self._reach = reach(mine)  # that of the sum, not the sum of all of them
            if self._reach + self._coming > limit(mine) and not sum_fits(mine, theirs):
                raise Unmergeable(
                    f"numpy arrays whose sum does not fit into {mine.dtype}; return them as float64, or as Python's ints"
                )

    def add(self, node: nodes.Array) -> None:
        self._reach += self._coming
        if self._own:
            np.add(self._data, node.data, out=self._data)
        else:
            self._data, self._own = np.asarray(self._data + node.data), True

    def node(self) -> nodes.Array:
        self._own = self._data.flags.writeable = False
        return nodes.Array(self._data)

    @property
    def nbytes(self) -> int:
        return self._data.nbytes


class CounterSum(Sum[nodes.Counter]):
    takes = nodes.Counter

    def __init__(self, node: nodes.Counter) -> None:
        self._counts = {key: count.number for key, count in node.counts.items()}

    def fits(self, node: nodes.Counter) -> None:
        for key, count in node.counts.items():
            plus(self._counts.get(key, 0), count.number)

    def add(self, node: nodes.Counter) -> None:
        for key, count in node.counts.items():
            self._counts[key] = plus(self._counts.get(key, 0), count.number)

    def node(self) -> nodes.Counter:
        return nodes.Counter({key: nodes.Number.of(count) for key, count in self._counts.items()})


class SetSum(Sum[nodes.Set]):
    takes = nodes.Set

    def __init__(self, node: nodes.Set) -> None:
        self._items = dict.fromkeys(node.items)  # a set that keeps its order: one history, one message

    def add(self, node: nodes.Set) -> None:
        self._items.update(dict.fromkeys(node.items))

    def node(self) -> nodes.Set:
        return nodes.Set(tuple(self._items))


class ListSum(Sum[nodes.List]):
    takes = nodes.List

    def __init__(self, node: nodes.List) -> None:
        self._items = list(node.items)

    def add(self, node: nodes.List) -> None:
        self._items += node.items

    def node(self) -> nodes.List:
        return nodes.List(list(self._items))

    @property
    def nbytes(self) -> int:
        return sum(node.nbytes for item in self._items for node in nodes.walk(item))

    @property
    def parts(self) -> int:
        inner = (node for item in self._items for node in nodes.walk(item))
        return max((len(node.parts) for node in inner if isinstance(node, nodes.Pickled)), default=0)


class TupleSum(Sum[nodes.Tuple]):
    takes = nodes.Tuple

    def __init__(self, node: nodes.Tuple) -> None:
        self._items = [added(None, item) for item in node.items]

    def fits(self, node: nodes.Tuple) -> None:
        if len(node.items) != len(self._items):
            raise Unmergeable(
                f"tuples of {len(self._items)} and of {len(node.items)}; tuples are merged position by position, "
                "lists are joined end to end"
            )
        for position, (total, item) in enumerate(zip(self._items, node.items, strict=True)):
            _check_inside(position, total, item)

    def add(self, node: nodes.Tuple) -> None:
        self._items = [added(total, item) for total, item in zip(self._items, node.items, strict=True)]

    def node(self) -> nodes.Tuple:
        return nodes.Tuple([tree_of(total) for total in self._items])

    @property
    def nbytes(self) -> int:
        return sum(total.nbytes for total in self._items if total is not None)

    @property
    def parts(self) -> int:
        return max((total.parts for total in self._items if total is not None), default=0)


class DictSum(Sum[nodes.Dict]):
    takes = nodes.Dict

    def __init__(self, node: nodes.Dict) -> None:
        self._items = {key: added(None, item) for key, item in node.items.items()}

    def fits(self, node: nodes.Dict) -> None:
        for key, item in node.items.items():
            _check_inside(key, self._items.get(key), item)

    def add(self, node: nodes.Dict) -> None:
        for key, item in node.items.items():
            self._items[key] = added(self._items.get(key), item)

    def node(self) -> nodes.Dict:
        return nodes.Dict({key: tree_of(total) for key, total in self._items.items()})

    @property
    def nbytes(self) -> int:
        return sum(total.nbytes for total in self._items.values() if total is not None)

    @property
    def parts(self) -> int:
        return max((total.parts for total in self._items.values() if total is not None), default=0)

    def part(self, keys: Iterable[Key]) -> nodes.Dict | None:
        """What is under these keys; None if there are rows of files in it, which are wanted in any case."""
        if self.writes:
            return None
        return nodes.Dict({key: tree_of(self._items[key]) for key in keys if key in self._items})

    @property
    def writes(self) -> bool:
        """Whether there are rows of files in it."""
        return any(
            it.writes if isinstance(it, DictSum) else not isinstance(it, _WITHOUT_ROWS) for it in self._items.values()
        )


class AwkwardSum(Sum[nodes.Awkward]):
    takes = nodes.Awkward

    def __init__(self, node: nodes.Awkward) -> None:
        self._blocks: dict[tuple[str, tuple[str, ...]], list[nodes.Block]] = {}
        self._chunks = 0
        self._nbytes = 0
        self.add(node)

    def fits(self, node: nodes.Awkward) -> None:
        if self._nbytes >= AWKWARD_LIMIT:  # not what goes beyond it, in which there may be minutes of work
            raise Unmergeable(
                f"an awkward array of more than {AWKWARD_LIMIT >> 20} MiB, all packets together; fill histograms "
                "instead, or write the rows to files: em.write(array, folder) in its place",
                too_long=True,
            )

    def add(self, node: nodes.Awkward) -> None:
        self._nbytes += node.nbytes
        for group in node.groups:
            blocks = self._blocks.setdefault((group.form, group.keys), [])
            for block in group.blocks:
                # places count on over all types, so that arrays which are returned side by side stay side by side
                chunks = [replace(chunk, place=chunk.place + self._chunks) for chunk in block.chunks]
                blocks.append(nodes.Block(chunks, block.data))
                # a few blocks, each at least twice as large as the next: few frames, and no byte is copied often
                while len(blocks) > 1 and blocks[-2].data.nbytes <= 2 * blocks[-1].data.nbytes:
                    last, previous = blocks.pop(), blocks.pop()
                    data = np.concatenate([previous.data, last.data])
                    blocks.append(nodes.Block([*previous.chunks, *last.chunks], data))
        self._chunks += sum(1 for _ in node.chunks())

    def node(self) -> nodes.Awkward:
        return nodes.Awkward([nodes.Group(*kind, list(blocks)) for kind, blocks in self._blocks.items()])

    @property
    def nbytes(self) -> int:
        return self._nbytes


class HistogramSum(Sum[nodes.Histogram]):
    takes = nodes.Histogram

    def __init__(self, node: nodes.Histogram) -> None:
        self._first = node
        self._axes = node.axes
        self._cells = node.cells
        self._cell_bytes = node.cells.itemsize * math.prod(node.elements)
        self._variance_known = node.variance_known
        self._own = False
        self._reach, self._coming = reach(node.cells), 0

    def fits(self, node: nodes.Histogram) -> None:
        if node.storage != self._first.storage:
            raise Unmergeable(f"histograms with {self._first.storage} and with {node.storage} storage do not add up")
        if node.elements != self._first.elements:
            raise Unmergeable(
                f"histograms with cells of {self._first.elements} and {node.elements} elements do not add up"
            )
        joined_axes(self._axes, node, self._cell_bytes)
        self._coming = reach(node.cells)
        if self._reach + self._coming > limit(node.cells):
            self._reach = reach(self._cells)
            if self._reach + self._coming > limit(node.cells):
                raise Unmergeable(f"histograms whose sum does not fit into {node.storage} storage; use Double")

    def add(self, node: nodes.Histogram) -> None:
        self._reach += self._coming
        axes = joined_axes(self._axes, node, self._cell_bytes)
        if axes != self._axes:
            self._cells, self._own = moved(self._cells, self._axes, axes), True
            self._axes = axes
        elif not self._own:
            self._cells, self._own = self._cells.copy(), True
        add_histogram(self._cells, self._axes, node)
        self._variance_known = self._variance_known and node.variance_known

    def node(self) -> nodes.Histogram:
        self._own = self._cells.flags.writeable = False
        return nodes.Histogram(self._axes, self._first.storage, self._variance_known, self._first.template, self._cells)

    @property
    def nbytes(self) -> int:
        return self._cells.nbytes


class CutflowSum(Sum[nodes.Cutflow]):
    takes = nodes.Cutflow

    def __init__(self, node: nodes.Cutflow) -> None:
        self._node = node

    def fits(self, node: nodes.Cutflow) -> None:
        mine = self._node
        if why := differ(mine.names, len(mine.counts), node.names, len(node.counts)):
            raise Unmergeable(f"cutflows of two packets do not add up: {why}; make all cuts in every call")

    def add(self, node: nodes.Cutflow) -> None:
        mine = self._node
        self._node = nodes.Cutflow(mine.names, mine.counts + node.counts, mine.sums + node.sums)

    def node(self) -> nodes.Cutflow:
        return self._node

    @property
    def nbytes(self) -> int:
        return self._node.nbytes


class SketchSum(Sum[nodes.Sketched]):
    takes = nodes.Sketched

    def __init__(self, node: nodes.Sketched) -> None:
        self._sketch = node.sketch

    def fits(self, node: nodes.Sketched) -> None:
        if self._sketch.kind != node.sketch.kind:
            raise Unmergeable(f"sketches of {self._sketch.kind} and of {node.sketch.kind} do not add up")

    def add(self, node: nodes.Sketched) -> None:
        self._sketch = self._sketch.joined(node.sketch)

    def node(self) -> nodes.Sketched:
        return nodes.Sketched(self._sketch)

    @property
    def nbytes(self) -> int:
        return self.node().nbytes


class RowsSum(Sum[nodes.Rows]):
    takes = nodes.Rows

    def __init__(self, node: nodes.Rows) -> None:
        self._first = node
        self._columns = node.columns
        self._held = list(node.held.spans)
        self._nbytes = node.nbytes
        self._metadata = dict(node.metadata)

    def fits(self, node: nodes.Rows) -> None:
        check_rows(self._first, self._columns, any(held.span.rows for held in self._held), node, node.held_rows > 0)

    def add(self, node: nodes.Rows) -> None:
        if not any(held.span.rows for held in self._held):
            self._columns = node.columns
        self._held += node.held.spans
        self._nbytes += node.nbytes
        self._metadata = in_common(self._metadata, node.metadata)

    def node(self) -> nodes.Rows:
        return nodes.Rows(self._first.spec, self._columns, Held(self._held), self._metadata)

    @property
    def nbytes(self) -> int:
        return self._nbytes


class WrittenSum(Sum[nodes.Written]):
    takes = nodes.Written

    def __init__(self, node: nodes.Written) -> None:
        self._latest = node
        self._pieces, self._files = list(node.pieces), list(node.files)
        self._rows, self._forms = node.rows, list(node.forms)
        self._metadata = dict(node.metadata)

    def fits(self, node: nodes.Written) -> None:
        check_rows(self._latest, self._latest.columns, self._rows > 0, node, node.rows > 0)

    def add(self, node: nodes.Written) -> None:
        if not self._rows:
            self._latest, self._forms = node, list(node.forms)
        elif node.rows:
            self._forms += [form for form in node.forms if form not in self._forms]
        empty = {piece.dataset for piece in self._pieces if not piece.path}
        self._pieces += [piece for piece in node.pieces if piece.path or piece.dataset not in empty]
        self._files += node.files
        self._rows += node.rows
        self._metadata = in_common(self._metadata, node.metadata)

    def node(self) -> nodes.Written:
        written = replace(self._latest, forms=list(self._forms), pieces=list(self._pieces), files=list(self._files))
        return replace(written, metadata=self._metadata)


class PickledSum(Sum[nodes.Pickled]):
    takes = nodes.Pickled

    def __init__(self, node: nodes.Pickled) -> None:
        self._type_name = node.type_name
        self._frames: list[Part] = []
        self._live: Part | None = None
        self._next: Part | None = None
        self.fits(node)
        self.add(node)

    def fits(self, node: nodes.Pickled) -> None:
        """Live objects are merged already here, because the user's code may fail; `add` then takes the outcome."""
        if node.type_name != self._type_name:
            raise Unmergeable(f"a {self._type_name} in one packet and a {node.type_name} in another")
        self._next = self._live
        for part in node.parts:
            if part.is_live:
                self._next = part if self._next is None else Part(live=merged(self._next.load(), part.load()))

    def add(self, node: nodes.Pickled) -> None:
        self._live = self._next
        self._frames += [part for part in node.parts if not part.is_live]

    def node(self) -> nodes.Pickled:
        return nodes.Pickled(self._type_name, [*self._frames, *([self._live] if self._live else [])])

    @property
    def parts(self) -> int:
        return len(self._frames) + (self._live is not None)

    @property
    def nbytes(self) -> int:
        return sum(len(part.frame) for part in self._frames)  # how large a live object is, only pickling it would tell


def _check_inside(key: Key, total: Sum[Any] | None, item: Tree) -> None:
    try:
        check(total, item)
    except Unmergeable as error:
        error.inside(key)
        raise


@dataclass(frozen=True)
class Rule:
    """One line of the table: values of the kind `python` travel as a `node` and add up in a `sum`, as `how` says."""

    python: str
    how: str
    node: type[Node]
    sum: type[Sum[Any]] | None


_WITHOUT_ROWS = (
    type(None), ConstantSum, NumberSum, ArraySum, CounterSum, SetSum, AwkwardSum, HistogramSum, CutflowSum, SketchSum,
    PickledSum,
)  # fmt: skip

RULES = (
    Rule("None", "nothing: leaves the other as it is", nodes.Nothing, None),
    Rule("int, float, complex, numpy number", "sum; ints of any size", nodes.Number, NumberSum),
    Rule("bool, str", "must be equal", nodes.Constant, ConstantSum),
    Rule("bytes", "must be equal", nodes.Binary, BinarySum),
    Rule("dict, defaultdict", "union of the keys, values of a common key merged", nodes.Dict, DictSum),
    Rule("tuple", "position by position", nodes.Tuple, TupleSum),
    Rule("list", "end to end, in order of arrival", nodes.List, ListSum),
    Rule("set, frozenset", "union", nodes.Set, SetSum),
    Rule("collections.Counter", "sum key by key", nodes.Counter, CounterSum),
    Rule("numpy.ndarray", "sum element by element; same shape; bool: or", nodes.Array, ArraySum),
    Rule("awkward.Array", "end to end, in order of arrival, up to 256 MiB", nodes.Awkward, AwkwardSum),
    Rule("hist.Hist, boost_histogram.Histogram", "sum bin by bin; growing axes joined", nodes.Histogram, HistogramSum),
    Rule("em.Cutflow", "cut by cut; the same cuts in the same order", nodes.Cutflow, CutflowSum),
    Rule("em.write(...), em.Output of a kernel", "rows of files, each of them once", nodes.Written, WrittenSum),
    Rule("what session.draw counts", "value by value; bins are chosen at the end", nodes.Sketched, SketchSum),
    Rule(
        "object of your own with merge(other) or +",
        "by its own merge or +, in a slot or session",
        nodes.Pickled,
        PickledSum,
    ),
)

_SUMS: dict[type[Node], type[Sum[Any]]] = {rule.node: rule.sum for rule in RULES if rule.sum is not None}
_SUMS[nodes.Rows] = RowsSum
_WORDS: dict[type[Node], str] = {rule.node: rule.python for rule in RULES}
_WORDS[nodes.Rows] = _WORDS[nodes.Written]


def _words(node: type[Node]) -> str:
    return f"({_WORDS[node]})"
