"""The layouts of files, as slots have found them: kept, so that the next slot that reads a file opens no metadata again.

To open a file costs a slot several round trips, and the time to make sense of a description of up to thousands of branches.
What it finds is the same for everybody, so it tells the master, which hands it on with leases of the same file, in this
query and later ones. To the master a layout is opaque; the slot that gets it checks that it fits the file.
"""

from __future__ import annotations

from collections import OrderedDict

from ..protocol.codec import Buffer
from ..protocol.messages import LARGEST_LAYOUT
from .peers import Slot

MOST_BYTES = 128 << 20
"""Of all layouts together; those unused for longest are dropped."""
FILES_OPEN = 10
"""Files that a slot keeps open (`reading.reader.ReaderCache`): the layouts of its last ones it needs not be told again."""

Key = tuple[str, str, str, str]
"""Whose a query is, path and tree: what workers of one user say is for queries of the same user only."""


class Layouts:
    """What slots have told of files, and which slots know it."""

    def __init__(self) -> None:
        self.size = 0
        self._layouts: OrderedDict[Key, bytes] = OrderedDict()

    def tell(self, slot: Slot, key: Key, layout: Buffer) -> None:
        """A slot has described a file. One description takes the place of another, since a slot adds to what it was told."""
        self.keep(key, layout)
        if key in self._layouts:
            _remember(slot, key)

    def keep(self, key: Key, layout: Buffer) -> None:
        """Keep a description that is of no open file of a slot."""
        self._forget(key)
        if len(layout) > LARGEST_LAYOUT:
            return
        self._layouts[key] = bytes(layout)
        self.size += len(layout)
        while self.size > MOST_BYTES:
            self._forget(next(iter(self._layouts)))

    def take(self, slot: Slot, key: Key) -> list[Buffer]:
        """The frame with which a slot is to be leased entries of a file: none if there is none, or if it knows it."""
        known = key in slot.files
        _remember(slot, key)
        layout = self._layouts.get(key)
        if layout is None:
            return []
        self._layouts.move_to_end(key)
        return [] if known else [layout]

    def _forget(self, key: Key) -> None:
        self.size -= len(self._layouts.pop(key, b""))


def _remember(slot: Slot, key: Key) -> None:
    """A slot has the file open from now on, as far as the master can know."""
    slot.files.pop(key, None)
    slot.files[key] = None
    if len(slot.files) > FILES_OPEN:
        del slot.files[next(iter(slot.files))]
