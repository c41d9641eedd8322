"""A relay between peers and a master, in a process of its own: connections as they are, and workers behind it."""

from __future__ import annotations

import contextlib
import hashlib
import selectors
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import eventmill as em
import psutil
import pytest
from eventmill.protocol.tokens import new_token, write_token
from processes import SECONDS, Standing, call, eventually, finds_again
from relays import port_of, start_relay
from sums import SUM, Gate, committed

from tests.world.fleet import free_port

MANY = 40
"""Connections: more than 64 open files allow."""
MUCH = 8 << 20
"""Bytes: more than all buffers between two ends of a connection take."""


class Behind:
    """A relay to a server of the test's own, whose connections the test makes and takes itself."""

    def __init__(self, state: Path) -> None:
        self.server = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.server.settimeout(SECONDS)
        self.address = f"tcp://127.0.0.1:{self.server.getsockname()[1]}"
        self.relay = start_relay(self.address, free_port(), state)
        self._ends: list[socket.socket] = []

    def connection(self) -> tuple[socket.socket, socket.socket]:
        """Both ends of a connection through the relay."""
        peer = self.call()
        master, _ = self.server.accept()
        master.settimeout(SECONDS)
        self._ends.append(master)
        return peer, master

    def call(self) -> socket.socket:
        """The end of a connection to the relay."""
        peer = socket.create_connection(("127.0.0.1", port_of(self.relay)), SECONDS)
        self._ends.append(peer)
        return peer

    def close(self) -> None:
        for end in (*self._ends, self.server):
            end.close()
        self.relay.close()


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Behind]:
    made = Behind(tmp_path_factory.mktemp("state"))
    yield made
    made.close()


def received(end: socket.socket, size: int) -> bytes:
    """So many bytes, or those until the end."""
    got = bytearray()
    while len(got) < size and (piece := end.recv(1 << 16)):
        got += piece
    return bytes(got)


def is_broken(end: socket.socket) -> bool:
    """Whether a connection breaks, rather than end."""
    try:
        return bool(end.recv(1)) and False
    except ConnectionResetError:
        return True


# --- connections as they are ------------------------------------------------------------------------------------------


def test_an_end_of_one_direction_is_passed_on_and_the_other_direction_goes_on(behind: Behind) -> None:
    """A relay that closes both at the first end of one loses the answer."""
    peer, master = behind.connection()
    peer.sendall(b"question")
    peer.shutdown(socket.SHUT_WR)
    assert received(master, 100) == b"question"
    answer = bytes(range(256)) * (MUCH // 256)
    writer = threading.Thread(target=lambda: (master.sendall(answer), master.shutdown(socket.SHUT_WR)))
    writer.start()
    assert hashlib.sha256(received(peer, 2 * MUCH)).digest() == hashlib.sha256(answer).digest()
    writer.join(SECONDS)


def test_who_takes_nothing_holds_the_sender_up_and_nothing_is_lost(behind: Behind) -> None:
    """A relay that takes in all that comes would need the memory of the login node for it."""
    peer, master = behind.connection()
    peer.setblocking(False)
    sent = hashlib.sha256()
    size = 0
    with selectors.DefaultSelector() as selector:
        selector.register(peer, selectors.EVENT_WRITE)
        while selector.select(0.5):  # the kernel's buffers grow for a while
            piece = size.to_bytes(8, "big") * 4096
            taken = peer.send(piece)
            sent.update(piece[:taken])
            size += taken
            assert size < 64 << 20, "the relay takes everything in"
    memory = psutil.Process(behind.relay.pid).memory_info().rss
    assert memory < 200 << 20
    assert hashlib.sha256(received(master, size)).digest() == sent.digest()


@pytest.mark.parametrize("breaker", ["peer", "master"])
def test_a_connection_that_breaks_breaks_at_the_other_end(behind: Behind, breaker: str) -> None:
    """One that ended in good order instead would be taken for a peer's own will."""
    peer, master = behind.connection()
    peer.sendall(b"hello")
    assert received(master, 5) == b"hello"
    broken, other = (peer, master) if breaker == "peer" else (master, peer)
    broken.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    broken.close()
    assert is_broken(other)


def test_one_that_breaks_while_it_is_held_up_takes_no_other_with_it(behind: Behind) -> None:
    """Bytes that are in a pipe when its connection breaks must not come out in the next one."""
    peer, master = behind.connection()
    peer.settimeout(0.5)
    with contextlib.suppress(TimeoutError):
        peer.sendall(b"x" * (64 << 20))
    master.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    master.close()
    peer.settimeout(SECONDS)
    assert is_broken(peer)
    peer, master = behind.connection()
    peer.sendall(b"clean")
    assert received(master, 5) == b"clean"


def test_connections_beyond_the_limit_of_open_files_wait_for_others_to_end(tmp_path: Path) -> None:
    """Hundreds of workers come at once, and not every login node lets one process have so many files open."""
    server = socket.create_server(("127.0.0.1", 0), backlog=256)
    server.settimeout(SECONDS)
    address, port = f"tcp://127.0.0.1:{server.getsockname()[1]}", free_port()
    command = [sys.executable, "-m", "eventmill", "relay", address, "--interface", "127.0.0.1", "--port", str(port)]
    limited = ["prlimit", "--nofile=32:64", *command]
    with (
        server,
        subprocess.Popen(limited, stdout=subprocess.PIPE, text=True) as relay,
        contextlib.ExitStack() as open_now,
    ):
        open_now.callback(relay.kill)
        assert relay.stdout is not None
        assert relay.stdout.readline().startswith("relay at")
        peers = [open_now.enter_context(socket.create_connection(("127.0.0.1", port), SECONDS)) for _ in range(MANY)]
        for number, peer in enumerate(peers):
            peer.sendall(bytes([number]))
        seen = set()
        for _ in peers:  # each in its turn, when others have ended
            master, _ = server.accept()
            with master:
                master.settimeout(SECONDS)
                (number,) = received(master, 1)
                seen.add(number)
                peers[number].close()
        assert len(seen) == MANY
        assert relay.poll() is None


def test_while_the_master_is_gone_callers_know_it_at_once(tmp_path: Path) -> None:
    """And once it is there again, they come through."""
    port = free_port()
    relay = start_relay(f"tcp://127.0.0.1:{port}", 0, tmp_path)
    try:
        for _ in range(3):
            with socket.create_connection(("127.0.0.1", port_of(relay)), SECONDS) as peer:
                assert is_broken(peer)
        with socket.create_server(("127.0.0.1", port)) as server:
            server.settimeout(SECONDS)
            with socket.create_connection(("127.0.0.1", port_of(relay)), SECONDS) as peer, server.accept()[0] as master:
                master.sendall(b"back")
                assert received(peer, 4) == b"back"
        relay.wait_for("can be reached again")
        assert relay.output.count("cannot be reached") == 1, "and is said once, however many have tried"
        assert relay.end() == 0
    finally:
        relay.close()


# --- workers behind it ------------------------------------------------------------------------------------------------


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Standing]:
    made = Standing(tmp_path / "state")
    yield made
    made.close()


