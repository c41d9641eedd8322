"""Who does not fit a master, or is none: each is told so at once, in words, and harms nobody."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import eventmill as em
import msgspec
import processes
import pytest
from eventmill.protocol import codec, messages
from eventmill.protocol.connection import load_connection, make_keys
from eventmill.protocol.errors import ConnectionFailed
from eventmill.protocol.pieces import PARCEL, cut
from processes import SECONDS, Standing, hello, raw_peer, save
from sums import SUM, Gate, total

from tests.world.fleet import free_port


@pytest.fixture
def session(standing: Standing) -> Iterator[em.Session]:
    with standing.connect() as made:
        yield made


# --- nobody there, or somebody else -----------------------------------------------------------------------------------


def at(port: int, folder: Path) -> Path:
    """A connection file for a master at `port`."""
    return make_keys(folder, f"tcp://127.0.0.1:{port}").client


def test_nobody_at_the_address(tmp_path: Path) -> None:
    with pytest.raises(ConnectionFailed, match=r"no master answers at .*is it running.*firewall"):
        em.connect(at(free_port(), tmp_path), timeout=0.5)
    with pytest.raises(ConnectionFailed, match=r"no host 'no\.such\.host\.invalid'"):
        em.connect(make_keys(tmp_path, "tcp://no.such.host.invalid:1").client, timeout=0.5)


def test_a_worker_gives_up_in_one_line_when_nobody_is_at_the_address(tmp_path: Path) -> None:
    file = make_keys(tmp_path / "keys", f"tcp://127.0.0.1:{free_port()}").worker
    code, said = processes.run("worker", str(file), "--patience", "0.5", state=tmp_path)
    assert code == 1 and "no master answers" in said and len(said.splitlines()) == 1


SOMEBODY: dict[str, tuple[Callable[[socket.socket], object], str]] = {
    "says nothing": (lambda caller: caller.recv(1), "does not speak as an eventmill master"),
    "speaks ssh": (lambda caller: caller.sendall(b"SSH-2.0-OpenSSH_9.2\r\n" * 4), "is no eventmill master"),
    "hangs up": (lambda caller: caller.close(), "not the master of this connection file"),
}


@pytest.mark.parametrize("habit", SOMEBODY)
def test_somebody_else_at_the_address(tmp_path: Path, habit: str) -> None:
    answer, words = SOMEBODY[habit]
    callers = []

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                callers.append(listener.accept()[0])
                answer(callers[-1])

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=serve)
        server.start()
        with pytest.raises(ConnectionFailed, match=words):
            em.connect(at(listener.getsockname()[1], tmp_path), timeout=2.0)
        listener.shutdown(socket.SHUT_RDWR)
        server.join()
    for caller in callers:
        caller.close()


# --- wrong papers -----------------------------------------------------------------------------------------------------


def test_keys_of_another_master_are_refused(standing: Standing, tmp_path: Path) -> None:
    other = load_connection(make_keys(tmp_path / "other", standing.client.address).client)
    with pytest.raises(ConnectionFailed, match="not the master of this connection file"):
        em.connect(save(other, tmp_path / "other.json"), timeout=2.0)
    stranger = msgspec.structs.replace(other, server_key=standing.client.server_key)
    with pytest.raises(ConnectionFailed, match="does not know this key"):
        em.connect(save(stranger, tmp_path / "stranger.json"))
    code, said = processes.run("worker", str(tmp_path / "stranger.json"), state=tmp_path)
    assert code == 1 and "does not know this key" in said and "Traceback" not in said


def test_a_session_key_is_for_sessions_and_a_worker_key_for_workers(standing: Standing) -> None:
    folder = standing.state / standing.name
    with pytest.raises(ConnectionFailed, match="a worker key cannot be used as a session"):
        em.connect(folder / "worker.json")
    with raw_peer(standing.client) as worker:  # how a real one ends that is refused: the test before
        worker.say(hello())
        fault = worker.hear()
    assert isinstance(fault, messages.Fault) and fault.fatal
    assert "a session key cannot be used as a worker" in fault.reason


def test_a_key_file_that_is_missing_or_readable_by_others(standing: Standing, tmp_path: Path) -> None:
    with pytest.raises(ConnectionFailed, match=r"cannot read .*nowhere\.json: No such file"):
        em.connect(tmp_path / "nowhere.json")
    code, said = processes.call("status", "nobody", state=standing.state)
    assert code == 1 and "no master called 'nobody'" in said and f"known here: {standing.name}" in said
    file = save(standing.client, tmp_path / "open.json")
    file.chmod(0o644)
    with pytest.raises(ConnectionFailed, match=r"can be read by others \(mode 0644\)"):
        em.connect(file)
    file.chmod(0o600)
    file.write_text("{}")
    with pytest.raises(ConnectionFailed, match="not a connection file"):
        em.connect(file)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"protocol": messages.PROTOCOL + 1}, f"protocol version {messages.PROTOCOL + 1} does not fit"),
        ({"python": "2.7"}, "runs Python 2.7, the master runs Python"),
        ({"role": "session"}, "a worker key cannot be used as a session"),
    ],
    ids=["protocol", "python", "role"],
)
def test_a_worker_that_does_not_fit_is_told_why(standing: Standing, changes: dict[str, Any], words: str) -> None:
    with raw_peer(standing.worker_key) as worker:
        worker.say(hello(**changes))
        fault = worker.hear()
    assert isinstance(fault, messages.Fault) and fault.fatal and words in fault.reason


def test_a_hello_of_a_later_protocol_with_other_fields_is_told_so(standing: Standing) -> None:
    later = {"type": "Hello", "protocol": 99, "role": {"name": "worker"}, "colour": "red"}
    with raw_peer(standing.worker_key) as worker:
        worker.send([msgspec.msgpack.encode(later)])
        fault = worker.hear()
    assert isinstance(fault, messages.Fault) and fault.fatal and "protocol version 99 does not fit" in fault.reason


def test_a_session_of_another_python_is_told_so(standing: Standing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.python_version_tuple", lambda: ("3", "8", "1"))
    with pytest.raises(ConnectionFailed, match=r"this session runs Python 3\.8, the master runs Python"):
        standing.connect()


def test_a_port_that_is_taken_is_an_error_of_one_line(standing: Standing, tmp_path: Path) -> None:
    code, said = processes.run("master", "second", "--port", str(standing.port), state=tmp_path)
    assert code == 1 and len(said.splitlines()) == 1
    assert f"cannot listen at *:{standing.port}: Address already in use" in said and "--port" in said


# --- nonsense ---------------------------------------------------------------------------------------------------------

GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x01"
NONSENSE = {
    "random bytes": os.urandom(100_000),
    "an HTTP request": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a browser's TLS": bytes.fromhex("1603010200010001fc0303") + bytes(500),
    "ZMTP without keys": GREETING + b"NULL".ljust(20, b"\0") + bytes(32),
    "ZMTP, then an exabyte": GREETING + b"CURVE".ljust(20, b"\0") + bytes(32) + b"\x06" + (2**60).to_bytes(8, "big"),
    "half a greeting": GREETING[:5],
}


def wrong_frames() -> Iterator[tuple[list[bytes], str]]:
    """Frames from peers with a key, and words of the answer."""
    yield [b""], "not a message"
    yield [os.urandom(1000)], "not a message"
    yield [msgspec.msgpack.encode({"type": "Nonsense"})], "Nonsense"
    yield [msgspec.msgpack.encode({"type": "Hello"})], "malformed Hello"
    yield [msgspec.msgpack.encode({"type": "Hello", "role": "worker", "name": "x", "slots": -1})], "malformed Hello"
    yield [msgspec.msgpack.encode(messages.Heartbeat())[:-2]], "not a message"
    yield [b"\x91" * 10_000], "not a message"
    yield [bytes(17 * 2**20)], "too large"
    yield [b"x"] * 10_001, "too large"


def test_nonsense_at_the_port_harms_nobody(
    standing: Standing, numbers: em.Dataset, session: em.Session, gate: Gate
) -> None:
    """From people without a key, and from peers with one: a running query goes on, and the master lives."""
    query = session.process(numbers, gate.total)
    with contextlib.ExitStack() as open_ones:
        for nonsense in NONSENSE.values():
            caller = open_ones.enter_context(socket.create_connection(("127.0.0.1", standing.port)))
            with contextlib.suppress(OSError):
                caller.sendall(nonsense)
        for connection in (standing.client, standing.worker_key):
            peer = open_ones.enter_context(raw_peer(connection))
            for frames, words in wrong_frames():
                peer.send(frames)
                fault = peer.hear()
                assert isinstance(fault, messages.Fault) and words in fault.reason
        intrude(open_ones.enter_context(raw_peer(standing.worker_key)), query.id)
        gate.open()
        assert query.result(SECONDS).value == SUM
    assert standing.master.process.poll() is None
    assert session.process(numbers, total).result(SECONDS).value == SUM


def test_others_are_heard_while_a_large_message_arrives(
    standing: Standing, numbers: em.Dataset, session: em.Session
) -> None:
    """Half of one is there: it was taken in as a whole, and nobody else meanwhile. A peer that leaves in the middle of one
    leaves nothing."""
    submit = messages.Submit(7, "large", "columnar", "nobody", "nobody")
    first, *rest = cut(codec.encode(submit, [bytes(5 * PARCEL)]))
    with raw_peer(standing.client) as peer, raw_peer(standing.client) as other:
        for it in (peer, other):
            it.say(messages.Hello("session", "raw", python=processes.PYTHON))
            assert isinstance(it.hear(), messages.Welcome)
            it.send_parcel(first)
        other.leave()
        assert session.process(numbers, total).result(SECONDS).value == SUM
        for parcel in rest:
            peer.send_parcel(parcel)
        answer = peer.hear()
    assert isinstance(answer, messages.Refused) and answer.request == 7 and "1 frames" in answer.reason


def intrude(worker: processes.RawPeer, query: str) -> None:
    """A worker key can neither command nor commit what it was not given."""
    worker.say(messages.Stop(query, keep=False))
    fault = worker.hear()
    assert isinstance(fault, messages.Fault) and "a worker key may not say Stop" in fault.reason.replace(
        "peer with ", ""
    )
    worker.say(messages.Commit(1, query, [messages.Part(0, 0, 1000)]), [b"nonsense"])
    assert isinstance(worker.hear(), messages.Unknown)
    worker.say(hello(slots=0))
    assert isinstance(worker.hear(), messages.Welcome)
    worker.say(messages.Commit(1, query, [messages.Part(0, 0, 1000)]), [b"nonsense"])
    refusal = worker.hear()
    assert isinstance(refusal, messages.Committed) and not refusal.accepted and refusal.reason
