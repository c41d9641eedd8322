"""Friend trees: more branches for the entries of a dataset's files, in other trees: of as many entries, or joined."""

from __future__ import annotations

import keyword
import os
import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from ..analysis.expressions import LIBRARIES
from ..protocol.errors import DatasetError, nearest
from ..protocol.messages import File, FriendTree
from .paths import key, names, names_several, split_tree

Rule = str | os.PathLike[str] | Mapping[Any, Any] | Callable[[str], Any]
MOST_FRIENDS = 10
PLACES = ("stem", "name", "folder", "path", "dataset", "tree", "tree_folder")
"""What a rule can say of the file whose friend is meant: its name without and with ending, its folder, both, its dataset,
its tree, and the folder of this in the file."""


@dataclass(frozen=True, slots=True)
class Friend:
    """A friend whose entries are not those of the same numbers, for `friends=` of a dataset.

    Args:
        where: its path, a rule with places, a dict or a function, as `friends` takes them; by default the file itself.
        tree: its tree, where `where` does not say it; with the same places, as `"{tree_folder}/O2collision"`.
        index: the column of the file that has the numbers of the friend's entries, from 0 on, -1 for none, as ALICE's
            `fIndexCollisions`; or lists of them; or, called `fIndexSlice...`, the first and the last of a run. Of a table in
            many trees (`DF_*/O2collision`) the numbers are those in the tree of the same folder.
        by: columns of whole numbers that tell which entries belong together, as `("run", "event")`; with other names in the
            friend, `{"run": "runNumber"}`.
        missing: what stands for an entry that the friend does not have: "error"; "none", which is None in columnar functions
            and an error for kernels; or a number, with empty lists for lists; also `{"fPosZ": -999.0, "fNumContrib": 0}`,
            for columns by name. By default "none" with `index`, else "error".

    Raises:
        DatasetError: one of these is none.

    Example:
        >>> Friend(tree="DF_*/O2collision", index="fIndexCollisions").missing
        'none'
    """

    where: Any = "{path}"
    tree: str = ""
    index: str = ""
    by: Any = ()
    missing: Any = None

    def __post_init__(self) -> None:
        by = {self.by: self.by} if isinstance(self.by, str) and self.by else self.by
        by = dict(by) if isinstance(by, Mapping) else {name: name for name in by}
        if not all(isinstance(name, str) and name for name in (*by, *by.values())):
            raise DatasetError(f'by is {self.by!r}: it must be names of columns, as ("run", "event")')
        if not isinstance(self.index, str) or not isinstance(self.tree, str):
            raise DatasetError(f"a friend has the index {self.index!r} and the tree {self.tree!r}: both must be names")
        if by and self.index:
            raise DatasetError(f"a friend is joined either by {' and '.join(by)}, or by the numbers in {self.index}")
        missing = ("none" if self.index else "error") if self.missing is None else self.missing
        numbers = dict(missing) if isinstance(missing, Mapping) else {"": missing}
        if missing not in ("none", "error") and not all(isinstance(it, bool | int | float) for it in numbers.values()):
            raise DatasetError(f'missing is {missing!r}: it must be "none", "error", a number, or numbers by columns')
        if isinstance(missing, Mapping):
            missing = {str(name): number for name, number in numbers.items()}
        object.__setattr__(self, "by", by)
        object.__setattr__(self, "missing", missing)


class Friends:
    """Rules that tell each file's friends.

    Args:
        rules: by the friend's name a path, `scores.root:tree`, for the only file of a dataset; a path with places to be
            filled in, `{folder}/{stem}_scores.root:tree` (see `PLACES`); `{path: path of the friend}`; or a function of
            a path that gives that of the friend. A `Friend` says also how its entries are found.

    Raises:
        DatasetError: a name or a rule is none.

    Example:
        >>> [file] = Friends({"bdt": "{folder}/{stem}_bdt.root:scores"}).given_to([File("/data/a.root", "Events")])
        >>> file.friends
        {'bdt': FriendTree(path='/data/a_bdt.root', tree='scores', index='', by={}, missing='error')}
    """

    def __init__(self, rules: Any) -> None:
        if not isinstance(rules, Mapping) or len(rules) > MOST_FRIENDS:
            raise DatasetError(
                f'friends is {rules!r:.200}: it must be a dict, {{"bdt": "scores.root:tree"}}, of at most {MOST_FRIENDS}'
            )
        for name, rule in rules.items():
            check_name(name, "a friend")
            _check_rule(name, rule.where if isinstance(rule, Friend) else rule)
            if isinstance(rule, Friend):
                _check_rule(name, rule.tree)
        self._rules = {name: rule if isinstance(rule, Friend) else Friend(rule) for name, rule in rules.items()}

    def given_to(self, files: Sequence[File]) -> tuple[File, ...]:
        """The files with their friends.

        Raises:
            DatasetError: a file has none, a rule is for one file and there are several, or it names a file that the
                dataset does not have.
        """
        known = dict.fromkeys(name for file in files for name in names(file))
        finders = {name: _finder(name, rule, known, files) for name, rule in self._rules.items()}
        return tuple(
            msgspec.structs.replace(
                file,
                friends={name: _friend(name, find(file), file, self._rules[name]) for name, find in finders.items()},
            )
            for file in files
        )


