"""Where the files of a query lie: one that goes by two names would count twice, and nobody sees it in the names."""

from __future__ import annotations

from collections.abc import Sequence

from ..protocol.addresses import shown
from ..protocol.messages import File


class Places:
    """The places of files that have been opened, which are the same under all names of a file.

    Links and patterns that find them, linked folders, servers with two names: it is known once both are open. That
    the same file is in two datasets of a query is meant so.

    Example:
        >>> places = Places()
        >>> files = [File("a.root"), File("link.root"), File("a.root", dataset="other")]
        >>> places.meet(files, 0, b"inode 7"), places.meet(files, 2, b"inode 7")
        ('', '')
        >>> places.meet(files, 1, b"inode 7")                                            # doctest: +NORMALIZE_WHITESPACE
        'link.root is a.root under another name: its events would count twice; name it once in a dataset (a pattern
        finds links, too)'
    """

    def __init__(self) -> None:
        self._files: dict[tuple[str, bytes], int] = {}

    def meet(self, files: Sequence[File], number: int, place: bytes) -> str:
        """A file, by its number, has been opened at a place: what is wrong with that, in words; empty if nothing is."""
        if not place:
            return ""
        file = files[number]
        other = self._files.setdefault((file.dataset, place), number)
        if other == number:
            return ""
        first = files[other]
        return (
            f"{_named(file, first)} is {_named(first, file)} under another name: its events would count twice; "
            "name it once in a dataset (a pattern finds links, too)"
        )


def _named(file: File, other: File) -> str:
    path = shown(file.path)
    return f"{path}:{file.tree}" if file.path == other.path and file.tree else path
