"""What a kernel reads: from a column to the arguments of the compiled loop, and to what the user's function sees.

What a branch holds in less than 64 bits reaches the function in 64: numbers are converted as they are read; values of
lists and of arrays, a block of entries at a time, into room that stays in the processor's cache. So arithmetic of a
kernel is that of Python and of numpy's float64: `float` branches are not multiplied in 32 bits, differences of unsigned
numbers may be negative, a charge of 8 bits may be multiplied by 200. Unsigned numbers of 64 bits get a sign (`signed`),
since numba takes what it has of them and of others together for floats: a time in nanoseconds would be off by a hundred.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numba import types
from numba.np.numpy_support import from_dtype

from ...protocol.errors import AnalysisError
from ...reading.columns import Column, Flat, Jagged, Strings
from .random_streams import Stream, Streams

Readable: TypeAlias = Column | Streams
"""What a kernel reads of the entries of a packet."""

WIDE = dict.fromkeys(("i1", "i2", "i4", "u1", "u2", "u4"), "int64") | {"f4": "float64", "c8": "complex128"}
"""The type in which a kernel computes with a branch of a narrower one."""
BLOCK = 256
"""Entries whose values are converted at a time."""
_TEXT, _CHARACTER = "S1", "u1"


def structure(name: str, column: Readable) -> str:
    """What of a column decides the code that reads it: `f4x1`, `[i4x1]` (jagged), `[[f8x1]]`, `f4x2` (2 dimensions)."""
    if isinstance(column, Streams):
        return "streams"
    if isinstance(column, Strings):
        return f"[{_TEXT}x1]"
    if isinstance(column, Jagged):
        return f"[{structure(name, column.content)}]"
    dtype = column.values.dtype
    if dtype.kind not in "biufc" or not dtype.isnative or dtype.itemsize not in (1, 2, 4, 8, 16) or dtype == np.float16:
        raise AnalysisError(
            f"the branch {name} has the type {dtype}, which a kernel cannot read: use a columnar function for it"
        )
    return f"{dtype.str[1:]}x{column.values.ndim}"


def signed(name: str, column: Any, start: int, stop: int) -> Any:
    """A column in which unsigned numbers of 64 bits have a sign, in the same memory; another one as it is.

    Raises:
        OverflowError: one of entries `[start, stop)` is too large for that.
    """
    if isinstance(column, Jagged):
        content = signed(name, column.content, int(column.offsets[start]), int(column.offsets[stop]))
        return column if content is column.content else Jagged(column.offsets, content)
    if not isinstance(column, Flat) or column.values.dtype != np.uint64:
        return column
    values = column.values.view(np.int64)
    if values[start:stop].min(initial=0) < 0:
        raise OverflowError(
            f"{name} has {column.values[start:stop].max()}, which does not fit into 64 bits with a sign, as whole numbers "
            f"of a kernel are: one with np.uint64({name}) in it gets such branches unsigned, to compute with np.uint64 only"
        )
    return Flat(values)


def arguments(column: Readable) -> list[Any]:
    """The arrays of a column, see `_arrays`, and room for a block of its values in 64 bits where they are narrower."""
    arrays = _arrays(column)
    if isinstance(_innermost(column), Streams | Strings) or (isinstance(column, Flat) and column.values.ndim == 1):
        return arrays
    *lists, values = arrays
    wide = WIDE.get(values.dtype.str[1:])
    if wide is None:
        return arrays
    places = np.append(np.arange(0, len(column), BLOCK), len(column))
    for offsets in lists:
        places = offsets[places]
    lengths = np.diff(places)
    if lengths.min(initial=0) < 0:
        raise ValueError("offsets of a column that fall")
    return [*arrays, np.empty((max(1, lengths.max(initial=0)), *values.shape[1:]), wide)]


def _innermost(column: Readable) -> Readable:
    return _innermost(column.content) if isinstance(column, Jagged) else column


def _arrays(column: Readable) -> list[Any]:
    """The arrays of a column, outermost offsets first, each in one piece; offsets must stay in their content."""
    if isinstance(column, Streams):
        return [*column.stream.arguments, column.cycles]
    if isinstance(column, Flat):
        return [np.require(column.values, requirements=("C", "A"))]
    inner = (
        [np.require(column.characters, requirements=("C", "A"))]
        if isinstance(column, Strings)
        else _arrays(column.content)
    )
    offsets = np.require(column.offsets, np.int64, ("C", "A"))
    length = len(inner[0]) - (isinstance(column, Jagged) and not isinstance(column.content, Flat))
    if offsets[0] < 0 or offsets[-1] > length:
        raise ValueError(f"offsets from {offsets[0]} to {offsets[-1]} in a column with {length} values")
    return [offsets, *inner]


def in_python(column: Readable, index: int) -> Any:
    """Entry `index` of a column as the plain Python function of a kernel takes it."""
    if isinstance(column, Streams):
        return column.stream.at(int(column.cycles[index]))
    if isinstance(column, Flat):
        return _in_64_bits(column.values[index])
    start, stop = int(column.offsets[index]), int(column.offsets[index + 1])
    if isinstance(column, Strings):
        return column.characters[start:stop]
    if isinstance(column.content, Flat):
        return _in_64_bits(column.content.values[start:stop])
    return [in_python(column.content, inner) for inner in range(start, stop)]


def _in_64_bits(values: Any) -> Any:
    return values.astype(WIDE.get(values.dtype.str[1:], values.dtype))


def reading(name: str, structure: str) -> tuple[list[str], str, list[types.Type]]:
    """What makes a block of a column wide, the expression that reads entry i, and the types of `_arguments`."""
    if structure == "streams":
        numbers = types.Array(types.int64, 1, "C", readonly=True)
        return [], f"restarted({name}_0, {name}_1, {name}_2, {name}_3[i], 0)", [*Stream.TYPES, numbers]
    depth = structure.count("[")
    dtype, _, dimensions = structure.strip("[]").partition("x")
    offsets = types.Array(types.int64, 1, "C", readonly=True)
    content = types.Array(
        from_dtype(np.dtype(_CHARACTER if dtype == _TEXT else dtype)), int(dimensions), "C", readonly=True
    )
    kinds, values, lines = [offsets] * depth + [content], f"{name}_{depth}", list[str]()
    wide = WIDE.get(dtype)
    if wide is not None and structure == f"{dtype}x1":
        return lines, f"{wide}({values}[i])", kinds
    if wide is not None:
        first, last = "first", "last"
        for level in range(depth):
            first, last = f"{name}_{level}[{first}]", f"{name}_{level}[{last}]"
        lines, values = [f"{name}_w = widened({values}, {name}_{depth + 1}, {first}, {last})"], f"{name}_w"
        kinds.append(types.Array(from_dtype(np.dtype(wide)), int(dimensions), "C"))
    if depth == 0:
        return lines, f"{values}[i]", kinds
    start, stop = f"{name}_0[i]", f"{name}_0[i + 1]"
    if depth == 1:
        return lines, f"window({values}, {start}, {stop})", kinds
    inner = f"window({values}, 0, len({values}))"
    for level in range(depth - 1, 1, -1):
        inner = f"nested(window({name}_{level}, 0, len({name}_{level})), {inner})"
    return lines, f"nested(window({name}_1, {start}, {stop} + 1), {inner})", kinds
