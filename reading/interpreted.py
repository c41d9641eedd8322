"""Branches that are read as the user says, by an interpretation of uproot's or one of the user's own."""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import awkward as ak

from ..protocol.errors import DatasetError, nearest
from .awkward_forms import type_text
from .columns import Column, column_of
from .lazy_events import LazyEvents
from .lazy_property import lazy_property
from .storage.local import Range
from .storage.sources import Traffic
from .tree_series import TreeReader
from .ttree.branches import original
from .ttree.whole_baskets import Interpretation

Interpreted = Mapping[str, Interpretation]
"""How branches are read, by name."""


def unpacked(pickled: Mapping[str, bytes]) -> Interpreted:
    """Interpretations that have travelled, in a slot only: this runs code that came with them.

    Raises:
        DatasetError: they cannot be made here.
    """
    found = {}
    for name, data in pickled.items():
        try:
            found[name] = Interpretation(pickle.loads(data))
        except Exception as error:  # whatever the user's code raises
            raise DatasetError(
                f"the interpretation of {name} cannot be made here: {type(error).__name__}: {error}"
            ) from error
    return found


class InterpretedBranches:
    """The branches of a file that are read in another way than they say; for a view, a file of its own beside it.

    Args:
        reader: the file.
        kinds: how they are read, by name.

    Raises:
        DatasetError: the file has no such branch.

    Example:
        >>> branches = InterpretedBranches(reader, unpacked({"snapshotHits": pickled}))           # doctest: +SKIP
        >>> branches.array("snapshotHits", 0, 3)                                                  # doctest: +SKIP
    """

    def __init__(self, reader: TreeReader, kinds: Interpreted) -> None:
        self.reader, self.path, self.tree = reader, reader.path, reader.tree
        for name in kinds:
            if name not in reader.names:
                raise DatasetError(
                    f"{self.path} has no branch {name} in its tree {self.tree}, of which an interpretation is given"
                    f"{nearest(name, reader.names)}"
                )
        self._kinds = {original(reader.names, name): kind for name, kind in kinds.items()}
        self._forms: dict[str, Any] = {}

    @property
    def names(self) -> Mapping[str, Interpretation]:
        """The branches, as they are called in the file."""
        return self._kinds

    @property
    def traffic(self) -> Traffic:
        """As `Reader.traffic`."""
        return self.reader.traffic

    def has_member(self, name: str) -> bool:
        """As `Reader.has_member`: none."""
        return False

    def weight(self, branches: Iterable[str]) -> float:
        """As `Reader.weight`."""
        return self.reader.weight(branches)

    def stride(self, branches: Sequence[str] | None = None) -> int:
        """As `Reader.stride`."""
        return self.reader.stride(branches)

    @lazy_property
    def lazy(self) -> LazyEvents:
        """As `Reader.lazy`."""
        return LazyEvents(
            {name: form for name in self._kinds if (form := self.form(name)) is not None}, {}, path=self.path
        )

    def ranges_ahead(self, branches: Sequence[str], ranges: Sequence[Range]) -> None:
        """Nothing, as for all that uproot decodes."""

    def types(self, branches: Iterable[str]) -> dict[str, str]:
        """As `Reader.types`."""
        forms = {name: self.form(name) for name in branches}
        return {name: "unknown" if form is None else type_text(form) for name, form in forms.items()}

    def form(self, name: str) -> Any:
        """The awkward form of a branch; None if it has none that could be found out."""
        if name not in self._forms:
            self._forms[name] = self.reader.form_as(name, self._kinds[name])
        return self._forms[name]

    def array(self, name: str, start: int, stop: int) -> ak.Array:
        """As `Reader.array`."""
        return self.reader.array(name, start, stop, self._kinds[name])

    def read_ranges(self, branches: Sequence[str], ranges: Sequence[Range]) -> Iterator[dict[str, Column]]:
        """As `Reader.read_ranges`."""
        for start, stop in ranges:
            columns = {}
            for name in branches:
                array = self.array(name, start, stop)
                columns[name] = column_of(
                    array.layout, f"branch {name} of {self.path}, read as {array.type.content} by its interpretation,"
                )
            yield columns
