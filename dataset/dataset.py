"""Datasets: which files, which trees and entries in them, and what is known beforehand. No data file is touched here.

Whoever can look at a disk or a server gives `Dataset.expanded` a function that lists files.
"""

from __future__ import annotations

import copy
import operator
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import msgspec

from ..packetizer.call_costs import chunk_of
from ..packetizer.listed_entries import EntryList
from ..protocol.errors import DatasetError, nearest
from ..protocol.messages import CatalogueFile, CatalogueFiles, File, FriendTree
from ..protocol.values import Metadata
from .catalogue.entries import may_be_entry, replaced
from .catalogue.lists import Format, parsed, text_of, with_server
from .entry_lists import entry_list_of, runs_of, shown
from .expansion import ListFiles, expanded
from .filesets import as_fileset
from .friends import Friends
from .masks import BRANCHES, Mask
from .metadata import plain, split
from .paths import is_one_file, is_parquet, key, names, names_several, split_tree
from .shared_inputs import SharedInputs, aliases_of, defaults_of, interpretations_of

MOST_ENTRIES = 10**18

Path = str | os.PathLike[str]
Spec = Path | Sequence[Path | tuple[Path, ...]] | Mapping[str, Any]


class Dataset:
    """Named lists of files with the tree to read in each.

    Args:
        files: one of
            - a path: a file, a folder (its `*.root` or `*.parquet` files), a URL (`root://`, `http://`), or a pattern of
              `*`, `?`, `[...]`, and `**` for local folders of any depth; `path.root:Tree` names the tree too;
            - a list of these; a tuple in it is one file, with all the paths that it can be read at (its replicas);
            - `{path: tree}`, as uproot takes it;
            - `{name: files}` with any of the above, for several datasets;
            - a coffea fileset, `{name: {"files": ..., "metadata": {...}}}`, whose files are a list, or `{path: tree}`,
              or `{path: {"object_path": tree, "num_entries": n, "steps": [[start, stop], ...]}}`; also as its
              `DataGroupSpec` and `DatasetSpec`, or the chunks that `Runner.preprocess` makes of one.
            A file may be in several of the datasets: what is returned for each counts.
        tree: name of the tree where the file does not say; several names take every file once for each. A name with `*`,
            `DF_*/O2track`, takes all trees of a file that fit, as one tree. Without any, the only tree of a file is taken.
        metadata: numbers, words and flags, and lists and dicts of these, that go with every file for analyses to read;
            `{name: {...}}` for the files of one dataset.
        max_entries: use only the first entries of the whole dataset, in the order of its files; `{name: number}` for those
            of some of the named datasets.
        entries: entry lists, `{path: numbers}` for every file of the dataset, or the numbers for its only one: use no
            other entries. Numbers are a list or array of them, in any order; a `range` or `slice`, or a list of these.
        mask: use only events of good luminosity sections: the path of a golden JSON file, or a dict with what is in it,
            `{"run": [[first, last], ...]}`. With an entry list too, both must allow an event.
        mask_branches: the branches that have an event's run and luminosity section.
        aliases: names for expressions over the columns, in Python with `np` and `ak`, or for other aliases:
            `{"mu_pt": "Muon.pt", "ht": "ak.sum(Jet_pt, axis=1)"}`. They are used as branches are: in columnar functions,
            by kernels (`def f(h, mu_pt): ...`), in `session.draw`.
        friends: trees with more branches for the same entries, by name: `{"bdt": "scores.root:tree"}` for the only file,
            `{"bdt": "{folder}/{stem}_scores.root:tree"}` for many (also `{name}`, `{dataset}` and `{tree}`),
            `{"bdt": {path: path of its friend}}`, or a function of a path. A branch of theirs is `events.bdt.score`,
            `bdt_score` to kernels, and `score` where nothing else is called so. Its entries are those of the same numbers,
            or found by columns: `{"bdt": em.Friend("scores.root:tree", by=("run", "event"))}` (see `em.Friend`).
        defaults: what branches hold in files that do not have them: `{"Jet_btag": 0.0}`, a number for each event, or for
            each element of its lists where `nJet`, or what other branches Jet_* have for it, tells how many there are.
        interpretations: how branches (a friend's by `friend.branch`) are to be read, as uproot's `array` takes it:
            `{"hits": uproot.AsJagged(uproot.AsDtype(...), header_bytes=10)}`; or a class that makes it for a branch.
        chunk: entries that one call of an analysis gets, a number, or the least and the most; by default eventmill finds it.

    Raises:
        DatasetError: what is given is no description of files, or names a file twice; an entry list, a mask, an alias, a
            friend or a default is none.

    Example:
        >>> Dataset({"signal": ["a.root"], "background": ["b.root:Other", "c.root"]}, tree="Events")
        <Dataset of 3 files: signal (1), background (2)>
        >>> Dataset("a.root", entries=[7, 3, 4]).files[0].listed
        [3, 5, 7, 8]
    """

    _lists: dict[str, EntryList | None] | None = None
    """Entry lists by path, for as long as it is not known which files there are."""
    chunk: tuple[int, int] | None = None
    """The least and the most entries of a call, if they were given."""
    limits: Mapping[str, int] = MappingProxyType({})
    """How many entries are used of named datasets, the first ones."""
    _friends: Friends | None = None
    """Which friends the files have, as long as these are not given to them."""
    told: tuple[CatalogueFile, ...] = ()
    """Its files with their sizes and checksums, where a list of files of another catalogue has them."""
    _registered: frozenset[str] = frozenset()
    """Paths of files that a catalogue has named: nobody has to look for them."""

    def __init__(
        self,
        files: Spec,
        tree: str | Sequence[str] | None = None,
        *,
        metadata: Mapping[str, Any] | None = None,
        max_entries: int | Mapping[str, int] | None = None,
        entries: Any = None,
        mask: Path | Mapping[Any, Any] | None = None,
        mask_branches: tuple[str, str] = BRANCHES,
        aliases: Mapping[str, str] | None = None,
        friends: Mapping[str, Any] | None = None,
        defaults: Mapping[str, Any] | None = None,
        interpretations: Mapping[str, Any] | None = None,
        chunk: int | tuple[int, int] | None = None,
    ) -> None:
        self.chunk = None if chunk is None else chunk_of(chunk, DatasetError)
        parts = _by_name(as_fileset(files))
        shared, own = split(metadata or {}, parts)
        found: list[File] = []
        for name, part in parts.items():
            found += _parsed(part, _Defaults(name, _tree_names(tree), shared | own.get(name, {})))
        self.files: tuple[File, ...] = _checked(found)
        self.max_entries: int | None = None
        if isinstance(max_entries, Mapping):
            self.limits = _limits(max_entries, parts)
        elif max_entries is not None:
            self.max_entries = _count(max_entries, "max_entries")
        packed = b"" if mask is None else _mask(mask, mask_branches).pack()
        shared_inputs = SharedInputs(
            packed, aliases_of(aliases), defaults_of(defaults), interpretations_of(interpretations)
        )
        _check_columns(shared_inputs, friends or {})
        self.shared_inputs: tuple[bytes, ...] = shared_inputs.packed()
        if friends:
            self._friends = Friends(friends)
        if entries is not None:
            self._lists = _entry_lists(entries)
            if all(is_one_file(file.path) for file in self.files):
                self.files, self._lists = _with_lists(self._lists, self.files), None

    @classmethod
    def _of(cls, files: tuple[File, ...], max_entries: int | None, shared_inputs: tuple[bytes, ...]) -> Dataset:
        """A dataset of these files; `shared_inputs` is what every slot needs with it, at most one thing."""
        dataset = cls.__new__(cls)
        dataset.files, dataset.max_entries, dataset.shared_inputs = files, max_entries, shared_inputs
        return dataset

    @classmethod
    def of_files(cls, files: Iterable[File], of: Dataset | None = None) -> Dataset:
        """A dataset of files that are described already: part `of` another, whose mask, columns and chunk sizes it has."""
        dataset = cls._of(_checked(files), None, of.shared_inputs if of is not None else ())
        dataset.chunk = of.chunk if of is not None else None
        return dataset

    @classmethod
    def read(
        cls,
        path: Path,
        tree: str | None = None,
        *,
        kind: Format = "auto",
        prefix: str = "",
        name: str = "",
        **options: Any,
    ) -> Dataset:
        """A dataset from a list of files that another catalogue has written; it may be compressed (`.gz`).

        Args:
            path: of the list: paths line by line, a coffea fileset (JSON or YAML), what `rucio list-file-replicas` says (its
                table, `--pfns`, `--metalink`, or JSON of its client), `dasgoclient -json` of files, or a file index of CERN
                Open Data.
            tree: as `Dataset` takes it.
            kind: "text", "fileset", "rucio", "das" or "opendata"; by default what it looks like.
            prefix: put before paths that are no URLs: `root://xrootd-cms.infn.it/` before CMS' `/store/...`.
            name: the dataset's.
            options: all others of `Dataset`: metadata, mask, max_entries, ...

        Lengths that the list has (of `Events`, CMS) are taken for granted until a file is opened; sizes and checksums are
        kept with what is registered in a catalogue.

        Raises:
            DatasetError: there is no such list, or it is in another format; names the line.

        Example:
            >>> Dataset.read("das.json", "Events", prefix="root://xrootd-cms.infn.it/", mask="golden.json") # doctest: +SKIP
            <Dataset of 52 files>
        """
        found = parsed(text_of(path), os.fspath(path), kind, prefix)
        if isinstance(found, dict):
            dataset = cls(found, tree, **options)
            files = [msgspec.structs.replace(file, path=with_server(file.path, prefix)) for file in dataset.files]
            dataset.files = _checked(files)
            return dataset
        paths = [(it.file.path, *it.file.replicas) if it.file.replicas else it.file.path for it in found]
        dataset = cls({name: paths} if name else paths, tree, **options)
        lengths = {it.file.path: it.file.entries for it in found if tree in (None, "", "Events")}
        dataset.files = tuple(
            file if lengths.get(file.path) is None else msgspec.structs.replace(file, entries=lengths[file.path])
            for file in dataset.files
        )
        dataset.told = tuple(found)
        return dataset

    @property
    def has_columns(self) -> bool:
        """Whether analyses see more than the branches of its files: aliases, friends, or defaults."""
        befriended = self._friends is not None or any(file.friends for file in self.files)
        return befriended or (self.files[0].kind == "tree" and self.of_columns.is_about_columns)

    @property
    def of_columns(self) -> SharedInputs:
        """The aliases and defaults, and the mask, of a dataset of files."""
        return SharedInputs.unpack(self.shared_inputs[0]) if self.shared_inputs else SharedInputs()

    def expanded(self, list_files: ListFiles) -> Dataset:
        """The dataset with patterns and folders replaced by the files they stand for.

        Args:
            list_files: gives the files of one path or pattern, in order; raises `DatasetError` when there are none.

        Raises:
            DatasetError: a pattern stands for no file, a file is named twice, or an entry list is of no file.
        """
        if self.files[0].kind != "tree":
            return self

        def found_at(path: str) -> Sequence[str]:
            return [path] if path in self._registered else list_files(path)

        files = _checked(expanded(self.files, found_at))
        if self._lists is not None:
            files = _with_lists(self._lists, files)
        if self._friends is not None:
            files = self._friends.given_to(files)
        whole = copy.copy(self)  # with all that was said of it, also what is added to datasets one day
        whole.files, whole._lists, whole._friends = files, None, None
        return whole

    def of_tree(self, tree: str) -> Dataset:
        """The same files with another of their trees, such as `Runs` or `LuminosityBlocks`, in every file once.

        What was said of the columns of the first tree (aliases, friends, defaults, interpretations) is not of this one.

        Args:
            tree: its name.

        Raises:
            DatasetError: only some entries of the files are used, by `max_entries`, `entries` or a mask, and which rows of
                the other tree belong to them nobody can tell; or the dataset is in no files.

        Example:
            >>> Dataset({"ttbar": ["a.root", "b.root"]}, tree="Events").of_tree("Runs").files[1].tree
            'Runs'
        """
        if self.files[0].kind != "tree":
            raise DatasetError(f"{self!r} is in no file, and has no tree {tree}")
        is_limited = self.max_entries is not None or self.limits
        if is_limited or self.has_entry_lists or self.of_columns.mask:
            what = "max_entries" if is_limited else "an entry list" if self.has_entry_lists else "a mask"
            raise DatasetError(
                f"the dataset has {what}: rows of {tree} are of whole files, and which of them belong to the entries that "
                "are used cannot be told. Name the files without it"
            )
        found = {
            (file.dataset, file.path): msgspec.structs.replace(file, tree=tree, entries=None, friends={})
            for file in self.files
        }
        dataset = Dataset.of_files(found.values())
        dataset._registered = self._registered
        return dataset

    def of_trees(self, trees: Iterable[str]) -> Dataset:
        """The same files, with several of their trees each: for an analysis by tree.

        Args:
            trees: their names; what is known of the dataset's own is kept, if it is among them.

        Raises:
            DatasetError: as `of_tree`; or the dataset has aliases, friends, defaults or interpretations, which are of
                columns of one tree.
        """
        wanted = list(trees)
        others = {tree: self.of_tree(tree) for tree in wanted}
        if self.has_columns:
            raise DatasetError(
                f"the dataset has aliases, friends or defaults, which are of one tree, and {', '.join(wanted)} are to be "
                "analysed: do so in queries of their own"
            )
        own = {(file.dataset, file.path, file.tree): file for file in self.files}
        found = [own.get((file.dataset, file.path, file.tree), file) for tree in wanted for file in others[tree].files]
        dataset = copy.copy(self)
        dataset.files = _checked(found)
        return dataset

    @property
    def has_entry_lists(self) -> bool:
        """Whether only listed entries of its files are used."""
        return self._lists is not None or any(file.listed is not None for file in self.files)

    @property
    def named(self) -> list[str]:
        """What in it may be names of a catalogue, and not of files."""
        trees = (file for file in self.files if file.kind == "tree" and not file.replicas)
        return list(dict.fromkeys(file.path for file in trees if may_be_entry(file.path)))

    def resolved(self, entries: Mapping[str, CatalogueFiles]) -> Dataset:
        """The dataset with the files of entries of a catalogue in the place of their names.

        Raises:
            DatasetError: something was said of an entry that is not of a whole dataset, or a file is named twice.
        """
        files, registered = replaced(self.files, entries)
        dataset = copy.copy(self)
        dataset.files, dataset._registered = _checked(files), registered
        return dataset

    def __len__(self) -> int:
        return len(self.files)

    def __repr__(self) -> str:
        names: dict[str, int] = {}
        for file in self.files:
            names[file.dataset] = names.get(file.dataset, 0) + 1
        named = ", ".join(f"{name} ({count})" for name, count in names.items() if name)
        return f"<Dataset of {len(self)} file{'' if len(self) == 1 else 's'}{': ' + named if named else ''}>"


