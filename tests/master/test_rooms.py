"""Memory for what comes in: used again, and never while anybody reads what is in it."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import numpy as np
from eventmill.master.rooms import A_STEP, LEAST, Rooms

from tests.world.fleet import resident


def test_a_room_is_used_again_when_nothing_in_it_is_read() -> None:
    """Protects what one worker has sent, of which a part is read, from what the next one sends."""
    rooms = Rooms(most=3 * LEAST)
    first = rooms.take(LEAST + 8)
    first[:] = bytes([1]) * (LEAST + 8)
    read: Any = np.frombuffer(first.toreadonly(), np.uint8)[5:6]
    del first
    second = rooms.take(LEAST)
    second[:] = bytes([2]) * LEAST
    assert read.tolist() == [1] and rooms.free == 0
    del read
    assert rooms.free == LEAST + 8
    again = rooms.take(LEAST)
    assert len(again) == LEAST and again[0] == 1 and rooms.free == 0
    assert rooms.take(LEAST // 4)[:2] == bytes(2), "what is small is not worth a room"
    large = [rooms.take(2 * LEAST) for _ in range(3)]
    assert rooms.free == 0
    del large, again, second
    assert rooms.free == 8 * LEAST + 8
    assert len(rooms.take(2 * LEAST)) == 2 * LEAST and rooms.free <= 3 * LEAST
    rooms.clear()
    assert rooms.free == 0


def test_rooms_ask_for_no_huge_pages() -> None:
    """Where memory is in pieces the system moves them together for each, while nobody else is heard."""
    frame: Any = Rooms().take(8 * LEAST)
    flags = advice(np.frombuffer(frame, np.uint8)[4 * LEAST :].ctypes.data)
    assert "wr" in flags and "hg" not in flags


def advice(address: int) -> list[str]:
    """The flags of the mapping that an address is in."""
    inside = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if (bounds := re.match(r"([0-9a-f]+)-([0-9a-f]+) ", line)) is not None:
            inside = int(bounds[1], 16) <= address < int(bounds[2], 16)
        elif inside and line.startswith("VmFlags:"):
            return line.split()[1:]
    return []


def test_what_is_free_goes_back_in_steps() -> None:
    """To take a gigabyte back in one go takes the system a tenth of a second."""
    rooms = Rooms()
    size = 2 * A_STEP + 12_345
    frame = rooms.take(size)
    frame[:] = bytes(size)
    held = resident(os.getpid())
    del frame
    rooms.go_on()
    assert (rooms.free, rooms.leaving) == (size, 0)
    rooms.clear()
    steps = []
    while rooms.leaving:
        steps.append(rooms.leaving)
        rooms.go_on()
    assert steps == [size, 2 * A_STEP, A_STEP] and rooms.free == 0
    rooms.go_on()
    assert held - resident(os.getpid()) > A_STEP, "the system has it"
