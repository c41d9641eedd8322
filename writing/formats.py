"""The formats of files: which rows they can hold, and how rows get into a file."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..analysis.writes import WriteSpec
from ..protocol.errors import OutputError
from .baskets import Baskets
from .grouping import SUFFIX

if TYPE_CHECKING:
    import awkward as ak

BATCH = 32 * 2**20
"""Bytes of rows that are one row group of Parquet, or one cluster of ROOT."""


def suffix(spec: WriteSpec) -> str:
    """How names of files of its format end."""
    return SUFFIX[spec.format]


def check(spec: WriteSpec, array: ak.Array) -> None:
    """Refuse rows that the format cannot hold. Raises `OutputError`, which names the column."""
    if spec.format == "parquet" and importlib.util.find_spec("pyarrow") is None:
        raise OutputError("em.write(format='parquet') takes pyarrow: pip install 'eventmill[parquet]'")
    refused = _refused_by_trees if spec.format == "root" else _refused_by_all
    for name, kind in _columns(array):
        if reason := refused(kind):
            raise OutputError(
                f"em.write to {spec.target}: {_NAMES[spec.format]} cannot hold the column {name!r}: {reason}"
            )


def write(spec: WriteSpec, path: Path, empty: ak.Array, batches: Iterable[ak.Array | Baskets]) -> None:
    """Write the rows of some batches, in their order, to a file; `empty` has none, and their type. Trees take baskets."""
    from . import parquet, root

    match spec.format:
        case "parquet":
            parquet.write(path, empty, batches)
        case "root":
            root.write_tree(spec, path, empty, batches)
        case "rntuple":
            root.write_ntuple(spec, path, empty, batches)


_NAMES = {"parquet": "Parquet", "root": "a TTree", "rntuple": "an RNTuple"}
_NUMBERS = frozenset(
    {"bool", "float32", "float64", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))}
)
_DEEPER = "write format='rntuple' or 'parquet'"
_LISTS = f"lists of more than numbers; {_DEEPER}"


def _columns(array: ak.Array) -> Iterator[tuple[str, Any]]:
    content = array.type.content
    for name in array.fields:
        yield name, content.content(name)


def _refused_by_all(kind: Any) -> str:
    """Why no format holds values of a type; "" if they do."""
    import awkward.types as types

    match kind:
        case types.OptionType(content=inside) | types.ListType(content=inside) | types.RegularType(content=inside):
            return _refused_by_all(inside)
        case types.RecordType(contents=contents):
            if not contents or kind.is_tuple:
                return "records without names; give them names, ak.zip({'x': x, 'y': y})"
            return next(filter(None, map(_refused_by_all, contents)), "")
        case types.UnionType():
            return f"values of several kinds, {' '.join(str(kind).split())}"
        case types.NumpyType(primitive=primitive) if primitive not in _NUMBERS:
            return f"{primitive}; write numbers of at most 64 bits"
    return ""


def _refused_by_trees(kind: Any) -> str:
    """The same of a TTree: numbers, text, lists of numbers, and records of these."""
    import awkward.types as types

    match kind:
        case types.OptionType():
            return "values that may be missing; put some in their place, ak.fill_none(values, -1)"
        case types.ListType(content=types.RecordType(contents=contents)) | types.RecordType(contents=contents):
            if all(isinstance(inside, types.NumpyType) for inside in contents):
                return _refused_by_all(kind)
            return f"records of more than numbers; {_DEEPER}"
        case types.ListType(content=inside) if not isinstance(inside, types.NumpyType):
            return _LISTS
        case types.RegularType(content=inside):
            return _refused_by_trees(inside) if not isinstance(inside, types.ListType) else _LISTS
        case types.UnknownType():
            return "values of no type; make it one, ak.values_astype(values, 'float32')"
    return _refused_by_all(kind)
