"""What a file says of the members of its C++ classes: their titles have how many bits a `Float16_t` or `Double32_t` has."""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable
from typing import NamedTuple

from .streamed import WRONG, Streamed, UnusualError

_INFO = struct.Struct(">Ii")


class Member(NamedTuple):
    """A member of a class: its name, its title, and the number of its type (`TVirtualStreamerInfo::EReadWrite`)."""

    name: str
    title: str
    type: int


class Members:
    """The members of a file's classes, read once somebody asks: most trees need none.

    Args:
        streamed: gives the list of descriptions as it is written, and the length of its key; None if there is none.

    Example:
        >>> Members(lambda: None).of("Track", 0x1B2C3D4E, 3)
    """

    def __init__(self, streamed: Callable[[], tuple[bytes, int] | None]) -> None:
        self._streamed = streamed

    def of(self, name: str, checksum: int, number: int) -> Member | None:
        """A member of a class by its number; None if the file does not describe the class, or in a way that is not usual."""
        members = self._classes.get((name, checksum), ())
        return members[number] if 0 <= number < len(members) else None

    @functools.cached_property
    def _classes(self) -> dict[tuple[str, int], list[Member]]:
        """The members of each class by its name and checksum."""
        try:
            streamed = self._streamed()
            return {} if streamed is None else _Descriptions(*streamed).classes_of_all()
        except WRONG:
            return {}


NOTHING = Members(lambda: None)


class _Descriptions(Streamed):
    """The list of `TStreamerInfo` of a file."""

    def classes_of_all(self) -> dict[tuple[str, int], list[Member]]:
        found: dict[tuple[str, int], list[Member]] = {}
        self.begin()
        self.root_object()
        self.text()
        for _ in range(self.number()):
            _, kind = self.object()
            stop, _ = self.begin()
            if kind == "TStreamerInfo":
                key, members = self.info()
                if found.setdefault(key, members) != members:
                    raise UnusualError
            self.at = stop
            self.text()  # the option of the list's item
        return found

    def info(self) -> tuple[tuple[str, int], list[Member]]:
        name, _ = self.named()
        checksum, _ = self.fields(_INFO)
        _, kind = self.object()
        if kind != "TObjArray":
            raise UnusualError
        return (name, checksum), [self.element() for _ in range(self.items())]

    def element(self) -> Member:
        self.object()
        stop, _ = self.begin()
        self.begin()  # of what all kinds of elements have
        name, title = self.named()
        member = Member(name, title, self.number())
        self.at = stop
        return member
