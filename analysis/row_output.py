"""`em.Output`: an output of a kernel into which rows for files are appended, in compiled code."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from ..protocol.errors import AnalysisError, nearest
from .writes import SIZE, Format, Order, write_spec

KINDS = ("bool", "float32", "float64", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)))
"""What numbers of a column can be."""
_LIST = "var * "
_LISTS = re.compile(r"\s*var\s*\*\s*(\w+)\s*")


class Column(NamedTuple):
    """A column of rows: of which kind its numbers are, and whether a row has a list of them."""

    name: str
    kind: str
    is_list: bool

    @property
    def type(self) -> str:
        """As it is declared."""
        return f"{_LIST}{self.kind}" if self.is_list else self.kind

    @property
    def misfit(self) -> str:
        """What is said of a number that cannot be in it."""
        return f"a number does not fit into the column {self.name}, which is {self.kind}: declare it wider"


class Output:
    """Rows that a kernel appends, to be written to files, each once: an output of `em.kernel`.

    The rows of an event are in the files if, and only if, the event counts: those of one that raises are not, whatever was
    appended before. The result has the list of the files under the name of the output, as of `em.write`.

    Args:
        folder: as for `em.write`, as are all options.
        columns: the type of each column, by its name: "float32", "int64", "bool" or whatever numpy calls its numbers (of 64
            bits at most), and "var * float32" for a list of them in each row. Numpy's own types, and Python's, do as well.

    Attributes:
        rows: where it was called in Python, to try a kernel out, the rows that were appended, as dicts.

    Raises:
        AnalysisError: an argument makes no sense.

    Example:
        >>> @em.kernel(skim=em.Output("muons", {"met": "float32", "pt": "var * float32"}, overwrite=True))
        ... def select(skim, MET_pt, Muon_pt):
        ...     if MET_pt > 50:
        ...         skim.append(MET_pt, Muon_pt)
        >>> result = session.process("events.root", select).result()
        >>> result["skim"].rows
        791
        >>> tried = em.Output("muons", {"met": "float32", "pt": "var * float32"})
        >>> select(tried, 55.0, np.array([20.0, 10.0]))
        >>> tried.rows
        [{'met': 55.0, 'pt': [20.0, 10.0]}]
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        columns: Mapping[str, Any],
        *,
        format: Format = "parquet",  # noqa: A002 - what it is called everywhere
        name: str = "",
        tree: str = "Events",
        size: float = SIZE,
        rows: int | None = None,
        order: Order = "any",
        overwrite: bool = False,
    ) -> None:
        self.spec = write_spec("em.Output", folder, format, name, tree, size, rows, order, overwrite)
        self.columns = _columns(columns)
        self.rows: list[dict[str, Any]] = []

    def append(self, *values: Any, **named: Any) -> None:
        """Append a row: a number, or a list or array of numbers, for each column, in their order or by their names.

        Numbers are converted to the kind of the column: floats are rounded to it, whole numbers have to fit. A column of
        whole numbers takes no float (write `int(x)` or `round(x)`), and a column of truth values nothing else.

        Raises:
            ValueError: a whole number does not fit into its column.
            AnalysisError: a column has no value, or one of another type; a kernel is not compiled then.
        """
        given = self.given(values, named)
        self.rows.append({column.name: _value(column, given[column.name]) for column in self.columns})

    def given(self, values: Any, named: Mapping[str, Any]) -> dict[str, Any]:
        """What was passed to `append`, by the names of columns. Raises `AnalysisError` if it is not one for each."""
        names = [column.name for column in self.columns]
        given = dict(zip(names, values, strict=False))
        if unknown := next((name for name in named if name not in names), None):
            raise AnalysisError(f"append(): there is no column {unknown}{nearest(unknown, names)}")
        missing = [name for name in names if name not in given and name not in named]
        if missing or len(values) > len(names) or set(given) & set(named):
            lacking = f"; {', '.join(missing)} has none" if missing else ""
            raise AnalysisError(f"append() takes one value for each of the columns {', '.join(names)}{lacking}")
        return given | dict(named)

    def __repr__(self) -> str:
        types = ", ".join(f"{it.name}: {it.type}" for it in self.columns)
        return f"<rows for {self.spec.target}: {types}>"


def _columns(columns: Any) -> tuple[Column, ...]:
    if not isinstance(columns, Mapping) or not columns:
        raise AnalysisError(
            f'em.Output takes the types of its columns by their names, {{"met": "float32", "pt": "var * float32"}}, '
            f"not {columns!r:.60}"
        )
    return tuple([_column(name, kind) for name, kind in columns.items()])


def _column(name: Any, kind: Any) -> Column:
    if not isinstance(name, str) or not name:
        raise AnalysisError(f"em.Output: {name!r} is no name of a column: use text")
    listed = _LISTS.fullmatch(kind) if isinstance(kind, str) else None
    try:
        found = np.dtype(listed[1] if listed else kind).name
    except TypeError:
        found = ""
    if found not in KINDS or kind is None:
        raise AnalysisError(
            f"em.Output: the column {name} is {kind!r}, and can be {', '.join(KINDS)}, or a list of these in each row: "
            '"var * float32"'
        )
    return Column(name, found, listed is not None)


def _value(column: Column, value: Any) -> Any:
    """A value of a row, as it will be in a file."""
    array = np.asarray(value)
    if array.ndim != column.is_list:
        wanted = "a list of numbers" if column.is_list else "a number"
        raise AnalysisError(f"append(): the column {column.name} takes {wanted}, not {value!r:.60}")
    kind = np.dtype(column.kind)
    allowed = {"b": "b", "f": "biuf"}.get(kind.kind, "biu")
    if array.size and array.dtype.kind not in allowed:
        raise AnalysisError(f"append(): the column {column.name} is {column.kind}, and gets {value!r:.60}")
    with np.errstate(over="ignore"):
        converted = array.astype(kind)
    if kind.kind in "iu" and not np.array_equal(converted.astype(object), array.astype(object)):
        raise ValueError(column.misfit)
    return converted.tolist()
