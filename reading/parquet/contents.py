"""What is in a Parquet file, from its footer. No data are read."""

from __future__ import annotations

from ...dataset.contents import BranchInfo, FileInfo, TreeInfo
from ..storage.credentials import CredentialSet
from .reader import ParquetReader

KIND = "Parquet"


def contents(path: str, tree: str = "", timeout: float = 30.0, credential_set: CredentialSet | None = None) -> FileInfo:
    """What is in a file; arguments and errors are those of `ParquetReader`."""
    reader = ParquetReader(path, tree, timeout, credential_set)
    try:
        footer = reader.footer
        columns = tuple(
            BranchInfo(
                name,
                str(footer.schema.field(name).type),
                stored=sum(map(reader.stored, found.leaves)),
                unpacked=sum(map(footer.unpacked, found.leaves)),
            )
            for name, found in reader.fields.columns.items()
        )
        table = TreeInfo("", KIND, footer.writer, reader.entries, columns)
        return FileInfo(reader.path, footer.size, footer.compression, (table,), {"row groups": len(footer.edges) - 1})
    finally:
        reader.close()
