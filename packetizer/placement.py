"""Which file a slot reads next, and from where: the nearest replica, on the server with the fewest readers.

A slot goes on in the file that it has open. Else it opens a file of the nearest file server (its own host, its own site, any
other), the one with the fewest readers among these; else it joins a file that others are reading.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from .file_queue import FileQueue
from .file_states import FileState
from .homes import Homes
from .ledger import Ledger
from .servers import Server, Servers
from .throughput import Ratios, Throughput

_CANDIDATES = 8
"""Opened files of a server that are looked at for the one with the most left."""


@dataclass(frozen=True, slots=True)
class Place:
    """A file, and the number of the replica to read it from (0 is the path that names it)."""

    file: int
    replica: int
    opening: bool = False


class Placement:
    """Where slots read.

    Args:
        ledger: tells which files are not opened yet, and which have something to do.
        replicas: for each file, the paths or URLs at which it can be read.
        most_readers: slots that may read from one server at the same time; None for any number.
    """

    def __init__(
        self, ledger: Ledger[Any], replicas: Homes | Sequence[Sequence[str]], most_readers: int | None = None
    ) -> None:
        self.ledger = ledger
        self.ratios = Ratios()
        self._bad: dict[tuple[int, int], None] = {}
        self._shunned: dict[int, tuple[Throughput, float]] = {}
        self._servers = Servers(ledger.ready, most_readers)
        self._homes = homes = Homes.of(replicas)
        for name in homes.names:
            server = self._servers[name]
            server.unopened = FileQueue(homes.files(name))
            if len(ledger.unopened) < len(ledger.files):
                for file in [file for file in server.unopened if file not in ledger.unopened]:
                    server.unopened.discard(file)
            self._servers.changed(server)
        self._kinds = [tuple(self._servers[name] for name in names) for names in homes.kinds]

    # --- choosing -------------------------------------------------------------------------------------------------

    def choose(self, throughput: Throughput, now: float) -> Place | None:
        """What a slot leases from next, or None when there is nothing for it now."""
        self._take_returned()
        if (
            throughput.file is not None
            and throughput.file in self.ledger.ready
            and not self._is_shunned(throughput.file, throughput, now)
        ):
            place = Place(throughput.file, throughput.replica)
            if throughput.seated or not self._servers.is_full(self._on_servers(place.file)[place.replica], None):
                return place
        if self.ledger.limits:
            return self._in_order(throughput, now)
        for server in self._servers.by_distance(throughput.host, throughput.near, self._seat(throughput)):
            found = self._on(server, throughput, now)
            if found is not None:
                return found
        return None

    def _on(self, server: Server, throughput: Throughput, now: float) -> Place | None:
        """What a slot leases from on one server: a file that nobody has opened, or the one with the most left."""
        for file in islice(server.unopened, _CANDIDATES):
            if not self._is_shunned(file, throughput, now):
                return Place(file, self._replica(file, server), opening=True)
        known = (file for file in islice(server.ready, _CANDIDATES) if file in self.ledger.ready)
        ready = [file for file in known if not self._is_shunned(file, throughput, now)]
        if not ready:
            return None
        files = self.ledger.files
        file = max(ready, key=lambda file: files[file].todo.entries)
        return Place(file, self._replica(file, server))

    def _is_shunned(self, file: int, throughput: Throughput, now: float) -> bool:
        shunned = self._shunned.get(file)
        return shunned is not None and shunned[0] is throughput and now < shunned[1]

    def shun(self, file: int, replica: int, throughput: Throughput, until: float) -> None:
        """A slot has failed with a file: until then others try it first, and other replicas, if there are any."""
        self._shunned[file] = throughput, until
        servers = self._on_servers(file)
        self._bad[file, replica] = None
        if all((file, index) in self._bad for index in range(len(servers))):
            for index in range(len(servers)):
                del self._bad[file, index]
        for server in servers:
            server.unopened.discard(file)
            server.ready.pop(file, None)
            self._servers.changed(server)
        if file in self.ledger.ready or file in self.ledger.unopened:
            self.ledger.files.returned.append(file)
        if throughput.file == file:
            self.leave(throughput)

    def nearest_replica(self, throughput: Throughput, file: int) -> int:
        """The replica that a slot had best read a file from."""
        if throughput.file == file:
            return throughput.replica
        servers = self._on_servers(file)

        def cost(index: int) -> tuple[bool, int, int]:
            server = servers[index]
            return (file, index) in self._bad, _distance(throughput, server.name), server.readers

        return min(range(len(servers)), key=cost)

    def _in_order(self, throughput: Throughput, now: float) -> Place | None:
        """With a limit on the dataset's entries, files are opened one after the other."""
        opening = self.ledger.files.openable()
        file = next(iter(self.ledger.ready), None) if opening is None else opening
        if file is None or self._is_shunned(file, throughput, now):
            return None
        place = Place(file, self.nearest_replica(throughput, file), opening is not None)
        full = self._servers.is_full(self._on_servers(file)[place.replica], self._seat(throughput))
        return None if full else place

    def _seat(self, throughput: Throughput) -> Server | None:
        """The server that a slot is one of the readers of."""
        if not throughput.seated or throughput.file is None:
            return None
        return self._on_servers(throughput.file)[throughput.replica]

    def _replica(self, file: int, server: Server) -> int:
        servers = self._on_servers(file)
        good = [i for i, other in enumerate(servers) if other is server and (file, i) not in self._bad]
        return good[0] if good else servers.index(server)

    def _take_returned(self) -> None:
        """Files that something was returned to can be leased from again."""
        for file in self.ledger.files.returned:
            for index, server in enumerate(self._on_servers(file)):
                if (file, index) in self._bad:
                    continue
                if file in self.ledger.unopened:
                    server.unopened.add(file)
                elif file in self.ledger.ready:
                    server.ready[file] = None
                self._servers.changed(server)
        self.ledger.files.returned.clear()

    # --- who reads where ------------------------------------------------------------------------------------------

    def enter(self, throughput: Throughput, place: Place) -> None:
        """A slot turns to a file, at one of its replicas."""
        servers, before = self._on_servers(place.file), self._seat(throughput)
        if place.opening:
            for server in servers:
                server.unopened.discard(place.file)
                self._servers.changed(server)
        server = servers[place.replica]
        if server is not before:
            self.rest(throughput)
            server.readers += 1
            self._servers.changed(server)
        throughput.file, throughput.replica, throughput.seated = place.file, place.replica, True

    def _on_servers(self, file: int) -> tuple[Server, ...]:
        """Where a file lies, for each replica."""
        return self._kinds[self._homes.kind(file)]

    def server(self, place: Place) -> str:
        """The name of the server that a place is on."""
        return self._on_servers(place.file)[place.replica].name

    def leave(self, throughput: Throughput) -> None:
        """A slot has no file any more."""
        self.rest(throughput)
        throughput.file = None

    def rest(self, throughput: Throughput) -> None:
        """A slot has nothing to do: it keeps its file open, but makes room for other readers."""
        server = self._seat(throughput)
        throughput.seated = False
        if server is not None:
            server.readers -= 1
            self._servers.changed(server)


def domain(host: str) -> str:
    """What stands for a site that nobody has named: the domain of its hosts."""
    return host.partition(".")[2]


def _distance(throughput: Throughput, server: str) -> int:
    """0 for the slot's own host and for local files, 1 within its site, 2 elsewhere."""
    if not server or server == throughput.host:
        return 0
    return 1 if server.endswith(throughput.near) else 2


def free_range(ledger: Ledger[Any], state: FileState, alone: bool) -> tuple[int, int]:
    """Where a slot begins in an opened file: at the front, or, when others are reading it, half-way into its longest free
    range, at a cluster.
    """
    if alone:
        return state.todo.first()
    start, stop = max(state.todo, key=lambda span: span[1] - span[0])
    if all(ledger.leases[number].finished for number in state.leases):
        return start, stop
    middle = (start + stop) // 2
    edge = state.cluster_from(middle)
    if edge is not None and start < edge < stop:
        middle = edge
    return (middle, stop) if start < middle < stop else (start, stop)
