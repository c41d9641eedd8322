"""Slot status: what each slot is at, in memory that the slots and their agent share.

A slot writes the chunk that it begins into its status, and what it is doing, and a kernel the entry that it is at. Nobody
has to ask: the status is there when the slot is in an endless loop, and after it has been killed. The other way round the
agent writes how small the slot's chunks are to be, and whether it is to make room for a fresh process.

It is a mapped file in the agent's private folder, written in full at the start: a page that a full disk has no room for
would end whoever touches it.

What a slot is at takes many words, which another process may read while they change. So there are two records, and a
*version*: the slot writes the record that is not in force, then the version, one aligned word, whose lowest bit says which
is. The agent reads the version, the record, and the version again, and begins anew when it has changed (a seqlock, as in
Boehm, *Can seqlocks get along with programming language memory models?*, MSPC 2012; with two records a slot that is killed
while it writes leaves the one before it).
"""

from __future__ import annotations

import mmap
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from ..protocol.messages import Activity

STATUS_BYTES = 512
"""Of a slot: what changes at different times is in cache lines of its own."""
_VERSION, _AT, _HALVINGS, _RETIRES = 8, 16, 24, 25
"""Words of eight bytes: which of them each is. Written as one, none of them is ever read by halves."""
_RECORDS, _RECORD_BYTES = 256, 128
"""In bytes."""
_record = struct.Struct("<qqqdqd80s")
"""Lease, start, stop, began; what the slot does, since when; query."""
_activities: tuple[Activity, ...] = get_args(Activity)
COMPACTING = -1
"""In place of a lease: the slot merges the objects of a query's total."""


@dataclass(frozen=True, slots=True)
class AtWork:
    """What a slot is at.

    Attributes:
        query, lease: for whom; the lease is `COMPACTING` when it is a compaction.
        start, stop: the entries at work; none while it prepares, as by opening the file or compiling.
        began: when, by `time.monotonic()`, which is the same clock in all processes.
        doing: what the slot does for that.
        since: since when.
    """

    query: str
    lease: int
    start: int
    stop: int
    began: float
    doing: Activity = "running"
    since: float = 0.0


class SlotStatuses:
    """The status of all slots, as the agent sees them.

    Args:
        path: the file, which is made.
        slots: how many there are.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "statuses"
        >>> statuses, status = SlotStatuses(path, slots=4), SlotStatus.of_slot(path, 3)
        >>> status.begin("q1", 7, 1000, 2000)
        >>> status.at[0] = 5
        >>> statuses.at_work(3).start, statuses.at_work(3).stop
        (1005, 1006)
        >>> status.end()
        >>> statuses.at_work(3) is None
        True
    """

    def __init__(self, path: Path, slots: int) -> None:
        path.write_bytes(bytes(slots * STATUS_BYTES))
        self._memory = _mapped(path)
        self._words = [_words(self._memory, slot) for slot in range(slots)]

    def clear(self, slot: int) -> None:
        """A new process takes the slot's place."""
        self._memory[slot * STATUS_BYTES : (slot + 1) * STATUS_BYTES] = bytes(STATUS_BYTES)

    def at_work(self, slot: int, whole: bool = False) -> AtWork | None:
        """What the slot is at, or was when it ended: the one entry where that is known, unless the `whole` chunk is asked
        for. None if it was at nothing.
        """
        words = self._words[slot]
        while True:  # the slot would have to write twice, again and again, while this is read once
            version = words[_VERSION]
            lease, start, stop, began, doing, since, name = _record.unpack_from(self._memory, _place(slot, version))
            at = words[_AT]
            if words[_VERSION] == version:
                break
        query = name.rstrip(b"\0").decode(errors="replace")
        if not query:
            return None
        if 0 <= at < stop - start and not whole:
            start, stop = start + at, start + at + 1
        return AtWork(query, lease, start, stop, began, _activities[doing], since)

    def order(self, slot: int, halvings: int, retire: bool) -> None:
        """Have the slot halve its chunks so many times, or hand over what it has done and make room."""
        self._words[slot][_HALVINGS] = halvings
        self._words[slot][_RETIRES] = int(retire)


class SlotStatus:
    """A slot's own status.

    Args:
        memory: of one status, or of those of all slots.
        slot: which of them.

    Attributes:
        on_leave: called when the slot is done with a query, lease, start and stop.
        at: one number, for a task to keep the index of the entry at work in, counted from the chunk's first; -1: unknown.
    """

    def __init__(self, memory: bytearray | mmap.mmap, slot: int = 0) -> None:
        self._memory, self._slot = memory, slot
        self._words = _words(memory, slot)
        self.at = self._words[_AT : _AT + 1]
        self._work: tuple[int, int, int, float] = (0, 0, 0, 0.0)
        self._doing: tuple[int, float] = (0, 0.0)
        self._query = b""
        self.on_leave: Callable[[str, int, int, int], None] | None = None

    @classmethod
    def of_slot(cls, path: Path, slot: int) -> SlotStatus:
        """A status in the file that an agent has made."""
        return cls(_mapped(path), slot)

    def begin(self, query: str, lease: int, start: int, stop: int) -> None:
        """Entries `[start, stop)` of a lease are at work from now on."""
        self._leave()
        self.at[0] = -1
        self._work, self._query = (lease, start, stop, time.monotonic()), query.encode()
        self._write()

    def turn_to(self, what: Activity) -> None:
        """This is what the slot does from now on."""
        self._doing = _activities.index(what), time.monotonic()
        self._write()

    def end(self) -> None:
        """Nothing is at work."""
        self._leave()
        self._work, self._query = (0, 0, 0, 0.0), b""
        self._write()

    def _leave(self) -> None:
        if self._query and self.on_leave is not None:
            self.on_leave(self._query.decode(), *self._work[:3])

    def _write(self) -> None:
        """Have all that the record says in force at once."""
        version = self._words[_VERSION] + 1
        _record.pack_into(self._memory, _place(self._slot, version), *self._work, *self._doing, self._query)
        self._words[_VERSION] = version

    @property
    def halvings(self) -> int:
        """How often the slot is to halve its chunks."""
        return self._words[_HALVINGS]

    @property
    def retires(self) -> bool:
        """Whether the slot is to hand over what it has done, and to make room for a fresh process."""
        return bool(self._words[_RETIRES])


def _place(slot: int, version: int) -> int:
    """Where the record of a version is."""
    return slot * STATUS_BYTES + _RECORDS + version % 2 * _RECORD_BYTES


def _words(memory: bytearray | mmap.mmap, slot: int) -> memoryview[int]:
    return memoryview(memory)[slot * STATUS_BYTES : slot * STATUS_BYTES + _RECORDS].cast("q")


def _mapped(path: Path) -> mmap.mmap:
    with path.open("r+b") as file:
        return mmap.mmap(file.fileno(), 0)