def _limits(given: Mapping[str, int], names: Mapping[str, Any]) -> dict[str, int]:
    """The most entries of named datasets."""
    for name in given:
        if name not in names:
            raise DatasetError(
                f"max_entries for {name!r}, but there is no dataset of that name{nearest(str(name), names)}"
            )
    return {name: _count(number, f"max_entries of {name!r}") for name, number in given.items()}


def _count(value: Any, what: str) -> int:
    """A number of entries, also when it was written as 1e6 or is numpy's."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    try:
        count = operator.index(value)
    except TypeError:
        raise DatasetError(f"{what} is {value!r}: it must be a whole number of entries") from None
    if isinstance(value, bool) or not 0 <= count <= MOST_ENTRIES:
        raise DatasetError(f"{what} is {value!r}: it must be a number from 0 to {MOST_ENTRIES:.0e}")
    return count


@dataclass(frozen=True)
class _Defaults:
    """What holds for those files of one dataset that do not say otherwise. They share it: there may be a million of them."""

    name: str
    trees: tuple[str, ...]
    metadata: Metadata
    friends: dict[str, FriendTree] = field(default_factory=dict)

    @property
    def where(self) -> str:
        """For error messages."""
        return f" of dataset {self.name!r}" if self.name else ""


def _by_name(files: Any) -> dict[str, Any]:
    """The datasets in what was given. A dict's keys are names, unless each of them is clearly a path."""
    if not isinstance(files, Mapping):
        return {"": files}
    if files and all(
        isinstance(key, os.PathLike) or ".root" in str(key) or "*" in str(key) or is_parquet(str(key)) for key in files
    ):
        return {"": files}
    return {str(name): part for name, part in files.items()}


