"""Small messages that travel together arrive as if each had come by itself, or not at all."""

from __future__ import annotations

import msgspec
import pytest
from eventmill.protocol import codec
from eventmill.protocol import messages as m
from eventmill.protocol.bundles import MOST_TOGETHER, Bundle
from eventmill.protocol.errors import RemoteProtocolError
from eventmill.protocol.pieces import MOST_PIECES, PIECE
from hypothesis import given
from hypothesis import strategies as st
from property_tests import examples

MESSAGES = [
    m.Opened("q1", 3, 100, 50, [0, 50, 100]),
    m.Finished("q1", 3, 50, 0.1, 0.1, 0, calls=[(50, 0.1)]),
    m.Commit(1, "q1", [m.Part(3, 0, 50)]),
    m.Heartbeat(),
]
COMMIT = codec.encode(MESSAGES[2], [b"count", b"sum"])


def together(*messages: list[codec.Buffer]) -> list[codec.Buffer]:
    bundle = Bundle()
    assert all(bundle.add(message) for message in messages)
    return list(bundle.taken())


@examples(50)
@given(st.lists(st.tuples(st.sampled_from(MESSAGES), st.lists(st.binary(max_size=9), max_size=3)), max_size=9))
def test_messages_arrive_each_with_its_frames_in_their_order(said: list[tuple[m.Message, list[bytes]]]) -> None:
    frames = together(*(codec.encode(message, behind) for message, behind in said))
    assert not said or codec.decode_all(frames) == said
    assert len(said) != 1 or codec.decode(frames) == said[0]  # by itself it is no bundle


def test_a_bundle_takes_what_is_small_and_no_more() -> None:
    """A label's worth of frames, one piece's bytes, and few enough that others are heard: the rest has to wait."""
    bundle = Bundle()
    assert [bundle.add(COMMIT) for _ in range(MOST_TOGETHER + 1)] == [True] * MOST_TOGETHER + [False]
    assert len(codec.decode_all(bundle.taken())) == MOST_TOGETHER and bundle.add(COMMIT)
    assert not bundle.add([b"header", bytes(PIECE)]) and not bundle.add([b"header", *[b""] * MOST_PIECES])
    many = codec.encode(MESSAGES[2], [b""] * 200)
    assert codec.decode_all(together(COMMIT, many))[1] == (MESSAGES[2], [b""] * 200)


@pytest.mark.parametrize(
    ("frames", "why"),
    [
        (together(COMMIT, COMMIT)[:-1], "2 messages in one, which do not have the 3 frames"),
        ([*together(COMMIT, COMMIT), b""], "which do not have the 5 frames"),
        ([together(COMMIT, COMMIT)[0][:-1], b"", b"", b"", b""], "not a message, nor several"),
        ([msgspec.msgpack.encode([[{"type": "Bye"}, -1]])], "not a message, nor several"),
        (
            [msgspec.msgpack.encode([[{"type": "Commit", "commit": 1, "query": "q", "parts": []}, 0]])],
            "not a message, nor several",
        ),
        ([msgspec.msgpack.encode([[{"type": "Bye"}, 0]] * (MOST_TOGETHER + 1))], "not a message, nor several"),
        ([b"\x91" * 100_000], "not a message, nor several"),
        ([b"\xdd\xff\xff\xff\xff"], "not a message, nor several"),
        ([b"\x90", *[b""] * codec.MAX_FRAMES], "too large"),
    ],
)
def test_what_is_no_bundle_is_refused_as_a_whole(frames: list[codec.Buffer], why: str) -> None:
    with pytest.raises(RemoteProtocolError, match=why):
        codec.decode_all(frames)
