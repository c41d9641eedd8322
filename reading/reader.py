"""One open file: its layout, and its columns by range of entries.

A reader opens a file once and is kept, so that the packets of a file that a slot works on in turn cost no new opening.
Plain branches go through `baskets`, or `pages` in an RNTuple; everything else (vectors of vectors, objects) through
uproot, whose awkward arrays are taken apart into columns here. Whatever goes wrong with a file comes out as a
`DatasetError` that names the file and says what to do.
"""

from __future__ import annotations

import functools
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import awkward as ak
import numpy as np
import uproot
from uproot.exceptions import KeyInFileError

from ..analysis.expressions import nearest
from ..protocol.errors import DatasetError
from .awkward_forms import branch_form, field_forms, plain_form, type_text
from .columns import Column, Flat, Jagged, Strings
from .lazy_events import LazyEvents, layout_of
from .lazy_property import lazy_property
from .opening import check_closed, opened, told, trees_in
from .read_errors import read_errors
from .rntuple.clusters import Clusters, read
from .rntuple.ntuples import Ntuple
from .rntuple.pages import Pages
from .shared_layout import SharedLayout
from .storage.credentials import CredentialSet
from .storage.local import LocalSource, Range
from .storage.sources import Counts, ReadAhead, Traffic, XRootDAhead
from .ttree.basket_layout import Branch, basket_edges
from .ttree.baskets import Baskets, IrregularError
from .ttree.branches import Named, Written, by_name, counts_of_clones
from .ttree.streamer_parser import Tree, order_of, parsed
from .ttree.tree_index import TreeIndex
from .ttree.whole_baskets import WholeBaskets
from .whole_file import WholeFile

_SHOWN = 5
MOST_CLUSTERS = 1000
"""A layout travels in a message: of more boundaries, evenly chosen ones are kept."""


@dataclass(frozen=True, slots=True)
class FileLayout:
    """What has to be known of a file to cut it into packets.

    Attributes:
        entries: entries of the tree.
        clusters: entries at which reading is best cut, ascending, from 0 to `entries` inclusive (0 if empty).
        tree: name of the tree within the file.
        identity: as `Reader.identity`.
    """

    entries: int
    clusters: tuple[int, ...]
    tree: str
    identity: str


