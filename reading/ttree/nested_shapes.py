"""Which of uproot's interpretations are lists of lists or of strings, for `nested_decoding`, and what comes of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from awkward.contents import ListOffsetArray, NumpyArray
from awkward.index import Index64
from uproot.containers import AsArray, AsList, AsRVec, AsSet, AsString, AsVector
from uproot.interpretation.objects import AsObjects

from ..columns import Column, Flat, Jagged
from .nested_decoding import Shape

_LISTS = (AsVector, AsRVec, AsList, AsSet)
_MOST_NESTED = 30


def shape_of(kind: Any) -> Shape | None:
    """What an entry holds that uproot reads with this interpretation; None if it is more than lists of numbers or strings.

    Example:
        >>> shape_of(AsObjects(AsVector(True, AsVector(False, np.dtype(">f4")))))
        Shape(depth=2, header=True, is_open=False, stored=dtype('>f4'), length_bytes='1-5')
    """
    if type(kind) is not AsObjects:
        return None
    outer, depth = kind.model, 1
    if type(outer) is AsArray:
        if outer.speedbump or outer.inner_shape:
            return None
        item = outer.values
    elif type(outer) in _LISTS:
        item = outer._items
    else:
        return None
    while type(item) in _LISTS and not item.header and depth < _MOST_NESTED:
        item, depth = item._items, depth + 1
    is_open = type(outer) is AsArray
    if type(item) is AsString and not item.header:
        return Shape(depth, outer.header, is_open, None, item.length_bytes)
    if isinstance(item, np.dtype) and item.base.kind in "biuf" and item.itemsize > 0:
        return Shape(depth, outer.header, is_open, item)
    return None


def layout_as(column: Column, form: Any) -> Any:
    """A column of lists as an awkward layout with the names that a form has for its parts, such as "string" and "set"."""
    if isinstance(column, Flat):
        return NumpyArray(column.values)
    if isinstance(column, Jagged):
        content = layout_as(column.content, form.content)
    else:
        content = NumpyArray(column.characters, parameters=form.content.parameters)
    return ListOffsetArray(Index64(column.offsets), content, parameters=form.parameters)
