"""Items: entries that come with the query, one thing each, unpickled when its turn has come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...analysis.items import PackedItems
from ...protocol.codec import Buffer
from ...protocol.errors import AnalysisError, DatasetError
from ...reading.columns import Column
from ...reading.source import Generated
from ...reading.storage.sources import Traffic


class ItemSource(Generated):
    """The items of a query.

    Args:
        shared_inputs: the items as they travel.

    Example:
        >>> from ...analysis.items import pack_items
        >>> ItemSource(pack_items(["a.fits", "b.fits", "c.fits"])).events(1, 3)
        ['b.fits', 'c.fits']
    """

    first_chunk = 1
    """One item may be an image that takes a minute."""

    def __init__(self, shared_inputs: Buffer) -> None:
        self._bytes_read = 0
        self._items = PackedItems(shared_inputs)

    @property
    def traffic(self) -> Traffic:
        """What was unpacked so far."""
        return Traffic(bytes_read=self._bytes_read)

    def read(self, branches: Sequence[str], start: int, stop: int) -> Mapping[str, Column]:
        """Items have no columns; sessions let no kernel over them come here."""
        raise AnalysisError("a kernel reads branches, and items have none")

    def events(self, start: int, stop: int) -> list[Any]:
        """The items `[start, stop)`.

        Raises:
            DatasetError: one of them cannot be unpickled here, as when it is made of a module that is not installed.
        """
        return [self._item(index) for index in range(start, stop)]

    def _item(self, index: int) -> Any:
        self._bytes_read += self._items.size(index)
        try:
            return self._items[index]
        except Exception as error:  # whatever the user's object raises when it is made again
            raise DatasetError(f"item {index} cannot be made again on this worker: {error!r:.500}") from error
