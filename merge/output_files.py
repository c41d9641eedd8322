"""The files that a query has written, as its result lists them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

from . import nodes
from .rows import OutputFile


class OutputFiles(Sequence[OutputFile]):
    """What `em.write` has written: a list of `OutputFile`.

    While its query runs the list is empty, and `rows` says how many wait in pieces.

    Attributes:
        spec: where, and how.
        pending: rows that are in pieces, and in no file yet.
        metadata: of each dataset, those that all files have which its rows came of.

    Example:
        >>> result["skim"].rows == sum(file.rows for file in result["skim"])                       # doctest: +SKIP
        True
    """

    _until = ", until the query is over"
    """When rows that wait in pieces are in files."""

    def __init__(self, node: nodes.Written) -> None:
        self.spec = node.spec
        self._files = tuple(node.files)
        self.pending = sum(piece.rows for piece in node.pieces)
        self.metadata = node.metadata

    @property
    def folder(self) -> str:
        """Where the files are."""
        return self.spec.target

    @property
    def rows(self) -> int:
        """Of all files, and of what waits in pieces."""
        return sum(file.rows for file in self._files) + self.pending

    @property
    def bytes(self) -> int:
        """Of all files."""
        return sum(file.bytes for file in self)

    @property
    def paths(self) -> list[str]:
        """Of all files, as `awkward.from_parquet`, `uproot.concatenate` and the like take them."""
        return [file.path for file in self]

    @overload
    def __getitem__(self, index: int) -> OutputFile: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[OutputFile]: ...

    def __getitem__(self, index: int | slice) -> OutputFile | Sequence[OutputFile]:
        return self._files[index]

    def __len__(self) -> int:
        return len(self._files)

    def __repr__(self) -> str:
        waiting = f", {self.pending:,} rows wait in pieces{self._until}" if self.pending else ""
        size = sum(file.bytes for file in self._files)
        files = f"{len(self._files)} {self.spec.format} file{'' if len(self._files) == 1 else 's'}"
        return f"<{files} in {self.spec.target}: {self.rows:,} rows, {size / 1e6:,.1f} MB{waiting}>"
