"""What people without a key can do to a master: open connections, and send bytes."""

from __future__ import annotations

import contextlib
import resource
import socket
from collections.abc import Iterator
from pathlib import Path

import eventmill as em
import psutil
import pytest
from eventmill.system.descriptors import allow_descriptors
from processes import SECONDS, Standing
from sums import SUM, total

DESCRIPTORS = 300


def test_a_master_may_have_as_many_connections_as_its_user_lets_it(standing: Standing) -> None:
    """Most processes start with a thousand descriptors, and may have many more."""
    soft, hard = resource.prlimit(standing.master.pid, resource.RLIMIT_NOFILE)
    assert soft == hard


@pytest.fixture
def crowded(tmp_path: Path) -> Iterator[Standing]:
    """A master of its own, with few descriptors."""
    with contextlib.closing(Standing(tmp_path)) as made:
        resource.prlimit(made.master.pid, resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))
        yield made


def test_strangers_that_hold_connections_keep_nobody_out(crowded: Standing, numbers: em.Dataset) -> None:
    """Many more of them than there are descriptors: who is there stays, and who has a key gets in."""
    allow_descriptors(2_500)
    with crowded.connect() as early, contextlib.ExitStack() as strangers:
        for _ in range(2_000):
            strangers.enter_context(socket.create_connection(("127.0.0.1", crowded.port)))
        crowded.worker()
        with crowded.connect() as late:
            assert late.process(numbers, total).result(SECONDS).value == SUM
        assert early.process(numbers, total).result(SECONDS).value == SUM
        assert psutil.Process(crowded.master.pid).num_fds() < DESCRIPTORS
    said = crowded.master.output
    assert "have not shown a key from 127.0.0.1" in said and f"may have {DESCRIPTORS} open files" in said
    assert said.count("have not shown a key") < 3
