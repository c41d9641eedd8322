"""Decodes records in the baskets of a TTree: objects, collections of them, maps, to any depth.

Where a value begins is known only when those before have been read. So one compiled loop (`record_walk`) goes through the
bytes, by the steps that `record_programs` has made of the file's description of the classes, and copies what it finds. Each
list and text takes a byte at least, so that there is room for all of them where each kind has as much as all bytes: memory
that nothing is written to is none. Where that is too much even to ask for, the loop counts first.
"""

from __future__ import annotations

import functools
from typing import Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from .record_programs import Program
from .record_shapes import Counted, Fixed, Lists, Numbers, Records, Shape, Text, TObject
from .record_walk import DAMAGED, FITS, OTHER_VERSION, UNUSUAL, walker

_ROOM = 256 << 20
"""Bytes that may be asked for without counting first."""
_SAID = {
    OTHER_VERSION: "it has objects of another version of their class than the file describes",
    UNUSUAL: "it is written in a way that this version cannot read",
}


class OtherVersionError(NotImplementedError):
    """An object is of a class, or a version of it, or is written in a way, of which the file says nothing."""


def decoded(program: Program, data: NDArray[np.uint8], begins: NDArray[Any]) -> Any:
    """The values of a basket's entries, as an awkward layout.

    Args:
        program: how to go through them.
        data: the entries' bytes.
        begins: where each entry begins among them, ascending, and where the last one ends.

    Raises:
        ValueError: an entry does not have the bytes that its values need; the text begins with the entry's number.
        OtherVersionError: see there.
    """
    begins = np.ascontiguousarray(begins, np.int64)
    data = np.ascontiguousarray(data)
    if len(begins) < 1 or begins[0] < 0 or begins[-1] > len(data) or (np.diff(begins) < 0).any():
        raise ValueError("its entries are not within its bytes")
    ends, contents = np.full(program.ends, len(data) + len(begins)), np.full(program.contents, len(data))
    if (8 * program.ends + program.contents) * len(data) > _ROOM:
        none = np.zeros(0, np.int64)
        _walk(program, data, begins, False, ends, contents, none, none, none, np.zeros(0, np.uint8))
    first_end, first_byte = _places(ends + 1), _places(contents)
    all_ends, all_bytes = np.empty(first_end[-1], np.int64), np.empty(first_byte[-1], np.uint8)
    all_ends[first_end[:-1]] = 0
    _walk(program, data, begins, True, ends, contents, first_end, first_byte, all_ends, all_bytes)
    found = _Found(
        program,
        [all_ends[low : low + number + 1] for low, number in zip(first_end[:-1], ends, strict=True)],
        [all_bytes[low : low + number] for low, number in zip(first_byte[:-1], contents, strict=True)],
    )
    if not program.is_open:
        return found.layout(program.shape, len(begins) - 1)
    offsets = found.ends[0]
    return ak.contents.ListOffsetArray(ak.index.Index64(offsets), found.layout(program.shape, int(offsets[-1])))


@functools.lru_cache(maxsize=1000)
def form_of(program: Program) -> Any:
    """The awkward form of the values."""
    found = _Found(program, [np.zeros(1, np.int64)] * program.ends, [np.zeros(0, np.uint8)] * program.contents)
    form = found.layout(program.shape, 0).form
    return ak.forms.ListOffsetForm("i64", form) if program.is_open else form


def _walk(program: Program, data: NDArray[np.uint8], begins: NDArray[np.int64], fill: bool, *places: Any) -> None:
    """Go through the entries. Raises as `decoded`."""
    state = np.zeros(2, np.int64)
    walker()(program.steps, data, begins, program.is_open, fill, *places, state)
    if state[0] == DAMAGED:
        raise ValueError(
            f"entry {state[1]} of it is not as long as its values say: it is damaged, or written by code of its class"
        )
    if state[0] != FITS:
        raise OtherVersionError(_SAID[int(state[0])])


def _places(sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])


class _Found:
    """What the loop has found, as layouts."""

    def __init__(self, program: Program, ends: list[Any], contents: list[Any]) -> None:
        self.ends = ends
        self._contents = contents
        self._slots = program.slots

    def layout(self, shape: Shape, length: int) -> Any:
        """The layout of so many values."""
        if isinstance(shape, Numbers):
            return self._numbers(shape, self._content(shape))
        if isinstance(shape, Counted):
            return self._lists(shape, self._numbers(shape.item, self._content(shape)))
        if isinstance(shape, Text):
            characters = ak.contents.NumpyArray(self._content(shape), parameters={"__array__": "char"})
            return self._lists(shape, characters, {"__array__": "string"})
        if isinstance(shape, Lists):
            number = int(self._ends(shape)[-1])
            kind = {"map": None, "": None}.get(shape.kind, {"__array__": shape.kind})
            return self._lists(shape, self.layout(shape.item, number), kind)
        if isinstance(shape, Fixed):
            made = self.layout(shape.item, length * int(np.prod(shape.shape)))
            for size in reversed(shape.shape):
                made = ak.contents.RegularArray(made, size, length)
            return made
        assert isinstance(shape, Records)
        named = {name: it for name, it in shape.named().items() if not isinstance(it, TObject)}
        contents = [self.layout(member, length) for member in named.values()]
        if not shape.name:
            return ak.contents.RecordArray(contents, None, length, parameters={"__array__": "sorted_map"})
        return ak.contents.RecordArray(contents, list(named), length, parameters={"__record__": shape.name})

    def _ends(self, shape: Shape) -> Any:
        return self.ends[self._slots[id(shape)][0]]

    def _content(self, shape: Shape) -> Any:
        return self._contents[self._slots[id(shape)][1]]

    def _lists(self, shape: Shape, content: Any, parameters: dict[str, Any] | None = None) -> Any:
        return ak.contents.ListOffsetArray(ak.index.Index64(self._ends(shape)), content, parameters=parameters)

    def _numbers(self, shape: Numbers, content: Any) -> Any:
        values = content.view(shape.stored)
        if shape.coding is not None:
            with np.errstate(invalid="ignore"):  # a NaN may be one that signals
                values = shape.coding.values(values).astype(shape.native)
        values = values.astype(values.dtype.newbyteorder("="), copy=False).reshape(-1, *shape.shape)
        return ak.from_numpy(values, regulararray=True, highlevel=False)
