"""Messages on the wire: what is sent arrives, and nothing else becomes a message."""

from __future__ import annotations

import msgspec
import pytest
from eventmill.protocol import codec, messages
from eventmill.protocol.errors import LocalProtocolError, RemoteProtocolError
from hypothesis import example, given
from hypothesis import strategies as st
from property_tests import examples

KINDS = list(messages.Any.__args__)
SAMPLES = [
    messages.Hello("worker", "w", slots=2),
    messages.Lease(3, "q1", 0, messages.File("root://h//f.root", "Events", "data", 10, {"x": 1.5}), 0, 10, 1.0, True),
    messages.Commit(1, "q1", [messages.Part(3, 0, 10)]),
    messages.Failed("q1", 3, messages.Failure("analysis", "ValueError", "no")),
    messages.Ended("q1", "done", messages.Account(total=1, processed=1), 1.0, result_frames=2),
]


@pytest.mark.parametrize("message", SAMPLES, ids=lambda message: type(message).__name__)
def test_a_message_and_its_frames_arrive_unchanged(message: messages.Message) -> None:
    frames = [b"abc", b""]
    assert codec.decode(codec.encode(message, frames)) == (message, frames)


def test_every_message_is_in_the_vocabulary_of_some_direction() -> None:
    """No message is declared and then forgotten in the union that decodes."""
    declared = {
        kind for kind in vars(messages).values() if isinstance(kind, type) and issubclass(kind, messages.Message)
    }
    assert declared - {messages.Message} == set(KINDS)


@examples(100)
@given(st.sampled_from(SAMPLES), st.data())
def test_mutated_headers_are_refused_or_are_messages(message: messages.Message, data: st.DataObject) -> None:
    """Whatever bytes come, decoding gives a typed message or a protocol error, never another exception."""
    header = bytearray(codec.encode(message)[0])
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, len(header) - 1))
        header[position] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        header = header[: data.draw(st.integers(0, len(header)))]
    try:
        decoded, _ = codec.decode([bytes(header)])
    except RemoteProtocolError:
        return
    assert isinstance(decoded, tuple(KINDS))


@given(st.binary(max_size=200))
@example(b"\x91" * 100_000)
@example(b"\xdf\xff\xff\xff\xff")
@example(b"\x81\xa4type\xa2\xff\xff")
def test_garbage_is_refused(garbage: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        codec.decode([garbage])


def test_fields_out_of_range_are_refused() -> None:
    for bad in (
        {"type": "Part"},
        {"type": "Commit", "commit": 1, "query": "q", "parts": []},
        {"type": "Commit", "commit": -1, "query": "q", "parts": [[1, 0, 1]]},
        {"type": "Stop", "query": "q" * 2000, "keep": True},
        {"type": "Stop", "query": 7, "keep": True},
        {"type": "Opened", "query": "q", "lease": 1, "entries": 1, "stop": 1, "clusters": [0] * 5000},
    ):
        with pytest.raises(RemoteProtocolError):
            codec.decode([msgspec.msgpack.encode(bad)])


def test_too_many_frames_are_refused_on_both_sides() -> None:
    frames = [b""] * codec.MAX_FRAMES
    with pytest.raises(LocalProtocolError, match="frames"):
        codec.encode(messages.Heartbeat(), frames)
    with pytest.raises(RemoteProtocolError, match="too large"):
        codec.decode([codec.encode(messages.Heartbeat())[0], *frames])
    with pytest.raises(RemoteProtocolError, match="empty"):
        codec.decode([])


def test_a_hello_of_another_version_is_told_so_whatever_else_it_holds() -> None:
    header = msgspec.msgpack.encode({"type": "Hello", "protocol": 99, "colour": "green"})
    with pytest.raises(RemoteProtocolError, match="protocol version 99"):
        codec.decode([header])


@pytest.mark.parametrize(
    "message",
    [
        messages.Release("\udc80"),
        messages.Committed(2**70, True),
        messages.Opened("q", 1, 2, 3, [object()]),
    ],
    ids=["text", "number", "object"],
)
def test_what_cannot_travel_is_our_own_error(message: messages.Message) -> None:
    """Never an exception of the encoder, which nobody expects."""
    with pytest.raises(LocalProtocolError, match=type(message).__name__):
        codec.encode(message)


def test_what_the_peer_would_refuse_is_not_sent() -> None:
    """A list of 7,700 queries in a refusal was: the session heard nothing, and waited."""
    with pytest.raises(LocalProtocolError, match="Refused is over the limits"):
        codec.encode(messages.Refused(1, "q" * 100_001))
    with pytest.raises(LocalProtocolError, match="Stop is over the limits"):
        codec.encode(messages.Stop("q" * 2000, keep=True))
