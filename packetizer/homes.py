"""On which file servers the files of a dataset lie."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import groupby


class Homes:
    """The servers of each file, of which there may be millions: files that lie on the same ones share what is known of it.

    Args:
        replicas: for each file the paths or URLs it can be read at.

    Example:
        >>> homes = Homes([["root://eos.cern.ch//a"], ["/b"], ["root://eos.cern.ch//c", "/c"]])
        >>> homes.servers(2), list(homes.files("eos.cern.ch")), homes.names
        (('eos.cern.ch', ''), [0, 2], ['eos.cern.ch', ''])
    """

    def __init__(self, replicas: Iterable[Sequence[str]] = ()) -> None:
        self._kinds: dict[tuple[str, ...], int] = {}
        self.kinds: list[tuple[str, ...]] = []
        """What there is of servers for one file."""
        self._kind = array("i")
        self._files: dict[str, array[int]] = {}
        self._add_each(tuple(map(server_of, paths)) for paths in replicas)

    @classmethod
    def of(cls, replicas: Homes | Sequence[Sequence[str]]) -> Homes:
        """These, in this form."""
        return replicas if isinstance(replicas, Homes) else cls(replicas)

    def extend(self, paths: Sequence[str], replicas: Sequence[Sequence[str]]) -> None:
        """Some more files, each of which can be read at its path, and at its replicas."""
        if any(replicas):
            each = zip(paths, replicas, strict=True)
            self._add_each((server_of(path), *map(server_of, more)) for path, more in each)
            return
        if ":" not in "\n".join(paths):  # for which it is looked much faster than for ://
            self._add(("",), len(paths))
            return
        first, last = min(paths), max(paths)
        scheme, _, rest = first.partition("://")
        server = f"{scheme}://{rest.partition('/')[0]}/"
        if first.startswith(server) and last.startswith(server):  # so do all between them
            self._add((server_of(first),), len(paths))
            return
        self._add_each((server_of(path),) for path in paths)

    def _add_each(self, servers: Iterable[tuple[str, ...]]) -> None:
        """Some more files are on these servers."""
        for those, files in groupby(servers):
            self._add(those, sum(1 for _ in files))

    def _add(self, servers: tuple[str, ...], count: int) -> None:
        """So many files are on these servers."""
        kind = self._kinds.get(servers)
        if kind is None:
            kind = self._kinds[servers] = len(self.kinds)
            self.kinds.append(servers)
        first = len(self._kind)
        self._kind += array("i", [kind]) * count
        for server in dict.fromkeys(servers):
            self._files.setdefault(server, array("i")).extend(range(first, first + count))

    @property
    def names(self) -> list[str]:
        """Of all servers, in the order in which they were met."""
        return list(self._files)

    def kind(self, file: int) -> int:
        """Which of `kinds` the servers of a file are."""
        return self._kind[file]

    def servers(self, file: int) -> tuple[str, ...]:
        """The servers of a file, one for each replica."""
        return self.kinds[self._kind[file]]

    def files(self, server: str) -> Sequence[int]:
        """The files that a server has, in ascending order."""
        files = self._files[server]
        return range(len(files)) if len(files) == len(self._kind) else files


def server_of(path: str) -> str:
    """The server that a path names, "" for local files.

    Example:
        >>> server_of("root://user@eos.cern.ch:1094//a.root"), server_of("/data/a.root"), server_of("http://[::1]:80/a")
        ('eos.cern.ch', '', '::1')
    """
    _, found, rest = path.partition("://")
    if not found:
        return ""
    return _name_of(rest.partition("/")[0])


@lru_cache(1000)
def _name_of(location: str) -> str:
    """A host without the user and the port of it."""
    host = location.rpartition("@")[2]
    return host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
