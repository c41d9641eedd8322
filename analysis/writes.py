"""`em.write`: rows that an analysis returns to be written to files, and how."""

from __future__ import annotations

import operator
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import msgspec

from ..protocol.errors import AnalysisError
from ..protocol.values import NonNegative, Word, Words

Format = Literal["parquet", "root", "rntuple"]
Order = Literal["any", "input"]
SIZE = 256
"""MB of a file that nobody has said the size of."""
_MOST_SIZE = 10**6
_MOST_ROWS = 10**15


class WriteSpec(msgspec.Struct, frozen=True, array_like=True):
    """Where rows are to be written and how: what was said to `write`.

    `size` is in bytes, as rows take between slots; `rows` is 0 where there is no limit. `tree` is the name of the tree or
    RNTuple in files of ROOT. `token` is that of the query, as soon as a slot has looked at it.
    """

    target: Words
    format: Format
    name: Word
    tree: Word
    size: NonNegative
    rows: NonNegative
    order: Order
    overwrite: bool
    token: Word = ""


class Write:
    """Rows on their way into files; `write` makes it."""

    __slots__ = ("arrays", "spec")

    def __init__(self, arrays: Any, spec: WriteSpec) -> None:
        self.arrays = arrays
        self.spec = spec

    def __repr__(self) -> str:
        return f"<rows for {self.spec.target}>"


def write(
    arrays: Any,
    folder: str | os.PathLike[str],
    *,
    format: Format = "parquet",  # noqa: A002 - what it is called everywhere
    name: str = "",
    tree: str = "Events",
    size: float = SIZE,
    rows: int | None = None,
    order: Order = "any",
    overwrite: bool = False,
) -> Write:
    """Rows that are to be written to files, each once: return it, under a name, from a function over events.

    The rows of a packet are in the files if, and only if, the packet counts. What slots write while the query runs are
    pieces in a hidden folder; slots join them into few files, by dataset, which get their names when the query is over and
    all their rows count. The result has their list under the same name.

    Args:
        arrays: an awkward array of records, or a dict of arrays of one length; a row is what is at one index.
        folder: where the files go: a folder that all workers see, or a URL. A relative path counts from the folder in which
            the session works.
        format: "parquet", "root" (a TTree) or "rntuple".
        name: how the names of its files begin, before that of the dataset; two outputs in one folder need two names.
        tree: name of the tree or RNTuple in files of ROOT.
        size: MB that the rows of a file take in memory, about.
        rows: that a file has at most; by default as many as fit into `size`.
        order: "any", as packets come (within a file, rows are sorted by input file and entry), or "input": all rows of a
            dataset in the order of its files and entries, for which files are written when the query is over.
        overwrite: replace what an earlier query has written there under the same names; else that is refused.

    Raises:
        AnalysisError: an argument makes no sense.

    Example:
        >>> def skim(events):
        ...     return {"skim": em.write(events[events.MET_pt > 50], "skim", overwrite=True)}
        >>> result = session.process("events.root", skim).result()
        >>> result["skim"].rows, [Path(file.path).name for file in result["skim"]]
        (791, ['rows-0000.parquet'])
    """
    spec = write_spec("em.write", folder, format, name, tree, size, rows, order, overwrite)
    return Write(arrays, spec)


def write_spec(
    who: str,
    folder: str | os.PathLike[str],
    format: Format,  # noqa: A002 - what it is called everywhere
    name: str,
    tree: str,
    size: float,
    rows: int | None,
    order: Order,
    overwrite: bool,
) -> WriteSpec:
    """What was said to `who`, checked. Raises `AnalysisError`."""
    if format not in get_args(Format):
        raise AnalysisError(f"{who}: there is no format {format!r}; there are {', '.join(get_args(Format))}")
    if order not in get_args(Order):
        raise AnalysisError(f"{who}: order is {order!r}; it is 'any' or 'input'")
    if not isinstance(folder, str | os.PathLike) or not os.fspath(folder):
        raise AnalysisError(f"{who}: the folder is {folder!r}; give a path or a URL")
    if not tree:
        raise AnalysisError(f"{who}: the tree needs a name")
    if isinstance(size, bool) or not isinstance(size, int | float) or not 0 < size <= _MOST_SIZE:
        raise AnalysisError(f"{who}: size is {size!r}; it is the MB of a file, more than 0")
    return WriteSpec(
        os.fspath(folder), format, str(name), tree, max(1, int(size * 10**6)), _rows(who, rows), order, bool(overwrite)
    )


def resolved(target: str, folder: str) -> str:
    """The target that a relative path stands for in a folder; URLs and whole paths stay as they are.

    Example:
        >>> resolved("skim", "/home/me"), resolved("root://host//store/skim", "/home/me")
        ('/home/me/skim', 'root://host//store/skim')
    """
    if is_url(target):
        return target.removeprefix("file://") if target.startswith("file://") else target.rstrip("/")
    return os.path.normpath(Path(folder) / Path(target).expanduser())


def is_url(target: str) -> bool:
    """Whether a target is none of the file system."""
    return "://" in target


def columns_of(arrays: Any) -> Mapping[str, Any] | None:
    """The columns of what was given to `write`, if it is a dict of them."""
    return arrays if isinstance(arrays, Mapping) else None


def _rows(who: str, rows: Any) -> int:
    if rows is None:
        return 0
    try:
        number = operator.index(int(rows) if isinstance(rows, float) and rows.is_integer() else rows)
    except TypeError:
        number = 0
    if isinstance(rows, bool) or not 0 < number <= _MOST_ROWS:
        raise AnalysisError(f"{who}: rows is {rows!r}; it is the rows of a file, 1 or more")
    return number
