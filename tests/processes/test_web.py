"""Web servers that refuse, break off or lie: what is wrong is said in words, and tried again if that may help."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from eventmill.protocol.errors import DatasetError
from eventmill.reading.reader import Reader
from skhep_testdata import data_path

from benchmarks.range_server import Answer, range_server, send_part

pytest.importorskip("aiohttp", reason="pip install eventmill[http]")

CONTENT = Path(data_path("uproot-HZZ.root")).read_bytes()


def part(request: BaseHTTPRequestHandler, start: int, stop: int, length: int | None = None) -> None:
    """A range of the file, or its first bytes only."""
    send_part(request, CONTENT, start, stop, length)


def whole(request: BaseHTTPRequestHandler, _start: int, _stop: int) -> None:
    """All of the file, whatever was asked for."""
    request.send_response(200)
    request.send_header("Content-Length", str(len(CONTENT)))
    request.end_headers()
    request.wfile.write(CONTENT)


@contextmanager
def serving(answer: Answer, opened: threading.Event) -> Iterator[str]:
    """The address of a file of a server that gives this answer from the time on when the file is open."""

    def now(request: BaseHTTPRequestHandler, start: int, stop: int) -> None:
        (answer if opened.is_set() else part)(request, start, stop)

    with range_server(now) as address:
        yield f"{address}/hzz.root?secret"


def refusal(status: int) -> Answer:
    return lambda request, start, stop: request.send_error(status)


def silence(request: BaseHTTPRequestHandler, _start: int, _stop: int) -> None:
    request.close_connection = True
    request.connection.shutdown(2)


@pytest.mark.parametrize(
    ("answer", "words", "transient"),
    [
        (refusal(403), r"127\.0\.0\.1 does not let anybody read it: it says 403 Forbidden", False),
        (refusal(404), r"there is no file http://127\.0\.0\.1:\d+/hzz\.root$", False),
        (refusal(503), r"127\.0\.0\.1 says 503 Service Unavailable", True),
        (lambda *where: part(*where, length=100), r"127\.0\.0\.1 sent 100 bytes for bytes \d+ to \d+", True),
        (silence, r"cannot be read: (Server disconnected|the server does not answer)", True),
    ],
    ids=["refuses", "has no longer", "is not at work", "sends less", "breaks off"],
)
def test_a_server_that_does_not_send_what_is_asked_for(answer: Answer, words: str, transient: bool) -> None:
    with serving(answer, opened := threading.Event()) as address:
        reader = Reader(address, "events", timeout=2)
        opened.set()
        with pytest.raises(DatasetError, match=words) as caught:
            reader.read(["MET_px"], 0, reader.entries)
        assert caught.value.transient == transient and "secret" not in str(caught.value)
        reader.close()


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (whole, "sends files as a whole only"),
        (refusal(503), "127.0.0.1 says 503"),
        (refusal(403), "does not let anybody"),
    ],
    ids=["knows no ranges", "is not at work", "refuses"],
)
def test_a_server_from_which_no_file_can_be_opened(answer: Answer, words: str) -> None:
    at_once = threading.Event()
    at_once.set()
    with serving(answer, at_once) as address, pytest.raises(DatasetError, match=words) as caught:
        Reader(address, "events", timeout=2)
    assert "secret" not in str(caught.value)
