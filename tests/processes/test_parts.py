"""Sessions get of a large result what they look at, with the account of just these entries."""

from __future__ import annotations

import copy
from typing import Any

import eventmill as em
import numpy as np
import pytest
from eventmill.master import merger
from eventmill.merge import Partial, decode, encode, keys_packed
from eventmill.protocol import messages as m
from hist import Hist
from processes import SECONDS

HISTOGRAMS = 150


def many(cycles: Any) -> dict[str, Any]:
    h = Hist.new.Reg(1000, 0, 1).Double().fill(np.full(len(cycles), 0.5))
    return {**{f"h{number}": h for number in range(HISTOGRAMS)}, "n": len(cycles)}


def test_a_session_that_looks_at_one_histogram_gets_no_other(session: em.Session) -> None:
    """All that is read of a snapshot is of the entries that its account names, also what is read for the first time."""
    query = session.process(em.cycles(10**9, seed=1), many)
    first, came = True, []
    for snapshot in query.stream():
        if snapshot.final:
            break
        if not snapshot.account.processed:
            continue
        assert snapshot.is_part and "a large result" in repr(snapshot)
        has_come = "h7" in snapshot._there
        assert snapshot["h7"].sum() == snapshot["n"] == snapshot.account.processed
        assert sum(map(len, snapshot._frames)) < 100_000, "not the other histograms"
        if first:
            read_first(snapshot)
            first = False
        elif has_come and came and came[0].account.processed < snapshot.account.processed:
            with pytest.raises(em.errors.QueryFailed, match="has gone on since this snapshot"):
                came[0]["h10"]
            break
        elif has_come:
            came.append(snapshot)
    read = snapshot.account.processed
    latest = next(unread for unread in query.stream() if unread.account.processed > read)
    assert len(latest.keys()) == HISTOGRAMS + 1 and not latest.is_part
    assert all(latest[f"h{number}"].sum() == latest.account.processed for number in (0, 9, 100))
    query.stop()
    result = query.result(SECONDS)
    assert not result.is_part and result["h9"].sum() == result["n"] == result.account.processed


def read_first(snapshot: em.Snapshot) -> None:
    """Read more of it than any before had."""
    assert snapshot["h8"] == snapshot["h7"] and snapshot["n"] == snapshot.account.processed
    assert "h8" in snapshot and "none" not in snapshot
    with pytest.raises(KeyError):
        snapshot["none"]
    kept = copy.copy(snapshot)
    assert kept["h7"] == snapshot["h7"]
    with pytest.raises(em.errors.QueryFailed, match="of this copy"):
        kept["h9"]


def test_what_is_read_after_the_end_is_the_result(session: em.Session) -> None:
    query = session.process(em.cycles(10**9, seed=2), many)
    late = next(snapshot for snapshot in query.stream() if snapshot.is_part and snapshot.account.processed)
    query.stop()
    result = query.result(SECONDS)
    assert late["n"] == late.account.processed == result.account.processed and late.state == "stopped" and late.final


def test_parts_of_a_total_are_of_one_moment_while_it_grows() -> None:
    """What is asked for with the entries of an answer before is what that answer would have had."""
    sum_, value = merger.Sum(), {"x": np.ones(2**17), "y": np.ones(2**17), "n": 1}

    def asked(key: str, entries: int) -> tuple[int, Any]:
        frames, part = sum_.pick(m.AskPart(1, "q", keys_packed([key]), entries=entries), now=0.0)
        found = Partial.from_frames(frames)
        assert part and list(decode(found)) == [key]  # type: ignore[call-overload]
        return found.entries, decode(found)[key]  # type: ignore[index]

    sum_.total.add_frames(encode({**value, "n": 0}, 0).to_frames())  # of a file without entries
    assert asked("n", 0) == (0, 0)
    for entries in (10, 20):
        sum_.total.add_frames(encode(value, entries).to_frames())
    assert asked("n", 0) == (30, 2)
    sum_.total.add_frames(encode(value, 5).to_frames())
    assert asked("x", 30)[1].tolist() == [3.0] * 2**17
    assert (asked("n", 35), asked("n", 35)) == ((35, 3), (35, 3))
    sum_.unpin(now=merger.PINNED_SECONDS + 1)
    assert sum_.pinned is None
    taken = sum_.parts([keys_packed(["n"]), keys_packed([])])
    assert [decode(Partial.from_frames(frames)) for frames in taken.values()] == [{"n": 3}, {}]
    assert merger.Sum().parts([keys_packed(["n"])]) == {}
