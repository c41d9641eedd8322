"""Datasets: which files, which trees in them, and what is known of them beforehand. No file is touched here.

Whoever can look at a disk or a server gives `Dataset.expanded` a function that lists files.
"""

from __future__ import annotations

import operator
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from ..protocol.errors import DatasetError
from ..protocol.messages import File, Scalar

MOST_ENTRIES = 10**18

Path = str | os.PathLike[str]
Spec = Path | Sequence[Path] | Mapping[str, Any]


class Dataset:
    """Named lists of files with the tree to read in each.

    Args:
        files: one of
            - a path: a file, a folder (its `*.root` files), a URL (`root://`, `http://`), or a pattern of `*`, `?`,
              `[...]`, and `**` for local folders of any depth; `path.root:Tree` names the tree too;
            - a list of these;
            - `{path: tree}`, as uproot takes it;
            - `{name: files}` with any of the above, for several datasets;
            - a coffea fileset, `{name: {"files": ..., "metadata": {...}}}`, whose files are a list, or `{path: tree}`,
              or `{path: {"object_path": tree, "num_entries": n}}`.
        tree: name of the tree where the file does not say; several names take every file once for each. Without any,
            the only tree of a file is taken.
        metadata: numbers, words and flags that go with every file, for analyses to read; `{name: {...}}` for the files
            of one dataset.
        max_entries: use only the first entries of the whole dataset, in the order of its files.

    Raises:
        DatasetError: what is given is no description of files, or names a file twice.

    Example:
        >>> Dataset({"signal": ["a.root"], "background": ["b.root:Other", "c.root"]}, tree="Events")
        <Dataset of 3 files: signal (1), background (2)>
    """

    def __init__(
        self,
        files: Spec,
        tree: str | Sequence[str] | None = None,
        *,
        metadata: Mapping[str, Any] | None = None,
        max_entries: int | None = None,
    ) -> None:
        parts = _by_name(files)
        shared, own = _split_metadata(metadata or {}, parts)
        found: list[File] = []
        for name, part in parts.items():
            found += _parsed(part, _Defaults(name, _tree_names(tree), shared | own.get(name, {})))
        self.files: tuple[File, ...] = _checked(found)
        self.max_entries = None if max_entries is None else _count(max_entries, "max_entries")

    def expanded(self, list_files: Callable[[str], Sequence[str]]) -> Dataset:
        """The dataset with patterns and folders replaced by the files they stand for.

        Args:
            list_files: gives the files of one path or pattern, in order; raises `DatasetError` when there are none.

        Raises:
            DatasetError: a pattern stands for no file, or a file is named twice.
        """
        listed = {path: list_files(path) for path in dict.fromkeys(file.path for file in self.files)}
        for path, paths in listed.items():
            if not paths:
                raise DatasetError(f"no file fits {path}")
        expanded = Dataset.__new__(Dataset)
        expanded.files = _checked(
            msgspec.structs.replace(file, path=path, entries=file.entries if len(listed[file.path]) == 1 else None)
            for file in self.files
            for path in listed[file.path]
        )
        expanded.max_entries = self.max_entries
        return expanded

    def __len__(self) -> int:
        return len(self.files)

    def __repr__(self) -> str:
        names: dict[str, int] = {}
        for file in self.files:
            names[file.dataset] = names.get(file.dataset, 0) + 1
        named = ", ".join(f"{name} ({count})" for name, count in names.items() if name)
        return f"<Dataset of {len(self)} file{'' if len(self) == 1 else 's'}{': ' + named if named else ''}>"


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


def split_tree(path: str) -> tuple[str, str]:
    """Split `path:Tree` as uproot does; a colon counts only behind `.root`, or a pattern, of the last path component.

    Example:
        >>> split_tree("root://host:1094//a.root:dir/Events"), split_tree("a.root"), split_tree("x/*.root:Events")
        (('root://host:1094//a.root', 'dir/Events'), ('a.root', ''), ('x/*.root', 'Events'))
    """
    for ending in (".root:", "*:"):
        before, found, tree = path.rpartition(ending)
        if found and tree and not tree.startswith("/") and ".root" not in tree:
            return before + ending[:-1], tree
    return path, ""


@dataclass(frozen=True)
class _Defaults:
    """What holds for those files of one dataset that do not say otherwise."""

    name: str
    trees: tuple[str, ...]
    metadata: dict[str, Scalar]

    @property
    def where(self) -> str:
        """For error messages."""
        return f" of dataset {self.name!r}" if self.name else ""


def _by_name(files: Any) -> dict[str, Any]:
    """The datasets in what was given. A dict's keys are names, unless each of them is clearly a path."""
    if not isinstance(files, Mapping):
        return {"": files}
    if files and all(isinstance(key, os.PathLike) or ".root" in str(key) or "*" in str(key) for key in files):
        return {"": files}
    return {str(name): part for name, part in files.items()}


