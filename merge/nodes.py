"""The tree that a result travels as: one node a value, typed, never changed once made.

A node holds what is small itself; arrays and pickled objects stay beside the tree and travel as frames of their own
(see `partial.py`). A node checks itself when it is made, also when it is made from a peer's bytes. Which Python value
becomes which node is `encode.py`'s matter, how nodes add up `sums.py`'s, which has the table of both.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from typing import Any, Literal, TypeAlias

import cloudpickle
import numpy as np
import numpy.typing as npt
from msgspec import Struct

from ..analysis.writes import WriteSpec
from ..protocol.errors import MergeError
from ..protocol.values import Metadata
from .axes import Axis
from .rows import Held, OutputFile, Piece
from .sketches import Sketch

Frame: TypeAlias = bytes | memoryview
Cells: TypeAlias = npt.NDArray[Any]

MAX_DEPTH = 64

_Word: TypeAlias = bool | int | float | str | None
Key: TypeAlias = _Word | tuple[_Word | tuple[_Word, ...], ...]

_MEAN = ("count", "value", "_sum_of_deltas_squared")
_WEIGHTED_MEAN = ("sum_of_weights", "sum_of_weights_squared", "value", "_sum_of_weighted_deltas_squared")

Storage: TypeAlias = Literal[
    "Double", "Int64", "AtomicInt64", "Unlimited", "Weight", "Mean", "WeightedMean", "MultiCell"
]

# A histogram's cells as `h.view(flow=True)` has them, for each storage of boost-histogram.
CELLS: dict[Storage, np.dtype[Any]] = {
    "Double": np.dtype("<f8"),
    "Int64": np.dtype("<i8"),
    "AtomicInt64": np.dtype("<i8"),
    "Unlimited": np.dtype("<f8"),
    "Weight": np.dtype([("value", "<f8"), ("variance", "<f8")]),
    "Mean": np.dtype([(field, "<f8") for field in _MEAN]),
    "WeightedMean": np.dtype([(field, "<f8") for field in _WEIGHTED_MEAN]),
    "MultiCell": np.dtype("<f8"),
}

# Every dtype that an array may have, by its name in a message. Narrower numbers are widened before they travel.
DTYPES: dict[str, np.dtype[Any]] = {
    "bool": np.dtype("?"),
    "int": np.dtype("<i8"),
    "uint": np.dtype("<u8"),
    "float": np.dtype("<f8"),
    "complex": np.dtype("<c16"),
    "bytes": np.dtype("u1"),
    "weight": CELLS["Weight"],
    "mean": CELLS["Mean"],
    "weighted mean": CELLS["WeightedMean"],
}
# Sums go on for many packets: they are kept in 64 bits whatever an array came in, as numpy.sum keeps integers.
WIDE = {kind: DTYPES[name] for kind, name in zip("biufc", ("bool", "int", "uint", "float", "complex"), strict=True)}
SUMMABLE = frozenset(DTYPES[name] for name in ("bool", "int", "uint", "float", "complex"))


def widened(dtype: np.dtype[Any]) -> np.dtype[Any] | None:
    """The dtype in which arrays of a dtype are summed; None if they cannot be: no numbers, or wider ones."""
    wide = WIDE.get(dtype.kind)
    return wide if wide is not None and dtype.itemsize <= wide.itemsize else None


class Unmergeable(Exception):
    """Why values cannot be merged, and where; becomes a `MergeError` at the edge of this package. `too_long` is as there."""

    def __init__(self, reason: str, too_long: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.too_long = too_long
        self.path = ""

    def inside(self, key: object) -> None:
        """Note that it happened under `key` of the value that is being looked at."""
        self.path = f"[{key!r}]{self.path}"

    def error(self) -> MergeError:
        """What the physicist sees, with what the user's own code raised as its cause."""
        error = MergeError(f"result{self.path}: {self.reason}")
        error.__cause__ = self.__cause__
        error.too_long = self.too_long
        return error


