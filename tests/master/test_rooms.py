"""Memory for what comes in: used again, and never while anybody reads what is in it."""

from __future__ import annotations

from typing import Any

import numpy as np
from eventmill.master.rooms import LEAST, Rooms


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
