"""root:// and roots://, through the XRootD client's own vector reads.

What is here and not in uproot: every call has a time-out, also those that the client makes by itself; a file is opened in
two round trips, one to open it, the other for both its ends and the limits of its server; nobody waits until it is closed;
and what goes wrong is said in words that name the server.

The client connects, logs in, follows redirects, and connects again to go on reading after a connection broke. How long it
tries is in `SETTINGS`, which the user's own `XRD_...` variables outrank. A server that cannot be reached is tried once:
the master has it tried again after a pause, by another slot, and elsewhere if there is another replica.
"""

from __future__ import annotations

import functools
import importlib
import math
import os
import queue
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from uproot.source.chunk import Chunk, Source

from ...protocol.connection import PROXY_PREFIX
from .credentials import CredentialSet, shown, tag, wearing

Range = tuple[int, int]
"""First byte and byte after the last, of a file."""

SETTINGS = {
    "TimeoutResolution": 1,  # 15: how often the client looks at its time-outs
    "ConnectionWindow": 10,  # 120: for connecting and logging in; the next try begins when it is over
    "ConnectionRetry": 1,  # 5
    "StreamErrorWindow": 0,  # 1800: for so long it would not try a server again that could not be reached
    "RequestTimeout": 60,  # 1800: of what it does by itself, as when it opens a file again
}
"""Seconds, and how often; the client's own values in the comments let a dead server block a slot for minutes."""
HEAD = 16 << 10
TAIL = 1 << 20
"""Bytes of the two ends of a file that are read when it is opened: what is needed to open a tree is in one or the other, if
ROOT has written it, also in NanoAOD. At 1 Gb/s they take 8 ms; the round trip that they save takes 10 to 200.
"""
MOST_PIECES, LARGEST_PIECE = 1024, 2_097_136
"""Limits of a vector read on a server that does not tell its own: pieces, and bytes of a piece."""
REQUEST_BYTES = 256 << 20
"""A vector read within both limits that servers advertise still fails beyond 2 GiB (xrootd#2614)."""
SLOWEST = 500_000
"""Bytes a second of the slowest way that is waited for."""
SMALL = 256 << 10
"""Bytes of an answer that are there at once: its time is the round trip's."""
MARGIN = 10.0
"""Seconds after its own time-out that the client is waited for."""

_SOCKETS, _TLS, _AUTHENTICATION, _EXPIRED, _NOT_FOUND, _SAYS_NO = range(101, 110), 110, 204, 206, 304, 400
"""Codes of the client's `XRootDStatus`; with the last one, the server's own number is in `errno`."""
_FORBIDDEN, _NO_FILE, _FOLDER, _TLS_ONLY, _NOT_LOGGED_IN = 3010, 3011, 3016, 3028, 3030
_NO_ID = "0"
"""What servers say that have no numbers for files."""
_FINAL = {_FORBIDDEN, _NO_FILE, _FOLDER, _TLS_ONLY, _NOT_LOGGED_IN}


class ServerError(OSError):
    """What a server, or the way to it, has against a request.

    Attributes:
        transient: it may pass.
        denied: the tag of the query's credentials, if it does not accept these.
    """

    def __init__(self, words: str, transient: bool, denied: str = "") -> None:
        super().__init__(words)
        self.transient, self.denied = transient, denied


@functools.cache
def client() -> Any:
    """The XRootD client, loaded when it is first needed: it and a fork do not mix."""
    module = importlib.import_module("XRootD.client")
    for name, value in SETTINGS.items():
        module.EnvPutInt(name, value)
    return module


class Answer:
    """The answer to one request: a thread of the client brings it."""

    def __init__(self, seconds: float) -> None:
        self.timeout = math.ceil(seconds)
        self.seconds = 0.0
        self.status: Any = None
        self.response: Any = None
        self.server = ""
        self._began = time.monotonic()
        self._there = threading.Event()

    def __call__(self, status: Any, response: Any, hosts: Iterable[Any]) -> None:
        self.seconds = time.monotonic() - self._began
        self.status, self.response = status, response
        for host in hosts:  # along all redirects
            self.server = _host(host.url)
        self._there.set()

    def wait(self) -> None:
        """Wait until it is there. Raises `ServerError` when the client does not keep its own time-outs."""
        if not self._there.wait(self.timeout + MARGIN):
            raise ServerError(f"the server does not answer (for {self.timeout + MARGIN:.0f} s)", transient=True)


class Server(Answer):
    """What this process knows of a server: what a vector read may be there, which it is asked once, and how far it is.

    Attributes:
        latency: seconds of a round trip, smoothed.
    """

    latency = 0.0

    def __init__(self, file: Any, seconds: float) -> None:
        super().__init__(seconds)
        server, code = client().FileSystem(file.get_property("LastURL")), client().flags.QueryCode.CONFIG
        self.asked = server.query(code, "readv_iov_max readv_ior_max", self.timeout, self)

    def __call__(self, status: Any, response: Any, hosts: Iterable[Any]) -> None:
        super().__call__(status, response, hosts)
        self.saw(self.seconds)

    def saw(self, seconds: float) -> None:
        """A short answer came after so long."""
        self.latency = seconds if self.latency == 0.0 else 0.8 * self.latency + 0.2 * seconds

    def limits(self) -> tuple[int, int]:
        """Pieces of a vector read, and bytes of each."""
        self.wait()
        told: list[bytes] = self.response.split() if self.status.ok else []
        if len(told) != 2 or not all(word.isdigit() and int(word) for word in told):
            return MOST_PIECES, LARGEST_PIECE
        return int(told[0]), int(told[1])


