"""Tables of Arrow as awkward layouts, and these as what kernels take.

What awkward makes of a table depends on the table: of values that may be missing on whether any is, and of lists on how many
they hold. Here all of it has one form, which is known before anything is read.
"""

from __future__ import annotations

from typing import Any

import awkward as ak
import numpy as np

from ...protocol.errors import DatasetError
from ..columns import Column, Flat, column_of


def layout_of_table(table: Any) -> Any:
    """The only column of a table, as awkward has it. Raises what awkward raises for types that it cannot hold."""
    return ak.from_arrow(table.combine_chunks(), generate_bitmasks=True, highlevel=False).content(0)


def uniform(layout: Any) -> Any:
    """The same values in the form that they always have."""
    if layout.is_option:
        indexed = layout.to_IndexedOptionArray64()
        return indexed.copy(content=uniform(indexed.content), parameters=_but_for_dictionaries(layout))
    if layout.is_indexed:  # a dictionary: its values count, and not which of them are the same
        return uniform(layout.project())
    if layout.is_regular:
        return layout.copy(content=uniform(layout.content))
    if layout.is_list:
        lists = layout.to_ListOffsetArray64(True)
        return lists.copy(content=uniform(lists.content[: lists.offsets[-1]]))
    if layout.is_record:
        return layout.copy(contents=[uniform(content[: len(layout)]) for content in layout.contents])
    return layout


def _but_for_dictionaries(layout: Any) -> dict[str, Any]:
    return {name: value for name, value in layout.parameters.items() if (name, value) != ("__array__", "categorical")}


def member_of(layout: Any, path: tuple[str, ...]) -> Any:
    """A member of records in a layout, with the lists around it, none of which may be missing.

    (Where only some leaves of records are read, pyarrow says of all of these records that they may be missing.)
    """
    if not path:
        return layout
    if layout.is_option:
        return member_of(_present(layout), path)
    if layout.is_list:
        return layout.copy(content=member_of(layout.content, path))
    return member_of(layout.content(path[0]), path[1:])


def for_kernels(layout: Any, where: str) -> Column:
    """A layout as a column.

    Args:
        layout: uniform, of the entries that are read and no others.
        where: what the values are of, for errors.

    Raises:
        DatasetError: a value is missing, or the type is none that kernels take.
    """
    required = _required(layout.to_packed(), where)
    shape, inner = [len(required)], required
    while inner.is_regular:
        shape.append(inner.size)
        inner = inner.content
    if len(shape) > 1 and inner.is_numpy and inner.parameter("__array__") is None:
        return Flat(_whole(column_of(inner, where)).reshape(shape))
    column = column_of(required, where)
    return Flat(_whole(column)) if isinstance(column, Flat) else column


def _whole(column: Column) -> Any:
    """Numbers that compiled code has: there, none has half the precision."""
    assert isinstance(column, Flat)
    return column.values.astype(np.float32) if column.values.dtype == np.float16 else column.values


def _present(layout: Any) -> Any:
    """The values of a layout in which none is missing; mostly as they are."""
    index = np.asarray(layout.to_IndexedOptionArray64().index.data)
    if np.array_equal(index, np.arange(len(index))):
        return layout.content[: len(index)]
    return layout.project().to_packed()


def _required(layout: Any, where: str) -> Any:
    """A layout in which nothing may be missing."""
    if layout.is_option:
        if not np.asarray(layout.mask_as_bool(True)).all():
            raise DatasetError(
                f"{where} has values that are missing (nulls), which kernels cannot take: an alias puts something in their "
                'place, {"x": "ak.fill_none(..., -1)"}, or use a columnar function'
            )
        return _required(_present(layout), where)
    if layout.is_list and layout.parameter("__array__") is None:
        return layout.copy(content=_required(layout.content, where))
    return layout