def _parsed(part: Any, defaults: _Defaults) -> Iterator[File]:
    """The files of one dataset, in any of the forms it can have."""
    if isinstance(part, str | os.PathLike):
        yield from _one(part, None, defaults)
    elif isinstance(part, Mapping) and "files" in part:
        own = defaults.metadata | plain(part.get("metadata") or {})
        trees = _tree_names(part["treename"]) if part.get("treename") else defaults.trees
        yield from _parsed(part["files"], replace(defaults, trees=trees, metadata=own))
    elif isinstance(part, Mapping):
        for path, about in part.items():
            yield from _one(path, about, defaults)
    elif isinstance(part, tuple):
        raise DatasetError(
            f"{part!r}{defaults.where}: for several files give a list; a tuple is one file with its replicas, "
            "and belongs into the list of files: [(...), ...]"
        )
    elif isinstance(part, Iterable) and not isinstance(part, bytes):
        for path in part:
            yield from _one(path, None, defaults)
    else:
        raise DatasetError(f"expected a path, a list of paths or a dict{defaults.where}, not {part!r}")


def _one(path: Any, about: Any, defaults: _Defaults) -> Iterator[File]:
    """One path with what is said about it: nothing, the name of its tree, or coffea's description of a file."""
    (where, tree), *others = [_path(each, defaults) for each in (path if isinstance(path, tuple) and path else (path,))]
    _check_replicas(where, tree, others)
    entries, listed = None, None
    if isinstance(about, Mapping):
        if about.get("format") == "parquet" and not is_parquet(where):
            raise DatasetError(
                f"file {where}{defaults.where}: of Parquet, and not called so: its name must end with .parquet"
            )
        tree = about.get("object_path") or tree
        entries = about.get("num_entries")
        if entries is not None and (isinstance(entries, bool) or not isinstance(entries, int) or entries < 0):
            raise DatasetError(f"file {where}{defaults.where}: num_entries is {entries!r}, not a number of entries")
        listed = _steps(where, about.get("steps"), entries)
    elif isinstance(about, str):
        tree = about or tree
    elif about is not None:
        raise DatasetError(f"file {where}{defaults.where}: expected the name of a tree or a dict, not {about!r}")
    for name in (tree,) if tree else defaults.trees:
        if name and is_parquet(where):
            raise DatasetError(
                f"file {where}{defaults.where}: Parquet has no trees, and so no {name}; where others have, name it with "
                'each of them: {"a.root": "Events", "b.parquet": None}'
            )
        yield File(
            where,
            name,
            defaults.name,
            entries,
            defaults.metadata,
            replicas=tuple(path for path, _ in others),
            listed=listed,
            friends=defaults.friends,
        )