def check_name(name: Any, what: str) -> None:
    """Raise `DatasetError` if a name is no word that analyses can use for a column, or means something else there."""
    if not isinstance(name, str) or not name.isidentifier() or keyword.iskeyword(name):
        raise DatasetError(f"{what} is called {name!r}: it must be a name that Python can read, such as mu_pt")
    if name in LIBRARIES:
        raise DatasetError(f"{what} is called {name}, which is taken in expressions: give it another name")


def _check_rule(name: str, rule: Any) -> None:
    if isinstance(rule, str):
        try:
            places = [place for _, place, _, _ in string.Formatter().parse(rule) if place is not None]
        except ValueError as error:
            raise DatasetError(f"the friend {name} is in {rule!r}, which cannot be read: {error}") from None
        wrong = [place for place in places if place not in PLACES]
        if wrong:
            raise DatasetError(
                f"the friend {name} is in {rule!r}, and {{{wrong[0]}}} means nothing there: "
                f"there are {', '.join(f'{{{place}}}' for place in PLACES)}"
            )
    elif not isinstance(rule, os.PathLike | Mapping) and not callable(rule):
        raise DatasetError(f"the friend {name} is in {rule!r}: that must be a path, a dict of paths, or a function")


def _finder(name: str, friend: Friend, known: Mapping[str, None], files: Sequence[File]) -> Callable[[File], Any]:
    """A function that tells a file's friend."""
    rule = friend.where
    if isinstance(rule, Mapping):
        by_key = {key(os.fspath(path)): there for path, there in rule.items()}
        for path in by_key:
            if path not in known:
                raise DatasetError(f"the friend {name} is of {path}, which is not in the dataset{nearest(path, known)}")
        return lambda file: next((by_key[path] for path in names(file) if path in by_key), None)
    if callable(rule):
        return lambda file: rule(file.path)
    path = os.fspath(rule)
    if "{" in path and isinstance(rule, str):
        return lambda file: path.format(**_places(file))
    if len({file.path for file in files}) > 1 and not friend.by:
        raise DatasetError(
            f"the friend {name} is in {path}, one file, and the dataset has {len(files)}: say where each has its friend, "
            "as in '{folder}/{stem}_scores.root:tree', or give {path: path of the friend}"
        )
    return lambda _: path


def _places(file: File) -> dict[str, str]:
    folder, _, name = file.path.rpartition("/")
    return {
        "path": file.path,
        "stem": name.removesuffix(".root"),
        "name": name,
        "folder": folder or ".",
        "dataset": file.dataset,
        "tree": file.tree,
        "tree_folder": file.tree.rpartition("/")[0],
    }


def _friend(name: str, found: Any, file: File, rule: Friend) -> FriendTree:
    if not isinstance(found, str | os.PathLike) or not os.fspath(found):
        none = found is None
        raise DatasetError(f"{file.path} has no friend {name}" + ("" if none else f": {found!r} is no path"))
    path, tree = split_tree(os.fspath(found))
    if names_several(path):
        raise DatasetError(f"the friend {name} of {file.path} is in {path}: a pattern is no file")
    if not tree:
        tree = rule.tree.format(**_places(file))
    if not tree and key(path) == key(file.path):
        raise DatasetError(
            f"the friend {name} of {file.path} is in the same file: say in which tree, em.Friend(tree=...)"
        )
    return FriendTree(key(path), tree, rule.index, rule.by, rule.missing)
