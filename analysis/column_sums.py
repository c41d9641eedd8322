"""Sums of columns that do not depend on how files were cut: whole numbers stay whole, floats are rounded once, at the end.

A finite float is a whole number of the smallest one there is, 2**-1074. What some rows add up to is therefore told as a
whole number of these, which merges exactly, in any order; the sum is that of `math.fsum` over all rows at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from ..protocol.errors import AnalysisError
from .expressions import Expression

Number: TypeAlias = int | float
Sums: TypeAlias = dict[str, tuple[int, ...]]
"""What rows add up to, by kind: "int" and "float", each with so many elements a row ("float 9" has nine, "int" is a number),
and how many values were "nan", "inf" and "-inf"."""
_SMALLEST_EXPONENT = -1074
_MANTISSA = 53
_HALF = 27
_ODD = ("nan", "inf", "-inf")


class ColumnSums:
    """An analysis: sums of columns, by dataset and file.

    Args:
        columns: names, or expressions of columns.

    Raises:
        AnalysisError: one of them is no expression.

    Example:
        >>> from types import SimpleNamespace
        >>> rows, file = ak.Array({"genEventCount": [10, 20]}), SimpleNamespace(dataset="ttbar", path="a.root")
        >>> ColumnSums(["genEventCount"]).of_events(rows, file)
        {'ttbar': {'a.root': {'genEventCount': {'int': (30,)}}}}
    """

    def __init__(self, columns: Sequence[str]) -> None:
        self.columns = {text: Expression(text) for text in columns}

    def of_events(self, events: Any, file: Any) -> dict[str, dict[str, dict[str, Sums]]]:
        """The sums of some rows of a file, as they are merged."""
        found = {}
        for text, expression in self.columns.items():
            values = expression.value(events)
            if getattr(values, "ndim", 0) == 0 or len(values) != len(events):
                raise AnalysisError(
                    f"the sum of {text!r}: it gives no value for each row: name what is to be added up, not its sum"
                )
            found[text] = sums_of(values, text)
        return {file.dataset: {file.path: found}}


def sums_of(values: Any, name: str) -> Sums:
    """What the rows of a column add up to: numbers, or lists of numbers, which are added up element by element.

    Raises:
        AnalysisError: they are neither.

    Example:
        >>> total_of(sums_of(np.array([2**62, 2**62, 1]), "n")), total_of(sums_of(np.array([1e16, 1.0, -1e16]), "w"))
        (9223372036854775809, 1.0)
        >>> total_of(sums_of(ak.Array([[1.0, 2.0], [0.5, 0.25]]), "LHEPdfSumw")).tolist()
        [1.5, 2.25]
    """
    array = ak.Array(values) if not isinstance(values, np.ndarray | ak.Array) else values
    if getattr(array, "ndim", 0) == 1 and not isinstance(array, ak.Array):
        return _of_numbers([array], "", name)
    array = ak.Array(array)
    if array.ndim == 1:
        return _of_numbers([_flat(array, name)], "", name)
    if array.ndim != 2:
        raise AnalysisError(f"the sum of {name}: its rows are neither numbers nor lists of numbers ({array.type})")
    sums: Sums = {}
    lengths = ak.to_numpy(ak.num(array))
    for length in np.unique(lengths):
        flat = _flat(ak.flatten(array[lengths == length]), name)
        columns = list(flat.reshape(-1, int(length)).T) if length else []
        sums |= _of_numbers(columns, f" {length}", name)
    return sums


def merged(parts: Iterable[Sums]) -> Sums:
    """Sums of several files together."""
    total: Sums = {}
    for part in parts:
        for kind, numbers in part.items():
            known = total.get(kind)
            total[kind] = numbers if known is None else tuple(map(sum, zip(known, numbers, strict=True)))
    return total


def total_of(sums: Sums, name: str = "") -> Any:
    """The sum itself: an int where all values were whole, else a float; an array where rows are lists; 0 of no rows.

    Raises:
        AnalysisError: lists of some rows are longer than those of others.
    """
    lengths = {kind.partition(" ")[2] for kind in sums if not kind.endswith(" 0")}
    if len(lengths) > 1:
        raise AnalysisError(
            f"the sum of {name}: its rows have different lengths ({', '.join(sorted(it or 'a number' for it in lengths))}), "
            "so that elements of the same place may not mean the same: sum the datasets one by one, or one element, "
            f"{name}[:, 0]"
        )
    if not lengths:
        return np.zeros(0) if sums else 0
    (length,) = lengths
    behind = f" {length}" if length else ""
    whole, parts = sums.get(f"int{behind}"), sums.get(f"float{behind}")
    odd = [sums.get(f"{kind}{behind}") for kind in _ODD]
    numbers = [
        _number(
            0 if whole is None else whole[at],
            None if parts is None else parts[at],
            [0 if counts is None else counts[at] for counts in odd],
        )
        for at in range(int(length or 1))
    ]
    return np.array(numbers) if length else numbers[0]


def _number(whole: int, parts: int | None, odd: Sequence[int]) -> Number:
    """A sum from what was whole, what was not, and how many values were nan, inf and -inf."""
    nan, positive, negative = odd
    if nan or (positive and negative):
        return float("nan")
    if positive or negative:
        return float("inf") if positive else float("-inf")
    if parts is None:
        return whole
    try:
        return (parts + (whole << -_SMALLEST_EXPONENT)) / (1 << -_SMALLEST_EXPONENT)
    except OverflowError:
        return float("inf") if parts > 0 else float("-inf")


def _of_numbers(columns: Sequence[NDArray[Any]], behind: str, name: str) -> Sums:
    """The sums of some columns of numbers, side by side."""
    if not columns:
        return {f"int{behind}": ()}
    kind = columns[0].dtype.kind
    if kind in ("b", "u", "i"):
        return {f"int{behind}": tuple(map(_whole, columns))}
    if kind != "f" or columns[0].dtype.itemsize > 8:
        raise AnalysisError(f"the sum of {name}: {columns[0].dtype} are no numbers that can be added up exactly")
    wide = [column.astype(np.float64) for column in columns]
    sums: Sums = {f"float{behind}": tuple(_parts(column[np.isfinite(column)]) for column in wide)}
    for odd in _ODD:
        counts = tuple(int(np.count_nonzero(_is(odd, column))) for column in wide)
        if any(counts):
            sums[f"{odd}{behind}"] = counts
    return sums


def _is(odd: str, values: NDArray[np.float64]) -> NDArray[np.bool_]:
    return np.isnan(values) if odd == "nan" else values == float(odd)


def _whole(values: NDArray[Any]) -> int:
    """The sum of whole numbers, of any size: in two halves, which 64 bits hold for up to 2**31 rows each."""
    if values.dtype.itemsize < 8:
        return int(values.sum(dtype=np.int64))
    high, low = values >> 32, values & 0xFFFFFFFF
    return (int(high.sum(dtype=np.int64)) << 32) + int(low.sum(dtype=np.int64))


def _parts(values: NDArray[np.float64]) -> int:
    """The sum of finite numbers, as a whole number of 2**-1074."""
    mantissas, exponents = np.frexp(values)
    whole = np.ldexp(mantissas, _MANTISSA).astype(np.int64)
    shifts = exponents.astype(np.int64) - _MANTISSA - _SMALLEST_EXPONENT
    total = 0
    for shift in np.unique(shifts):
        of_shift = whole[shifts == shift]
        high, low = int((of_shift >> _HALF).sum()), int((of_shift & ((1 << _HALF) - 1)).sum())
        number = (high << _HALF) + low
        total += number << int(shift) if shift >= 0 else number >> -int(shift)  # what is small ends in as many zeros
    return total


def _flat(array: Any, name: str) -> NDArray[Any]:
    try:
        return np.asarray(ak.to_numpy(array, allow_missing=False))
    except (ValueError, TypeError) as error:
        raise AnalysisError(f"the sum of {name}: its rows are no numbers ({array.type}): {error}") from None


def of_files(found: Mapping[str, Mapping[str, Sums]], names: Sequence[str]) -> dict[str, Any]:
    """The sums of each column over some files.

    Args:
        found: sums by file and column.
        names: the columns.
    """
    return {name: total_of(merged(of_file[name] for of_file in found.values()), name) for name in names}
