"""Large messages go out a parcel at a time, and arrive whole and in their order."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from math import inf

import pytest
import zmq
from eventmill.master.post import Post
from eventmill.protocol import codec
from eventmill.protocol.pieces import PARCEL

SECONDS = 20_000


Open = Callable[[int], zmq.Socket[bytes]]


@pytest.fixture
def opened() -> Iterator[Open]:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    with contextlib.ExitStack() as sockets:
        sockets.callback(context.term)
        yield lambda kind: sockets.enter_context(context.socket(kind))


def test_what_is_said_to_a_peer_waits_behind_what_is_large_and_to_others_does_not(opened: Open) -> None:
    router, *dealers = map(opened, (zmq.ROUTER, zmq.DEALER, zmq.DEALER))
    router.set(zmq.ROUTER_MANDATORY, 1)
    port = router.bind_to_random_port("tcp://127.0.0.1")
    peers = dict(zip([b"one", b"other"], dealers, strict=True))
    for name, peer in peers.items():
        peer.set(zmq.IDENTITY, name)
        peer.connect(f"tcp://127.0.0.1:{port}")
        peer.send(b"hello")
        assert router.poll(SECONDS)
        router.recv_multipart()
    post = Post(router)
    large = bytes(range(256)) * (5 * PARCEL // 256)
    assert post.send(b"one", [b"first", large]) and post.send(b"one", [b"second"]) and post.waiting
    assert post.send(b"other", [b"third"])
    assert peers[b"other"].poll(SECONDS) and peers[b"other"].recv_multipart() == [b"third"]
    assert post.go_on(inf) == [] and not post.waiting
    joiner, came = codec.joiner(), []
    while len(came) < 2:
        assert peers[b"one"].poll(SECONDS)
        whole = joiner.add(peers[b"one"].recv_multipart())
        came += [] if whole is None else [[bytes(it) for it in whole]]
    assert came == [[b"first", large], [b"second"]]
    assert not post.send(b"nobody", [b"first", large]) and not post.waiting
