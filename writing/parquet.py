"""Parquet files, by pyarrow: nullable and nested columns as they are."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import awkward as ak

COMPRESSION = "zstd"


def write(path: Path, empty: ak.Array, batches: Iterable[ak.Array]) -> None:
    """Write a file, each batch as a row group; see `formats.write`."""
    import awkward as ak
    import pyarrow.parquet as parquet

    nothing = ak.to_arrow_table(empty, extensionarray=False)
    with parquet.ParquetWriter(path, nothing.schema, compression=COMPRESSION, use_dictionary=_texts(nothing)) as writer:
        some = False
        for batch in batches:
            writer.write_table(ak.to_arrow_table(ak.transform(_filled, batch), extensionarray=False))
            some = True
        if not some:  # awkward reads no file without a row group
            writer.write_table(nothing)


def _filled(layout: Any, **_: Any) -> Any:
    """Of lists all of which are missing: with one behind them, since awkward finds no end of one that is not there."""
    import awkward as ak

    lists = layout.content if layout.is_option and len(layout) else None
    if lists is None or len(lists) or not lists.is_list:
        return None
    if lists.is_regular:
        return layout.copy(content=lists.form.length_one_array(highlevel=False))
    lists = lists.to_ListOffsetArray64(True)
    return layout.copy(content=lists.copy(offsets=ak.index.Index64(np.zeros(2, np.int64))))


def _texts(table: Any) -> list[str]:
    """The leaves of a table that hold texts: these are often the same. A dictionary of numbers that all differ, as measured
    ones do, takes longer to make than all else, and is then thrown away; those that repeat, zstd makes small anyway.
    """
    import pyarrow as pa
    import pyarrow.parquet as parquet

    written = pa.BufferOutputStream()
    parquet.write_table(table, written)
    schema = parquet.ParquetFile(pa.BufferReader(written.getvalue())).schema
    leaves = [schema.column(number) for number in range(len(schema))]
    return [str(leaf.path) for leaf in leaves if leaf.physical_type == "BYTE_ARRAY"]
