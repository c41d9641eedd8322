"""Parquet files, by pyarrow: nullable and nested columns as they are."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import awkward as ak

COMPRESSION = "zstd"


def write(path: Path, empty: ak.Array, batches: Iterable[ak.Array]) -> None:
    """Write a file, each batch as a row group; see `formats.write`."""
    import awkward as ak
    import pyarrow.parquet as parquet

    schema = ak.to_arrow_table(empty, extensionarray=False).schema
    with parquet.ParquetWriter(path, schema, compression=COMPRESSION) as writer:
        some = False
        for batch in batches:
            writer.write_table(ak.to_arrow_table(batch, extensionarray=False))
            some = True
        if not some:  # awkward reads no file without a row group
            writer.write_table(ak.to_arrow_table(empty, extensionarray=False))
