"""How much may be lost: what counts, against what, and when it is told."""

from __future__ import annotations

import math
from typing import Any

import pytest
from eventmill.packetizer.ledger import Ledger
from eventmill.packetizer.tolerance import Losses
from eventmill.protocol.skipping import Skip


def opened(ledger: Ledger[str], file: int, entries: int) -> int:
    lease = ledger.lease_opening(file, entries, "slot").number
    ledger.opened(lease, entries, entries)
    return lease


def test_a_file_counts_as_lost_when_nothing_of_it_is_left() -> None:
    """Protects a query over 1,000 files with one bad event each: files= is about files, entries= about entries."""
    ledger, losses = Ledger[str]([None] * 3), Losses()
    ledger.fail(opened(ledger, 0, 100), "odd", 3, 4)
    assert not losses.beyond(Skip(files=0), ledger)
    ledger.fail(opened(ledger, 1, 100), "gone")
    assert losses.beyond(Skip(files=0), ledger) == "1 of 3 files (33.3 %) are lost, and Skip(files=0) allows 0"
    assert not losses.beyond(Skip(files=1), ledger)
    ledger.fail(ledger.lease_opening(2, 100, "slot").number, "not there")
    assert losses.beyond(Skip(files=0.5), ledger).startswith("2 of 3 files (66.7 %)")


def test_pieces_of_a_file_that_are_lost_one_after_the_other_are_the_whole_of_it() -> None:
    ledger, losses = Ledger[str]([None]), Losses()
    first = opened(ledger, 0, 100)
    ledger.fail(first, "odd", 0, 60)
    assert not losses.beyond(Skip(files=0), ledger)
    ledger.fail(ledger.lease(0, 60, 100, "slot").number, "odd")
    assert losses.beyond(Skip(files=0), ledger)
    assert losses.beyond(Skip(entries=99), ledger) and not losses.beyond(Skip(entries=100, files=1), ledger)


def test_entries_of_files_that_nobody_could_open_are_put_in_at_the_mean() -> None:
    """Protects a share that would be none, when half of the files are not there and no event is lost."""
    ledger, losses = Ledger[str]([None] * 4), Losses()
    ledger.fail(ledger.lease_opening(0, 100, "slot").number, "not there")
    assert not losses.beyond(Skip(entries=0.2), ledger), "of how many entries nobody knows yet"
    ledger.commit([(opened(ledger, 1, 1000), 0, 1000)])
    assert losses.beyond(Skip(entries=0.2), ledger) == (
        "about 1,000 of 4,000 entries (25.0 %) are lost, in 1 file, and Skip(entries=0.2) allows 20.0 %"
    )
    assert not losses.beyond(Skip(entries=0.25), ledger)


@pytest.mark.parametrize("limit", [-1, 1.5, -0.1, math.nan, math.inf, True, "1 %", [1], 2**70])
@pytest.mark.parametrize("name", ["entries", "files"])
def test_what_is_no_limit_is_refused_at_once(name: str, limit: Any) -> None:
    with pytest.raises(ValueError, match=f"Skip\\({name}=.*whole number from 0 on, or a fraction"):
        Skip(**{name: limit})
