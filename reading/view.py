"""A file as an analysis sees it: its own columns, those of its friends, aliases, and what stands for missing branches.

A `View` has the methods of a `Reader`. Names are looked up in this order: branches of the file; aliases; branches of
friends, as `friend_branch` or `friend.branch`, and by their own name where one friend alone has it; defaults.

An alias is an expression over all other columns. It is evaluated on a chunk of events, whether the columns of these are
read, taken from a selection of entries, or held: who has them passes itself as `source`. What it reads is found by
evaluating it over no events; this also tells its type.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias

import awkward as ak

from ..analysis.expressions import FUNCTIONS, Expression
from ..dataset.shared_inputs import SharedInputs
from ..packetizer.listed_entries import Entries
from ..protocol.errors import DatasetError
from ..protocol.messages import File, FriendTree
from .aliases import Alias, Given, tree_aliases
from .clustering import FileLayout
from .columns import Column
from .defaults import Filling, lengths_of
from .groups import fields_of, groups_of
from .interpreted import Interpreted, unpacked
from .joined_files import Joined, JoinedFiles, identities
from .lazy_events import Columns, LazyEvents, layout_of, lists_in
from .lazy_property import lazy_property
from .reader_cache import Place, ReaderCache, described
from .storage.credentials import CredentialSet
from .storage.local import Range
from .storage.sources import Traffic
from .tree_series import TreeReader
from .ttree.branches import Named, is_listed

MOST_VIEWS = 10
"""Views of a query that are kept: as many as files are kept open."""


class View:
    """The columns of a file, of its friends, and what is made of them.

    Args:
        reader: the file.
        friends: its friends, by name.
        shared_inputs: the aliases and defaults of the dataset.
        told: what is said of friends, as how they are joined.
        kinds: how some branches of the file are to be read.

    Attributes:
        aliases: all that can be evaluated, the tree's own among them, by name.
        defaults: what is filled in for branches that are missing here, by name.
        files: the file and its friends, as they are read.
        touched: as `Reader.touched`.

    Raises:
        DatasetError: a friend has another number of entries, or a name means two things or nothing.

    Example:
        >>> view = View(reader, {"bdt": scores}, SharedInputs(aliases={"ht": "ak.sum(Jet.pt, axis=1)"}))
        ...                                                                                      # doctest: +SKIP
        >>> view.read(["ht", "bdt_score"], 0, 1000)                                              # doctest: +SKIP
    """

    def __init__(
        self,
        reader: TreeReader,
        friends: Mapping[str, TreeReader],
        shared_inputs: SharedInputs,
        told: Mapping[str, FriendTree] | None = None,
        kinds: Interpreted | None = None,
    ) -> None:
        self.reader = reader
        self.path, self.tree, self.entries = reader.path, reader.tree, reader.entries
        self.files = JoinedFiles(reader, friends, told, kinds)
        self.touched: set[str] = set()
        self.defaults = {
            name: Filling(default, lengths_of(name, reader))
            for name, default in shared_inputs.defaults.items()
            if self.files.place(name) is None
        }
        self.aliases = {name: Alias(name, Expression(text), self) for name, text in shared_inputs.aliases.items()}
        self.aliases = {**self._tree_aliases(), **self.aliases}
        for name in shared_inputs.aliases:
            if is_listed(reader.names, name):
                raise DatasetError(f"{self.path} has a branch {name}: give the alias of this name another one")
            self.aliases[name].check()

    @lazy_property
    def names(self) -> Mapping[str, None]:
        """All that `read` takes; members of records are found there, but not listed."""
        names = dict.fromkeys([*self.reader.names, *self.aliases, *self.files.names_of_friends, *self.defaults])
        return Named(names, lambda _: None, lambda name: self.files.place(name) is not None)

    @property
    def file(self) -> View:
        """As `Source.file`: itself."""
        return self

    @property
    def readers(self) -> list[TreeReader]:
        """All files that are read."""
        return self.files.readers

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
        return self.files.identity

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
        return FileLayout(layout.entries, layout.clusters, layout.tree, self.identity, layout.place)

    def stride(self, branches: Sequence[str] | None = None) -> int:
        """As `Reader.stride`."""
        return self.reader.stride(self._own(branches))

    def weight(self, branches: Iterable[str]) -> float:
        """As `Reader.weight`, in all files."""
        wanted = self.files.with_keys(self._by_reader(self._stored(branches)))
        return sum(reader.weight(names) for reader, names in wanted.items())

    def types(self, branches: Iterable[str]) -> dict[str, str]:
        """As `Reader.types`; of branches that are filled in there is nothing to tell."""
        found: dict[str, str] = {}
        for name in branches:
            place = self.files.place(name)
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
        for reader, names in self.files.with_keys(self._by_reader(self._stored(branches))).items():
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
        events = self.lazy.array(Given(columns, source), start, stop)
        return {name: self.aliases[name].column(events) if name in self.aliases else columns[name] for name in branches}

    def read_ranges(self, branches: Sequence[str], ranges: Sequence[Range]) -> Iterator[dict[str, Column]]:
        """As `Reader.read_ranges`, for all but aliases."""
        places = {name: self.files.found(name, self.names) for name in branches if name not in self.defaults}
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
        reader, column = self.files.found(name, self.names)
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
        self.files.interpret(forms, counters)
        for name, filling in self.defaults.items():
            forms[name] = layout_of(filling.empty()).form
            if filling.like in counters.values():
                counters[name] = filling.like
        fields = fields_of(list(forms), counters, lists_in(forms))
        self.files.add_friends(forms, counters, fields)
        fields |= {name: name for name in self.aliases}
        return LazyEvents(forms, counters, fields, self.aliases, self.path, self.files.has_member, self.files.original)

    # --- names --------------------------------------------------------------------------------------------------------

    def _own(self, branches: Sequence[str] | None) -> list[str] | None:
        """Those of the branches that are in the file itself; None, for all, if there are none."""
        own = self._by_reader(self._stored(branches or ())).get(self.reader)
        return own or None

    def _stored(self, branches: Iterable[str]) -> list[str]:
        """The branches, and in the place of aliases what these read."""
        parts = (self.aliases[name].reads if name in self.aliases else (name,) for name in branches)
        return list(dict.fromkeys(name for part in parts for name in part))

    def _by_reader(self, branches: Iterable[str]) -> dict[Joined, list[str]]:
        """What is to be read of each file, for columns that are no aliases."""
        found: dict[Joined, dict[str, None]] = {}
        reader: Joined
        for name in branches:
            if name in self.defaults:
                reader, column = self.reader, self.defaults[name].like
            else:
                reader, column = self.files.found(name, self.names)
            if column:
                found.setdefault(reader, {})[column] = None
        return {reader: list(names) for reader, names in found.items()}

    def _tree_aliases(self) -> dict[str, Alias]:
        said = {name: text for name, text in self.reader.tree_aliases.items() if name not in self.defaults}
        return tree_aliases(said, self, lambda name: self.files.place(name) is not None)

    def knows(self, name: str) -> bool:
        """Whether a name in an expression means something."""
        if name in self.names or name in self.files.friends or name in FUNCTIONS:
            return True
        return any(name in groups_of(other) for other in (*self.reader.names, *self.defaults))


OpenFile: TypeAlias = TreeReader | View
"""A file as an analysis sees it."""


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

    @lazy_property
    def _kinds(self) -> Interpreted:
        """How branches are read; made when the analysis is there, with modules that this may need."""
        return unpacked(self._shared_inputs.interpretations)

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
        _check_registered(file, reader)
        if self._is_plain(file, reader):
            return reader
        friends = {}
        for (name, friend), its in zip(file.friends.items(), others, strict=True):
            try:
                friends[name] = readers.get(friend.path, friend.tree, since, its, credential_set)
            except DatasetError as error:
                raise DatasetError(
                    f"{reader.path} has no friend {name}: {error}", transient=error.transient, denied=error.denied
                ) from error
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
        if view is None or view.reader is not reader or view.files.opened != friends:
            view = View(reader, friends, self._shared_inputs, file.friends, self._kinds)
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


def _check_registered(file: File, reader: TreeReader) -> None:
    """Raise `DatasetError` when a file of a catalogue is not the one that was registered."""
    if file.identity not in ("", reader.identity):
        of = f" as a file of {file.dataset}" if file.dataset else ""
        raise DatasetError(
            f"{reader.path} has changed since it was registered in the catalogue{of}: it had {described(file.identity)}, "
            f"and now it has {described(reader.identity)}. session.datasets.verify looks at all files of the dataset, "
            "session.datasets.refresh takes them as they are now"
        )
