"""The files that are open, kept for the packets that come next."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from ..protocol.errors import DatasetError
from .storage.credentials import CredentialSet
from .tree_series import TreeReader, open_tree

Place = tuple[str, str, CredentialSet | None]
"""What tells an open file from others: its path, its tree, and what is shown to its server."""


class ReaderCache:
    """The readers used last, open; the one unused for longest is closed when there are too many.

    Args:
        most: how many files are open at a time.
        timeout: as `Reader`'s.
    """

    def __init__(self, most: int = 10, timeout: float = 30.0) -> None:
        self._most = most
        self._timeout = timeout
        self._readers: OrderedDict[Place, TreeReader] = OrderedDict()
        self._layouts: dict[tuple[str, str], bytes] = {}
        self._in_hand: set[Place] = set()

    def take_up(self, places: Iterable[Place]) -> None:
        """A packet of these files is in hand: they stay open, whatever is opened meanwhile, until the next is taken up."""
        self._in_hand = set(places)

    def get(
        self, path: str, tree: str, since: float = 0.0, identity: str = "", credential_set: CredentialSet | None = None
    ) -> TreeReader:
        """The reader of a tree in a file, opened if it is not open, or if another file is there by now.

        Args:
            path, tree, credential_set: as `Reader`'s.
            since: as for `Reader.is_current`.
            identity: what `Reader.identity` has to be; any if empty.

        Raises:
            DatasetError: as `Reader`, and when the file has another identity.
        """
        reader = self._readers.get((path, tree, credential_set))
        if reader is not None and not (reader.is_current(since) and identity in ("", reader.identity)):
            self.drop(path, tree, credential_set)
            reader = None
        if reader is None:
            reader = self._open(path, tree, credential_set)
        self._readers.move_to_end((path, tree, credential_set))
        if identity not in ("", reader.identity):
            raise DatasetError(
                f"{reader.path} has changed while the query ran: when it was opened first, it had {described(identity)}, "
                f"and now it has {described(reader.identity)}; submit the query again"
            )
        return reader

    def _open(self, path: str, tree: str, credential_set: CredentialSet | None) -> TreeReader:
        reader = self.new(path, tree, credential_set)
        self.adopt(reader, path, tree, credential_set)
        return reader

    def new(self, path: str, tree: str, credential_set: CredentialSet | None = None) -> TreeReader:
        """A reader that is not in the cache; may be called in any thread. Raises as `Reader`."""
        return open_tree(path, tree, self._timeout, credential_set, self._layouts.get((path, tree), b""))

    def offer(self, path: str, tree: str, layout: bytes) -> None:
        """Take what was told of a file that is to be opened."""
        self._layouts[path, tree] = layout
        while len(self._layouts) > self._most:
            del self._layouts[next(iter(self._layouts))]

    def adopt(self, reader: TreeReader, path: str, tree: str, credential_set: CredentialSet | None = None) -> None:
        """Take a reader that was opened elsewhere into the cache."""
        self.drop(path, tree, credential_set)
        spare = [place for place in self._readers if place not in self._in_hand]
        for place in spare[: max(0, len(self._readers) + 1 - self._most)]:
            self.drop(*place)
        self._readers[path, tree, credential_set] = reader

    def peek(self, path: str, tree: str, credential_set: CredentialSet | None = None) -> TreeReader | None:
        """The reader of a tree in a file if it is open, whether or not it still is the file that the path means."""
        return self._readers.get((path, tree, credential_set))

    def drop(self, path: str, tree: str, credential_set: CredentialSet | None = None) -> None:
        """Close a reader, so that the file is opened anew: after an error, its connection may be of no more use."""
        reader = self._readers.pop((path, tree, credential_set), None)
        if reader is not None:
            reader.close()

    def close(self) -> None:
        """Close all of them."""
        while self._readers:
            self._readers.popitem()[1].close()


def described(identity: str) -> str:
    """What an identity says of a file."""
    uuid, _, size = identity.partition(":")
    return f"{size} bytes ({'UUID' if '-' in uuid else 'the hash of its footer'} {uuid})"
