"""What `em.write` was given, as rows that a slot holds: packed, copied, and looked at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..analysis.writes import Write, columns_of
from ..protocol.values import Metadata
from .nodes import Rows, Unmergeable
from .rows import Held, HeldSpan, Span

if TYPE_CHECKING:
    import awkward as ak


def rows_of(write: Write) -> Rows:
    """The node of rows. They are of no file yet: who knows of which says so (`placed`)."""
    packed = _named_once(_packed(_without_groups(_records(write))), write)
    span = HeldSpan("", Span(0, "", "", 0, 0, len(packed)), packed, int(packed.nbytes))
    return Rows(write.spec, columns(packed), Held([span]))


def placed(node: Rows, dataset: str, span: Span, metadata: Metadata) -> Rows:
    """The same rows, which came of these entries of a dataset's file, which has these metadata."""
    (held,) = node.held.spans
    at = Span(span.place, span.path, span.tree, span.start, span.stop, held.span.rows)
    return Rows(node.spec, node.columns, Held([HeldSpan(dataset, at, held.array, held.size)]), {dataset: metadata})


def columns(array: ak.Array) -> dict[str, str]:
    """The type of each column of records, without what may be missing in it: one packet has all, another lacks some.

    Example:
        >>> import awkward as ak
        >>> columns(ak.Array([{"x": 1.5, "y": [1, None]}]))
        {'x': 'float64', 'y': 'var * int64'}
    """
    content = array.type.content
    return {name: _text(content.content(name)) for name in array.fields}


def _text(kind: Any) -> str:
    import awkward.types as types

    match kind:
        case types.OptionType(content=inside):
            return _text(inside)
        case types.ListType(parameters=parameters) if (parameters or {}).get("__array__") in ("string", "bytestring"):
            return str(parameters["__array__"])
        case types.ListType(content=inside):
            return f"var * {_text(inside)}"
        case types.RegularType(content=inside, size=size):
            return f"{size} * {_text(inside)}"
        case types.RecordType():
            fields = kind.fields if not kind.is_tuple else [str(index) for index in range(len(kind.contents))]
            inner = ", ".join(f"{name}: {_text(each)}" for name, each in zip(fields, kind.contents, strict=True))
            return f"{{{inner}}}"
        case types.NumpyType(primitive=primitive):
            return str(primitive)
        case types.UnionType(contents=contents):
            return f"union[{', '.join(map(_text, contents))}]"
    return "unknown"


def _records(write: Write) -> ak.Array:
    """The rows as an array of records."""
    import awkward as ak

    where = f"em.write to {write.spec.target}"
    named = columns_of(write.arrays)
    if named is not None:
        if not named:
            raise Unmergeable(f"{where}: a dict without columns")
        arrays = {str(name): _column(f"{where}: the column {name!r}", column) for name, column in named.items()}
        lengths = {name: len(column) for name, column in arrays.items()}
        if len(set(lengths.values())) > 1:
            ones = ", ".join(f"{name} {length:,}" for name, length in lengths.items())
            raise Unmergeable(f"{where}: columns of different lengths: {ones}")
        return ak.zip(arrays, depth_limit=1)
    if not isinstance(write.arrays, ak.Array):
        kind = f"{type(write.arrays).__module__}.{type(write.arrays).__qualname__}"
        raise Unmergeable(f"{where}: a {kind}; give an awkward array of records, or a dict of arrays")
    if not write.arrays.fields:
        raise Unmergeable(
            f"{where}: an array of {write.arrays.type.content} without names: give a dict, {{'pt': array}}"
        )
    if write.arrays.layout.is_option:  # as `events.mask[...]` gives it: what is not selected is no row
        return ak.drop_none(write.arrays, axis=0)
    return write.arrays


def _column(what: str, values: Any) -> ak.Array:
    import awkward as ak

    if isinstance(values, str | bytes) or getattr(values, "shape", None) == () or not hasattr(values, "__len__"):
        raise Unmergeable(f"{what} is one {type(values).__name__}; give it a value for each row, an array")
    return ak.Array(values)


def _without_groups(array: ak.Array) -> ak.Array:
    """Events as they are read, some of them or all, without the groups of columns that are there as columns, too."""
    import awkward as ak

    layout = array.layout.content if array.layout.is_indexed else array.layout
    if not getattr(layout, "as_read", False):
        return array
    known = set(array.fields)
    groups = {name: ak.fields(array[name]) for name in array.fields}
    twice = {name for name, fields in groups.items() if fields and all(f"{name}_{field}" in known for field in fields)}
    names = [name for name in array.fields if name not in twice]
    if array.layout.is_option or not array.layout.is_indexed or getattr(layout, "taken", None) is None:
        return array[names]
    # Some of the events as they are read: of each column, what lies in memory as it was read. awkward takes twice as long.
    numbers = np.asarray(array.layout.index.data, dtype=np.int64)
    columns = {name: layout.taken(name, numbers) for name in names}
    events = ak.Array(layout)
    return ak.Array({name: events[name][numbers] if it is None else it for name, it in columns.items()})


def _named_once(array: ak.Array, write: Write) -> ak.Array:
    """The columns without records of what is there as columns, too: events have `Muon_pt`, and the same as `Muon.pt`.

    Raises Unmergeable where the two differ: nobody could tell which one is meant.
    """
    import awkward as ak

    kept = list(array.fields)
    for name in array.fields:
        others = [field for field in ak.fields(array[name]) if f"{name}_{field}" in array.fields]
        for field in others:
            if not ak.array_equal(array[name, field], array[f"{name}_{field}"], equal_nan=True):
                raise Unmergeable(
                    f"em.write to {write.spec.target}: {name}.{field} and {name}_{field} differ, and would be one column: "
                    f"write one of them, leaving out {name} or {name}_{field}"
                )
        if others and len(others) == len(ak.fields(array[name])):
            kept.remove(name)
    return array if len(kept) == len(array.fields) else ak.to_packed(array[kept])


def _packed(array: ak.Array) -> ak.Array:
    """The same records, with nothing of others in them, not even memory."""
    import awkward as ak

    array = ak.materialize(array)
    if "categorical" in array.layout.form.to_json():
        array = ak.from_categorical(array)
    form, length, container = ak.to_buffers(ak.to_packed(array), backend="cpu")
    copied = {key: np.array(buffer) for key, buffer in container.items()}
    return ak.from_buffers(ak.forms.from_dict(_plain(form.to_dict(verbose=False))), length, copied)


def _plain(form: Any) -> Any:
    """A form without what it says for people and behaviors, in which packets may differ: only kinds of text stay."""
    if isinstance(form, list):
        return [_plain(each) for each in form]
    if not isinstance(form, dict):
        return form
    plain = {key: _plain(value) for key, value in form.items() if key != "parameters"}
    kind = form.get("parameters", {}).get("__array__")
    if kind is not None:
        plain["parameters"] = {"__array__": kind}
    return plain
