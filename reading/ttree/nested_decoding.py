"""Lists of lists and of strings in the baskets of a TTree, decoded in one pass over their bytes.

ROOT writes the values of `std::vector<std::vector<float>>` as a header (bytes that follow, version), the number of lists
and, for each, the number of values and the values. Where a list begins is known only when the one before has been read:
numpy cannot do that, and uproot has a virtual machine do it, without a look whether an entry ends where its lists do. Here
it is one compiled loop for all types; numba compiles it once a machine.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numba import types
from numba.extending import register_jitable
from numpy.typing import NDArray

from ..columns import Column, Flat, Jagged, Strings
from ..compiled_loops import compiled
from .streamed import BY_MEMBERS_BYTE, COUNTED_BYTE

HEADER = 6
"""Bytes before the first list of an entry: how many follow, and a version."""
_SHORT, _LONG = -1, -4
"""In the place of a value's width: strings whose length has one byte, or five for long ones; and always four."""
_STRINGS = {"1-5": _SHORT, "4": _LONG}

Walk: TypeAlias = Callable[..., int]


@dataclass(frozen=True, slots=True)
class Shape:
    """What an entry holds: lists of lists, `depth` deep, of numbers or strings.

    Attributes:
        depth: of the lists.
        header: whether a header of six bytes stands before them.
        is_open: the outermost list has no number of elements, but goes on to the end of the entry, as that of the members
            of a split collection does.
        stored: type of the numbers in the file, with a shape for arrays of fixed size; None for strings.
        length_bytes: of strings, as in uproot: "1-5" or "4".
    """

    depth: int
    header: bool
    is_open: bool
    stored: np.dtype[Any] | None
    length_bytes: str = "1-5"


def decoded(shape: Shape, data: NDArray[np.uint8], begins: NDArray[Any]) -> Column:
    """The column of a basket's entries.

    Args:
        shape: what each entry holds.
        data: the entries' bytes.
        begins: where each entry begins among them, ascending, and where the last one ends.

    Raises:
        ValueError: an entry is not as long as its lists and strings say; the text begins with the entry's number in the
            basket.
        NotImplementedError: an entry was written member by member.

    Example:
        >>> data = np.frombuffer(bytes.fromhex("4000000f 000a 00000002 00000001 07 00000000"), np.uint8)
        >>> lists = decoded(Shape(2, True, False, np.dtype("u1")), data, np.array([0, len(data)]))
        >>> lists.offsets.tolist(), lists.content.offsets.tolist(), lists.content.content.values.tolist()
        ([0, 2], [0, 1, 1], [7])
    """
    begins = np.ascontiguousarray(begins, np.int64)
    data = np.ascontiguousarray(data)
    if len(begins) < 1 or begins[0] < 0 or begins[-1] > len(data) or (np.diff(begins) < 0).any():
        raise ValueError("its entries are not within its bytes")
    if shape.header:
        _check_headers(data, begins)
    width = _STRINGS[shape.length_bytes] if shape.stored is None else shape.stored.itemsize
    levels = shape.depth + (shape.stored is None)
    ends = np.zeros((levels, 0), np.int64)
    content = np.zeros(0, np.uint8)
    counts = np.zeros(levels + 1, np.int64)
    walk = walker()
    wrong = walk(data, begins, shape.depth, shape.header, shape.is_open, width, False, counts, ends, content)
    if wrong >= 0:
        raise ValueError(f"entry {wrong} of it is not as long as its lists say")
    ends, content = np.zeros((levels, int(counts[:-1].max()) + 1), np.int64), np.empty(counts[-1], np.uint8)
    made = counts.copy()
    walk(data, begins, shape.depth, shape.header, shape.is_open, width, True, counts, ends, content)
    offsets = [ends[level, : made[level] + 1] for level in range(levels)]
    if shape.stored is None:
        column: Column = Strings(offsets.pop(), content)
    else:
        base = shape.stored.base
        column = Flat(content.view(base).astype(base.newbyteorder("="), copy=False).reshape(-1, *shape.stored.shape))
    for each in reversed(offsets):
        column = Jagged(each, column)
    return column


