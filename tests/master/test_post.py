"""Large messages go out a parcel at a time, and arrive whole and in their order."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from math import inf

import pytest
import zmq
from eventmill.master.post import Post
from eventmill.protocol import codec, messages
from eventmill.protocol.bundles import MOST_TOGETHER
from eventmill.protocol.pieces import PARCEL

SECONDS = 20_000


Open = Callable[[int], zmq.Socket[bytes]]


@pytest.fixture
def opened() -> Iterator[Open]:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    with contextlib.ExitStack() as sockets:
        sockets.callback(context.term)
        yield lambda kind: sockets.enter_context(context.socket(kind))


def connected(opened: Open, *names: bytes) -> tuple[zmq.Socket[bytes], list[zmq.Socket[bytes]]]:
    """A router, as a master's, and the peers of these names that it knows."""
    router, peers = opened(zmq.ROUTER), [opened(zmq.DEALER) for _ in names]
    router.set(zmq.ROUTER_MANDATORY, 1)
    port = router.bind_to_random_port("tcp://127.0.0.1")
    for name, peer in zip(names, peers, strict=True):
        peer.set(zmq.IDENTITY, name)
        peer.connect(f"tcp://127.0.0.1:{port}")
        peer.send(b"hello")
        assert router.poll(SECONDS)
        router.recv_multipart()
    return router, peers


def test_what_is_said_to_a_peer_waits_behind_what_is_large_and_to_others_does_not(opened: Open) -> None:
    router, (one, other) = connected(opened, b"one", b"other")
    post = Post(router)
    large = bytes(range(256)) * (5 * PARCEL // 256)
    assert post.send(b"one", [b"first", large]) and post.send(b"one", [b"second"]) and post.waiting
    assert post.send(b"other", [b"third"]) and post.go_on(-inf) == []
    assert other.poll(SECONDS) and other.recv_multipart() == [b"third"]
    assert post.go_on(inf) == [] and not post.waiting
    joiner, came = codec.joiner(), []
    while len(came) < 2:
        assert one.poll(SECONDS)
        whole = joiner.add(one.recv_multipart())
        came += [] if whole is None else [[bytes(it) for it in whole]]
    assert came == [[b"first", large], [b"second"]]
    assert not post.send(b"nobody", [b"first", large]) and not post.waiting


def test_what_is_small_goes_together_at_the_end_of_a_turn(opened: Open) -> None:
    """In its order, ahead of what is large and comes later; who cannot be reached any more is told of then."""
    router, (peer,) = connected(opened, b"one")
    post = Post(router)
    said = [messages.Committed(number, True) for number in range(2 * MOST_TOGETHER + 1)]
    for message in said:
        assert post.send(b"one", codec.encode(message))
    assert post.send(b"one", [b"header", bytes(2 * PARCEL)]) and post.send(b"nobody", codec.encode(said[0]))
    assert post.waiting and post.go_on(inf) == [b"nobody"] and not post.waiting
    joiner, came = codec.joiner(), []
    while len(came) < 4:
        assert peer.poll(SECONDS)
        whole = joiner.add(peer.recv_multipart())
        came += [] if whole is None else [whole]
    assert [it for bundle in came[:3] for it, _ in codec.decode_all(bundle)] == said
    assert [len(codec.decode_all(bundle)) for bundle in came[:3]] == [MOST_TOGETHER, MOST_TOGETHER, 1]
    assert came[3] == [b"header", bytes(2 * PARCEL)]


def test_what_is_said_to_thousands_goes_out_in_some_turns(opened: Open) -> None:
    """Each of which ends in time, and says something. What one of them is told meanwhile comes in its order."""
    router, (one, other) = connected(opened, b"one", b"other")
    post = Post(router)
    said = [messages.Committed(number, True) for number in range(2)]
    for name in (b"one", b"other"):
        assert post.send(name, codec.encode(said[0]))
    assert post.go_on(-inf) == [] and post.waiting
    assert post.send(b"other", codec.encode(said[1])) and post.send(b"one", codec.encode(said[1]))
    assert post.go_on(-inf) == [] and post.waiting
    assert other.poll(SECONDS)
    assert [it for it, _ in codec.decode_all(other.recv_multipart())] == said
    assert post.go_on(-inf) == [] and not post.waiting
    for message in said:
        assert one.poll(SECONDS) and codec.decode(one.recv_multipart())[0] == message