class Node(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, eq=False, tag=True):
    """Base of all nodes."""

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays that this very node holds."""
        return 0


class Nothing(Node, frozen=True, eq=False):
    """None: merged with anything, it leaves that thing as it is."""


class Constant(Node, frozen=True, eq=False):
    """A bool or a str."""

    value: bool | str


class Binary(Node, frozen=True, eq=False):
    """A bytes constant (MessagePack tells it from a str, a union of Python types cannot)."""

    value: bytes


Digits: TypeAlias = str | float | tuple[float, float]
"""A number as it travels: an int in hexadecimal (MessagePack ends at 64 bits), a float, a complex as its two parts."""


class Scalar:
    """An int, a float or a complex. It travels beside the tree as arrays do, so that trees of all packets are the same."""

    __slots__ = ("number",)

    def __init__(self, number: complex) -> None:
        self.number = number

    @classmethod
    def of(cls, digits: Digits) -> Scalar:
        """What these digits stand for; ValueError if nothing."""
        if isinstance(digits, str):
            return cls(int(digits, 16))
        return cls(complex(*digits) if isinstance(digits, tuple) else digits)

    @property
    def digits(self) -> Digits:
        """As it travels."""
        number = self.number
        if isinstance(number, int):
            return f"{number:x}"
        return (number.real, number.imag) if isinstance(number, complex) else number


class Number(Node, frozen=True, eq=False):
    """A number."""

    scalar: Scalar

    @classmethod
    def of(cls, number: complex) -> Number:
        """The node of an int, a float or a complex."""
        return cls(Scalar(number if isinstance(number, int | complex) else float(number)))

    @property
    def number(self) -> complex:
        """The int, float or complex."""
        return self.scalar.number


class Array(Node, frozen=True, eq=False):
    """A numpy array of numbers."""

    data: Cells

    def __post_init__(self) -> None:
        if self.data.dtype not in SUMMABLE:
            raise ValueError(f"an array of {self.data.dtype} does not add up")

    @property
    def nbytes(self) -> int:
        return self.data.nbytes


class Counter(Node, frozen=True, eq=False):
    """A collections.Counter."""

    counts: dict[Key, Number]


class Set(Node, frozen=True, eq=False):
    """A set or frozenset."""

    items: tuple[Key, ...]


class List(Node, frozen=True, eq=False):
    """A list."""

    items: list[Tree]


class Tuple(Node, frozen=True, eq=False):
    """A tuple."""

    items: list[Tree]


class Dict(Node, frozen=True, eq=False):
    """A dict."""

    items: dict[Key, Tree]


class Chunk(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, eq=False):
    """One packet's awkward array: `place` in the order of arrival, `length`, `sizes` of its buffers in bytes."""

    place: int
    length: int
    sizes: tuple[int, ...]


class Block(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, eq=False):
    """Chunks whose buffers follow one another in `data`, so that a thousand packets do not make a thousand frames."""

    chunks: list[Chunk]
    data: Cells

    def __post_init__(self) -> None:
        sizes = [size for chunk in self.chunks for size in (chunk.length, *chunk.sizes)]
        if self.data.dtype != DTYPES["bytes"] or self.data.ndim != 1 or any(size < 0 for size in sizes):
            raise ValueError("chunks of an awkward array need bytes, and no negative length")
        if sum(sum(chunk.sizes) for chunk in self.chunks) != self.data.size:
            raise ValueError("chunks of an awkward array do not fill their block")


class Group(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, eq=False):
    """Awkward arrays of one `form` (awkward's JSON), whose buffers are called `keys`."""

    form: str
    keys: tuple[str, ...]
    blocks: list[Block]

    def __post_init__(self) -> None:
        if any(len(chunk.sizes) != len(self.keys) for block in self.blocks for chunk in block.chunks):
            raise ValueError("a chunk of an awkward array has not the buffers of its form")


class Awkward(Node, frozen=True, eq=False):
    """Awkward arrays to be concatenated: one group, unless packets differ in type (a list without items has none)."""

    groups: list[Group]

    def __post_init__(self) -> None:
        places = sorted(chunk.place for chunk in self.chunks())
        if not places or places != list(range(len(places))):
            raise ValueError("the chunks of an awkward array have no order")

    def chunks(self) -> Iterator[Chunk]:
        """All chunks, group by group."""
        return (chunk for group in self.groups for block in group.blocks for chunk in block.chunks)

    @property
    def nbytes(self) -> int:
        return sum(block.data.nbytes for group in self.groups for block in group.blocks)


class Histogram(Node, frozen=True, eq=False):
    """A hist.Hist or boost_histogram.Histogram.

    `cells` is `h.view(flow=True)`, C-contiguous. `template` is the empty histogram, pickled: it knows the class and the
    metadata, and only the user's own processes open it. `variance_known` is boost-histogram's note that it was filled
    without weights. In a miniature, `of` are the bins that its axes had (`miniature.py`), and there is no template.
    """

    axes: tuple[Axis, ...]
    storage: Storage
    variance_known: bool
    template: bytes
    cells: Cells
    of: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        shape = (*self.elements, *[axis.extent for axis in self.axes])
        if self.cells.shape != shape or self.cells.dtype != CELLS[self.storage]:
            raise ValueError("the cells of a histogram do not fit its axes and storage")

    @property
    def nbytes(self) -> int:
        return self.cells.nbytes

    @property
    def elements(self) -> tuple[int, ...]:
        """Numbers in each cell of a MultiCell storage, whose arrays begin with that dimension; else empty."""
        return self.cells.shape[:1] if self.storage == "MultiCell" else ()


class Sketched(Node, frozen=True, eq=False):
    """What `session.draw` counts, a histogram whose axes are chosen when it is looked at."""

    sketch: Sketch

    @property
    def nbytes(self) -> int:
        return self.sketch.counts.nbytes + sum(axis.values.nbytes for axis in self.sketch.axes)


