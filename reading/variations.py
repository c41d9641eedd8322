"""What variations mean for one file: which of its columns they replace, and what else changes with these."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..analysis.expressions import Expression
from ..analysis.variations import Shift, Varied
from ..protocol.errors import AnalysisError, nearest
from .aliases import Alias
from .groups import Field, Group, groups_of
from .lazy_events import LazyEvents
from .ttree.branches import original
from .view import OpenFile, View

if TYPE_CHECKING:
    from .source import Source


@dataclass(frozen=True, slots=True, eq=False)
class Replacement:
    """What takes the place of some columns.

    Attributes:
        shift: an expression or a function of events.
        columns: the columns, each by the field of the records, or the number in the list, that is put in its place; None
            where all that the shift gives is.
        group: the collection whose records the shift gives, if it is one.
    """

    shift: Expression | Shift
    columns: Mapping[str, str | int | None]
    group: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Variation:
    """A variation of one file's columns.

    Attributes:
        replaced: by columns, as `ColumnNames` has them.
        aliases: that may change with these.
        lazy: makes events; aliases that do not change are read as columns are.
    """

    name: str
    replaced: Mapping[str, Replacement]
    aliases: frozenset[str]
    lazy: LazyEvents

    def changes(self, columns: Iterable[str]) -> bool:
        """Whether one of these columns is another one."""
        return any(name in self.replaced or name in self.aliases for name in columns)


class ColumnNames:
    """One name for each column of a file, which may be found by several.

    Args:
        file: an open one.

    Example:
        >>> ColumnNames(reader).of("Jet/Jet.PT")                                                 # doctest: +SKIP
        'Jet.PT'
    """

    def __init__(self, file: OpenFile) -> None:
        self._file = file
        self._known: dict[str, str] = {}

    def of(self, name: str) -> str:
        """The name by which a column is known here."""
        if name not in self._known:
            self._known[name] = self._found(name)
        return self._known[name]

    def _found(self, name: str) -> str:
        if not isinstance(self._file, View):
            return original(self._file.names, name)
        place = None if name in self._file.aliases or name in self._file.defaults else self._file.files.place(name)
        if place is None:
            return name
        reader, column = place
        for friend, its in self._file.files.friends.items():
            if its is reader:
                return f"{friend}.{original(reader.names, column)}"
        return original(reader.names, column)


@dataclass(slots=True, eq=False)
class FileVariations:
    """All variations of an analysis, for one file.

    Args:
        file: an open one.
        varied: what was declared.

    Attributes:
        names: of its columns.
        nominal: no variation.
        variations: in the order in which they were declared.

    Raises:
        AnalysisError: a variation names no column.
    """

    file: OpenFile
    varied: Varied
    names: ColumnNames = field(init=False)
    nominal: Variation = field(init=False)
    variations: list[Variation] = field(init=False)
    _lazy: dict[frozenset[str], LazyEvents] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.names = ColumnNames(self.file)
        self.nominal = self._variation("", {})
        self.variations = [
            self._variation(name, self._replaced(name, columns)) for name, columns in self.varied.variations.items()
        ]

    @property
    def _aliases(self) -> Mapping[str, Alias]:
        return self.file.aliases if isinstance(self.file, View) else {}

    def _replaced(self, name: str, columns: Mapping[tuple[str, ...], Shift]) -> dict[str, Replacement]:
        found: dict[str, Replacement] = {}
        for keys, shift in columns.items():
            made = Expression(shift) if isinstance(shift, str) else shift
            if len(keys) == 1 and isinstance(group := self._named(name, keys[0]), Group):
                fields = {self.names.of(it): field for field, it in group.fields.items() if isinstance(it, str)}
                replacement = Replacement(made, fields, keys[0])
            else:
                places: list[str | int | None] = [None] if len(keys) == 1 else list(range(len(keys)))
                columns_of = [self._column(name, key) for key in keys]
                replacement = Replacement(made, dict(zip(columns_of, places, strict=True)))
            if twice := next((column for column in replacement.columns if column in found), None):
                raise AnalysisError(f"the variation {name} replaces {twice} twice in {self.file.path}")
            found |= dict.fromkeys(replacement.columns, replacement)
        return found

    def _column(self, variation: str, key: str) -> str:
        found = self._named(variation, key)
        if isinstance(found, Group):
            raise AnalysisError(
                f"the variation {variation} names {key} among several columns, and it is a collection: name it alone"
            )
        return found

    def _named(self, variation: str, key: str) -> Field:
        """The column that a variation names, or the collection of them."""
        fields = self.file.lazy.fields
        group = fields.get(key)
        if isinstance(group, Group):
            return group
        if key not in fields and key not in self.file.names:
            known = dict.fromkeys([*self.file.names, *fields])
            raise AnalysisError(
                f"the variation {variation} names {key}, and nothing is called so in {self.file.path}{nearest(key, known)}"
            )
        column = self.names.of(key)
        if column in self.file.lazy.counters.values():
            raise AnalysisError(
                f"the variation {variation} names {key}, which counts lists in {self.file.path}: a variation changes "
                "values, not how many there are"
            )
        return column

    def _variation(self, name: str, replaced: Mapping[str, Replacement]) -> Variation:
        changed = frozenset(self._changing(replaced)).difference(replaced)
        if changed not in self._lazy:
            self._lazy[changed] = self._lazy_of(changed)
        return Variation(name, replaced, changed, self._lazy[changed])

    def _lazy_of(self, changed: frozenset[str]) -> LazyEvents:
        """Events where only these aliases are computed of others; the others are columns."""
        aliases = self._aliases
        if not aliases:
            return self.file.lazy
        forms = {name: alias.form for name, alias in aliases.items() if name not in changed}
        return self.file.lazy.where(forms, {name: aliases[name] for name in changed})

    def _changing(self, replaced: Iterable[str]) -> set[str]:
        """The aliases whose values may be others where these columns are: those that name them, as a column, in a group,
        or as `events`, and those that name such aliases.
        """
        changed = {*replaced}
        if not changed:
            return set()
        reach = {*changed, *(group for name in changed for group in groups_of(name)), "events"}
        found: set[str] = set()
        while True:
            more = {
                name
                for name, alias in self._aliases.items()
                if name not in found and self._mentions(alias.expression, reach, changed)
            }
            if not more:
                return found
            found |= more
            reach |= more
            changed |= more

    def _mentions(self, expression: Expression, reach: set[str], changed: set[str]) -> bool:
        named = {*expression.names, *(["events"] if "events" in expression.text else [])}
        friends = self.file.files.friends if isinstance(self.file, View) else {}
        return any(name in reach or name in friends or self.names.of(name) in changed for name in named)


class Variations:
    """The variations of an analysis, for the file at work."""

    def __init__(self, varied: Varied) -> None:
        self._varied = varied
        self._file: FileVariations | None = None

    def over(self, source: Source) -> FileVariations:
        """What they are in the file of a source.

        Raises:
            AnalysisError: a variation names no column of it, or there is no file.
        """
        if source.file is None:
            raise AnalysisError(f"{self._varied.__name__} has variations of columns, and these entries are in no file")
        if self._file is None or self._file.file is not source.file:
            self._file = FileVariations(source.file, self._varied)
        return self._file