_servers: dict[str, Server] = {}
"""By host and port; one with which anything goes wrong is asked anew when the next file of it is opened."""


class VectorRead(Answer):
    """Pieces of a file that were asked for in one request."""

    def __init__(self, source: XRootDSource, spans: Sequence[Range]) -> None:
        size = sum(stop - start for start, stop in spans)
        super().__init__(source.timeout + size / SLOWEST)
        self._source, self._spans, self._size = source, spans, size
        self._pieces: list[Any] | None = None
        source.count(len(spans), size)
        source.check(source.file.vector_read([(start, stop - start) for start, stop in spans], self.timeout, self))

    def __call__(self, status: Any, response: Any, hosts: Iterable[Any]) -> None:
        super().__call__(status, response, hosts)
        if status.ok and self._size <= SMALL:
            self._source.known.saw(self.seconds)

    def take(self, index: int) -> bytes:
        """The bytes of a piece, once. Raises `ServerError`."""
        began = time.monotonic()
        self.wait()
        self._source.waited += time.monotonic() - began
        self._source.check(self.status, self.server)
        if self._pieces is None:
            self._pieces, self.response = list(self.response.chunks), None
        piece, (start, stop) = self._pieces[index], self._spans[index]
        self._pieces[index] = None  # the others may stay for long
        if (piece.offset, len(piece.buffer)) != (start, stop - start):
            sent = f"{len(piece.buffer)} bytes from byte {piece.offset} on"
            raise ServerError(f"{self._source.server} sent {sent} for bytes {start} to {stop}", transient=True)
        data: bytes = piece.buffer
        return data


class Assembly:
    """The bytes of a range from the pieces that it was asked for in, as a uproot future."""

    def __init__(self, pieces: Sequence[tuple[VectorRead, int]]) -> None:
        self._pieces = pieces

    def result(self, timeout: float | None = None) -> bytes:
        """The bytes, once."""
        pieces = [read.take(index) for read, index in self._pieces]
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)