class Part:
    """An object that only the user's Python can merge: pickled, in a frame, or live in this process.

    A live object is pickled when it leaves the process, and not before.
    """

    __slots__ = ("_frame", "_live")

    def __init__(self, *, live: object = None, frame: Frame | None = None) -> None:
        self._live = live
        self._frame = frame

    @property
    def frame(self) -> Frame:
        """The object, pickled; MergeError if Python cannot."""
        if self._frame is None:
            try:
                self._frame = cloudpickle.dumps(self._live, protocol=5)
            except Exception as error:  # whatever the user's __reduce__ or __getstate__ raises
                kind = f"{type(self._live).__module__}.{type(self._live).__qualname__}"
                raise MergeError(f"a {kind} in the result cannot be pickled, so it cannot travel: {error}") from error
        return self._frame

    @property
    def is_live(self) -> bool:
        """Whether the object itself is in this process, and perhaps in the user's hands."""
        return self._live is not None

    def detached(self) -> Part:
        """A copy, live as this one is: what the user's code does to the object from now on does not concern it."""
        return Part(live=pickle.loads(self.frame))

    def load(self) -> object:
        """The object; to be called where the user's code runs, never in an agent or a master."""
        if self._live is not None:
            return self._live
        assert self._frame is not None
        return pickle.loads(self._frame)


class Pickled(Node, frozen=True, eq=False):
    """Objects of one type with `merge` or `+`; where there is no user code, their parts are kept side by side."""

    type_name: str
    parts: list[Part]


class Rows(Node, frozen=True, eq=False):
    """Rows for files, in the slot that has made them. It never travels: `Written` does, once they are in a piece.

    `columns` has the type of each, without what may be missing in them; `metadata` are those of all files of each dataset.
    """

    spec: WriteSpec
    columns: dict[str, str]
    held: Held
    metadata: dict[str, Metadata] = {}

    @property
    def nbytes(self) -> int:
        return self.held.nbytes

    @property
    def held_rows(self) -> int:
        """How many there are."""
        return sum(held.span.rows for held in self.held.spans)


class Written(Node, frozen=True, eq=False):
    """Rows in files: pieces in the order in which they came, and, once they are joined, the `files` that are left of them.

    `forms` are awkward's JSON for the rows, several where values are missing in some packets only. `metadata` are those of
    all files of each dataset.
    """

    spec: WriteSpec
    columns: dict[str, str]
    forms: list[str]
    pieces: list[Piece] = []
    files: list[OutputFile] = []
    metadata: dict[str, Metadata] = {}

    @property
    def rows(self) -> int:
        """How many there are."""
        return sum(piece.rows for piece in self.pieces) + sum(file.rows for file in self.files)


class Cutflow(Node, frozen=True, eq=False):
    """What passes named cuts: counts `[kind, cut]`, sums of weights and of their squares `[kind, cut, 2]`."""

    names: tuple[str, ...]
    counts: Cells
    sums: Cells

    def __post_init__(self) -> None:
        kinds, cuts = self.counts.shape
        if not 1 <= kinds <= 3 or cuts != len(self.names) or self.sums.shape != (kinds, cuts, 2):
            raise ValueError("a cutflow of another shape than its cuts")
        if self.counts.dtype != DTYPES["int"] or self.sums.dtype != DTYPES["float"]:
            raise ValueError("a cutflow counts whole numbers, and sums up floats")

    @property
    def nbytes(self) -> int:
        return self.counts.nbytes + self.sums.nbytes


Tree: TypeAlias = (
    Nothing
    | Constant
    | Binary
    | Number
    | Array
    | Counter
    | Set
    | List
    | Tuple
    | Dict
    | Awkward
    | Histogram
    | Cutflow
    | Sketched
    | Pickled
    | Rows
    | Written
)


def branches(tree: Tree) -> Iterator[Tree]:
    """The nodes directly under `tree`."""
    if isinstance(tree, Dict):
        yield from tree.items.values()
    elif isinstance(tree, List | Tuple):
        yield from tree.items


def walk(tree: Tree) -> Iterator[Tree]:
    """`tree` and every node under it."""
    yield tree
    for branch in branches(tree):
        yield from walk(branch)


def rebuilt(tree: Tree, change: Callable[[Tree], Tree]) -> Tree:
    """The tree with another node in the place of each leaf that `change` gives another one for."""
    match tree:
        case Dict(items=named):
            return Dict({key: rebuilt(branch, change) for key, branch in named.items()})
        case List(items=items):
            return List([rebuilt(branch, change) for branch in items])
        case Tuple(items=items):
            return Tuple([rebuilt(branch, change) for branch in items])
        case _:
            return change(tree)


def depth(tree: Tree) -> int:
    """Levels of containers in `tree`: 0 for a leaf."""
    return max((1 + depth(branch) for branch in branches(tree)), default=0)
