"""What a slot says at the end of a packet travels to its agent as one, unless something may come in between.

Each message by itself wakes the agent, and then the master: of a small query that was a good part.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uproot
from eventmill.protocol import messages as m

from tests.support.bench import Bench

ENTRIES = 100


class Objects:
    """A sum that is no array: a slot pickles it as it hands it over, and what that does to the slot nobody knows."""

    def __add__(self, other: Objects) -> Objects:
        return self


def a_number(events: Any) -> float:
    return float(np.sum(events.x))


def an_array(events: Any) -> Any:
    return np.full(20_000, events.x[0])


def an_object(events: Any) -> Any:
    return Objects() if events.x[0] == 0.0 else None


@pytest.fixture
def path(tmp_path: Path) -> str:
    with uproot.recreate(tmp_path / "events.root") as file:
        file.mktree("Events", {"x": "f8"}).extend({"x": np.arange(float(ENTRIES))})
    return str(tmp_path / "events.root")


def lease(number: int, path: str, **more: Any) -> m.Lease:
    return m.Lease(number, "q", 0, m.File(path, "Events"), 0, ENTRIES, 60.0, **more)


def said(bench: Bench) -> list[list[str]]:
    """The names of messages, as they came together."""
    names = iter([type(message).__name__ for message, _ in bench.line.answers])
    return [[next(names) for _ in range(count)] for count in bench.line.together]


def test_a_small_packet_is_reported_with_its_result(path: str) -> None:
    bench = Bench(q=a_number)
    bench.work(lease(1, path, opening=True))
    assert said(bench) == [["Opened", "Described"], ["Columns", "Finished", "Commit"]]
    assert bench.results() == {"q": np.sum(np.arange(float(ENTRIES)))}


@pytest.mark.parametrize("analysis", [an_array, an_object])
def test_a_report_waits_for_no_result_that_takes_long_or_may_end_the_slot(
    path: str, analysis: Callable[[Any], Any]
) -> None:
    bench = Bench(q=analysis)
    bench.work(lease(1, path))
    assert said(bench) == [["Described"], ["Columns", "Finished"], ["Commit"]]


def test_nothing_is_kept_while_a_chunk_is_analysed(path: str) -> None:
    bench = Bench(q=a_number)
    bench.work(lease(1, path, chunk=ENTRIES // 2))
    assert said(bench) == [["Described"], ["Columns"], ["Finished", "Commit"]]


def test_a_report_waits_for_no_other_packet(path: str) -> None:
    bench = Bench(q=a_number)
    for number in range(3):
        bench.tell(lease(number, path))
    for number in range(3):
        bench.slot.step()
        finished = [message.lease for message, _ in bench.line.answers if isinstance(message, m.Finished)]
        assert finished == list(range(number + 1))
