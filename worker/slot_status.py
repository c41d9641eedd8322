"""The slot status: what each slot is at, in memory that the slots and their agent share.

A slot writes the chunk that it begins into its status, and what it is doing, and a kernel the entry that it is at. Nobody
has to ask: the status is there when the slot is in an endless loop, and after it has been killed. The other way round the
agent writes how small the slot's chunks are to be, and whether it is to make room for a fresh process.

It is a mapped file in the agent's private folder, written in full at the start: a page that a full disk has no room for
would end whoever touches it.
"""

from __future__ import annotations

import mmap
import struct
import time
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from ..protocol.messages import Activity

ROW = 256
"""Bytes a slot: what changes at different times is in cache lines of its own."""
_PID, _WORK, _AT, _DOING, _ORDERS = 0, 8, 128, 136, 192
_number = struct.Struct("<q")
_work = struct.Struct("<qqqd80s")
_doing = struct.Struct("<qd")
_orders = struct.Struct("<qq")
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
    """The statuses of all slots, as the agent sees them.

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
        path.write_bytes(bytes(slots * ROW))
        self._memory = _mapped(path)

    def clear(self, slot: int) -> None:
        """A new process takes the slot's place."""
        self._memory[slot * ROW : (slot + 1) * ROW] = bytes(ROW)

    def pid(self, slot: int) -> int:
        """The slot's process, 0 while it is not up."""
        return int(_number.unpack_from(self._memory, slot * ROW + _PID)[0])

    def at_work(self, slot: int) -> AtWork | None:
        """What the slot is at, or was when it ended: the one entry where that is known. None if it was at nothing."""
        lease, start, stop, began, name = _work.unpack_from(self._memory, slot * ROW + _WORK)
        query = name.rstrip(b"\0").decode(errors="replace")
        at = int(_number.unpack_from(self._memory, slot * ROW + _AT)[0])
        if not query:
            return None
        if 0 <= at < stop - start:
            start, stop = start + at, start + at + 1
        doing, since = _doing.unpack_from(self._memory, slot * ROW + _DOING)
        return AtWork(query, lease, start, stop, began, _activities[doing], since)

    def order(self, slot: int, halvings: int, retire: bool) -> None:
        """Have the slot halve its chunks so many times, or hand over what it has done and make room."""
        _orders.pack_into(self._memory, slot * ROW + _ORDERS, halvings, retire)


class SlotStatus:
    """A slot's own status.

    Args:
        memory: a status, or the whole statuses.
        slot: which status of it.

    Attributes:
        at: one number, for a task to keep the index of the entry at work in, counted from the chunk's first; -1: unknown.
    """

    def __init__(self, memory: bytearray | mmap.mmap, slot: int = 0) -> None:
        self._memory = memory
        self._offset = slot * ROW
        self.at = memoryview(memory)[self._offset + _AT : self._offset + _AT + 8].cast("q")

    @classmethod
    def of_slot(cls, path: Path, slot: int) -> SlotStatus:
        """A status of the slot status that an agent has made."""
        return cls(_mapped(path), slot)

    def introduce(self, pid: int) -> None:
        """The slot's process is up."""
        _number.pack_into(self._memory, self._offset + _PID, pid)

    def begin(self, query: str, lease: int, start: int, stop: int) -> None:
        """Entries `[start, stop)` of a lease are at work from now on."""
        self.at[0] = -1
        _work.pack_into(self._memory, self._offset + _WORK, lease, start, stop, time.monotonic(), query.encode())

    def turn_to(self, what: Activity) -> None:
        """This is what the slot does from now on."""
        _doing.pack_into(self._memory, self._offset + _DOING, _activities.index(what), time.monotonic())

    def end(self) -> None:
        """Nothing is at work."""
        _work.pack_into(self._memory, self._offset + _WORK, 0, 0, 0, 0.0, b"")

    @property
    def halvings(self) -> int:
        """How often the slot is to halve its chunks."""
        return int(_orders.unpack_from(self._memory, self._offset + _ORDERS)[0])

    @property
    def retires(self) -> bool:
        """Whether the slot is to hand over what it has done, and to make room for a fresh process."""
        return bool(_orders.unpack_from(self._memory, self._offset + _ORDERS)[1])


def _mapped(path: Path) -> mmap.mmap:
    with path.open("r+b") as file:
        return mmap.mmap(file.fileno(), 0)
