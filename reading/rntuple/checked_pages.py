"""uproot's RNTuple, with each page compared with its checksum, and with `double` in few bits as ROOT reads it.

uproot (5.7) reads pages without a look at the checksums behind them: a changed byte in a field that only uproot reads
would be other numbers, without a word. And it makes `float32` of what is stored as integers within a range, up to 32 bits
of a `double` too, of which 24 are left then.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray
from uproot.const import rntuple_col_type_to_num_dict as number_of_type
from uproot.models.RNTuple import Model_ROOT_3a3a_RNTuple
from uproot.source.chunk import Chunk
from uproot.source.cursor import Cursor

from ..codecs import decompressed
from .envelopes import CHECKSUM, check_page

_QUANTIZED_DOUBLE = "real32quant of a double"


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
            if field_metadata.dtype_str == _QUANTIZED_DOUBLE:
                destination[:] = self._quantized(page.locator, len(destination), self.column_records[col_idx])
            else:
                super().read_page(destination, cluster_idx, col_idx, page_idx, field_metadata)
        except ValueError as error:
            name = self._name(self.column_records[col_idx].field_id)
            raise ValueError(f"page {page_idx} of field {name} in cluster {cluster_idx}: {error}") from error

    def get_field_metadata(self, ncol: int) -> Any:
        """As uproot's; what is stored in few bits of a `double` is a type of its own, for which uproot does nothing."""
        known = super().get_field_metadata(ncol)
        if known.dtype_str == _QUANTIZED_DOUBLE or not self._is_quantized_double(self.column_records[ncol]):
            return known
        double = np.dtype("float64")
        made = dataclasses.replace(known, dtype_str=_QUANTIZED_DOUBLE, dtype=double, dtype_result=double)
        self._field_metadata_cache[ncol] = made
        return made

    def base_col_form(self, cr: Any, parameters: Any = None, is_cardinality: bool = False) -> Any:
        """As uproot's."""
        if self._is_quantized_double(cr):
            return ak.forms.NumpyForm("float64", form_key=f"column-{cr.idx}", parameters=parameters)
        return super().base_col_form(cr, parameters, is_cardinality)

    def _is_quantized_double(self, column: Any) -> bool:
        is_double = self.field_records[column.field_id].type_name == "double"
        alone = len(self._column_records_dict[column.field_id]) == 1
        return bool(is_double and alone and column.type == number_of_type["real32quant"])

    def _quantized(self, locator: Any, elements: int, column: Any) -> NDArray[Any]:
        """The numbers of a page of integers of few bits, which say how far each number is on the way from the least to the
        most, as ROOT computes them.
        """
        raw, _ = self.read_locator(locator, -(-elements * column.nbits // 8))
        bits = np.unpackbits(np.asarray(raw.raw_data, np.uint8), count=elements * column.nbits, bitorder="little")
        steps = bits.reshape(elements, column.nbits) @ (1 << np.arange(column.nbits, dtype=np.int64))
        scale = (column.max_value - column.min_value) / ((1 << column.nbits) - 1)
        return np.asarray(np.minimum(steps * scale + column.min_value, column.max_value))

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
