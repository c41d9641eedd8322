"""A file as an analysis sees it: its own columns, those of its friends, aliases, and what stands for missing branches.

A `View` has the methods of a `Reader`. Names are looked up in this order: branches of the file; aliases; branches of
friends, as `friend_branch` or `friend.branch`, and by their own name where one friend alone has it; defaults.

An alias is an expression over all other columns. It is evaluated on a chunk of events, whether the columns of these are
read, taken from a selection of entries, or held: who has them passes itself as `source`. What it reads is found by
evaluating it over no events; this also tells its type.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import awkward as ak
import numpy as np

from ..analysis.expressions import FUNCTIONS, Expression, nearest
from ..dataset.shared_inputs import Default, SharedInputs
from ..packetizer.listed_entries import Entries
from ..protocol.errors import AnalysisError, DatasetError
from ..protocol.messages import File
from .columns import Column, Flat, Jagged, offsets_of
from .indexed_friend import IndexedFriend
from .lazy_events import Columns, Field, Group, LazyEvents, group_of, layout_of, nested, prefixed
from .lazy_property import lazy_property
from .read_errors import raised
from .reader import FileLayout, column_of
from .reader_cache import Place, ReaderCache
from .storage.credentials import CredentialSet
from .storage.local import Range
from .storage.sources import Traffic
from .tree_series import TreeReader, TreeSeries
from .ttree.branches import Named, is_listed

MOST_VIEWS = 10
"""Views of a query that are kept: as many as files are kept open."""


class View:
    """The columns of a file, of its friends, and what is made of them.

    Args:
        reader: the file.
        friends: its friends, by name.
        shared_inputs: the aliases and defaults of the dataset.

    Attributes:
        aliases: all that can be evaluated, the tree's own among them, by name.
        defaults: what is filled in for branches that are missing here, by name.
        opened: the friends as they are by themselves; `friends` have the entries of the file.
        touched: as `Reader.touched`.

    Raises:
        DatasetError: a friend has another number of entries, or a name means two things or nothing.

    Example:
        >>> view = View(reader, {"bdt": scores}, SharedInputs(aliases={"ht": "ak.sum(Jet.pt, axis=1)"}))
        ...                                                                                      # doctest: +SKIP
        >>> view.read(["ht", "bdt_score"], 0, 1000)                                              # doctest: +SKIP
    """

    def __init__(self, reader: TreeReader, friends: Mapping[str, TreeReader], shared_inputs: SharedInputs) -> None:
        self.reader = reader
        self.path, self.tree, self.entries = reader.path, reader.tree, reader.entries
        self.opened = dict(friends)
        self.friends = {name: self._joined(name, friend) for name, friend in friends.items()}
        self.touched: set[str] = set()
        self.defaults = {
            name: _Filling(default, self._lengths_of(name))
            for name, default in shared_inputs.defaults.items()
            if self._place(name) is None
        }
        self.aliases = {name: Alias(name, Expression(text), self) for name, text in shared_inputs.aliases.items()}
        self.aliases = {**self._tree_aliases(), **self.aliases}
        for alias in shared_inputs.aliases:
            self._check_alias(alias)

    @lazy_property
    def names(self) -> Mapping[str, None]:
        """All that `read` takes; members of records are found there, but not listed."""
        friends = dict.fromkeys(column for name, reader in self.friends.items() for column in reader.names)
        names = dict.fromkeys([*self.reader.names, *self.aliases, *self._qualified(), *friends, *self.defaults])
        return Named(names, lambda _: None, lambda name: self._place(name) is not None)

    @property
    def file(self) -> View:
        """As `Source.file`: itself."""
        return self

    @property
    def readers(self) -> list[TreeReader]:
        """All files that are read."""
        return list(dict.fromkeys([self.reader, *self.opened.values()]))

    @property
    def bytes_read(self) -> int:
        """As `Reader.bytes_read`, of all files."""
        return self.traffic.bytes_read

    @property
    def is_far(self) -> bool:
        """As `Reader.is_far`, of any file."""
        return any(reader.is_far for reader in self.readers)

    @property
    def traffic(self) -> Traffic:
        """As `Reader.traffic`, of all files; the longest latency."""
        return Traffic.of(reader.traffic for reader in self.readers)

    @property
    def identity(self) -> str:
        """As `Reader.identity`, of all files."""
        return joined_identity([reader.identity for reader in (self.reader, *self.opened.values())])

    def news(self) -> bytes:
        """As `Reader.news`, of the file itself."""
        return self.reader.news()

    def check_unchanged(self) -> None:
        """As `Reader.check_unchanged`."""
        for reader in self.readers:
            reader.check_unchanged()

    def layout(self, branches: Sequence[str] | None = None) -> FileLayout:
        """As `Reader.layout`; packets are cut as the file itself is."""
        layout = self.reader.layout(self._own(branches))
        return FileLayout(layout.entries, layout.clusters, layout.tree, self.identity)

    def stride(self, branches: Sequence[str] | None = None) -> int:
        """As `Reader.stride`."""
        return self.reader.stride(self._own(branches))

    def weight(self, branches: Iterable[str]) -> float:
        """As `Reader.weight`, in all files."""
        return sum(reader.weight(names) for reader, names in self._by_reader(self._stored(branches)).items())

    def types(self, branches: Iterable[str]) -> dict[str, str]:
        """As `Reader.types`; of branches that are filled in there is nothing to tell."""
        found: dict[str, str] = {}
        for name in branches:
            place = self._place(name)
            if name in self.aliases:
                found[name] = str(self.aliases[name].form.type)
            elif place is not None:
                found[name] = place[0].types([place[1]])[place[1]]
        return found

    def filled(self, branches: Iterable[str]) -> list[str]:
        """Which of the columns that are read for these branches are missing here, and filled in."""
        return [name for name in self._stored(branches) if name in self.defaults]

    # --- reading ------------------------------------------------------------------------------------------------------

    def numbers(self, start: int, stop: int) -> Entries | None:
        """As `Source.numbers`: all entries are used."""
        return None

    def covering(self, start: int, stop: int) -> Range:
        """As `Source.covering`: themselves."""
        return start, stop

    def ahead(self, branches: Sequence[str], start: int, stop: int) -> None:
        """As `Reader.ahead`."""
        self.ranges_ahead(branches, [(start, stop)])

    def ranges_ahead(self, branches: Sequence[str], ranges: Sequence[Range]) -> None:
        """As `Reader.ranges_ahead`."""
        for reader, names in self._by_reader(self._stored(branches)).items():
            reader.ranges_ahead(names, ranges)

    def read(self, branches: Sequence[str], start: int, stop: int) -> dict[str, Column]:
        """As `Reader.read`."""
        if self.computes(branches):
            return self.read_from(self, branches, start, stop)
        (columns,) = self.read_ranges(branches, [(start, stop)])
        return columns

    def computes(self, branches: Iterable[str]) -> bool:
        """Whether one of these is an alias: then `read_from` has them."""
        return any(name in self.aliases for name in branches)

    def read_from(self, source: Columns, branches: Sequence[str], start: int, stop: int) -> dict[str, Column]:
        """Columns, aliases among them, of the entries `[start, stop)` of a source that has all others.

        Raises:
            DatasetError: as `Reader.read`.
            Exception: what an alias raises, with a note of its name.
        """
        columns = dict(source.read(self._stored(branches), start, stop))
        events = self.lazy.array(_Given(columns, source), start, stop)
        return {name: self.aliases[name].column(events) if name in self.aliases else columns[name] for name in branches}

    def read_ranges(self, branches: Sequence[str], ranges: Sequence[Range]) -> Iterator[dict[str, Column]]:
        """As `Reader.read_ranges`, for all but aliases."""
        places = {name: self._found(name) for name in branches if name not in self.defaults}
        wanted = self._by_reader(branches)
        parts = [reader.read_ranges(names, ranges) for reader, names in wanted.items()]
        for (start, stop), *of_range in zip(ranges, *parts, strict=True):
            read = dict(zip(wanted, of_range, strict=True))
            columns = {name: read[reader][column] for name, (reader, column) in places.items()}
            for name in branches:
                if name not in columns:
                    columns[name] = self.defaults[name].column(read.get(self.reader, {}), stop - start)
            yield columns
        self.touched.update(branches)

    def array(self, name: str, start: int, stop: int) -> ak.Array:
        """As `Reader.array`."""
        if name in self.defaults or name in self.aliases:
            return ak.Array(layout_of(self.read([name], start, stop)[name]))
        reader, column = self._found(name)
        self.touched.add(name)
        return reader.array(column, start, stop)

    def events(self, start: int, stop: int) -> ak.Array:
        """As `Reader.events`."""
        self.ahead(sorted(self.touched), start, stop)
        self.touched = set()
        return self.lazy.array(self, start, stop)

    @lazy_property
    def lazy(self) -> LazyEvents:
        """As `Reader.lazy`."""
        own = self.reader.lazy
        forms, counters = dict(own.forms), dict(own.counters)
        for name, filling in self.defaults.items():
            forms[name] = layout_of(filling.empty()).form
            if filling.like in counters.values():
                counters[name] = filling.like
        plain = list(forms)
        fields: dict[str, Field] = {**{name: name for name in plain}, **nested(plain, counters)}
        for friend, reader in self.friends.items():
            lazy = reader.lazy
            forms |= {f"{friend}.{name}": form for name, form in lazy.forms.items()}
            counters |= {f"{friend}.{name}": f"{friend}.{counter}" for name, counter in lazy.counters.items()}
            fields[friend] = prefixed(Group(dict(lazy.fields)), f"{friend}.")
            for name in lazy.forms:
                fields.setdefault(f"{friend}_{name}", f"{friend}.{name}")
                if self._place(name) == (reader, name):
                    fields.setdefault(name, f"{friend}.{name}")
        fields |= {name: name for name in self.aliases}
        return LazyEvents(forms, counters, fields, self.aliases, self.path, self._has_member)

    def _has_member(self, name: str) -> bool:
        """As `Reader.has_member`; with the name of a friend before it."""
        place = self._place(name)
        return place is not None and place[0].has_member(place[1])

    # --- names --------------------------------------------------------------------------------------------------------

    def _place(self, name: str) -> tuple[TreeReader | IndexedFriend, str] | None:
        """The file that has a column, and what it is called there; None for what none of them has, or several."""
        if is_listed(self.reader.names, name):
            return self.reader, name
        for friend, reader in self.friends.items():
            if name[: len(friend) + 1] in (f"{friend}_", f"{friend}.") and name[len(friend) + 1 :] in reader.names:
                return reader, name[len(friend) + 1 :]
        having = [reader for reader in self.friends.values() if name in reader.names]
        if not having and name in self.reader.names:  # as kernels write it: whatever is really called so comes first
            return self.reader, name
        return (having[0], name) if len(having) == 1 else None

    def _found(self, name: str) -> tuple[TreeReader | IndexedFriend, str]:
        """As `_place`, for a name that somebody asked for."""
        place = self._place(name)
        if place is not None:
            return place
        having = [friend for friend, reader in self.friends.items() if name in reader.names]
        if having:
            meant = " or ".join(f"{friend}_{name}" for friend in having)
            raise DatasetError(f"{name} is in several friends of {self.path}: say which is meant, {meant}")
        friends = f", nor have its friends {', '.join(self.friends)}" if self.friends else ""
        raise DatasetError(
            f"{self.path} has no branch {name} in its tree {self.tree}{friends}{nearest(name, self.names)}",
            missing_column=name,
        )

    def _qualified(self) -> list[str]:
        friends = self.friends.items()
        return [f"{friend}{sign}{name}" for sign in "_." for friend, reader in friends for name in reader.names]

    def _own(self, branches: Sequence[str] | None) -> list[str] | None:
        """Those of the branches that are in the file itself; None, for all, if there are none."""
        own = self._by_reader(self._stored(branches or ())).get(self.reader)
        return own or None

    def _stored(self, branches: Iterable[str]) -> list[str]:
        """The branches, and in the place of aliases what these read."""
        parts = (self.aliases[name].reads if name in self.aliases else (name,) for name in branches)
        return list(dict.fromkeys(name for part in parts for name in part))

    def _by_reader(self, branches: Iterable[str]) -> dict[TreeReader | IndexedFriend, list[str]]:
        """What is to be read of each file, for columns that are no aliases."""
        found: dict[TreeReader | IndexedFriend, dict[str, None]] = {}
        reader: TreeReader | IndexedFriend
        for name in branches:
            if name in self.defaults:
                reader, column = self.reader, self.defaults[name].like
            else:
                reader, column = self._found(name)
            if column:
                found.setdefault(reader, {})[column] = None
        return {reader: list(names) for reader, names in found.items()}

    def _lengths_of(self, name: str) -> str:
        """The branch that tells how long the lists of a missing branch are; empty where nothing says that it has lists."""
        group = group_of(name)
        if not group:
            return ""
        if f"n{group}" in self.reader.names:
            return f"n{group}"
        others = (other for other in self.reader.names if group_of(other) == group)
        lists = [other for other in others if self.reader.types([other])[other].startswith("var * ")]
        counters = dict.fromkeys(self.reader.lazy.counters.get(other, "") for other in lists)
        return lists[0] if lists and "" in counters else next(iter(counters), "")

    # --- what can be wrong --------------------------------------------------------------------------------------------

    def _joined(self, name: str, friend: TreeReader) -> TreeReader | IndexedFriend:
        """A friend with the entries of the file, if it can be one."""
        if is_listed(self.reader.names, name):
            raise DatasetError(f"{self.path} has a branch {name}: give its friend of this name another one")
        if friend.order == "indexed":
            return IndexedFriend(name, friend, friend.tree_index, self.reader)
        if friend.order:
            raise DatasetError(
                f"{friend.tree} in {friend.path}, the friend {name} of {self.path}, was written with its entries in any "
                "order (kEntriesReshuffled), so that they belong to others: write it with an entry for each of the file's, "
                "in their order"
            )
        if friend.entries != self.entries:
            raise DatasetError(
                f"{friend.path} has {friend.entries} entries in {friend.tree}, and {self.path}, whose friend {name} it is, "
                f"has {self.entries} in {self.tree}: friends have one entry for each of the file's"
            )
        if isinstance(self.reader, TreeSeries) and isinstance(friend, TreeSeries):
            friend.check_befriends(name, self.reader)
        return friend

    def _check_alias(self, name: str) -> None:
        if is_listed(self.reader.names, name):
            raise DatasetError(f"{self.path} has a branch {name}: give the alias of this name another one")
        for used in self.aliases[name].expression.names:
            if not self._knows(used):
                raise DatasetError(
                    f"the alias {name}, {self.aliases[name].expression.text!r}, names {used}, and nothing is called so in "
                    f"{self.path}{nearest(used, self.names)}"
                )

    def _knows(self, name: str) -> bool:
        """Whether a name in an expression means something."""
        if name in self.names or name in self.friends or name in FUNCTIONS:
            return True
        return any(group_of(other) == name for other in (*self.reader.names, *self.defaults))

    def _tree_aliases(self) -> dict[str, Alias]:
        """The aliases that the tree itself has, as far as they mean the same in Python and nothing is missing for them."""
        found: dict[str, Alias] = {}
        for name, text in self.reader.tree_aliases.items():
            try:
                expression = Expression(text)
            except AnalysisError:
                continue
            known = all(self._place(used) is not None or used in FUNCTIONS for used in expression.names)
            if expression.is_simple and known and self._place(name) is None and name not in self.defaults:
                found[name] = Alias(name, expression, self)
        return found


OpenFile: TypeAlias = TreeReader | View
"""A file as an analysis sees it."""


class Alias:
    """An expression over the columns of a view; for `LazyEvents`, a column that is computed.

    Args:
        name: the alias.
        expression: what it stands for.
        view: whose columns.
    """

    def __init__(self, name: str, expression: Expression, view: View) -> None:
        self.name = name
        self.expression = expression
        self._view = view

    @property
    def form(self) -> Any:
        """The awkward form of its values."""
        return self._tried[0]

    @property
    def reads(self) -> tuple[str, ...]:
        """The columns that it reads, as far as evaluating it over no events tells."""
        return self._tried[1]

    @lazy_property
    def _tried(self) -> tuple[Any, tuple[str, ...]]:
        nothing = _Nothing(self._view.lazy)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of means of nothing, and the like
            try:
                column = self.column(self._view.lazy.array(nothing, 0, 0))
            except DatasetError:
                raise
            except Exception as error:
                raise AnalysisError(
                    f"the alias {self.name}, {self.expression.text!r}, cannot be evaluated over {self._view.path}: "
                    f"{type(error).__name__}: {error}"
                ) from None
        return layout_of(column).form, tuple(nothing.asked)

    def column(self, events: ak.Array) -> Column:
        """Its values for some events.

        Raises:
            DatasetError: they are neither numbers, flags or texts, nor lists of them, or not one for each event.
            Exception: what the expression raises, with a note of its name.
        """
        where = f"the alias {self.name}, {self.expression.text!r},"
        try:
            value = self.expression.value(events)
        except Exception as wrapped:
            error = raised(wrapped)
            error.add_note(f"in {where} over {self._view.path}")
            raise error from None
        layout = ak.to_layout(value, primitive_policy="pass-through", string_policy="pass-through")
        if not isinstance(layout, ak.contents.Content) or len(layout) != len(events):
            raise DatasetError(f"{where} does not give one value for each event: is axis=1 missing?")
        try:
            return column_of(layout, where)
        except DatasetError:
            raise DatasetError(
                f"{where} gives {ak.type(value).content}: it must give a number, a flag or a text for each event, or lists "
                "of them (ak.fill_none for values that may be missing; an alias for each field of a record)"
            ) from None


class Views:
    """The files of one query as its analysis sees them.

    Args:
        shared_inputs: the aliases and defaults of the dataset.
        plain: the analysis reads the files by itself, and sees them as they are.
    """

    def __init__(self, shared_inputs: SharedInputs, plain: bool = False) -> None:
        self._shared_inputs = shared_inputs
        self._plain = plain
        self._views: dict[tuple[str, str], View] = {}

    def get(
        self,
        readers: ReaderCache,
        file: File,
        since: float = 0.0,
        identity: str = "",
        credential_set: CredentialSet | None = None,
    ) -> TreeReader | View:
        """The open file, or a view of it where there is more to see than its branches.

        Args:
            readers, since, identity, credential_set: as for `ReaderCache.get`; the identity is that of the view.

        Raises:
            DatasetError: as `ReaderCache.get` and `View`.
        """
        readers.take_up(places(file, credential_set))
        own, *others = identities(identity, len(file.friends))
        reader = readers.get(file.path, file.tree, since, own, credential_set)
        if self._is_plain(file, reader):
            return reader
        friends = {}
        for (name, friend), its in zip(file.friends.items(), others, strict=True):
            try:
                friends[name] = readers.get(friend.path, friend.tree, since, its, credential_set)
            except DatasetError as error:
                raise DatasetError(f"{reader.path} has no friend {name}: {error}", transient=error.transient) from error
        return self._view(file, reader, friends)

    def peek(
        self, readers: ReaderCache, file: File, credential_set: CredentialSet | None = None
    ) -> TreeReader | View | None:
        """As `get`, but None where anything is not open, or not as it should be: `get` says then what is wrong."""
        reader = readers.peek(file.path, file.tree, credential_set)
        if reader is None or self._is_plain(file, reader):
            return reader
        found = {name: readers.peek(friend.path, friend.tree, credential_set) for name, friend in file.friends.items()}
        friends = {name: friend for name, friend in found.items() if friend is not None}
        if len(friends) < len(found):
            return None
        try:
            return self._view(file, reader, friends)
        except DatasetError:
            return None

    def _is_plain(self, file: File, reader: TreeReader) -> bool:
        return self._plain or not (file.friends or self._shared_inputs.is_about_columns or reader.tree_aliases)

    def _view(self, file: File, reader: TreeReader, friends: Mapping[str, TreeReader]) -> View:
        key = (file.path, file.tree)
        view = self._views.pop(key, None)
        if view is None or view.reader is not reader or view.opened != friends:
            view = View(reader, friends, self._shared_inputs)
        while len(self._views) >= MOST_VIEWS:
            del self._views[next(iter(self._views))]
        self._views[key] = view
        return view


def places(file: File, credential_set: CredentialSet | None) -> list[Place]:
    """A file and its friends, as they are named where open ones are kept."""
    friends = ((friend.path, friend.tree, credential_set) for friend in file.friends.values())
    return [(file.path, file.tree, credential_set), *friends]


def drop(readers: ReaderCache, file: File, credential_set: CredentialSet | None = None) -> None:
    """Close the readers of a file and its friends, as `ReaderCache.drop`."""
    for place in places(file, credential_set):
        readers.drop(*place)


def joined_identity(parts: Sequence[str]) -> str:
    """The identity of a view, of those of its files, its own first.

    Example:
        >>> joined_identity(["a:1", "b:2"]), identities("a:1|b:2", 1), identities("", 1)
        ('a:1|b:2', ['a:1', 'b:2'], ['', ''])
    """
    return "|".join(parts)


def identities(joined: str, friends: int) -> list[str]:
    """The identities of a file and its friends; empty ones where nothing is known."""
    parts = joined.split("|") if joined else []
    return parts if len(parts) == friends + 1 else [""] * (friends + 1)


class _Filling:
    """What stands for a branch that is missing: one value for each event, or for each element of lists like others."""

    def __init__(self, default: Default, like: str) -> None:
        self.like = like
        self._value = np.dtype(default.kind).type(default.value)

    def column(self, columns: Mapping[str, Column], entries: int) -> Column:
        """The column of so many entries, given that of `like`."""
        if not self.like:
            return Flat(np.full(entries, self._value))
        like = columns[self.like]
        offsets = offsets_of(like.values) if isinstance(like, Flat) else like.offsets - like.offsets[0]
        return Jagged(offsets, Flat(np.full(int(offsets[-1]), self._value)))

    def empty(self) -> Column:
        """The column of no entries."""
        return self.column({self.like: Flat(np.zeros(0, np.int64))}, 0)


class _Given:
    """Columns that are at hand, and where to have others."""

    def __init__(self, columns: Mapping[str, Column], source: Columns) -> None:
        self._columns = columns
        self._source = source

    def read(self, branches: Sequence[str], start: int, stop: int) -> dict[str, Column]:
        new = [name for name in branches if name not in self._columns]
        read = self._source.read(new, start, stop) if new else {}
        return {name: self._columns[name] if name in self._columns else read[name] for name in branches}

    def array(self, name: str, start: int, stop: int) -> ak.Array:
        if name in self._columns:
            return ak.Array(layout_of(self._columns[name]))
        return self._source.array(name, start, stop)


class _Nothing:
    """Columns of no entries, and which of them were asked for."""

    def __init__(self, lazy: LazyEvents) -> None:
        self.asked: dict[str, None] = {}
        self._lazy = lazy

    def read(self, branches: Sequence[str], start: int, stop: int) -> dict[str, Column]:
        self.asked |= dict.fromkeys(branches)
        return {name: column_of(self._lazy.empty(name).layout, name) for name in branches}

    def array(self, name: str, start: int, stop: int) -> ak.Array:
        self.asked[name] = None
        return self._lazy.empty(name)