def _path(path: Any, defaults: _Defaults) -> tuple[str, str]:
    """A path as a text, and the tree that it names."""
    if not isinstance(path, str | os.PathLike) or not os.fspath(path):
        raise DatasetError(f"expected a path{defaults.where}, not {path!r}")
    return split_tree(path) if isinstance(path, str) else (os.fspath(path), "")


def _check_replicas(path: str, tree: str, others: Sequence[tuple[str, str]]) -> None:
    for other, its_tree in others:
        if its_tree != tree:
            raise DatasetError(f"{path} and its replica {other} name different trees: say tree=... instead")
    for each in (path, *(other for other, _ in others)) if others else ():
        if names_several(each):
            raise DatasetError(
                f"{each} is a pattern: each replica of a file must be named, since it stands for one file"
            )


# --- which entries ----------------------------------------------------------------------------------------------------


def _steps(path: str, steps: Any, entries: int | None) -> list[int] | None:
    """The runs that a fileset's steps name, or None if these are all entries: eventmill cuts files by itself.

    No steps at all say that nothing of the file is meant: coffea's `slice_chunks` leaves such files.
    """
    if steps is None:
        return None
    try:
        pairs = sorted((_count(start, "a step"), _count(stop, "a step")) for start, stop in steps)
        entry_list = EntryList([bound for start, stop in pairs if start != stop for bound in (start, stop)])
    except (TypeError, ValueError, DatasetError):
        raise DatasetError(
            f"the steps of {path} are {shown(steps)}: they must be [start, stop] of entries, none of them twice"
        ) from None
    if entries is not None and entry_list.end > entries:
        raise DatasetError(f"the steps of {path} go to entry {entry_list.end}, but its num_entries is {entries}")
    return None if entries == len(entry_list) else runs_of(entry_list, path)


