"""The formats of files: which rows they can hold, and how rows get into a file."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

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
    refused = _REFUSED[spec.format]
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
            parquet.write(path, _packed(empty), map(_packed, batches))
        case "root":  # nothing may be missing in a tree
            root.write_tree(spec, path, empty, batches)
        case "rntuple":
            root.write_ntuple(spec, path, _packed(empty), map(_packed, batches))


def _packed(array: ak.Array) -> ak.Array:
    """The same rows, in which values that may be missing are an index of those that are there, one behind the other.

    A mask beside all values is the other form. Of it uproot would write the first values of an RNTuple into the places
    of others, and awkward would give Arrow the texts of others.
    """
    import awkward as ak

    packed: ak.Array = ak.transform(_indexed, array)
    return packed


def _indexed(layout: Any, **_: Any) -> Any:
    import awkward as ak

    if not layout.is_option:
        return None
    there = np.asarray(layout.mask_as_bool(valid_when=True))
    index = np.where(there, np.cumsum(there) - 1, -1)
    values = _packed(ak.Array(ak.to_packed(layout.project()))).layout
    return ak.contents.IndexedOptionArray(ak.index.Index64(index), values, parameters=layout.parameters)


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


def _refused_by_ntuples(kind: Any) -> str:
    """The same of an RNTuple: what uproot writes of records that may be missing is a list of none or one."""
    import awkward.types as types

    match kind:
        case types.OptionType(content=inside) if _has_records(inside):
            return "records that may be missing; write format='parquet', or the values that may be, ak.unzip(records)"
        case types.ListType(content=inside) | types.RegularType(content=inside):
            return _refused_by_ntuples(inside)
        case types.RecordType(contents=contents) if contents and not kind.is_tuple:
            return next(filter(None, map(_refused_by_ntuples, contents)), "")
    return _refused_by_all(kind)


def _has_records(kind: Any) -> bool:
    return bool(getattr(kind, "contents", ())) or (hasattr(kind, "content") and _has_records(kind.content))


_REFUSED = {"parquet": _refused_by_all, "root": _refused_by_trees, "rntuple": _refused_by_ntuples}
