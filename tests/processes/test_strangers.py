"""What people without a key can do to a master: open connections, and send bytes."""

from __future__ import annotations

import contextlib
import resource
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import eventmill as em
import numpy as np
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


class Nothing(BaseHTTPRequestHandler):
    """A web server that has no file, and says nothing of it."""

    def do_GET(self) -> None:
        self.send_error(404)

    do_HEAD = do_GET

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize(
    "address", ["http://{}/a.root?authz={}", "http://ada:{1}@{0}/a.root"], ids=["token", "password"]
)
def test_a_secret_in_an_address_is_nowhere_written(
    standing: Standing, numbers: em.Dataset, caplog: pytest.LogCaptureFixture, address: str
) -> None:
    """Neither in the journal, which is there for a month, nor in a log, an error, an account or a report."""
    secret = "".join(["hunter", "2"]) * 4
    with HTTPServer(("127.0.0.1", 0), Nothing) as server, standing.connect() as session:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        nowhere = address.format(f"127.0.0.1:{server.server_port}", secret)
        with pytest.raises(em.errors.DatasetError) as caught:
            session.process(em.Dataset({nowhere: "events"}), total).result(SECONDS)
        data = em.Dataset([numbers.files[0].path, nowhere], tree="tree")
        query = session.process(data, total, on_error="skip")
        account = query.result(SECONDS).account
        shown = [repr(account), str(account), str(query.logs()), repr(query.report()), str(query.report()), repr(query)]
        server.shutdown()
        assert account.failed_dataset(of=data).files[0].path == nowhere
    assert account.lost and secret not in "".join([*shown, repr(caught.value), *caught.value.__notes__])
    assert "are nowhere written down" in caplog.text and secret not in caplog.text
    written = [it for it in standing.state.rglob("*") if it.is_file() and secret.encode() in it.read_bytes()]
    assert not written and secret not in standing.said


GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x01" + b"CURVE".ljust(20, b"\0") + bytes(32)


@pytest.mark.parametrize("kind", [b"\x06", b"\x02"], ids=["command", "message"])
def test_a_stranger_cannot_have_the_master_keep_much(standing: Standing, kind: bytes) -> None:
    """What comes in the place of a handshake was waited for and kept, gigabytes of it. It is refused by its size."""
    size = 300 * 2**20
    master = psutil.Process(standing.master.pid)
    before = master.memory_info().rss
    for _ in range(3):
        stranger = socket.create_connection(("127.0.0.1", standing.port), timeout=SECONDS)
        with stranger, contextlib.suppress(ConnectionError):
            stranger.sendall(GREETING + kind + size.to_bytes(8, "big"))
            for _ in range(size // 2**20):
                stranger.sendall(bytes(2**20))
            raise AssertionError("it has taken all of it")
    assert master.memory_info().rss < before + 50 * 2**20


def test_arrays_that_are_larger_than_what_a_stranger_may_send_travel(standing: Standing) -> None:
    """There and back, in pieces: an array of the analysis, and its result."""
    table = np.arange(1_000_000, dtype=np.int64)

    def with_table(item: int) -> dict[str, object]:
        return {"sum": table * item}

    with standing.connect() as session:
        result = session.process(em.items([1, 2, 3]), with_table).result(SECONDS)
    assert np.array_equal(result["sum"], table * 6)


@pytest.fixture
def crowded(tmp_path: Path) -> Iterator[Standing]:
    """A master of its own, with few descriptors."""
    with contextlib.closing(Standing(tmp_path)) as made:
        resource.prlimit(made.master.pid, resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))
        yield made


@pytest.mark.long("a master of its own with hundreds of connections")
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
    crowded.master.wait_for("have not shown a key from 127.0.0.1")
    said = crowded.master.output
    assert f"may have {DESCRIPTORS} open files" in said
    assert said.count("have not shown a key") < 3