def _mask(mask: Any, branches: Any) -> Mask:
    if isinstance(branches, str) or len(branches) != 2 or not all(isinstance(name, str) for name in branches):
        raise DatasetError(
            f"mask_branches is {branches!r}: it must be two names, of the run and the luminosity section"
        )
    if isinstance(mask, str | os.PathLike):
        return Mask.from_file(mask, tuple(branches))
    return Mask(mask, tuple(branches))


def _check_columns(shared_inputs: SharedInputs, friends: Any) -> None:
    """Raise `DatasetError` where one name would mean two things."""
    for name in shared_inputs.aliases:
        if name in shared_inputs.defaults:
            raise DatasetError(f"{name} is an alias, and has a default too: an alias needs none")
        if name in friends:
            raise DatasetError(f"{name} is an alias, and a friend is called so too: give one of them another name")


def _entry_lists(entries: Any) -> dict[str, EntryList | None]:
    """Entry lists by path; "" is the only file, whatever it is called. None is that of all entries."""
    if isinstance(entries, Mapping):
        odd = [path for path in entries if not isinstance(path, str | os.PathLike) or not os.fspath(path)]
        if odd:
            raise DatasetError(f"entries has a list for {odd[0]!r}, where the path of a file should be")
        return {os.fspath(path): entry_list_of(numbers, os.fspath(path)) for path, numbers in entries.items()}
    return {"": entry_list_of(entries)}