@pytest.mark.long("a fleet of its own, which is killed; the other tests have what a relay does")
def test_a_worker_behind_a_relay_is_like_any_other(fleet: Standing, numbers: em.Dataset, gate: Gate) -> None:
    """Its only way is the relay, which is killed in the middle of a query and started again, and then the master moves."""
    file, port = str(fleet.state / "test" / "worker.json"), free_port()
    relay = start_relay(file, port, fleet.state)
    try:
        worker = fleet.worker(options=("--through", f"127.0.0.1:{port}"))
        with fleet.connect() as session:
            query = session.process(numbers, gate.unhurried)
            eventually(lambda: committed(query), "the worker commits")
            relay.close()  # by SIGKILL
            before = query.account.processed
            relay = start_relay(file, port, fleet.state)
            eventually(lambda: query.account.processed > before, "it goes on")
            assert query.state == "running"

            fleet.crash()
            fleet.start_master("--port", str(free_port()))
            finds_again(session)
            eventually(lambda: [info.pid for info in session.workers()] == [worker.pid], "the worker is there")
            gate.open()
            assert query.result(timeout=SECONDS).value == SUM
        assert worker.end() == 0
        assert relay.end() == 0
    finally:
        relay.close()


def test_a_token_says_where_the_master_is(tmp_path: Path) -> None:
    """On a login node there may be nothing else of it."""
    token, _ = new_token("tcp://127.0.0.1:8786", "k" * 40)
    write_token(tmp_path / "token", token)
    relay = start_relay(str(tmp_path / "token"), 0, tmp_path)
    relay.close()
    assert "to the master at tcp://127.0.0.1:8786" in relay.output and token not in relay.output


# --- what is wrong is said --------------------------------------------------------------------------------------------


def test_what_a_relay_cannot_do_is_said_before_it_starts(tmp_path: Path) -> None:
    assert "no address" in call("relay", "tcp://master:eight", state=tmp_path)[1]
    assert "no master called 'nobody'" in call("relay", "nobody", state=tmp_path)[1]
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        code, said = call("relay", "tcp://master:8786", "--interface", "127.0.0.1", "--port", port, state=tmp_path)
    assert code == 1 and "choose another --port" in said
    assert "no address" in call("worker", "w.json", "--through", "udp://login01", state=tmp_path)[1]
