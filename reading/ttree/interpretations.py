"""What uproot makes of the bytes of a branch, mended where ROOT reads something else.

uproot asks `Interpretations` first, through its registry of custom interpretations; so whatever reads a file that is open
here has ROOT's values: columnar functions, kernels, and coffea's processors. What uproot (5.7) has wrong is

- lists of lists and of strings that are longer or shorter than their entries;
- strings without a byte, which ROOT writes for empty ones (`s/C`): those after them are shifted;
- `Float16_t` and `Double32_t`: arrays of them, their ranges where the title has dimensions too, 15 bits and more;
- tables of sizes in the place of offsets (`kGenerateOffsetMap`);
- records in what is not split (`record_branches`): it takes those that are written member by member for whole ones, refuses
  what is nested, and goes on for gigabytes in maps that are not written as it thinks;
- `TString` in split collections, of which it reads one an entry;
- bits of objects that are referred to (`object_bits`);
- lists without a table whose counter has baskets of other entries;
- lists of each object in a split collection (`float* x; //[n]`), which are refused;
- structures in a row up to the end of a basket, for which it asks for the next basket, too.

Whatever uproot raises for a branch is said of this branch, and does not keep others from being read.
"""

from __future__ import annotations

import functools
from bisect import bisect_left
from typing import Any

import awkward as ak
import numpy as np
import uproot
from numpy.typing import NDArray
from uproot.containers import AsArray, AsString
from uproot.interpretation.identify import UnknownInterpretation, interpretation_of
from uproot.interpretation.jagged import AsJagged
from uproot.interpretation.numerical import AsDtype
from uproot.interpretation.objects import AsObjects, AsStridedObjects
from uproot.interpretation.strings import AsStrings, StringArray

from .cpp_classes import FileOfItsOwnClasses
from .joined_baskets import JoinedBaskets, RawBasket, named
from .memberwise import HEADER, check_vectors
from .nested_decoding import Shape, decoded, is_counted
from .nested_shapes import layout_as, shape_of
from .object_bits import is_bits, without_processes
from .packed_floats import BRACKETS, Coding, coding
from .record_branches import IN_COLLECTIONS, AsRecords, is_for_records, programs_of
from .record_shapes import ARRAY_OF, WITH_COUNTER

_ORIGINAL = "eventmill: uproot's own"
"""What is in uproot's context when its own interpretation is asked for."""
_FLOAT16, _DOUBLE32 = uproot.const.kFloat16, uproot.const.kDouble32
_LONG = 255
"""In the place of the length of a string of at least so many bytes, which is in the four bytes after it."""


class Interpretations:
    """Chooses how a branch is read, for files that are open here: uproot calls it as one of its custom interpretations."""

    @classmethod
    def match_branch(cls, branch: Any, context: dict[str, Any], simplify: bool) -> bool:  # noqa: ARG003
        """Whether the choice is made here."""
        return isinstance(branch.file, FileOfItsOwnClasses) and _ORIGINAL not in context

    def __new__(cls, branch: Any, context: dict[str, Any], simplify: bool) -> Any:
        """uproot's interpretation of the branch, or one in its place.

        Raises:
            UnknownInterpretation: there is none.
        """
        if len(branch.member("fLeaves")) > 1 and any(
            leaf.member("fLeafCount") is not None for leaf in branch.member("fLeaves")
        ):
            reason = "it has several leaves, which are lists"
            raise UnknownInterpretation(reason, branch.file.file_path, branch.object_path)
        if _is_pointed(branch):
            reason = "it has lists of each object in a split collection, whose lengths are in another branch"
            raise UnknownInterpretation(reason, branch.file.file_path, branch.object_path)
        try:
            found = _small_floats(branch) or _texts(
                interpretation_of(branch, {**context, _ORIGINAL: True}, simplify), branch
            )
        except Exception as error:  # its own parsers' errors, of any kind
            if programs := programs_of(branch):
                found = AsRecords(branch, programs, None)
            elif isinstance(error, UnknownInterpretation):
                raise
            else:
                raise UnknownInterpretation(_said(error), branch.file.file_path, branch.object_path) from error
        if is_for_records(found) and (programs := programs_of(branch)):
            found = AsRecords(branch, programs, found)
        _mend_baskets(found, is_bits(branch))
        if isinstance(found, AsStridedObjects):
            _mend_end(found)
        return found


uproot.register_interpretation(Interpretations)


def _is_pointed(branch: Any) -> bool:
    """Whether a branch has the lists of each object in a collection, `float* x; //[n]`: uproot takes their first bytes for
    a header that is not there.
    """
    number = branch.member("fStreamerType", none_if_missing=True) or 0
    return (
        branch.member("fType", none_if_missing=True) in IN_COLLECTIONS
        and WITH_COUNTER < number < WITH_COUNTER + ARRAY_OF
    )


def _said(error: Exception) -> str:
    return str(error) if isinstance(error, NotImplementedError) and str(error) else f"{type(error).__name__}: {error}"


