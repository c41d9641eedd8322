"""What is in a file, from its metadata: the keys and the descriptions of its trees. No data are read."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from ..dataset.contents import BranchInfo, FileInfo, TreeInfo
from ..dataset.paths import is_parquet
from ..protocol.addresses import shown
from ..protocol.errors import DatasetError, nearest
from .opening import TREES, check_closed, opened, trees_in
from .parquet import contents as parquet
from .read_errors import read_errors
from .rntuple.ntuples import Ntuple
from .storage.credentials import CredentialSet
from .tree_series import fits

MOST_TREES = 20
"""That are looked into, unless they are named: each takes a read."""
_FOLDERS = ("TDirectory", "TDirectoryFile")


def contents(path: str, tree: str = "", timeout: float = 30.0, credential_set: CredentialSet | None = None) -> FileInfo:
    """What is in a file.

    Args:
        path: a path or URL.
        tree: the name of a tree with its folders, or a pattern with `*`: look into these only.
        timeout: seconds to wait for a server.
        credential_set: what servers are shown.

    Raises:
        DatasetError: there is no such file or tree, or it is not a whole file.
    """
    if is_parquet(path):
        return parquet.contents(path, tree, timeout, credential_set)
    name = shown(path)
    with read_errors(name, "cannot be opened"):
        directory = opened(path, timeout, credential_set)
    try:
        with read_errors(name, "cannot be read"):
            known = trees_in(directory)
            chosen = [each for each in known if not tree or each == tree or fits(each, tree)]
            if not chosen and (tree or not directory.keys()):
                check_closed(directory, name)
            if tree and not chosen:
                raise DatasetError(f"{name} has no tree {tree}{nearest(tree, known, few=MOST_TREES)}")
            looked = chosen[:MOST_TREES]
            classes = directory.classnames(recursive=True, cycle=False).values()
            others = Counter(kind for kind in classes if kind not in (*TREES, *_FOLDERS))
            compression = directory.file.compression
            return FileInfo(
                path=name,
                size=int(directory.file.fEND),
                compression=str(compression or ""),
                trees=tuple(_tree(directory, each, name) for each in looked),
                others=dict(sorted(others.items())),
                more=tuple(each for each in chosen if each not in looked),
            )
    finally:
        directory.close()


def _tree(directory: Any, name: str, path: str) -> TreeInfo:
    """A tree; one that is damaged does not hide the others."""
    kind = directory.classname_of(name)
    try:
        with read_errors(path, "cannot be read"):
            tree = directory[name]
            if kind == "ROOT::RNTuple":
                return TreeInfo(name, kind, str(tree.description), int(tree.num_entries), tuple(_fields(tree)))
            return TreeInfo(name, kind, str(tree.title), int(tree.num_entries), tuple(_branches(tree)))
    except DatasetError as error:
        return TreeInfo(name, kind, why=str(error))


def _branches(tree: Any) -> Iterator[BranchInfo]:
    for name, branch in tree.iteritems(recursive=True, full_paths=True):
        stored, unpacked = int(branch.compressed_bytes), int(branch.uncompressed_bytes)
        title = _title(str(branch.title), branch.name)
        yield BranchInfo(name, _type(branch), title, _counter(branch), stored, unpacked)


def _type(branch: Any) -> str:
    """The type of a branch in C++; of one that uproot does not know, its class."""
    if branch.branches:
        return str(branch.member("fClassName", none_if_missing=True) or "")
    try:
        known = str(branch.typename)
    except Exception:  # uproot's search for it may fail in any way; the file's own word does as well
        known = "unknown"
    return known if known != "unknown" else str(branch.member("fClassName", none_if_missing=True) or known)


def _title(title: str, name: str) -> str:
    """What a title says; nothing where it but describes the leaves, as ROOT does by itself."""
    own = re.escape(name.rpartition(".")[2])
    parts = rf"(?:{re.escape(name)}|{own})_?(\[[^\]]*\])*(/\w)?"
    return (
        ""
        if re.fullmatch(parts, title) or re.fullmatch(r"\w+(\[[^\]]*\])*/\w(:\w+(\[[^\]]*\])*/\w)*", title)
        else title
    )


def _counter(branch: Any) -> str:
    leaves = branch.member("fLeaves")
    counter = leaves[0].member("fLeafCount", none_if_missing=True) if len(leaves) else None
    return "" if counter is None else str(counter.member("fName")).removesuffix("_")


def _fields(ntuple: Any) -> Iterator[BranchInfo]:
    """The fields that have names of their own, with the columns in them that belong to no other one of these."""
    own = Ntuple.read(ntuple.file.source, ntuple.members)
    fields = ntuple.all_fields
    records = own.schema.fields
    holder = list(range(len(fields)))  # the nearest one that is listed, itself or one that it lies in
    for number, field in enumerate(fields):
        if field.path is None and records[number].parent != number:
            holder[number] = holder[records[number].parent]
    sizes: dict[int, list[int]] = {}
    for number, column in enumerate(own.schema.columns):
        stored, elements = own.lists.size(number)
        size = sizes.setdefault(holder[column.field], [0, 0])
        size[0] += stored
        size[1] += -(-elements * column.bits // 8)
    for number, field in enumerate(fields):
        if holder[number] == number:
            name = str(field.path or field.name)
            yield BranchInfo(name, str(field.typename), str(field.description), "", *sizes.get(number, (0, 0)))
