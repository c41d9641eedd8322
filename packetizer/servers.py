"""File servers in the order in which a slot had best read from them, kept as files come and go and slots turn to others.

There may be a thousand of them (storage servers of one site, replicas all over the grid), and no decision looks at more than
a few.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from .file_queue import FileQueue

Key = tuple[bool, int, int]
"""Of a server: whether it has no unopened files, the slots that read from it, its number; the least one is the best."""
SLACK = 64
"""Entries of a ranking that may be out of date, beside as many as it has servers, before it is made anew."""


@dataclass(slots=True, eq=False)
class Server:
    """A file server: its files that have something to lease, and how many slots read from it.

    The first files of an OrderedDict are found at once, however many were before them: of a dict, one walks over these.
    `offered` is where it stands in the `rankings` that it is in; None while nobody new is to read from it.
    """

    name: str
    number: int
    unopened: FileQueue = field(default_factory=FileQueue)
    ready: OrderedDict[int, None] = field(default_factory=OrderedDict)
    readers: int = 0
    offered: Key | None = None
    rankings: list[Ranking] = field(default_factory=list)

    @property
    def key(self) -> Key:
        """Where it would stand."""
        return not self.unopened, self.readers, self.number


class Ranking:
    """Some servers, those that are offered, the best first.

    A heap in which entries that are out of date stay until they come to the top: a server that moves gets another one.

    Args:
        servers: the servers, by their numbers.
    """

    def __init__(self, servers: Iterable[Server]) -> None:
        self._servers = {server.number: server for server in servers}
        for server in self._servers.values():
            server.rankings.append(self)
        self._entries: list[Key] = []
        self._make()

    def _make(self) -> None:
        self._entries = [it.offered for it in self._servers.values() if it.offered is not None]
        heapq.heapify(self._entries)

    def put(self, key: Key) -> None:
        """A server is offered at another place than before. Not while somebody looks at them."""
        heapq.heappush(self._entries, key)
        if len(self._entries) > 2 * len(self._servers) + SLACK:
            self._make()

    def best_first(self) -> Iterator[Server]:
        """The servers in their order."""
        entries = self._entries
        seen: list[Key] = []
        try:
            while entries:
                server = self._servers[entries[0][2]]
                if entries[0] != server.offered or (seen and entries[0] == seen[-1]):
                    heapq.heappop(entries)
                    continue
                yield server
                seen.append(heapq.heappop(entries))
        finally:
            for key in seen:
                heapq.heappush(entries, key)


class Servers:
    """All file servers of a dataset.

    Args:
        ready: the files that have something to lease and are open.
        most_readers: slots that may read from one server at the same time; None for any number.

    Example:
        >>> servers = Servers(ready={})
        >>> for name in ("xrootd.fnal.gov", "eos1.cern.ch"):
        ...     servers[name].unopened.add(0)
        ...     servers.changed(servers[name])
        >>> [server.name for server in servers.by_distance("node7.cern.ch", (".cern.ch",))]
        ['eos1.cern.ch', 'xrootd.fnal.gov']
    """

    def __init__(self, ready: Container[int], most_readers: int | None = None) -> None:
        self._ready = ready
        self._most_readers = most_readers
        self._by_name: dict[str, Server] = {}
        self._all: Ranking | None = None
        self._of_sites: dict[tuple[str, ...], Ranking] = {}

    def __getitem__(self, name: str) -> Server:
        """The server of a name; new ones are made before the first decision only."""
        server = self._by_name.get(name)
        if server is None:
            assert self._all is None, f"{name} comes after the first decision"
            server = self._by_name[name] = Server(name, len(self._by_name))
        return server

    def is_full(self, server: Server, own: Server | None) -> bool:
        """Whether a server has as many readers as it may have, a slot that reads from `own` not counted."""
        return self._most_readers is not None and server.readers - (server is own) >= self._most_readers

    def changed(self, server: Server) -> None:
        """Files or readers have come to a server, or are gone from it."""
        if not (server.unopened or server.ready) or self.is_full(server, None):
            server.offered = None
        elif (key := server.key) != server.offered:
            server.offered = key
            for ranking in server.rankings:
                ranking.put(key)

    def by_distance(self, host: str, near: tuple[str, ...], own: Server | None = None) -> Iterator[Server]:
        """The servers that a slot can read from, the best one first: near, with unopened files, little read.

        Args:
            host: where the slot is: this server and local files come first, then the servers of its site.
            near: how the names of the servers of its site end, as (".cern.ch",).
            own: the server that the slot reads from, which is not full because of itself.
        """
        here = [it for name in {"", host} if (it := self._by_name.get(name)) is not None]
        extra = [own] if own is not None and own.offered is None and not self.is_full(own, own) else []
        first = (it for it in here if it.offered is not None or it in extra)
        yield from filter(self._has_files, sorted(first, key=lambda it: it.key))
        if near:
            if near not in self._of_sites:
                self._of_sites[near] = Ranking(it for it in self._by_name.values() if it.name.endswith(near))
            yield from self._others(self._of_sites[near], [it for it in extra if it.name.endswith(near)], here)
        if self._all is None:
            self._all = Ranking(self._by_name.values())
        for server in self._others(self._all, extra, here):
            if not server.name.endswith(near):
                yield server

    def _others(self, ranking: Ranking, extra: Sequence[Server], but: Container[Server]) -> Iterator[Server]:
        """A ranking, and some more servers that are not in it, in one order."""
        found = ranking.best_first()
        for server in heapq.merge(found, extra, key=lambda it: it.key) if extra else found:
            if server not in but and self._has_files(server):
                yield server

    def _has_files(self, server: Server) -> bool:
        """Whether a server has files to lease from. Those of which nothing is ready any more are forgotten here, as far as
        they come first."""
        while server.ready and next(iter(server.ready)) not in self._ready:
            server.ready.popitem(last=False)
        if server.unopened or server.ready:
            return True
        server.offered = None
        return False