def _mend_baskets(kind: Any, has_bits: bool) -> None:
    """Have an interpretation look at the bytes of each basket before it takes them apart; those of objects' bits, if so."""
    original = kind.basket_array
    nested = shape_of(kind)
    edges: list[int] = []  # uproot makes them of all baskets anew, each time

    def basket_array(data: Any, offsets: Any, basket: Any, branch: Any, *rest: Any) -> Any:
        edges[:] = edges or branch.entry_offsets
        entries = _entries(basket, branch, edges)
        if offsets is not None:
            offsets = _true_offsets(offsets, basket, entries)
        if has_bits:
            data, offsets = without_processes(data, offsets)
        if offsets is not None:
            if type(kind) is AsJagged and kind.header_bytes == HEADER:
                check_vectors(data, offsets, kind.content.from_dtype.itemsize)
        elif type(kind) is AsJagged and not kind.header_bytes:
            offsets = _counted_offsets(kind.content.itemsize, len(data), basket, branch)
        if nested is not None and offsets is not None and is_counted(nested, data, offsets) and rest[2].name == "ak":
            return RawBasket(data, offsets, named(basket, branch))
        return original(data, offsets, basket, branch, *rest)

    kind.basket_array = basket_array
    if nested is not None:
        _mend_lists(kind, nested)


def _mend_lists(kind: Any, nested: Shape) -> None:
    """Have an interpretation decode its baskets once it has them all."""
    original = kind.final_array
    form = functools.cache(lambda: kind.awkward_form(None))

    def final_array(
        baskets: Any, start: int, stop: int, edges: Any, library: Any, branch: Any, options: Any
    ) -> ak.Array:
        raw = {number: basket for number, basket in baskets.items() if isinstance(basket, RawBasket)}
        lists = JoinedBaskets(lambda *bytes_: layout_as(decoded(nested, *bytes_), form()), form()) if raw else None
        if lists is not None and len(raw) == len(baskets):
            return library.finalize(lists.entries(raw, start, stop, edges).layout, branch, kind, start, stop, options)
        some = baskets if lists is None else {**baskets, **{number: lists.array([it]) for number, it in raw.items()}}
        return original(some, start, stop, edges, library, branch, options)

    kind.final_array = final_array


def _mend_end(kind: AsStridedObjects) -> None:
    """Have an interpretation put arrays together of no basket that begins where they end: it has not been read."""
    original = kind.final_array

    def final_array(baskets: Any, start: int, stop: int, offsets: Any, *rest: Any) -> Any:
        return original(baskets, start, stop, offsets[: bisect_left(offsets, stop) + 1], *rest)

    kind.final_array = final_array


def _entries(basket: Any, branch: Any, edges: list[int]) -> int:
    """How many entries the basket has, by its own word and by the tree's."""
    start, stop = edges[basket.basket_num : basket.basket_num + 2]
    if basket.num_entries != stop - start:
        raise ValueError(f"{named(basket, branch)} has {basket.num_entries} entries, and the tree says {stop - start}")
    return int(stop - start)


def _true_offsets(offsets: NDArray[np.int32], basket: Any, entries: int) -> NDArray[np.int32]:
    """Where each entry begins, from 0, and where the last one ends. The table may have each entry's size instead."""
    if len(offsets) and offsets[0] == -basket.member("fKeylen"):
        offsets = np.cumsum(offsets + basket.member("fKeylen"), dtype=np.int32)
        offsets[-1] = basket.border
    if len(offsets) != entries + 1 or offsets[0] != 0 or (np.diff(offsets) < 0).any():
        raise ValueError(f"{named(basket, basket.parent)} has a table that is not that of its entries: it is damaged")
    return offsets


def _counted_offsets(width: int, size: int, basket: Any, branch: Any) -> NDArray[np.int32] | None:
    """Where each entry of lists without a table begins, by their counter; None if they have none."""
    counter = branch.count_branch
    if counter is None:
        return None
    start, stop = branch.entry_offsets[basket.basket_num : basket.basket_num + 2]
    counts = counter.array(entry_start=start, entry_stop=stop, library="np").astype(np.int64)
    offsets = np.concatenate([[0], np.cumsum(counts * width)])
    if (counts < 0).any() or offsets[-1] != size:
        raise ValueError(
            f"{named(basket, branch)} has other lists than its counter {counter.name} says: one of the two is damaged"
        )
    return offsets.astype(np.int32)


# --- strings ----------------------------------------------------------------------------------------------------------


def _texts(kind: Any, branch: Any) -> Any:
    """The interpretation, or for strings one that knows empty ones."""
    if type(kind) is not AsStrings:
        return kind
    if branch.count_branch is not None and getattr(branch.streamer, "classname", "") == "TStreamerString":
        return AsObjects(AsArray(False, False, AsString(False)), branch)  # a TString of each element of a collection
    return Texts(kind.header_bytes, kind.length_bytes, kind.typename, kind.original)


