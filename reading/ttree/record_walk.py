"""The compiled loop that goes through the bytes of records, by the steps of a `record_programs.Program`.

Each object and collection that has a header has to end where that says, and each entry where the basket says. Where
something does not fit the loop stops: a place below 0 is minus the code of what is wrong.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numba import types
from numba.extending import register_jitable

from ..compiled_loops import compiled
from .record_programs import Step

Walk: TypeAlias = Callable[..., None]
FITS, DAMAGED, OTHER_VERSION, UNUSUAL = 0, 1, 2, 3
"""What becomes of an entry: it fits; it is not as long as its values say; a class is in another version than the file
describes; it is written in a way that is not known."""
_DEEPEST = 256
"""Loops, lists and headers within one another: shapes are nested 30 deep, with some of each."""
_MANY = 1 << 31


def _number(data: Any, at: Any, size: int) -> Any:
    """The bytes from `at` on as one whole number."""
    number = np.int64(0)
    for k in range(size):
        number = number << 8 | np.int64(data[at + k])
    return number


def _two(data: Any, at: Any) -> Any:
    return np.int64(data[at]) << 8 | np.int64(data[at + 1])


def _four(data: Any, at: Any) -> Any:
    return _two(data, at) << 16 | _two(data, at + 2)


def _header(data: Any, at: Any, limit: Any) -> tuple[Any, Any]:
    """Where an object or collection ends that has a header here, and its version; minus a code if it has none."""
    if at + 6 > limit:
        return -DAMAGED, 0
    size = _four(data, at)
    if size & 0x40000000 == 0:
        return -UNUSUAL, 0
    size ^= 0x40000000
    if size < 2 or size + 4 > limit - at:
        return -DAMAGED, 0
    return at + 4 + size, _two(data, at + 4)


def _checked(data: Any, at: Any, limit: Any, version: Any, known: Any, checksum: Any) -> Any:
    """Where an object goes on after its version: 0 stands for a checksum, which follows."""
    if version != 0:
        return at if known < 0 or version == known else -OTHER_VERSION
    if at + 4 > limit:
        return -DAMAGED
    return at + 4 if checksum < 0 or _four(data, at) == checksum else -OTHER_VERSION


def _text(data: Any, at: Any, limit: Any, is_long: Any) -> tuple[Any, Any]:
    """Where the characters of a text begin, and their number."""
    size = np.int64(255)
    if is_long == 0:
        if at + 1 > limit:
            return -DAMAGED, 0
        size = np.int64(data[at])
        at += 1
    if is_long == 1 or size == 255:
        if at + 4 > limit:
            return -DAMAGED, 0
        size = _four(data, at)
        at += 4
    return (at, size) if size <= limit - at else (-DAMAGED, 0)


def _after_tobjects(data: Any, at: Any, limit: Any, n: Any) -> Any:
    """Where n `TObject`s end; those that are referred to have the number of a process, too."""
    for _ in range(n):
        if at + 10 > limit:
            return -DAMAGED
        if data[at] & 0x40:  # it has a header of its own
            at += 4
            if at + 10 > limit:
                return -DAMAGED
        at += 12 if data[at + 9] & 0x10 else 10
    return at if at <= limit else -DAMAGED


def _copy(data: Any, at: Any, size: Any, target: Any, place: Any) -> None:
    if size == 8:  # without a loop that is made for many
        _copy_four(data, at, target, place)
        _copy_four(data, at + 4, target, place + 4)
    elif size == 4:
        _copy_four(data, at, target, place)
    else:
        for k in range(size):
            target[place + k] = data[at + k]


def _copy_four(data: Any, at: Any, target: Any, place: Any) -> None:
    target[place], target[place + 1] = data[at], data[at + 1]
    target[place + 2], target[place + 3] = data[at + 2], data[at + 3]


@functools.cache
def walker() -> Walk:
    """What goes through the bytes of entries: counts what there is, or, with `fill`, copies it.

    `ends` and `contents` become the numbers of ends and bytes in each place; in `first_end` and `first_byte` is where each
    place begins in `all_ends` and `all_bytes`. `state` becomes what is wrong, and in which entry.
    """
    for helper in (_number, _two, _four, _header, _checked, _text, _after_tobjects, _copy_four, _copy):
        register_jitable(helper)
    copy, text, each, next_, count, times, back, header, object_, end, jump, tobject, rest, more, pointed = (
        int(step)
        for step in (
            Step.COPY, Step.TEXT, Step.EACH, Step.NEXT, Step.COUNT, Step.TIMES, Step.BACK, Step.HEADER, Step.OBJECT,
            Step.END, Step.JUMP, Step.TOBJECT, Step.REST, Step.MORE, Step.POINTED,
        )
    )  # fmt: skip
    prefix, skip = int(Step.PREFIX), int(Step.SKIP)

    def walk(
        steps: Any, data: Any, begins: Any, is_open: bool, fill: bool, ends: Any, contents: Any, first_end: Any,
        first_byte: Any, all_ends: Any, all_bytes: Any, state: Any,
    ) -> None:  # fmt: skip
        ends[:] = 0
        contents[:] = 0
        totals = np.zeros(len(ends), np.int64)
        seen = np.zeros(len(contents), np.int64)  # where the values of a place were read last
        numbers, left, limits = np.zeros(_DEEPEST, np.int64), np.zeros(_DEEPEST, np.int64), np.zeros(_DEEPEST, np.int64)
        for entry in range(len(begins) - 1):
            at, limit = begins[entry], begins[entry + 1]
            n, deep, headers, pc = np.int64(1), 0, 0, 0
            if is_open and at == limit:
                pc = len(steps)  # of no values, there is no header either
            while pc < len(steps) and at >= 0:
                kind, a, b, c = steps[pc, 0], steps[pc, 1], steps[pc, 2], steps[pc, 3]
                pc += 1
                if kind == copy:
                    size = n * b
                    seen[a] = at
                    if size > limit - at:
                        at = np.int64(-DAMAGED)
                        continue
                    if fill:
                        _copy(data, at, size, all_bytes, first_byte[a] + contents[a])
                    contents[a] += size
                    at += size
                elif kind == text:
                    for _ in range(n):
                        at, size = _text(data, at, limit, c)
                        if at < 0:
                            break
                        if fill:
                            _copy(data, at, size, all_bytes, first_byte[b] + contents[b])
                        contents[b] += size
                        at += size
                        ends[a] += 1
                        if fill:
                            all_ends[first_end[a] + ends[a]] = contents[b]
                elif kind == each and n == 0:
                    pc = a
                elif kind == each:
                    numbers[deep], left[deep] = n, n
                    deep += 1
                    n = np.int64(1)
                elif kind == next_:
                    left[deep - 1] -= 1
                    if left[deep - 1] > 0:
                        pc = a + 1
                    else:
                        deep -= 1
                        n = numbers[deep]
                elif kind == rest and at == limit:
                    pc = a
                elif kind == rest:
                    numbers[deep], left[deep] = n, at
                    deep += 1
                    n = np.int64(1)
                elif kind == more:
                    totals[0] += 1
                    if at == limit:
                        deep -= 1
                        n = numbers[deep]
                    elif at == left[deep - 1]:  # values without a byte: there is no end of them
                        at = np.int64(-UNUSUAL)
                    else:
                        pc, left[deep - 1] = a + 1, at
                elif kind == count:
                    numbers[deep] = n
                    deep += 1
                    n = _four(data, at) if at + 4 <= limit else np.int64(_MANY)
                    at += 4
                    if n >= _MANY or n * b > limit - at:
                        at = np.int64(-DAMAGED)
                        continue
                    totals[a] += n
                    ends[a] += 1
                    if fill:
                        all_ends[first_end[a] + ends[a]] = totals[a]
                elif kind == times:
                    numbers[deep] = n
                    deep += 1
                    n *= a
                elif kind == back:
                    deep -= 1
                    n = numbers[deep]
                elif kind == header or kind == prefix or kind == object_:  # noqa: SIM109 (numba makes a tuple of it)
                    stop, version = _header(data, at, limit)
                    if stop < 0:
                        at = stop
                        continue
                    limits[headers], limit = limit, stop
                    headers += 1
                    at += 6
                    if kind == object_:
                        at = _checked(data, at, limit, version, a, b)
                    elif kind == header and version & 0x4000:
                        pc = a
                        version = _two(data, at) if at + 2 <= limit else np.int64(0)
                        at = _checked(data, at + 2, limit, version, b, c)
                elif kind == end:
                    headers -= 1
                    at = at if at == limit else np.int64(-DAMAGED)
                    limit = limits[headers]
                elif kind == jump or (kind == skip and n == 0):
                    pc = a
                elif kind == skip:
                    pass
                elif kind == tobject:
                    at = _after_tobjects(data, at, limit, n)
                elif kind == pointed:
                    counter, width = steps[pc, 1], steps[pc, 2]
                    pc += 1
                    for i in range(n):
                        size = np.int64(0)
                        if at < limit and data[at]:
                            size = _number(data, seen[counter] + i * width, width)
                        at += 1
                        if at > limit or size < 0 or size > (limit - at) // b:
                            at = np.int64(-DAMAGED)
                            break
                        if fill:
                            _copy(data, at, size * b, all_bytes, first_byte[c] + contents[c])
                        contents[c] += size * b
                        at += size * b
                        totals[a] += size
                        ends[a] += 1
                        if fill:
                            all_ends[first_end[a] + ends[a]] = totals[a]
                else:
                    at = np.int64(-UNUSUAL)
            if at != limit:
                state[0], state[1] = -at if at < 0 else DAMAGED, entry
                return
            if is_open:
                ends[0] += 1
                if fill:
                    all_ends[first_end[0] + ends[0]] = totals[0]
        state[0] = FITS

    raw = types.Array(types.uint8, 1, "C", readonly=True)
    begins = types.Array(types.int64, 1, "C", readonly=True)
    numbers = types.int64[::1]
    signature = types.void(
        types.int64[:, ::1], raw, begins, types.boolean, types.boolean, numbers, numbers, numbers, numbers, numbers,
        types.uint8[::1], numbers,
    )  # fmt: skip
    walk_compiled: Walk = compiled(walk, signature)
    return walk_compiled