def _with_lists(lists: Mapping[str, EntryList | None], files: Sequence[File]) -> tuple[File, ...]:
    """Files with their entry lists, which are given by path; "" is that of the only file."""
    if "" in lists:
        if len(files) != 1:
            raise DatasetError(
                f"the entry list is of one file, and the dataset has {len(files)}: give {{path: numbers}}, for each of them"
            )
        lists = {files[0].path: lists[""]}
    by_key = {key(path): entry_list for path, entry_list in lists.items()}
    called = [names(file) for file in files]
    known = set().union(*called)
    for path in lists:
        if key(path) not in known:
            near = nearest(key(path), [file.path for file in files])
            raise DatasetError(f"the entry list is of {path}, which is not in the dataset{near}")
    return tuple(_with_list(file, by_key, its_names) for file, its_names in zip(files, called, strict=True))


def _with_list(file: File, lists: Mapping[str, EntryList | None], names: list[str]) -> File:
    found = [lists[name] for name in names if name in lists]
    if not found:
        raise DatasetError(
            f"{file.path} has no entry list: give range(0) for it to use none of its entries, slice(None) to use all"
        )
    if len(found) > 1:
        raise DatasetError(f"{file.path} has {len(found)} entry lists")
    if found[0] is None:
        return file
    entry_list = found[0] if file.listed is None else found[0] & EntryList(file.listed)
    return msgspec.structs.replace(file, listed=runs_of(entry_list, file.path))


def _tree_names(tree: str | Sequence[str] | None) -> tuple[str, ...]:
    if tree is None or isinstance(tree, str):
        return (tree or "",)
    if not isinstance(tree, Iterable) or not all(isinstance(name, str) for name in tree):
        raise DatasetError(f"tree is {tree!r}: it must be a name, or a list of names")
    return tuple(tree) or ("",)


def _checked(files: Iterable[File]) -> tuple[File, ...]:
    """The files, if there are any and none is there twice."""
    found = tuple(files)
    if not found:
        raise DatasetError("the dataset is empty: it names no files")
    seen: dict[tuple[str, str], set[str]] = {}
    for file in found:
        of_tree = seen.setdefault((file.tree, file.dataset), set())
        for path in (file.path, *file.replicas):
            if path in of_tree:
                tree = f" with tree {file.tree}" if file.tree else ""
                where = f"dataset {file.dataset!r}" if file.dataset else "the dataset"
                raise DatasetError(f"{path}{tree} is in {where} twice: its events would count twice")
            of_tree.add(path)
    return found
