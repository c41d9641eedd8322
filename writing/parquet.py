"""Parquet files, by pyarrow: nullable and nested columns as they are."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
            writer.write_table(ak.to_arrow_table(batch, extensionarray=False))
            some = True
        if not some:  # awkward reads no file without a row group
            writer.write_table(nothing)


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
