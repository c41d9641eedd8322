"""Datasets: which files, which trees in them, and what is known of them beforehand. No file is touched here."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from ..protocol.errors import DatasetError
from ..protocol.messages import File, Scalar

Spec = str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | Mapping[str, Any]


class Dataset:
    """Named lists of files with the tree to read in each.

    Args:
        files: a path, a pattern (`*`, `?`, `[...]`, and `**` for folders of any depth), a folder, a URL (`root://`,
            `http://`), or a list of these; `path.root:Tree` names the tree too. A dict makes several datasets, by name:
            `{name: files}`, or a coffea fileset, `{name: {"files": ..., "metadata": {...}}}`, whose files are a list or
            `{path: tree}` or `{path: {"object_path": tree, "num_entries": n}}`.
        tree: name of the tree where the file does not say; several names take every file once for each. Without any, the
            only tree of a file is taken.
        metadata: numbers, words and flags that go with every file, for analyses to read.
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
        tree: str | Sequence[str] = "",
        *,
        metadata: Mapping[str, Scalar] | None = None,
        max_entries: int | None = None,
    ) -> None:
        if max_entries is not None and max_entries < 0:
            raise DatasetError(f"max_entries is {max_entries}: it must be 0 or more")
        trees = (tree,) if isinstance(tree, str) else tuple(tree)
        common = _checked_metadata(metadata or {})
        self.max_entries = max_entries
        self.files: tuple[File, ...] = tuple(_without_duplicates(_files(files, trees or ("",), common)))

    @classmethod
    def _of(cls, files: Iterable[File], max_entries: int | None) -> Dataset:
        made = cls.__new__(cls)
        made.files, made.max_entries = tuple(_without_duplicates(files)), max_entries
        return made

    def expanded(self, list_files: Callable[[str], Sequence[str]]) -> Dataset:
        """The dataset with patterns and folders replaced by the files they stand for.

        Args:
            list_files: gives the files of one path or pattern, in order; raises `DatasetError` when there are none.

        Raises:
            DatasetError: there is no file at all, or one is named twice.
        """
        listed: dict[str, Sequence[str]] = {}
        found: list[File] = []
        for file in self.files:
            if file.path not in listed:
                listed[file.path] = list_files(file.path)
            found += [msgspec.structs.replace(file, path=path) for path in listed[file.path]]
        if not found:
            raise DatasetError("the dataset is empty: it names no files")
        return Dataset._of(found, self.max_entries)

    def __len__(self) -> int:
        return len(self.files)

    def __repr__(self) -> str:
        names: dict[str, int] = {}
        for file in self.files:
            names[file.dataset] = names.get(file.dataset, 0) + 1
        named = ", ".join(f"{name} ({count})" for name, count in names.items() if name)
        return f"<Dataset of {len(self)} file{'' if len(self) == 1 else 's'}{': ' + named if named else ''}>"


def _files(spec: Any, trees: Sequence[str], metadata: dict[str, Scalar]) -> Iterable[File]:
    if isinstance(spec, Mapping):
        for name, part in spec.items():
            yield from _named(str(name), part, trees, metadata)
    else:
        yield from _listed("", spec, trees, metadata)


def _named(name: str, part: Any, trees: Sequence[str], metadata: dict[str, Scalar]) -> Iterable[File]:
    """One dataset of a dict: its files, or coffea's description of them."""
    if not isinstance(part, Mapping):
        yield from _listed(name, part, trees, metadata)
        return
    if "files" not in part:
        raise DatasetError(f'dataset {name!r} is a dict without "files"; write {{{name!r}: [paths]}} or {{{name!r}: {{"files": ...}}}}')
    metadata = metadata | _checked_metadata(part.get("metadata") or {})
    trees = (part["treename"],) if part.get("treename") else trees
    files = part["files"]
    if not isinstance(files, Mapping):
        yield from _listed(name, files, trees, metadata)
        return
    for path, about in files.items():
        if about is None or isinstance(about, str):
            yield from _one(name, path, (about,) if about else trees, metadata, None)
        elif isinstance(about, Mapping):
            tree = about.get("object_path")
            yield from _one(name, path, (tree,) if tree else trees, metadata, about.get("num_entries"))
        else:
            raise DatasetError(f"file {path} of dataset {name!r}: expected a tree name or a dict, not {about!r}")


def _listed(name: str, paths: Any, trees: Sequence[str], metadata: dict[str, Scalar]) -> Iterable[File]:
    if isinstance(paths, str | os.PathLike):
        paths = [paths]
    if not isinstance(paths, Iterable):
        raise DatasetError(f"expected a path, a list of paths or a dict of datasets, not {paths!r}")
    for path in paths:
        if not isinstance(path, str | os.PathLike):
            raise DatasetError(f"expected a path, not {path!r}" + (f" (in dataset {name!r})" if name else ""))
        yield from _one(name, path, trees, metadata, None)


def _one(
    name: str, path: str | os.PathLike[str], trees: Sequence[str], metadata: dict[str, Scalar], entries: Any
) -> Iterable[File]:
    where, own = split_tree(os.fspath(path))
    if entries is not None and (isinstance(entries, bool) or not isinstance(entries, int) or entries < 0):
        raise DatasetError(f"file {where}: num_entries is {entries!r}, not a number of entries")
    for tree in (own,) if own else trees:
        yield File(where, tree, name, entries, metadata)


def split_tree(path: str) -> tuple[str, str]:
    """Split `path:Tree` as uproot does; a colon counts only behind `.root`, or a pattern, of the last path component.

    Example:
        >>> split_tree("root://host:1094//a.root:dir/Events"), split_tree("a.root"), split_tree("x/*.root:Events")
        (('root://host:1094//a.root', 'dir/Events'), ('a.root', ''), ('x/*.root', 'Events'))
    """
    for ending in (".root:", "*:"):
        before, found, tree = path.partition(ending)
        if found and tree and not tree.startswith("/"):
            return before + ending[:-1], tree
    return path, ""


def _checked_metadata(metadata: Mapping[str, Any]) -> dict[str, Scalar]:
    """Metadata that can travel: plain words, numbers, flags. numpy's numbers become Python's."""
    checked: dict[str, Scalar] = {}
    for key, value in metadata.items():
        plain = value.item() if hasattr(value, "item") else value
        if not isinstance(plain, Scalar):
            raise DatasetError(f"metadata {key!r} is {value!r}: only words, numbers and flags can travel with a file")
        checked[str(key)] = plain
    return checked


def _without_duplicates(files: Iterable[File]) -> Iterable[File]:
    seen: set[tuple[str, str]] = set()
    for file in files:
        if (file.path, file.tree) in seen:
            tree = f" with tree {file.tree}" if file.tree else ""
            raise DatasetError(f"{file.path}{tree} is in the dataset twice: its events would count twice")
        seen.add((file.path, file.tree))
        yield file
