"""How a lease flows through a slot can be read: few files, few returns, and a picture that is the code's."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.lease_journey import BEGIN, DOCS, END, drawn, trace

MOST = 12


@pytest.mark.long("traces each call of a slot")
def test_a_lease_enters_few_files_and_seldom_comes_back_as_the_picture_shows(tmp_path: Path) -> None:
    """Before there was an object for it, query, task, source and packet were handed through seven methods."""
    journey = trace(tmp_path)
    assert "worker/slot/packet_run.py" in journey.files
    assert len(journey.files) < MOST and journey.returns < MOST, " > ".join(journey.stays)
    _, _, rest = DOCS.read_text().partition(BEGIN)
    picture, _, _ = rest.partition(END)
    assert picture == drawn(journey), "make it anew: python -m benchmarks.lease_journey --picture"
