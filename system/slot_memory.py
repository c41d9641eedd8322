"""What of a worker's memory its slots may take: the worker itself needs some."""

from __future__ import annotations

OWN = 512 * 2**20
"""For the agent and its forkserver."""


def part_of_slot(memory: int, slots: int) -> int:
    """Bytes that each slot of a worker may take that has so many in all.

    Example:
        >>> part_of_slot(2 * 2**30, 4) / 2**20, part_of_slot(512 * 2**20, 1) / 2**20
        (384.0, 256.0)
    """
    return max(memory // 2, memory - OWN) // slots
