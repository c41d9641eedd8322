"""What a peer knows of who listens where its master should be, from what its socket tells it of."""

from __future__ import annotations

import struct
from pathlib import Path
from types import SimpleNamespace

import pytest
import zmq
from eventmill.protocol.connection import load_connection, make_keys
from eventmill.protocol.dial import Dial

CALLED = zmq.EVENT_CONNECTED
REFUSED = zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL, zmq.EVENT_DISCONNECTED, zmq.EVENT_CONNECT_RETRIED


def test_who_has_another_key_is_known_while_it_is_called_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That is done every 50 ms: who asked in the middle of a call was told to look at the port."""
    keys = make_keys(tmp_path, "tcp://127.0.0.1:1")
    with zmq.Context() as context:
        dial = Dial(context, load_connection(keys.client))

        def trouble(*events: int) -> str:
            told = [struct.pack("=hi", event, 0) for event in events]
            monitor = SimpleNamespace(poll=lambda _: bool(told), recv_multipart=lambda: [told.pop(0)])
            with monkeypatch.context() as context:
                context.setattr(dial, "monitor", monitor)
                dial.take_events()
            return dial.trouble()

        assert "no master answers" in trouble()
        assert "is the port right?" in trouble(CALLED)
        assert "not the master of this connection file" in trouble(*REFUSED)
        assert "not the master of this connection file" in trouble(CALLED)
        assert "no master answers" in trouble(zmq.EVENT_CLOSED)
        dial.close()