class Texts(AsStrings):  # type: ignore[misc]
    """Strings, of which those that take no byte are empty."""

    def basket_array(self, data: Any, byte_offsets: Any, basket: Any, branch: Any, *rest: Any) -> Any:
        """The strings of a basket."""
        if byte_offsets is None:
            return super().basket_array(data, byte_offsets, basket, branch, *rest)
        offsets, characters = texts(data, byte_offsets.astype(np.int64), self.header_bytes, self.length_bytes == "1-5")
        if offsets is None:
            raise ValueError(f"{named(basket, branch)} has a string of another length than its entry")
        return StringArray(offsets, characters.tobytes())


def texts(
    data: NDArray[np.uint8], begins: NDArray[np.int64], header: int, is_short: bool
) -> tuple[NDArray[np.int64] | None, NDArray[np.uint8]]:
    """Strings as they are stored, one an entry.

    Args:
        data: all entries' bytes.
        begins: where each entry begins, and the last one ends.
        header: bytes before each string's length.
        is_short: the length has one byte, or five for long strings; otherwise four.

    Returns:
        Where each text begins among the characters, and the characters; no offsets where an entry is not what its string
        says.

    Example:
        >>> data = np.frombuffer(b"\\x02mu" + b"\\x01e", np.uint8)
        >>> texts(data, np.array([0, 3, 3, 5]), 0, True)
        (array([0, 2, 2, 3]), array([109, 117, 101], dtype=uint8))
    """
    lows, sizes = begins[:-1] + header, np.diff(begins)
    written = sizes > 0
    lows, sizes = lows[written], sizes[written] - header
    padded = np.concatenate([data, np.zeros(8, np.uint8)])
    first = padded[np.minimum(lows, len(data))]
    long = (first == _LONG) if is_short else np.ones(len(lows), bool)
    at = lows + is_short
    four = np.lib.stride_tricks.sliding_window_view(padded, 4)[np.minimum(at, len(data))].copy().view(">u4")[:, 0]
    lengths = np.where(long, four.astype(np.int64), first)
    prefix = np.where(long, 4, 0) + is_short
    counts = np.zeros(len(written), np.int64)
    counts[written] = lengths
    offsets = np.concatenate([[0], np.cumsum(counts)])
    if (sizes != prefix + lengths).any():
        return None, data
    inside = np.arange(offsets[-1]) + np.repeat(lows + prefix - offsets[:-1][written], lengths)
    return offsets, data[inside]


# --- floats of fewer bits ---------------------------------------------------------------------------------------------


def _small_floats(branch: Any) -> Any:
    """The interpretation of a branch of `Float16_t` or `Double32_t`; None for others."""
    leaves = branch.member("fLeaves")
    if len(leaves) != 1 or branch.branches:
        return None
    (leaf,) = leaves
    if leaf.classname in ("TLeafF16", "TLeafD32"):
        is_half, said = leaf.classname == "TLeafF16", leaf.member("fTitle")
    elif leaf.classname == "TLeafElement" and leaf.member("fType") in (
        _FLOAT16,
        _DOUBLE32,
        ARRAY_OF + _FLOAT16,
        ARRAY_OF + _DOUBLE32,
    ):
        is_half = leaf.member("fType") in (_FLOAT16, ARRAY_OF + _FLOAT16)
        said = "" if branch.streamer is None else branch.streamer.title
    else:
        return None
    shape = tuple(int(size) for size in BRACKETS.findall(leaf.member("fTitle").partition("/")[0]) if size.isdecimal())
    if not shape and leaf.member("fLen") > 1:  # where they are in a collection, ROOT's title may have its counter alone
        shape = (leaf.member("fLen"),)
    kind = SmallFloats(coding(said, is_half), shape)
    return kind if leaf.member("fLeafCount") is None else AsJagged(kind)


class SmallFloats(AsDtype):  # type: ignore[misc]
    """Numbers of type `Float16_t` or `Double32_t`, or arrays of them."""

    def __init__(self, coding: Coding, shape: tuple[int, ...]) -> None:
        super().__init__(np.dtype((coding.stored, shape)), np.dtype((coding.native, shape)))
        self._coding, self._shape = coding, shape

    def basket_array(self, data: Any, byte_offsets: Any, basket: Any, branch: Any, *rest: Any) -> Any:
        """The numbers of a basket."""
        width = self.from_dtype.itemsize
        if len(data) % width:
            raise ValueError(f"{named(basket, branch)} has {len(data)} bytes, no multiple of the {width} of its values")
        return self._coding.values(data.view(self._coding.stored)).reshape(-1, *self._shape)

    @property
    def cache_key(self) -> str:
        return f"{type(self).__name__}({self._coding},{self.to_dtype})"

    @property
    def typename(self) -> str:
        kind = "Float16_t" if self.to_dtype.base == np.dtype("f4") else "Double32_t"
        return kind + "".join(f"[{size}]" for size in self._shape)

    def __repr__(self) -> str:
        return f"SmallFloats({self._coding}, {self.to_dtype})"