class XRootDSource(Source):  # type: ignore[misc]  # uproot is untyped
    """A file of an XRootD server.

    Args:
        file_path: its address.
        timeout: seconds that the server may take to answer one request, besides the time that its bytes take.
        credential_set: what to show to servers; by default what the client finds in the environment.
        ends: read both ends of the file at once, where its metadata are.

    Attributes:
        server: host and port of the server that has the file, where redirects have led to.
        waited: seconds for which somebody waited for bytes.
        known: what is known of that server.
        stamp: size and time of last change of the file.
        place: what the server calls the file, whatever its address; empty where it does not say so.

    Raises:
        FileNotFoundError: the server has no such file.
        ServerError: any other reason not to read it; so when reading.
    """

    def __init__(
        self,
        file_path: str,
        timeout: float = 30.0,
        credential_set: CredentialSet | None = None,
        ends: bool = True,
        **options: Any,
    ) -> None:
        super().__init__()
        self.stamp: tuple[int, int] | None = None
        self._file_path, self.timeout, self._credential_set = file_path, max(1, round(timeout)), credential_set
        self._address = through_proxy(file_path, os.environ.get(PROXY_PREFIX, ""))
        self.waited = 0.0
        self.server = _host(client().URL(self._address))
        self.file = client().File()
        self._open()
        try:
            status, info = self.file.stat(timeout=self.timeout)  # came with the answer to `open`
            self.check(status)
            self.stamp, self._num_bytes = (info.size, info.modtime), int(info.size)
            self.place = "" if info.id == _NO_ID else str(info.id)
            self.known = self._known()
            size = self._num_bytes
            spans = [(0, size)] if size <= HEAD + TAIL else [(0, HEAD), (size - TAIL, size)]
            read = VectorRead(self, spans) if size and ends else None
            self._ends = [(start, read.take(index)) for index, (start, _) in enumerate(spans) if read is not None]
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> XRootDSource:
        return self

    def __exit__(self, *exception: object) -> None:
        if not self.closed:
            self.file.close(self.timeout, Answer(self.timeout))  # nobody waits for the answer

    @property
    def closed(self) -> bool:
        """Whether nothing can be read any more."""
        return not self.file.is_open()

    # --- reading ------------------------------------------------------------------------------------------------------

    def chunk(self, start: int, stop: int) -> Chunk:
        """As uproot's: the bytes of a range, fewer at the end of the file; at once if they are within one of its ends."""
        stop = min(stop, self._num_bytes)
        for begin, data in self._ends:
            if begin <= start and stop <= begin + len(data):
                return Chunk.wrap(self, data[start - begin : stop - begin], start)
        (chunk,) = self.chunks([(start, stop)], queue.SimpleQueue())
        return chunk

    def chunks(self, ranges: list[Range], notifications: Any) -> list[Chunk]:
        """As uproot's: all bytes of the ranges, in as few vector reads as may be; they may still be on the way."""
        most, largest = self.known.limits()
        pieces = [list(_cut(start, stop, largest)) for start, stop in ranges]
        asked: list[tuple[VectorRead, int]] = []
        for spans in requests((piece for parts in pieces for piece in parts), most):
            read = VectorRead(self, spans)
            asked += [(read, index) for index in range(len(spans))]
        arriving = iter(asked)
        chunks = []
        for (start, stop), parts in zip(ranges, pieces, strict=True):
            chunks.append(Chunk(self, start, stop, Assembly([next(arriving) for _ in parts])))
            notifications.put(chunks[-1])
        return chunks

    def _known(self) -> Server:
        """What is known of the server that has the file; its answer comes while the ends are read."""
        known = _servers.get(self.server)
        if known is None or (known.status is not None and not known.status.ok):
            known = _servers[self.server] = Server(self.file, self.timeout)
            self.check(known.asked)
        return known

    def count(self, pieces: int, size: int) -> None:
        """Bytes were asked for, in one request."""
        self._num_requests += 1
        self._num_requested_chunks += pieces
        self._num_requested_bytes += size

    # --- the file and its servers -------------------------------------------------------------------------------------

    def _open(self) -> None:
        answer = Answer(self.timeout)
        with wearing(self._credential_set) as address:
            flags = client().flags.OpenFlags
            self.check(self.file.open(address(self._address), flags.READ, timeout=self.timeout, callback=answer))
            answer.wait()
        self.check(answer.status, answer.server)
        self.server = _host(client().URL(self.file.get_property("LastURL")))

    def is_current(self) -> bool:
        """Whether the server has a file of the same size and time under this name; asks it, which takes a round trip."""
        with wearing(self._credential_set) as address:
            url = client().URL(address(self._address))
            status, info = client().FileSystem(str(url)).stat(url.path_with_params, self.timeout)
        return not status.error and (info.size, info.modtime) == self.stamp

    def check(self, status: Any, server: str = "") -> None:
        """Raise what a status means, in words."""
        if not status.error:
            return
        _servers.pop(self.server, None)
        who, said = server or self.server, " ".join(str(status.message).split())
        said = said.replace(self._file_path.partition("?")[2] or "?", "...")  # it may be a token
        if self._address != self._file_path:
            who = f"the proxy {who} through which this worker reads root:// files,"
        number = status.errno if status.code == _SAYS_NO else 0
        if (status.code == _NOT_FOUND or number == _NO_FILE) and self._address == self._file_path:
            raise FileNotFoundError(said)
        denied = ""
        if status.code == _EXPIRED:
            raise ServerError(f"the server does not answer ({who} {said})", transient=True)
        if status.code == _AUTHENTICATION or number == _NOT_LOGGED_IN:
            words, denied = f"{who} does not accept {shown(self._credential_set)}: {said}", tag(self._credential_set)
        elif status.code in _SOCKETS:
            words = f"{who} cannot be reached: {said}"
        elif number == _FORBIDDEN:
            words = f"{who} does not let {shown(self._credential_set)} read it: {said}"
            denied = tag(self._credential_set)
        else:
            words = f"XRootD says: {said} ({who})"
        final = status.code in (_AUTHENTICATION, _TLS) or number in _FINAL
        raise ServerError(words, not final, denied)


def _host(url: Any) -> str:
    """Host and port of an address, without user and password."""
    return f"{url.hostname}:{url.port}"


def through_proxy(path: str, prefix: str) -> str:
    """The address at which a site's proxy has a file.

    Example:
        >>> through_proxy("root://origin//store/a.root", "root://cache.site:1094//")
        'root://cache.site:1094//root://origin//store/a.root'
    """
    if not prefix or path.startswith(prefix):
        return path
    return f"{prefix.rstrip('/')}//{path}"


def requests(pieces: Iterable[Range], most: int, largest: int = REQUEST_BYTES) -> Iterator[list[Range]]:
    """Cut a list of pieces into requests of so many pieces and bytes at most.

    Example:
        >>> list(requests([(0, 10), (20, 30), (40, 50)], most=2))
        [[(0, 10), (20, 30)], [(40, 50)]]
    """
    request: list[Range] = []
    size = 0
    for start, stop in pieces:
        if request and (len(request) == most or size + stop - start > largest):
            yield request
            request, size = [], 0
        request.append((start, stop))
        size += stop - start
    if request:
        yield request


def _cut(start: int, stop: int, largest: int) -> Iterator[Range]:
    """The pieces of a range."""
    for begin in range(start, stop, largest):
        yield begin, min(begin + largest, stop)