def is_counted(shape: Shape, data: NDArray[np.uint8], begins: NDArray[Any]) -> bool:
    """Whether headers, if there are any, say how many bytes follow; those of the first versions of ROOT do not."""
    low = begins[:-1][np.diff(begins) > 0]
    return not shape.header or not len(low) or bool((data[low] & COUNTED_BYTE).any())


def _check_headers(data: NDArray[np.uint8], begins: NDArray[np.int64]) -> None:
    """Compare the headers with the lengths of the entries."""
    at, sizes = begins[:-1], np.diff(begins)
    if not len(at):
        return
    if (sizes < HEADER).any():
        raise ValueError(f"entry {int((sizes < HEADER).argmax())} of it has fewer bytes than a header")
    first = data[at]
    if (data[at + 4] & BY_MEMBERS_BYTE).any():
        raise NotImplementedError("it is written member by member: this version cannot read it")
    said = (first ^ COUNTED_BYTE).astype(np.int64) << 24
    for k, shift in ((1, 16), (2, 8), (3, 0)):
        said |= data[at + k].astype(np.int64) << shift
    if (said + 4 != sizes).any():
        raise ValueError(f"entry {int((said + 4 != sizes).argmax())} of it has another length than its header says")


def _number(data: Any, at: int) -> Any:
    """The four bytes from `at` on as one number."""
    high = np.int64(data[at]) << 24 | np.int64(data[at + 1]) << 16
    return high | np.int64(data[at + 2]) << 8 | np.int64(data[at + 3])


@functools.cache
def walker() -> Walk:
    """What goes through the bytes of entries: first counts what they hold and looks whether it fits, then, with `fill`,
    notes where lists end and copies what is in them. Returns the first entry that does not fit, -1 if all do.

    `counts` are the lists of each depth, and last the bytes of all values; `ends[d, i + 1]` is the end of list i of depth d.
    """

    register_jitable(_number)

    def walk(
        data: Any,
        begins: Any,
        depth: int,
        header: bool,
        is_open: bool,
        width: int,
        fill: bool,
        counts: Any,
        ends: Any,
        content: Any,
    ) -> int:
        levels = len(counts) - 1
        counts[:] = 0
        totals = np.zeros(levels + 1, np.int64)  # elements so far in all lists of a depth
        left = np.zeros(levels + 1, np.int64)  # lists of a depth that are still to come
        for entry in range(len(begins) - 1):
            at, end = begins[entry], begins[entry + 1]
            if header:
                at += 6
            level = 0
            left[0] = 1
            if is_open:
                left[1] = 1 << 62  # as many as there are
                level = 1
            while level >= 0:
                if left[level] == 0 or (level == 1 and is_open and at == end):
                    level -= 1
                    if level == 0 and is_open:
                        level = -1
                    continue
                left[level] -= 1
                if is_open and level == 1:
                    totals[0] += 1
                if level == depth:  # a string; or, in an open list, a number
                    length: Any = width
                    if width == -1:
                        if at + 1 > end:
                            return entry
                        length = np.int64(data[at])
                        at += 1
                    if width == -4 or (width == -1 and length == 255):
                        if at + 4 > end:
                            return entry
                        length = _number(data, at)
                        at += 4
                else:
                    if at + 4 > end:
                        return entry
                    number = _number(data, at)
                    at += 4
                    counts[level] += 1
                    totals[level] += number
                    if fill:
                        ends[level, counts[level]] = totals[level]
                    if level < depth - 1 or width < 0:
                        level += 1
                        left[level] = number
                        continue
                    length = number * width
                if length > end - at:
                    return entry
                if fill:
                    for k in range(length):
                        content[counts[levels] + k] = data[at + k]
                at += length
                counts[levels] += length
                if level == depth and width < 0:
                    counts[level] += 1
                    if fill:
                        ends[level, counts[level]] = counts[levels]
            if at != end:
                return entry
            if is_open:
                counts[0] += 1
                if fill:
                    ends[0, counts[0]] = totals[0]
        return -1

    raw = types.Array(types.uint8, 1, "C", readonly=True)
    begins = types.Array(types.int64, 1, "C", readonly=True)
    flag, number, numbers = types.boolean, types.int64, types.int64[::1]
    signature = number(raw, begins, number, flag, flag, number, flag, numbers, types.int64[:, ::1], types.uint8[::1])
    walk_compiled: Walk = compiled(walk, signature)
    return walk_compiled
