"""The steps by which the bytes of records are gone through, for `record_decoding`: made once a branch, of its shape.

ROOT writes values in three ways:

- an item of a collection as it is; each object after a header (how many bytes follow, version, perhaps a checksum);
- a member of an object: the same, but collections and a `std::string` have a header;
- "member by member" (a bit of a collection's version says so): of all objects the first member, then of all the second,
  after one header for all where a collection or a `std::string` has one. Base classes are their members, without a header.

Steps work on the `n` values at hand at once: 1 in an object, all objects' where they are written member by member.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from .record_shapes import Counted, Fixed, Lists, Numbers, Records, Shape, Text, TObject


class Step(IntEnum):
    """What a step does; its operands are called a, b, c."""

    COPY = 0
    """n values of b bytes each to the bytes a."""
    TEXT = 1
    """n texts: where they end to the ends a, characters to the bytes b; their lengths have 4 bytes (c = 1), or 1 or 5."""
    EACH = 2
    """What follows up to the step before a is done for one value at a time."""
    NEXT = 3
    """The end of `EACH`, which begins after the step a."""
    COUNT = 4
    """A list begins: its length, to the ends a, is the new n. Its items have at least b bytes each."""
    TIMES = 5
    """n becomes a times as much."""
    BACK = 6
    """n is what it was before the last `COUNT` or `TIMES`."""
    HEADER = 7
    """The header of a collection; on at the step a if it is written member by member. Its class has version b, checksum c.
    """
    OBJECT = 8
    """The header of an object of version a and checksum b."""
    END = 9
    """What the last header began ends here."""
    JUMP = 10
    """On at the step a."""
    TOBJECT = 11
    """n `TObject`s."""
    REST = 12
    """As `EACH`, but as many values as there are up to the end."""
    MORE = 13
    """The end of `REST`, which begins after the step a."""
    POINTED = 14
    """n lists of numbers: lengths to the ends a, values of b bytes to the bytes c; the operands of the next step, which is
    none: where the counters were read (as the bytes a), of b bytes each."""
    REFUSE = 15
    """Nothing is known of how this is written."""
    PREFIX = 16
    """The header of a member of a class for all values at hand: as `HEADER`, without a look at how it is written."""
    SKIP = 17
    """On at the step a if n is 0: of no objects there are no headers of their members."""


class Program:
    """Steps, and where what they find goes to.

    Attributes:
        shape: of the values.
        is_open: an entry has as many values as there are up to its end; otherwise one.
        slots: for each shape with values of its own, the number of its ends and of its bytes.
        steps: each step, and its operands a, b and c.

    Args:
        way: how an entry is written: "member", "item" or "bare" (an object without a header).
    """

    def __init__(self, shape: Shape, way: str, is_open: bool) -> None:
        self.shape, self.is_open = shape, is_open
        self.slots: dict[int, tuple[int, int]] = {}
        self.ends = int(is_open)
        self.contents = 0
        self._steps: list[list[int]] = []
        if is_open and isinstance(shape, Lists | Text | Fixed):
            self._member(shape, is_open=True)
        elif is_open:
            start = self._step(Step.REST)
            self._entry(shape, way)
            self._loop(start, Step.MORE)
        else:
            self._entry(shape, way)
        self.steps: NDArray[np.int64] = np.array(self._steps, np.int64).reshape(-1, 4)

    def _entry(self, shape: Shape, way: str) -> None:
        if way == "member":
            self._member(shape)
        elif way == "bare" and isinstance(shape, Records):
            self._members(shape)
        else:
            self._item(shape)

    def _step(self, kind: Step, a: int = 0, b: int = 0, c: int = 0) -> int:
        self._steps.append([kind, a, b, c])
        return len(self._steps) - 1

    def _loop(self, start: int, end: Step = Step.NEXT) -> None:
        """End what `EACH` or `REST` has begun."""
        self._steps[start][1] = self._step(end, start) + 1

    def _slots(self, shape: Shape, ends: bool, content: bool) -> tuple[int, int]:
        if id(shape) not in self.slots:
            self.slots[id(shape)] = (self.ends if ends else -1, self.contents if content else -1)
            self.ends += ends
            self.contents += content
        return self.slots[id(shape)]

    def _item(self, shape: Shape) -> None:
        """n values as items of a collection."""
        if isinstance(shape, Lists):
            start = self._step(Step.EACH)
            self._list(shape)
            self._loop(start)
        elif isinstance(shape, Records):
            start = self._step(Step.EACH)
            if shape.headed:
                self._step(Step.OBJECT, shape.version, shape.checksum)
            for _, member in shape.members:
                (self._member if shape.headed else self._item)(member)
            if shape.headed:
                self._step(Step.END)
            self._loop(start)
        elif isinstance(shape, Text):
            self._step(Step.TEXT, *self._slots(shape, True, True), shape.is_long)
        else:
            self._member(shape)

    def _list(self, shape: Lists, by_members: bool = False) -> None:
        """One list, without a header."""
        self._step(Step.COUNT, self._slots(shape, True, False)[0], _least(shape.item))
        if by_members:
            assert isinstance(shape.item, Records)
            skip = self._step(Step.SKIP)
            self._by_members(shape.item)
            self._steps[skip][1] = len(self._steps)
        else:
            self._item(shape.item)
        self._step(Step.BACK)

    def _member(self, shape: Shape, is_open: bool = False) -> None:
        """n values as a member; as many as there are, if `is_open`."""
        if isinstance(shape, Numbers):
            self._step(Step.COPY, self._slots(shape, False, True)[1], shape.stored.itemsize * int(np.prod(shape.shape)))
        elif isinstance(shape, Counted):
            ends, content = self._slots(shape, True, True)
            self._step(Step.POINTED, ends, shape.item.stored.itemsize, content)
            self._step(Step.REFUSE, self._slots(shape.counter, False, True)[1], shape.counter.stored.itemsize)
        elif isinstance(shape, TObject):
            self._step(Step.TOBJECT)
        elif is_open and isinstance(shape, Fixed) and isinstance(shape.item, Lists) and shape.item.headed:
            self._headed_lists(shape.item, is_open, int(np.prod(shape.shape)))
        elif isinstance(shape, Fixed | Text) and (shape.headed or is_open):
            if shape.headed:
                self._step(Step.PREFIX)
            start = self._step(Step.REST) if is_open else -1
            self._without_header(shape)
            if is_open:
                self._loop(start, Step.MORE)
            if shape.headed:
                self._step(Step.END)
        elif isinstance(shape, Fixed):
            self._without_header(shape)
        elif isinstance(shape, Lists) and shape.headed:
            self._headed_lists(shape, is_open)
        elif is_open:
            start = self._step(Step.REST)
            self._item(shape)
            self._loop(start, Step.MORE)
        else:
            self._item(shape)

    def _without_header(self, shape: Fixed | Text) -> None:
        """n texts, or arrays of what is no number, behind their header."""
        if isinstance(shape, Text):
            self._item(shape)
            return
        self._step(Step.TIMES, int(np.prod(shape.shape)))
        self._member(shape.item)
        self._step(Step.BACK)

    def _headed_lists(self, shape: Lists, is_open: bool, times: int = 1) -> None:
        """n lists, or arrays of so many of them, behind one header."""
        item = shape.item
        version, checksum = (item.version, item.checksum) if isinstance(item, Records) else (-1, -1)
        header = self._step(Step.HEADER, 0, version, checksum)
        begin, end = (Step.REST, Step.MORE) if is_open else (Step.EACH, Step.NEXT)
        start = self._step(begin)
        self._lists(shape, times)
        self._loop(start, end)
        leave = self._step(Step.JUMP)
        self._steps[header][1] = len(self._steps)
        if isinstance(item, Records):
            start = self._step(begin)
            self._lists(shape, times, by_members=True)
            self._loop(start, end)
        else:
            self._step(Step.REFUSE)
        self._steps[leave][1] = self._step(Step.END)

    def _lists(self, shape: Lists, times: int, by_members: bool = False) -> None:
        """So many lists of one value."""
        if times == 1:
            self._list(shape, by_members)
            return
        self._step(Step.TIMES, times)
        start = self._step(Step.EACH)
        self._list(shape, by_members)
        self._loop(start)
        self._step(Step.BACK)

    def _members(self, shape: Records) -> None:
        for _, member in shape.members:
            self._member(member)

    def _by_members(self, shape: Records) -> None:
        """n objects, member by member."""
        for name, member in shape.members:
            if not name and isinstance(member, Records) and member.name != "TNamed":
                self._by_members(member)
            else:
                self._member(member)


def _least(shape: Shape) -> int:
    """The bytes that a value has at least, whatever the way."""
    if isinstance(shape, Numbers):
        return shape.stored.itemsize * int(np.prod(shape.shape))
    if isinstance(shape, Records):
        return min(1, sum(_least(member) for _, member in shape.members))
    if isinstance(shape, Fixed):
        return _least(shape.item) * int(np.prod(shape.shape))
    return 1
