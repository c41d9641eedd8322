"""What slots free is there for what they do next."""

from __future__ import annotations

import resource

import eventmill as em
import numpy as np

SECONDS = 60
PAGE = resource.getpagesize()


def test_a_slot_takes_the_memory_of_a_chunk_from_the_machine_once(session: em.Session) -> None:
    """The machine clears each page that it gives, and tells a process of each: a tenth of the CPU where much is read."""

    def given_again(_: int) -> list[int]:
        """Pages that were given for some columns, after there had been as many before; at most those of all times."""
        array, columns, times = 3 * 2**20, 10, 5

        def use() -> None:
            held = [np.ones(array, np.uint8) for _ in range(columns)]
            del held

        use()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(times):
            use()
        return [resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before, times * columns * array // PAGE]

    given, at_most = session.process(em.items([1]), given_again).result(SECONDS).value
    assert given < at_most // 4
