"""uproot's RNTuple, with each page compared with its checksum.

uproot (5.7) reads pages without a look at the checksums behind them: a changed byte in a field that only uproot reads
would be other numbers, without a word.
"""

from __future__ import annotations

from typing import Any

from uproot.models.RNTuple import Model_ROOT_3a3a_RNTuple
from uproot.source.chunk import Chunk
from uproot.source.cursor import Cursor

from ..codecs import decompressed
from .envelopes import CHECKSUM, check_page


class CheckedNtuple(Model_ROOT_3a3a_RNTuple):  # type: ignore[misc]
    """As uproot's.

    Example:
        >>> FileOfItsOwnClasses("run1.root").root_directory["Events"]  # doctest: +SKIP
        <CheckedNtuple 'Events' at 0x7f4e5c3a2b10>
    """

    def read_page(self, destination: Any, cluster_idx: int, col_idx: int, page_idx: int, field_metadata: Any) -> None:
        """As uproot's.

        Raises:
            ValueError: the page is damaged.
        """
        page = self._ntuple.page_link_list[cluster_idx][col_idx].pages[page_idx]
        page.locator.is_checked = page.has_checksum
        try:
            super().read_page(destination, cluster_idx, col_idx, page_idx, field_metadata)
        except ValueError as error:
            name = self._name(self.column_records[col_idx].field_id)
            raise ValueError(f"page {page_idx} of field {name} in cluster {cluster_idx}: {error}") from error

    def _name(self, number: int) -> str:
        """A field's, behind those of the fields that it lies in."""
        record = self.field_records[number]
        before = "" if record.parent_field_id == number else f"{self._name(record.parent_field_id)}."
        return f"{before}{record.field_name}"

    def read_locator(self, loc: Any, uncomp_size: int) -> tuple[Any, Any]:
        """As uproot's."""
        if not loc._fields.get("is_checked"):  # a page list, which is compared elsewhere, or a page without a checksum
            return super().read_locator(loc, uncomp_size)  # type: ignore[no-any-return]
        raw = self.file.source.chunk(loc.offset, loc.offset + loc.num_bytes + CHECKSUM).raw_data
        check_page(raw)
        return Chunk.wrap(self.file.source, decompressed(raw[: loc.num_bytes], uncomp_size)), Cursor(0)


CheckedNtuple.__name__ = Model_ROOT_3a3a_RNTuple.__name__  # uproot goes by it
