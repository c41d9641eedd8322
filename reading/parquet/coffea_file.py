"""Some rows of a Parquet file as coffea's factory of NanoEvents takes it: an open file of pyarrow's, which has these alone.

`NanoEventsFactory.from_parquet` reads each column of the whole file for every chunk, takes what is missing for numbers, and
no file that has texts or records in it. So it is shown the rows of a chunk, and columns of numbers and of lists of them.
"""

from __future__ import annotations

from typing import Any

from .reader import ParquetReader


def coffea_file(reader: ParquetReader, start: int, stop: int) -> Any:
    """The rows `[start, stop)` of an open file, as a `pyarrow.parquet.ParquetFile`."""
    import pyarrow
    import pyarrow.parquet

    class Rows(pyarrow.parquet.ParquetFile):  # type: ignore[misc]
        """Has what the factory asks for."""

        def __init__(self) -> None:
            pass  # nothing is opened

        @property
        def metadata(self) -> Any:
            return reader.footer.file.metadata

        @property
        def schema_arrow(self) -> Any:
            plain = [field for field in reader.footer.schema if _is_plain(field.type, pyarrow)]
            return pyarrow.schema(plain, reader.footer.schema.metadata)

        def read(self, columns: list[str], use_threads: bool = False) -> Any:
            parts = {name: _one_chunk(reader, name, start, stop) for name in columns}
            return pyarrow.table(list(parts.values()), names=list(parts))

    return Rows()


def _is_plain(kind: Any, arrow: Any) -> bool:
    types = arrow.types
    kind = kind.storage_type if isinstance(kind, arrow.lib.BaseExtensionType) else kind
    kind = kind.value_type if types.is_list(kind) or types.is_large_list(kind) else kind
    kind = kind.storage_type if isinstance(kind, arrow.lib.BaseExtensionType) else kind
    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind))


def _one_chunk(reader: ParquetReader, name: str, start: int, stop: int) -> Any:
    column = reader.table(name, start, stop).column(0).combine_chunks()
    values = column.storage if hasattr(column, "storage") else column
    if values.null_count or (hasattr(values, "flatten") and values.flatten().null_count):
        raise ValueError(f"its column {name} has values that are missing, for which coffea would take any numbers")
    return column
