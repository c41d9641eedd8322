"""Branches of records, collections of them and maps, which are decoded here instead of by uproot."""

from __future__ import annotations

from typing import Any

import numpy as np
import uproot
from uproot.interpretation import Interpretation
from uproot.interpretation.jagged import AsJagged
from uproot.interpretation.objects import AsObjects, AsStridedObjects

from .cpp_types import parsed
from .joined_baskets import JoinedBaskets, RawBasket, named
from .nested_shapes import shape_of
from .record_decoding import OtherVersionError, decoded, form_of
from .record_programs import Program
from .record_shapes import Records, Shapes, Unreadable

IN_COLLECTIONS = (31, 41)
"""Types of branches (`TBranchElement::fType`) whose entries have a member of each object of a collection."""


def is_for_records(kind: Any) -> bool:
    """Whether uproot's interpretation is of what has to be gone through value by value; lists of lists go another way."""
    content = kind.content if isinstance(kind, AsJagged) else kind
    return isinstance(content, AsStridedObjects) or (type(kind) is AsObjects and shape_of(kind) is None)


def programs_of(branch: Any) -> list[Program]:
    """The ways in which the entries of a branch may be written, most likely first; none if it cannot be read here.

    That an object has a header depends on its class: on whether somebody has written a `Streamer` for it.
    """
    if branch.branches or not branch.has_member("fType") or not (branch.top_level or branch.streamer is not None):
        return []
    is_open = branch.member("fType") in IN_COLLECTIONS
    what = branch.member("fClassName") if branch.top_level else branch.streamer
    known: dict[Any, list[Program]] = branch.file.programs
    if (what, is_open) not in known:  # a file may have a thousand branches of one class
        known[what, is_open] = _programs(branch.file, what, is_open)
    return known[what, is_open]


def _programs(file: Any, what: Any, is_open: bool) -> list[Program]:
    """The ways in which values of a class, by its name, or of a member of one may be written."""
    shapes = Shapes(file)
    try:
        shape = shapes.of(parsed(what)) if isinstance(what, str) else shapes.element(what)
    except Unreadable:
        return []
    ways = ("item", "bare") if isinstance(shape, Records) else ("member",)
    return [Program(shape, way, is_open) for way in ways]


class AsRecords(Interpretation):  # type: ignore[misc]
    """Values that are decoded here, by what the file says of their classes.

    Args:
        branch: as uproot has it.
        programs: the ways in which they may be written.
        original: uproot's interpretation, for libraries other than awkward; None if it has none.
    """

    def __init__(self, branch: Any, programs: list[Program], original: Any) -> None:
        self._branch, self._programs, self._original = branch, programs, original
        self._known = form_of(programs[0])

    def awkward_form(self, *_: Any, **__: Any) -> Any:
        """The form of its arrays."""
        return self._known

    def basket_array(self, data: Any, byte_offsets: Any, basket: Any, branch: Any, *rest: Any) -> Any:
        """The values of a basket, still to be decoded."""
        library = rest[2]
        if not isinstance(library, uproot.interpretation.library.Awkward):
            return self._by_uproot().basket_array(data, byte_offsets, basket, branch, *rest)
        if byte_offsets is None:
            entries = basket.num_entries
            width = len(data) // max(1, entries)
            if width * entries != len(data):
                raise ValueError(f"it has {len(data)} bytes for {entries} entries")
            byte_offsets = np.arange(entries + 1, dtype=np.int64) * width
        return RawBasket(data, byte_offsets, named(basket, branch))

    def final_array(
        self, basket_arrays: Any, start: int, stop: int, offsets: Any, library: Any, branch: Any, options: Any
    ) -> Any:
        """The values of the entries [start, stop)."""
        if not isinstance(library, uproot.interpretation.library.Awkward):
            return self._by_uproot().final_array(basket_arrays, start, stop, offsets, library, branch, options)
        array = JoinedBaskets(self._decoded, self._known).entries(basket_arrays, start, stop, offsets)
        return library.finalize(array.layout, branch, self, start, stop, options)

    def _decoded(self, data: Any, begins: Any) -> Any:
        """The layout of entries, which are all written in one of the ways."""
        for program in self._programs[:-1]:
            try:
                return decoded(program, data, begins)
            except (ValueError, OtherVersionError):
                pass  # the next way may fit
        return decoded(self._programs[-1], data, begins)

    def _by_uproot(self) -> Any:
        if self._original is None:
            raise NotImplementedError("uproot has no such values: ask for awkward arrays")
        return self._original

    @property
    def numpy_dtype(self) -> np.dtype[Any]:
        return np.dtype(object)

    @property
    def typename(self) -> str:
        return str(self._branch.member("fClassName"))

    @property
    def cache_key(self) -> str:
        return f"{type(self).__name__}({self._branch.name})"

    def __repr__(self) -> str:
        return f"AsRecords({self._known.type})"
