"""On which file servers the files of a dataset lie."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence


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
        for paths in replicas:
            self.append(paths)

    @classmethod
    def of(cls, replicas: Homes | Sequence[Sequence[str]]) -> Homes:
        """These, in this form."""
        return replicas if isinstance(replicas, Homes) else cls(replicas)

    def append(self, paths: Sequence[str]) -> None:
        """One more file, which can be read at these paths."""
        servers = (server_of(paths[0]),) if len(paths) == 1 else tuple(map(server_of, paths))
        kind = self._kinds.get(servers)
        if kind is None:
            kind = self._kinds[servers] = len(self.kinds)
            self.kinds.append(servers)
            for server in servers:
                self._files.setdefault(server, array("i"))
        file = len(self._kind)
        self._kind.append(kind)
        for server in servers if len(servers) == 1 else dict.fromkeys(servers):
            self._files[server].append(file)

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
    host = rest.partition("/")[0].rpartition("@")[2]
    return host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
