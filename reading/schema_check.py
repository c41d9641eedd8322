"""Files of a query agree on the types of the columns that the analysis reads: a result made of `float32` here and lists
there would be wrong without a word.

A slot compares each file with what it saw first, and tells the master of columns that it had not met before; the master
compares slots (`messages.Columns`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..protocol.column_types import ColumnType, changed_type
from ..protocol.errors import DatasetError
from .view import OpenFile


class SchemaCheck:
    """The types that the columns of a query have, as far as a slot has met them.

    Example:
        >>> agreement = SchemaCheck()
        >>> agreement.check(Reader("a.root"), {"MET_pt"})                                       # doctest: +SKIP
        ({'MET_pt': ColumnType(kind='float32', path='a.root')}, [])
    """

    def __init__(self) -> None:
        self._types: dict[str, ColumnType] = {}
        self._file: OpenFile | None = None
        self._checked: set[str] = set()

    def check(self, file: OpenFile, branches: Iterable[str], of: str = "") -> tuple[dict[str, ColumnType], list[str]]:
        """Compare some columns of an open file, with those of other files, or of the same tree in these where trees are
        analysed apart (`of`).

        Returns:
            The types of those that were not met before in any file, and the columns of those that were not asked about
            before in this file that it lacks, so that they are filled in.

        Raises:
            DatasetError: one of them has another type than in the file in which it was met first; names both.
        """
        if file is not self._file:
            self._file, self._checked = file, set()
        unchecked = set(branches) - self._checked
        if not unchecked:
            return {}, []
        new: dict[str, ColumnType] = {}
        for column, kind in file.types(sorted(unchecked)).items():
            name = f"{of}.{column}" if of else column
            seen = ColumnType.of(kind, file.path)
            first = self._types.get(name, seen)
            if first.kind != seen.kind:
                raise DatasetError(changed_type(name, first, seen))
            if name not in self._types:
                new[name] = seen
        self._types |= new
        self._checked |= unchecked
        return new, file.filled(unchecked)

    def correct(self, types: Mapping[str, ColumnType]) -> None:
        """Another slot met these columns first, with these types: they hold."""
        self._types |= types
        self._file = None
