"""A web server of this machine whose files are read by ranges of bytes."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

Answer = Callable[[BaseHTTPRequestHandler, int, int], None]
"""Answers a request for the bytes `[start, stop)` of `request.path`."""


@contextmanager
def range_server(
    answer: Answer, tls: tuple[Path, Path] | None = None, size: Callable[[str], int] | None = None
) -> Iterator[str]:
    """The address of a server, as "http://127.0.0.1:1234", that answers so. It minds nobody who breaks off.

    With `tls`, files of the certificate of "localhost" and of its key, it is as "https://localhost:1234". With `size`, which
    tells that of a path, it answers who asks for it.
    """

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            first, _, last = self.headers["Range"].removeprefix("bytes=").partition("-")
            answer(self, int(first), int(last) + 1)

        def do_HEAD(self) -> None:
            if size is None:
                self.send_error(501)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(size(self.path)))
            self.send_header("Accept-Ranges", "bytes")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    address = f"http://127.0.0.1:{server.server_port}"
    if tls is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*tls)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        address = f"https://localhost:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield address
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def send_part(
    request: BaseHTTPRequestHandler, content: bytes, start: int, stop: int, length: int | None = None
) -> None:
    """Send a range of a file, or its first bytes only."""
    part = content[start:stop][:length]
    request.send_response(206)
    request.send_header("Content-Length", str(len(part)))
    request.send_header("Content-Range", f"bytes {start}-{start + len(part) - 1}/{len(content)}")
    request.end_headers()
    request.wfile.write(part)
