"""What is in a tree: its branches with their types, what kernels call them, and why what cannot be read cannot."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass

from ..dataset.dataset import Dataset
from ..protocol.errors import DatasetError
from .groups import without_size
from .reader_cache import ReaderCache
from .storage.list_files import list_files
from .ttree.branches import is_listed, original
from .view import OpenFile, View, Views

_NOT_IN_KERNELS = re.compile(r"[{?(]|union\[|tuple\[|bytes|datetime|timedelta")
"""In the types of what kernels do not take: records, what may be missing, and the like."""
_WIDEST = 50
"""Characters that a column of the table is wide; what is longer sticks out."""
_NOTHING_OF_ITS_OWN = "nothing of its own: see the branches in it"


@dataclass(frozen=True, slots=True)
class Branch:
    """A branch.

    Attributes:
        name: as columnar functions have it, `events["..."]`.
        type: of its values in an event, as awkward writes it; empty if it cannot be read.
        kernel: the name by which kernels read it; empty if they do not.
        why: why it cannot be read, or kernels do not.
    """

    name: str
    type: str
    kernel: str = ""
    why: str = ""


class Branches(list[Branch]):
    """The branches of a tree, in its order; printed as a table."""

    def __repr__(self) -> str:
        rows = [("branch", "type", "in kernels"), *((it.name, it.type or "-", it.kernel or "-") for it in self)]
        widths = [min(_WIDEST, max(len(row[column]) for row in rows)) for column in range(2)]
        reasons = ["", *(it.why for it in self)]
        lines = [
            f"{name:{widths[0]}}  {kind:{widths[1]}}  {kernel}{f'  ({why})' if why else ''}"
            for (name, kind, kernel), why in zip(rows, reasons, strict=True)
        ]
        return "\n".join(lines)


def branches(data: Dataset | str | os.PathLike[str], tree: str | None = None) -> Branches:
    """What an analysis finds in the first file of a dataset: every branch, those that cannot be read with the reason.

    The file is looked at by this process, not by workers.

    Args:
        data: a dataset, with its aliases, friends and interpretations, or what one is made of: `"run1.root:Events"`.
        tree: as `Dataset`'s.

    Raises:
        DatasetError: there is no such file or tree.

    Example:
        >>> branches("run1.root", tree="Events")                                                # doctest: +SKIP
        branch   type           in kernels
        MET_pt   float32        MET_pt
        Muon_pt  var * float32  Muon_pt
    """
    dataset = data if isinstance(data, Dataset) else Dataset(os.fspath(data), tree)
    if dataset.files[0].kind != "tree":
        raise DatasetError(f"{dataset!r} is in no file, and has no branches")
    file = dataset.expanded(list_files).files[0]
    readers = ReaderCache()
    try:
        return Branches(_listed(Views(dataset.of_columns).get(readers, file)))
    finally:
        readers.close()


def _listed(file: OpenFile) -> Iterator[Branch]:
    found: dict[str, None] = {}
    for name in file.names:  # each column once, though friends' have several names
        if name not in found and not _is_other_name(name, file):
            found[name] = None
            yield _branch(file, name)


def _is_other_name(name: str, file: OpenFile) -> bool:
    """Whether a name is one of several of a friend's column, and not `friend.branch`."""
    friends = file.files.friends if isinstance(file, View) else {}
    if is_listed(file.readers[0].names, name) or not friends:
        return False
    friend, dot, branch = name.partition(".")
    if dot and friend in friends and branch in friends[friend].names:
        return False
    return any(name in reader.names or name.startswith(f"{friend}_") for friend, reader in friends.items())


def _branch(file: OpenFile, name: str) -> Branch:
    try:
        kind = file.types([name]).get(name) or str(file.lazy.form(name).type)
        if kind == "unknown":
            kind = str(file.array(name, 0, min(1, file.entries)).type.content)
    except DatasetError as error:
        own = file.readers[0]
        is_group = name in own.names and bool(getattr(own.names[name], "branches", ()))
        return Branch(name, "", why=_NOTHING_OF_ITS_OWN if is_group else _reason(error, name))
    except Exception as error:  # of an alias, which is the user's
        return Branch(name, "", why=f"{type(error).__name__}: {error}")
    if _NOT_IN_KERNELS.search(kind):
        return Branch(name, kind, why="an alias makes a column for kernels of it")
    written = re.sub(r"\W", "_", without_size(name))
    if name.isidentifier() or (written in file.names and _is_same(file, written, name)):
        return Branch(name, kind, written)
    return Branch(name, kind, why=f"""an alias gives it a name for kernels: {{"x": 'events["{name}"]'}}""")


def _is_same(file: OpenFile, written: str, name: str) -> bool:
    """Whether a kernel's parameter of one name reads the column of the other."""
    if not isinstance(file, View):
        return original(file.names, written) == name
    places = [file.files.place(each) for each in (written, name)]
    first, second = (place and (place[0], original(place[0].names, place[1])) for place in places)
    return first == second


def _reason(error: DatasetError, name: str) -> str:
    """What the error says of the branch, without the file's name and what else could be done."""
    said = str(error).partition(f"in its branch {name}: ")[2] or str(error)
    return said.partition(". Other branches can be read")[0]