class Reader(WholeFile):
    """A tree of a file, open for reading.

    Args:
        path: a local path, or a root:// or http(s):// address.
        tree: name of a TTree or RNTuple, with its folders; "" takes the only one in the file.
        timeout: seconds that a remote file's server may take to answer one request.
        credential_set: what to show to servers; by default what is found in the environment.
        layout: what another slot has told of the file (`news`): its metadata are not read then.
        directory: the file, if it is open already (`opening.opened`), for whoever reads several of its trees.

    Raises:
        DatasetError: there is no such file, it is not a whole ROOT file, or it has no such tree.

    Example:
        >>> reader = Reader("root://host//store/run1.root", "Events")                       # doctest: +SKIP
        >>> reader.read(["Muon_pt", "MET_pt"], 0, reader.layout(None).entries)              # doctest: +SKIP
    """

    def __init__(
        self,
        path: str,
        tree: str = "",
        timeout: float = 30.0,
        credential_set: CredentialSet | None = None,
        layout: bytes = b"",
        directory: Any = None,
    ) -> None:
        if directory is not None:
            self.__dict__["directory"] = directory
        self.path = path.partition("?")[0] if "://" in path else path
        """As others may see it: what follows a `?` may be a token."""
        self.opened = time.monotonic()
        self.identity = ""
        """Changes when the file is replaced by another one of the same name: its UUID and size."""
        self.touched: set[str] = set()
        """Names of the branches that have been read since the last call of `events`."""
        self._weights: dict[tuple[str, ...], float] = {}
        self._opening = path, timeout, credential_set
        try:
            with read_errors(self.path, "cannot be opened"):
                known = told(layout, *self._opening) if layout else None
                if known is None:
                    self.source: Counts | LocalSource = self.directory.file.source
                    self.tree = self._only_tree() if tree == "" else tree
                    self.identity = _identity(self.directory)
                    self._described = self._description()
                else:
                    self.source, shared, self._described = known
                    self.tree, self.identity = shared.tree, shared.identity
                self._is_news = known is None
                self.is_rntuple = isinstance(self._described, Ntuple)
                self.baskets = self._short_way()
                self.entries = self._number_of_entries()
        except BaseException:
            self.close()
            raise

    def _short_way(self) -> Baskets | Pages:
        """What reads the plain branches, without uproot's interpretations."""
        if isinstance(self._described, Ntuple):
            return Pages(self.source, self._described)
        return Baskets(self.source, self.names, None if self._described is None else self._described.branches)

    def _number_of_entries(self) -> int:
        return int(self._tree.num_entries) if self._described is None else self._described.entries

    @lazy_property
    def directory(self) -> Any:
        """The file as uproot has it. Who was told its layout opens it only for what is not plain."""
        with read_errors(self.path, "cannot be opened"):
            directory = opened(*self._opening)
        if self.identity not in ("", _identity(directory)):
            directory.close()
            raise DatasetError(f"{self.path} has changed since it was opened: submit the query again")
        return directory

    def news(self) -> bytes:
        """The file's layout, to be told to other slots, once; nothing if it came from them, or cannot be told."""
        if not self._is_news or self._described is None or self.source.stamp is None:
            return b""
        self._is_news = False
        try:
            return SharedLayout.of(self.tree, self._described, self.identity, self.source.stamp).packed()
        except ValueError:  # too much to be told
            return b""

    @property
    def is_far(self) -> bool:
        """Whether the file is read over a network, as far as its address tells."""
        return not isinstance(self.source, LocalSource)

    @property
    def traffic(self) -> Traffic:
        """What has been asked for so far, and how long it took."""
        sources = [self.source]
        if "directory" in self.__dict__ and self.directory.file.source is not self.source:  # uproot had to open it, too
            sources.append(self.directory.file.source)
        return Traffic.of(Traffic(it.requests, it.bytes_read, it.waited, it.latency) for it in sources)

    @lazy_property
    def names(self) -> Mapping[str, Any]:
        """All branches (fields, in an RNTuple) by name, as `branches.by_name` and `branches.Written`."""
        if isinstance(self._described, Ntuple):
            return Named(self._described.names, self.branch, self._described.schema.has_member)
        if self._described is not None:
            return Written(Named(self._described.branches, self.branch))
        return Written(by_name(self._tree))

    @lazy_property
    def _tree(self) -> Any:
        """The tree as uproot has it: only what is not plain needs that."""
        with read_errors(self.path, "cannot be opened"):
            return self._find_tree(self.tree)

    @lazy_property
    def keeping(self) -> Any:
        """The file's directory for others to take trees from, again and again: with 1,500 branches, each time takes a second
        where none is kept.
        """
        self.directory.file.object_cache = {}
        return self.directory

    def branch(self, name: str) -> Any:
        """A branch (a field, in an RNTuple) as uproot has it."""
        with read_errors(self.path, "cannot be read"):
            if isinstance(self._described, Ntuple):
                return self._tree.all_fields[self._described.schema.number(name)]
            return self._tree[name]

    def _description(self) -> Tree | Ntuple | None:
        """What the tree says of itself, if that is said in the usual way."""
        try:
            key = self.directory.key(self.tree)
        except KeyInFileError:
            return None
        if key.fClassName == "ROOT::RNTuple":
            return Ntuple.read(self.source, self._tree.members)
        if key.fClassName != "TTree":
            return None
        chunk, _ = key.get_uncompressed_chunk_cursor()
        return parsed(bytes(chunk.raw_data), key.fKeylen)

    @property
    def uuid(self) -> str:
        """The file's UUID, as it says of itself."""
        return self.identity.partition(":")[0]

    @lazy_property
    def order(self) -> str:
        """As `trees.Tree.order`."""
        if self._described is not None:
            return self._described.order if isinstance(self._described, Tree) else ""
        with read_errors(self.path, "cannot be read"):
            chunk, _ = self.directory.key(self.tree).get_uncompressed_chunk_cursor()
            return order_of(self._tree.member("@fBits"), b"TTreeIndex" in bytes(chunk.raw_data))  # uproot skips it

    @lazy_property
    def tree_index(self) -> TreeIndex:
        """The index of a tree whose `order` is "indexed"."""
        with read_errors(self.path, "cannot be read in the index of its tree"):
            chunk, _ = self.directory.key(self.tree).get_uncompressed_chunk_cursor()
            return TreeIndex.of(bytes(chunk.raw_data))

    @lazy_property
    def tree_aliases(self) -> dict[str, str]:
        """The aliases that the tree itself has (`TTree::SetAlias`), in the syntax of ROOT."""
        described = self._described
        has_none = self.is_rntuple if not isinstance(described, Tree) else not described.has_aliases
        with read_errors(self.path, "cannot be read"):
            return {} if has_none else dict(self._tree.aliases)

    def types(self, branches: Iterable[str]) -> dict[str, str]:
        """The types of branches' values in an event, as awkward writes them: `float32`, `var * float32`."""
        with read_errors(self.path, "cannot be read"):
            forms = self._forms([self._known(name) for name in branches])
        return {name: "unknown" if form is None else type_text(form) for name, form in forms.items()}

    def is_current(self, since: float) -> bool:
        """Whether the path still means the file that is open here, as far as its time and size tell.

        A local file is looked at each time; a server is asked only if the file was opened before `since`
        (`time.monotonic()`), and one that cannot be asked is taken to have another file by now.
        """
        source = self.source
        asked = time.monotonic()
        if not isinstance(source, LocalSource) and self.opened >= since:
            return True
        current = isinstance(source, LocalSource | XRootDAhead) and source.is_current()
        if current:
            self.opened = asked
        return current

    def check_unchanged(self) -> None:
        """Raise `DatasetError` when somebody has written to the file since it was opened, as far as a local disk tells:
        what was read meanwhile may be of the old file, the new one, or both.
        """
        source = self.source
        if isinstance(source, LocalSource) and not source.is_unchanged():
            raise DatasetError(f"{self.path} was written to while it was read: submit the query again")

    def close(self) -> None:
        """Close the file. What has been read stays valid; lazy columns not read by then do not."""
        if "source" in self.__dict__:
            self.source.__exit__(None, None, None)
        if "directory" in self.__dict__:
            self.directory.close()

    # --- the packets' view --------------------------------------------------------------------------------------------

    def layout(self, branches: Sequence[str] | None = None) -> FileLayout:
        """The file's entries and the boundaries that its baskets have in common.

        Args:
            branches: those that will be read; None for all.
        """
        names = list(self.names) if branches is None else [self._known(name) for name in branches]
        with read_errors(self.path, "cannot be read"):
            edges = self.baskets.edges if isinstance(self.baskets, Pages) else self._common_edges(names)
        return FileLayout(self.entries, few_edges(edges), self.tree, self.identity)

    def _common_edges(self, names: list[str]) -> Any:
        common = np.array([0, self.entries], dtype=np.int64)
        edges = [edges for name in names if (edges := self._edges(name)) is not None]
        if edges:
            common = np.union1d(common, functools.reduce(np.intersect1d, edges))
        return common[common <= self.entries]

    def _edges(self, name: str) -> Any:
        """The first entry of each basket of a branch, and the entry after the last; None if it has no data of its own."""
        plain = self._plain(name)
        if plain is not None:
            return plain.edges
        branch = self.names[name]
        return None if branch.branches else basket_edges(branch)

    def _plain(self, name: str) -> Branch | None:
        return self.baskets.branch(name) if isinstance(self.baskets, Baskets) else None

    def stride(self, branches: Sequence[str] | None = None) -> int:
        """Entries in a basket (a page, in an RNTuple) of the branches, on average: what is read as a whole anyway."""
        names = list(self.names) if branches is None else [self._known(name) for name in branches]
        with read_errors(self.path, "cannot be read"):
            if isinstance(self.baskets, Pages):
                return self.baskets.stride(names)
            baskets = [len(edges) - 1 for name in names if (edges := self._edges(name)) is not None]
        return max(1, self.entries * len(baskets) // max(1, sum(baskets)))

    def weight(self, branches: Iterable[str]) -> float:
        """Bytes in the file of an entry of the branches, compressed as they are, on average; only plain ones count."""
        names = tuple(branches)
        if names not in self._weights:
            plain = [name for name in names if self.is_plain(self._known(name))]
            with read_errors(self.path, "cannot be read"):
                self._weights[names] = self.baskets.weight(plain) if self.entries else 0.0
        return self._weights[names]

    def ranges_ahead(self, branches: Sequence[str], ranges: Sequence[Range]) -> None:
        """As `ahead`, for `read_ranges`."""
        with read_errors(self.path, "cannot be read"):
            self.baskets.ahead([name for name in branches if self.is_plain(self._known(name))], ranges)

    def forget_ahead(self) -> None:
        """Drop what was asked for ahead, and what is kept for a next read: nobody is going to read there."""
        self.baskets.forget()
        self._whole_baskets.forget()
        if isinstance(self.source, ReadAhead):
            self.source.forget()

    # --- the kernels' view --------------------------------------------------------------------------------------------

    def read_ranges(self, branches: Sequence[str], ranges: Sequence[Range]) -> Iterator[dict[str, Column]]:
        """As `read`, for each of some ranges of entries, ascending. What is far is fetched for all of them together."""
        for start, stop in ranges:
            self._check_entries(start, stop)
        plain = self._read_plain([self._known(name) for name in branches], ranges)
        for start, stop in ranges:
            with read_errors(self.path, "cannot be read"):
                columns = next(plain)
            for name in branches:
                if name not in columns:
                    array = self.array(name, start, stop)
                    with read_errors(self.path, f"cannot be read in its branch {name}"):
                        columns[name] = column_of(
                            array.layout, f"branch {name} of {self.path}, of type {array.type.content},"
                        )
            yield columns
        self.touched.update(branches)

    def _read_plain(self, names: Sequence[str], ranges: Sequence[Range]) -> Iterator[dict[str, Column]]:
        """Of each range, the columns of those among the branches that are plain."""
        done = 0
        while done < len(ranges):
            try:
                for columns in self.baskets.read([name for name in names if self.is_plain(name)], ranges[done:]):
                    yield columns
                    done += 1
            except IrregularError as irregular:
                self.baskets.leave(str(irregular))

    def array(self, name: str, start: int, stop: int) -> ak.Array:
        """One branch as uproot reads it, whatever its type. Raises `DatasetError` as `read` does."""
        branch = self.names[self._known(name)]
        with read_errors(self.path, f"cannot be read in its branch {name}"):
            if isinstance(self.baskets, Pages):
                array = self._clusters.array(name, branch, start, stop)
            else:
                array = self._whole_baskets.array(name, branch, start, stop)
                self._check_counts(name, branch, array, start)
        if len(array) != stop - start:
            raise DatasetError(f"branch {name} of {self.path} has fewer entries than its tree {self.tree}")
        self.touched.add(name)
        return array

    @lazy_property
    def _clusters(self) -> Clusters:
        return Clusters(self.baskets.edges if isinstance(self.baskets, Pages) else np.zeros(1, dtype=np.int64))

    @lazy_property
    def _whole_baskets(self) -> WholeBaskets:
        return WholeBaskets()

    # --- the columnar functions' view ---------------------------------------------------------------------------------

    def events(self, start: int, stop: int) -> ak.Array:
        """Events `[start, stop)` as an awkward array of records, whose columns are read when they are touched.

        The columns touched since the last call are asked for ahead, in one request, where the file is far.

        Raises:
            DatasetError: no such entries. Touching a column raises it when the file cannot be read.
        """
        self._check_entries(start, stop)
        self.ahead(sorted(self.touched), start, stop)
        self.touched = set()
        with read_errors(self.path, "cannot be read"):
            return self.lazy.array(self, start, stop)

    @lazy_property
    def lazy(self) -> LazyEvents:
        """Makes arrays of events whose columns are read when they are touched."""
        with read_errors(self.path, "cannot be read"):
            plain = {name: self.baskets.branch(name) for name in self.names}
            counters = {name: branch.counter for name, branch in plain.items() if branch is not None and branch.counter}
            if self._described is None:
                clones = counts_of_clones(self.names).items()
                counters |= {
                    name: of for name, of in clones if (count := self._plain(of)) is not None and count.is_count
                }
            return LazyEvents(self.forms(), counters, path=self.path, has_member=self.has_member)

    def has_member(self, name: str) -> bool:
        """Whether this is a member of records, or the lengths of lists of them (see `rntuple.members`)."""
        return isinstance(self._described, Ntuple) and self._described.schema.has_member(name)

    def forms(self) -> dict[str, Any]:
        """The awkward forms of all branches that have data of their own and that awkward arrays can hold, by name."""
        return {name: form for name, form in self._forms(list(self.names)).items() if form is not None}

    def _forms(self, names: Sequence[str]) -> dict[str, Any]:
        """The forms of some branches; None for those that have none."""
        if not isinstance(self._described, Ntuple):
            return {name: self._form(name) for name in names}
        [plain] = self.baskets.read([name for name in names if self.is_plain(name)], [(0, 0)])
        forms = {name: layout_of(column).form for name, column in plain.items()}
        own = [name for name in names if name not in forms and not self.has_member(name)]
        forms |= {name: self._described.schema.form(name) for name in own}
        forms |= {name: read(self.names[name], 0, 0).layout.form for name in names if name not in forms}
        unknown = {name: self.names[name] for name in names if forms[name] is None}
        forms |= field_forms(self._tree, unknown) if unknown else {}
        return {name: forms[name] for name in names}

    def _form(self, name: str) -> Any:
        plain = self._plain(name)
        if plain is not None:
            return plain_form(plain.stored, plain.shape, plain.is_list, plain.header)
        branch = self.names[name]
        return None if branch.branches else branch_form(branch)

    # --- what can be wrong --------------------------------------------------------------------------------------------

    def is_plain(self, name: str) -> bool:
        """Whether a branch goes the short way."""
        return self.baskets.branch(name) is not None

    def _check_counts(self, name: str, branch: Any, array: ak.Array, start: int) -> None:
        """Compare lists as uproot has read them with their counter."""
        count = branch.count_branch
        layout = array.layout
        if count is None or not layout.is_list or layout.is_regular or layout.parameter("__array__") is not None:
            return
        counter = self._plain(count.name)
        if counter is None or not counter.is_count or self.names[count.name] is not count:
            return
        [columns] = self.baskets.read([count.name], [(start, start + len(array))])
        counts, lengths = columns[count.name], ak.to_numpy(ak.num(array))
        if isinstance(counts, Flat) and (wrong := counts.values != lengths).any():
            entry = int(wrong.argmax())
            raise ValueError(
                f"its list of entry {start + entry} has {lengths[entry]} elements, and its counter {count.name} says "
                f"{counts.values[entry]}: one of the two is damaged"
            )

    def _check_entries(self, start: int, stop: int) -> None:
        if not 0 <= start <= stop <= self.entries:
            raise DatasetError(f"{self.path} has {self.entries} entries in {self.tree}, not [{start}, {stop})")

    def _known(self, name: str) -> str:
        if name not in self.names:
            raise DatasetError(
                f"{self.path} has no branch {name} in its tree {self.tree}{nearest(name, self.names)}",
                missing_column=name,
            )
        return name

    def _only_tree(self) -> str:
        trees = trees_in(self.directory)
        if len(trees) != 1:
            check_closed(self.directory, self.path)
            raise DatasetError(f"{self.path} {_which_of(trees)}")
        return trees[0]

    def _find_tree(self, name: str) -> Any:
        try:
            tree = self.directory[name]
        except KeyInFileError:
            check_closed(self.directory, self.path)
            trees = trees_in(self.directory)
            hint = f"; it has {', '.join(trees)}" if 0 < len(trees) <= 10 else nearest(name, trees)
            raise DatasetError(f"{self.path} has no tree {name}{hint}") from None
        if not isinstance(tree, uproot.TTree | uproot.behaviors.RNTuple.RNTuple):
            raise DatasetError(f"{name} in {self.path} is a {tree.classname}, not a tree")
        return tree


def few_edges(edges: Any) -> tuple[int, ...]:
    """The boundaries of baskets, of which there may not be too many, as they are told."""
    some = np.asarray(edges, dtype=np.int64)
    if len(some) > MOST_CLUSTERS:
        some = some[np.linspace(0, len(some) - 1, MOST_CLUSTERS).round().astype(np.int64)]
    return tuple(some.tolist())


def _which_of(trees: Sequence[str]) -> str:
    """What is wrong with a file that should have one tree."""
    if not trees:
        return "has no tree"
    shown = ", ".join(trees[:_SHOWN]) + (", ..." if len(trees) > _SHOWN else "")
    by_name = Counter(name.rpartition("/")[2] for name in trees if name.count("/") == 1)
    table, number = next(iter(by_name.most_common(1)), ("", 0))
    all_of_it = f", or tree='*/{table}' for all {number} of one table" if number > 1 else ""
    return f"has {len(trees)} trees ({shown}): say which with tree=...{all_of_it}"


def _identity(directory: Any) -> str:
    return f"{directory.file.uuid}:{directory.file.fEND}"


def column_of(layout: Any, where: str) -> Column:
    """Take an awkward layout apart into a column.

    Raises:
        DatasetError: the type is none that a kernel can take.
    """
    layout = layout.to_packed()
    if layout.is_regular or layout.is_list:
        lists = layout.to_ListOffsetArray64(True)
        offsets = lists.offsets.data
        if layout.parameter("__array__") in ("string", "bytestring"):
            return Strings(offsets, np.asarray(lists.content.data, dtype=np.uint8))
        return Jagged(offsets, column_of(lists.content, where))
    if layout.is_numpy and layout.data.dtype.kind in "biuf":
        return Flat(layout.data.astype(layout.data.dtype.newbyteorder("="), copy=False))
    raise DatasetError(f"{where} cannot be used in a kernel: use a columnar function for it")