def _parsed(part: Any, defaults: _Defaults) -> Iterator[File]:
    """The files of one dataset, in any of the forms it can have."""
    if isinstance(part, str | os.PathLike):
        yield from _one(part, None, defaults)
    elif isinstance(part, Mapping) and "files" in part:
        own = defaults.metadata | _plain(part.get("metadata") or {})
        trees = _tree_names(part["treename"]) if part.get("treename") else defaults.trees
        yield from _parsed(part["files"], replace(defaults, trees=trees, metadata=own))
    elif isinstance(part, Mapping):
        for path, about in part.items():
            yield from _one(path, about, defaults)
    elif isinstance(part, Iterable) and not isinstance(part, bytes):
        for path in part:
            yield from _one(path, None, defaults)
    else:
        raise DatasetError(f"expected a path, a list of paths or a dict{defaults.where}, not {part!r}")


def _one(path: Any, about: Any, defaults: _Defaults) -> Iterator[File]:
    """One path with what is said about it: nothing, the name of its tree, or coffea's description of a file."""
    if not isinstance(path, str | os.PathLike) or not os.fspath(path):
        raise DatasetError(f"expected a path{defaults.where}, not {path!r}")
    where, tree = split_tree(path) if isinstance(path, str) else (os.fspath(path), "")
    entries = None
    if isinstance(about, Mapping):
        tree = about.get("object_path") or tree
        entries = about.get("num_entries")
        if entries is not None and (isinstance(entries, bool) or not isinstance(entries, int) or entries < 0):
            raise DatasetError(f"file {where}{defaults.where}: num_entries is {entries!r}, not a number of entries")
        _check_steps(where, about.get("steps"), entries)
    elif isinstance(about, str):
        tree = about or tree
    elif about is not None:
        raise DatasetError(f"file {where}{defaults.where}: expected the name of a tree or a dict, not {about!r}")
    for name in (tree,) if tree else defaults.trees:
        yield File(where, name, defaults.name, entries, defaults.metadata)


def _check_steps(path: str, steps: Any, entries: int | None) -> None:
    """A fileset may be cut into steps: eventmill does that itself, but steps that leave entries out mean something."""
    at = 0
    for start, stop in steps or ():
        if start != at:
            break
        at = stop
    else:
        if not steps or entries is None or at == entries:
            return
    raise DatasetError(f"the steps of {path} leave entries out: use max_entries=..., or fewer files")


def _tree_names(tree: str | Sequence[str] | None) -> tuple[str, ...]:
    if tree is None or isinstance(tree, str):
        return (tree or "",)
    if not isinstance(tree, Iterable) or not all(isinstance(name, str) for name in tree):
        raise DatasetError(f"tree is {tree!r}: it must be a name, or a list of names")
    return tuple(tree) or ("",)


def _split_metadata(
    metadata: Mapping[str, Any], parts: Mapping[str, Any]
) -> tuple[dict[str, Scalar], dict[str, dict[str, Scalar]]]:
    """Metadata of all files, and by the name of a dataset."""
    own = {name: _plain(value) for name, value in metadata.items() if name in parts and isinstance(value, Mapping)}
    return _plain({key: value for key, value in metadata.items() if key not in own}), own


def _plain(metadata: Mapping[str, Any]) -> dict[str, Scalar]:
    """Metadata that can travel: words, numbers, flags. numpy's numbers become Python's."""
    plain: dict[str, Scalar] = {}
    for key, given in metadata.items():
        value = given.item() if getattr(given, "shape", None) == () else given
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise DatasetError(f"metadata {key!r} is {given!r}: whole numbers must fit into 64 bits")
        if isinstance(value, Mapping):
            raise DatasetError(f"metadata for {key!r}, but there is no dataset of that name")
        if not isinstance(value, Scalar):
            raise DatasetError(
                f"metadata {key!r} is {given!r}: only words, numbers and flags can travel with a file,"
                " or a dict of them under the name of a dataset"
            )
        plain[str(key)] = value
    return plain


def _checked(files: Iterable[File]) -> tuple[File, ...]:
    """The files, if there are any and none is there twice."""
    found = tuple(files)
    if not found:
        raise DatasetError("the dataset is empty: it names no files")
    seen: set[tuple[str, str]] = set()
    for file in found:
        if (file.path, file.tree) in seen:
            tree = f" with tree {file.tree}" if file.tree else ""
            raise DatasetError(f"{file.path}{tree} is in the dataset twice: its events would count twice")
        seen.add((file.path, file.tree))
    return found
