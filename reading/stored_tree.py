"""A tree in an open file: the file's bytes, what the tree says of itself, and uproot's objects for what that does not say.

A description is read by us where it is written in the usual way, or told by another slot; uproot's own takes ten times as
long to make, so that it is made only when somebody asks for what is not plain.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import uproot
from uproot.exceptions import KeyInFileError

from ..protocol.addresses import shown
from ..protocol.errors import DatasetError, nearest
from .awkward_forms import branch_form
from .lazy_property import lazy_property
from .opening import check_closed, opened, told, trees_in
from .read_errors import read_errors
from .rntuple.ntuples import Ntuple
from .shared_layout import SharedLayout
from .storage.credentials import CredentialSet
from .storage.local import LocalSource
from .storage.sources import Counts, Traffic, check_unchanged, is_current, place_of_tree
from .ttree.basket_layout import Branch
from .ttree.branch_kinds import Described, Group
from .ttree.branches import Named, Written, by_name, parents_of, paths_of
from .ttree.class_members import Members
from .ttree.cpp_classes import are_uproots, streamed_descriptions
from .ttree.odd_forms import KNOWN, OddForms, kind_of
from .ttree.streamer_parser import Tree, order_of, parsed
from .ttree.tree_index import TreeIndex

_SHOWN = 5
_MOST_NAMED = 10
"""Trees of a file that are named all where the one asked for is not there."""


class StoredTree:
    """A tree where it is stored.

    Args:
        path, tree, timeout, credential_set, layout, directory: as `Reader`'s.

    Attributes:
        path: as others may see it: what follows a `?` may be a token.
        name: the tree's, with its folders.
        identity: changes when the file is replaced by another one of the same name: its UUID and size.
        source: the file's bytes.
        described: what the tree says of itself; None where it says that in a way that only uproot knows.
        opened: when the file was opened, or known last to be current (`time.monotonic()`).

    Raises:
        DatasetError: there is no such file, it is not a whole ROOT file, or it has no such tree.

    Example:
        >>> stored = StoredTree("run1.root", "Events")                                            # doctest: +SKIP
        >>> stored.entries, list(stored.names)                                                    # doctest: +SKIP
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
        self.path = shown(path)
        self.opened = time.monotonic()
        self.identity = ""
        self._opening = path, timeout, credential_set
        self._odd: OddForms | None = None
        try:
            with read_errors(self.path, "cannot be opened"):
                known = told(layout, *self._opening) if layout else None
                if known is None:
                    self.source: Counts | LocalSource = self.directory.file.source
                    self.name = self._only_tree() if tree == "" else tree
                    self.identity = _identity(self.directory)
                    self.described = self._description()
                else:
                    self.source, shared, self.described = known
                    self._odd = shared.told.odd if are_uproots() else None
                    self.name, self.identity = shared.tree, shared.identity
                self._is_news = known is None
                self.entries = int(self.tree.num_entries) if self.described is None else self.described.entries
        except BaseException:
            self.close()
            raise

    @property
    def is_rntuple(self) -> bool:
        """Whether it is an RNTuple that describes itself, not a TTree."""
        return isinstance(self.described, Ntuple)

    @lazy_property
    def directory(self) -> Any:
        """The file as uproot has it. Who was told its layout opens it only for what is not plain."""
        with read_errors(self.path, "cannot be opened"):
            directory = opened(*self._opening)
        if self.identity not in ("", _identity(directory)):
            directory.close()
            raise DatasetError(f"{self.path} has changed since it was opened: submit the query again")
        return directory

    @lazy_property
    def tree(self) -> Any:
        """The tree as uproot has it: only what is not plain needs that."""
        with read_errors(self.path, "cannot be opened"):
            self.directory.file.share_classes()
            return self._find_tree(self.name)

    @lazy_property
    def keeping(self) -> Any:
        """The file's directory for others to take trees from, again and again: with 1,500 branches, each time takes a second
        where none is kept.
        """
        self.directory.file.object_cache = {}
        return self.directory

    @lazy_property
    def names(self) -> Mapping[str, Any]:
        """All branches (fields, in an RNTuple) by name, as `branches.by_name` and `branches.Written`."""
        if isinstance(self.described, Ntuple):
            return Named(self.described.names, self.branch, self.described.schema.has_member)
        if self.described is not None:
            return Written(Named(self.described.branches, self.branch), self._form_of_records, self._paths)
        return Written(self.tbranches, self._form_of_records, self._paths)

    def _paths(self) -> dict[str, str]:
        if isinstance(self.described, Tree):
            return paths_of(self.described.branches, self.described.parents)
        return paths_of(self.tbranches, parents_of(self.tree, self.tbranches))

    def _form_of_records(self, name: str) -> Any:
        """The awkward form of a branch of a TTree whose records may have members; None for plain ones and unknown ones."""
        described = self.described.branches if isinstance(self.described, Tree) else self.tbranches
        if name not in described or (isinstance(self.described, Tree) and self.described.branches[name] is not None):
            return None
        branch = self.tbranches[name]
        with read_errors(self.path, f"cannot be read in its branch {name}"):
            return None if branch.branches else branch_form(branch)

    def branch(self, name: str) -> Any:
        """A branch (a field, in an RNTuple) as uproot has it."""
        with read_errors(self.path, "cannot be read"):
            if isinstance(self.described, Ntuple):
                return self.tree.all_fields[self.described.schema.number(name)]
            return self.tbranches[name]

    @lazy_property
    def tbranches(self) -> dict[str, Any]:
        """The branches of a TTree as uproot has them, as `branches.by_name`."""
        return by_name(self.tree)

    def is_group(self, name: str) -> bool:
        """Whether the tree says that a branch has nothing of its own to read."""
        return isinstance(self.described, Tree) and isinstance(self.described.branches.get(name), Group)

    @property
    def is_described_wholly(self) -> bool:
        """Whether uproot has to be asked of none of the branches."""
        return isinstance(self.described, Ntuple) or (
            isinstance(self.described, Tree) and None not in self.described.branches.values()
        )

    def odd_forms(self) -> OddForms:
        """What is known of branches of which the tree does not say enough, from another slot or a file of that kind."""
        if self._odd is None and self._kind is not None and (known := KNOWN.get(self._kind)) is not None:
            self._odd, self._is_news = known, True
        return self._odd or OddForms()

    def learn(self, told: Mapping[str, tuple[Any, str]]) -> None:
        """Keep what uproot said of such branches, for other files of that kind and for other slots.

        Args:
            told: of all branches by name, the form (None: it has none), and the branch that has the lengths of its lists.
        """
        if isinstance(self.described, Tree) and self._kind is not None:
            branches = self.described.branches
            forms = {name: told[name][0] for name, branch in branches.items() if branch is None}
            counters = {name: counter for name, (_, counter) in told.items() if counter != _counter(branches[name])}
            self._odd, self._is_news = OddForms.of(forms, counters), True
            KNOWN.add(self._kind, self._odd)

    @lazy_property
    def _kind(self) -> str | None:
        """As `odd_forms.kind_of`; None where it does not matter, or says too little."""
        if not isinstance(self.described, Tree) or not self.described.structure or not are_uproots():
            return None
        return kind_of(self.directory.file, self.described.structure)

    def _description(self) -> Tree | Ntuple | None:
        """What the tree says of itself, if that is said in the usual way."""
        try:
            key = self.directory.key(self.name)
        except KeyInFileError:
            return None
        if key.fClassName == "ROOT::RNTuple":
            return Ntuple.read(self.source, self.tree.members)
        if key.fClassName not in ("TTree", "TNtuple", "TNtupleD"):
            return None
        members = Members(lambda: streamed_descriptions(self.directory.file))
        return parsed(self._streamed(), key.fKeylen, members, is_within=key.fClassName != "TTree")

    def _streamed(self) -> bytes:
        """What the tree says of itself, as it is written."""
        chunk, _ = self.directory.key(self.name).get_uncompressed_chunk_cursor()
        return bytes(chunk.raw_data)

    def news(self) -> bytes:
        """The file's layout, to be told to other slots, once, and again when more is known; nothing if it came from them,
        or cannot be told.
        """
        if not self._is_news or self.described is None or self.source.stamp is None:
            return b""
        self._is_news = False
        try:
            return SharedLayout.of(self.name, self.described, self.identity, self.source.stamp, self._odd).packed()
        except ValueError:  # too much to be told
            return b""

    @property
    def place(self) -> bytes:
        """What is the same for the tree of a file under all of the file's names, and for no other; nothing if not known.

        A copy is another file, though it says that it has the same UUID.
        """
        return place_of_tree(self.identity, self.source, self.name)

    @property
    def uuid(self) -> str:
        """The file's UUID, as it says of itself."""
        return self.identity.partition(":")[0]

    @lazy_property
    def order(self) -> str:
        """As `trees.Tree.order`."""
        if self.described is not None:
            return self.described.order if isinstance(self.described, Tree) else ""
        with read_errors(self.path, "cannot be read"):
            return order_of(self.tree.member("@fBits"), b"TTreeIndex" in self._streamed())  # uproot skips it

    @lazy_property
    def tree_index(self) -> TreeIndex:
        """The index of a tree whose `order` is "indexed"."""
        with read_errors(self.path, "cannot be read in the index of its tree"):
            return TreeIndex.of(self._streamed())

    @lazy_property
    def tree_aliases(self) -> dict[str, str]:
        """The aliases that the tree itself has (`TTree::SetAlias`), in the syntax of ROOT."""
        described = self.described
        has_none = isinstance(described, Ntuple) if not isinstance(described, Tree) else not described.has_aliases
        with read_errors(self.path, "cannot be read"):
            return {} if has_none else dict(self.tree.aliases)

    @property
    def traffic(self) -> Traffic:
        """What has been asked for so far, and how long it took."""
        sources = [self.source]
        if "directory" in self.__dict__ and self.directory.file.source is not self.source:  # uproot had to open it, too
            sources.append(self.directory.file.source)
        return Traffic.of(Traffic(it.requests, it.bytes_read, it.waited, it.latency) for it in sources)

    def is_current(self, since: float) -> bool:
        """As `sources.is_current`, of the file."""
        return is_current(self, since)

    def check_unchanged(self) -> None:
        """As `sources.check_unchanged`, of the file."""
        check_unchanged(self.source, self.path)

    def close(self) -> None:
        """Close the file. What has been read stays valid; lazy columns not read by then do not."""
        if "source" in self.__dict__:
            self.source.__exit__(None, None, None)
        if "directory" in self.__dict__:
            self.directory.close()

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
            raise DatasetError(
                f"{self.path} has no tree {name}{nearest(name, trees_in(self.directory), few=_MOST_NAMED)}"
            ) from None
        if not isinstance(tree, uproot.TTree | uproot.behaviors.RNTuple.RNTuple):
            raise DatasetError(f"{name} in {self.path} is a {tree.classname}, not a tree")
        return tree


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


def _counter(branch: Described) -> str:
    return branch.counter if isinstance(branch, Branch) else ""
