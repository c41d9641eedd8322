"""What is malformed, truncated, oversized, mutated or replayed hurts nobody but its sender. `python -m tests.world.chaos
--fuzz` does it with a million messages.
"""

from __future__ import annotations

import logging

import pytest

from tests.world import fuzz as chaos_fuzz

DECODED, LIES = 8_000, 4_000
SENT = [3_000, pytest.param(30_000, marks=pytest.mark.nightly)]


def test_the_decoder_gives_messages_or_protocol_errors() -> None:
    report = chaos_fuzz.decoder(DECODED)
    assert report.good, report.text()


def test_workers_that_lie_break_no_invariant_of_the_master(caplog: pytest.LogCaptureFixture) -> None:
    """Fields of what workers say are changed, on live leases too; the core refuses or believes, and stays consistent."""
    caplog.set_level(logging.CRITICAL, "eventmill")
    report = chaos_fuzz.core(LIES)
    assert report.good, report.text()


@pytest.mark.parametrize("sent", SENT)
def test_a_master_that_is_sent_nonsense_serves_its_queries(sent: int) -> None:
    """Peers with keys send bad messages, others without keys leave connections half-open; the queries beside are exact."""
    report = chaos_fuzz.master(sent)
    assert report.good, report.text()
