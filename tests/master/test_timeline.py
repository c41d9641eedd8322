"""What slots did when: what a packet took is in all steps of its time, in each as much as there is of that in it."""

from __future__ import annotations

import random

import pytest
from eventmill.master.timeline import SHORTEST, STEPS, Timeline
from eventmill.protocol.usage import Usage


@pytest.mark.parametrize("seed", range(20))
def test_a_packet_is_in_each_step_of_its_time(seed: int) -> None:
    """Packets within a step, over some and over all of them, at their edges, without any time, and longer than the query."""
    chance = random.Random(seed)
    end = chance.choice([1.0, SHORTEST * STEPS, 100.0])
    step = SHORTEST
    while step * STEPS < end:
        step *= 2
    timeline, packets = Timeline(), []
    for ended in (end, *(chance.choice([chance.uniform(0, end), step * chance.randint(0, 15)]) for _ in range(50))):
        took = chance.choice([0.0, step / 2, step, 3 * step, chance.uniform(0, end), 2 * end])
        usage = Usage(entries=chance.randint(0, 1000), elapsed=took, waited=chance.uniform(0, took))
        timeline.add(usage, min(ended, end))
        packets.append((usage, max(0.0, min(ended, end) - took), min(ended, end)))
    course = timeline.course()
    assert course.step == step
    for at, (busy, waited, entries) in enumerate(zip(course.busy, course.waited, course.entries, strict=True)):
        begins, ends = at * step, (at + 1) * step
        inside = [max(0.0, min(ends, ended) - max(begins, began)) for _, began, ended in packets]
        took = [ended - began for _, began, ended in packets]
        shares = [part / length if length else 0.0 for part, length in zip(inside, took, strict=True)]
        assert busy == pytest.approx(sum(inside))
        assert waited == pytest.approx(
            sum(share * min(it.waited, length) for share, length, (it, _, _) in zip(shares, took, packets, strict=True))
        )
        at_once = sum(
            it.entries for it, began, ended in packets if began == ended and at == min(STEPS - 1, int(began / step))
        )
        assert entries == pytest.approx(
            at_once + sum(s * it.entries for s, (it, _, _) in zip(shares, packets, strict=True))
        )
    assert sum(course.entries) == pytest.approx(sum(it.entries for it, _, _ in packets))
