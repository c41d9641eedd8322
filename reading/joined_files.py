"""A file and its friends as one table: which of them has a column, and what it is called there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from ..protocol.errors import DatasetError, nearest
from ..protocol.messages import FriendTree
from .groups import Field, Group, prefixed
from .interpreted import Interpreted, InterpretedBranches
from .joined_friend import JoinedFriend
from .joins import ByColumns, ByNumber, ByTreeIndex
from .tree_series import TreeReader, TreeSeries
from .ttree.branches import is_listed, original
from .ttree.whole_baskets import Interpretation
from .whole_file import in_tree

Befriended: TypeAlias = TreeReader | JoinedFriend
"""A friend that has an entry for each of the file's."""
Joined: TypeAlias = Befriended | InterpretedBranches
"""What columns are read from: the file, its friends, and what is read of the file in another way."""


class JoinedFiles:
    """A file and its friends.

    Args:
        reader: the file.
        friends: its friends, by name.
        told: what is said of some of them, as how they are joined.
        kinds: how some branches of the file are to be read, and of its friends, by `friend.branch`.

    Attributes:
        opened: the friends as they are by themselves; `friends` have the entries of the file.

    Raises:
        DatasetError: a friend has another number of entries, or the name of a branch.

    Example:
        >>> files = JoinedFiles(reader, {"bdt": scores})                                          # doctest: +SKIP
        >>> files.place("bdt_score")                                                              # doctest: +SKIP
        (<Reader of scores.root>, 'score')
    """

    def __init__(
        self,
        reader: TreeReader,
        friends: Mapping[str, TreeReader],
        told: Mapping[str, FriendTree] | None = None,
        kinds: Interpreted | None = None,
    ) -> None:
        self.reader, self.path = reader, reader.path
        self.opened = dict(friends)
        self._told = told or {}
        own, theirs = self._by_file(kinds or {})
        self._interpreted = InterpretedBranches(reader, own)
        self.friends = {name: self._joined(name, friend) for name, friend in friends.items()}
        self._beside = {
            name: self._beside_of(name, InterpretedBranches(friends[name], some)) for name, some in theirs.items()
        }
        """What is read of friends in another way, by their names."""

    @property
    def readers(self) -> list[TreeReader]:
        """All files that are read."""
        return list(dict.fromkeys([self.reader, *self.opened.values()]))

    @property
    def identity(self) -> str:
        """As `Reader.identity`, of all files."""
        return joined_identity([reader.identity for reader in (self.reader, *self.opened.values())])

    @property
    def names_of_friends(self) -> list[str]:
        """What the columns of friends are called here: `friend_branch`, `friend.branch`, and as they are there."""
        friends = self.friends.items()
        qualified = [f"{friend}{sign}{name}" for sign in "_." for friend, reader in friends for name in reader.names]
        return [*qualified, *(name for _, reader in friends for name in reader.names)]

    def place(self, name: str) -> tuple[Joined, str] | None:
        """The file that has a column, and what it is called there; None for what none of them has, or several."""
        if is_listed(self.reader.names, name):
            return self._own(name)
        for friend, reader in self.friends.items():
            if name[: len(friend) + 1] in (f"{friend}_", f"{friend}.") and name[len(friend) + 1 :] in reader.names:
                return self._of_friend(friend, name[len(friend) + 1 :])
        having = [friend for friend, reader in self.friends.items() if name in reader.names]
        if not having and name in self.reader.names:  # as kernels write it: whatever is really called so comes first
            return self._own(name)
        return self._of_friend(having[0], name) if len(having) == 1 else None

    def original(self, name: str) -> str:
        """The own name of a branch of the file, for one that somebody may write."""
        return original(self.reader.names, name)

    def _own(self, name: str) -> tuple[Joined, str]:
        its = self.original(name)
        return (self._interpreted, its) if its in self._interpreted.names else (self.reader, name)

    def _of_friend(self, friend: str, name: str) -> tuple[Joined, str]:
        its, beside = original(self.friends[friend].names, name), self._beside.get(friend)
        return (self.friends[friend], name) if beside is None or its not in beside.names else (beside, its)

    def _by_file(self, kinds: Interpreted) -> tuple[Interpreted, dict[str, Interpreted]]:
        """How branches of the file are read, and those of its friends, by the names of these."""
        own: dict[str, Interpretation] = {}
        theirs: dict[str, dict[str, Interpretation]] = {}
        for name, kind in kinds.items():
            friend, _, branch = name.partition(".")
            if friend in self.opened and not is_listed(self.reader.names, name):
                theirs.setdefault(friend, {})[branch] = kind
            else:
                own[name] = kind
        return own, dict(theirs)

    def _beside_of(self, name: str, some: InterpretedBranches) -> JoinedFriend | InterpretedBranches:
        """The same, by the entries of the file."""
        friend = self.friends[name]
        return friend.beside(some) if isinstance(friend, JoinedFriend) else some

    def found(self, name: str, names: Iterable[str]) -> tuple[Joined, str]:
        """As `place`, for a name that somebody asked for.

        Args:
            name: the column's.
            names: of all columns that there are, for the error.

        Raises:
            DatasetError: nothing is called so, or more than one thing.
        """
        place = self.place(name)
        if place is not None:
            return place
        having = [friend for friend, reader in self.friends.items() if name in reader.names]
        if having:
            meant = " or ".join(f"{friend}_{name}" for friend in having)
            raise DatasetError(f"{name} is in several friends of {self.path}: say which is meant, {meant}")
        friends = f", nor have its friends {', '.join(self.friends)}" if self.friends else ""
        raise DatasetError(
            f"{self.path} has no branch {name}{in_tree(self.reader.tree)}{friends}{nearest(name, names)}",
            missing_column=name,
        )

    def with_keys(self, wanted: dict[Joined, list[str]]) -> dict[Joined, list[str]]:
        """What is to be read of each file, with the columns by which friends are joined."""
        keys = [key for reader in wanted if isinstance(reader, JoinedFriend) for key in reader.keys]
        return {**wanted, self.reader: list(dict.fromkeys([*wanted.get(self.reader, ()), *keys]))} if keys else wanted

    def has_member(self, name: str) -> bool:
        """As `Reader.has_member`; with the name of a friend before it."""
        place = self.place(name)
        return place is not None and place[0].has_member(place[1])

    def interpret(self, forms: dict[str, Any], counters: dict[str, str]) -> None:
        """Change what `LazyEvents` is to know of the branches that are read in another way."""
        for name in self._interpreted.names:
            forms.pop(name, None)
            counters.pop(name, None)
            if (form := self._interpreted.form(name)) is not None:
                forms[name] = form
        for name, counter in list(counters.items()):
            if counter in self._interpreted.names:  # it may be anything now
                del counters[name]

    def add_friends(self, forms: dict[str, Any], counters: dict[str, str], fields: dict[str, Field]) -> None:
        """Add what `LazyEvents` is to know of the friends' columns."""
        for friend, reader in self.friends.items():
            lazy = reader.lazy
            beside = self._beside[friend].lazy.forms if friend in self._beside else {}
            known = {**lazy.forms, **beside}
            forms |= {f"{friend}.{name}": form for name, form in known.items()}
            counters |= {
                f"{friend}.{name}": f"{friend}.{counter}"
                for name, counter in lazy.counters.items()
                if not {name, counter} & beside.keys()
            }
            own = reader.fields if isinstance(reader, JoinedFriend) else Group(dict(lazy.fields))
            its = Group({**{name: name for name in beside}, **own.fields}, own.counter, own.lists)
            fields[friend] = prefixed(its, f"{friend}.")
            for name in known:
                fields.setdefault(f"{friend}_{name}", f"{friend}.{name}")
                if self.place(name) == self._of_friend(friend, name):
                    fields.setdefault(name, f"{friend}.{name}")

    def _joined(self, name: str, friend: TreeReader) -> Befriended:
        """A friend with the entries of the file, if it can be one."""
        if is_listed(self.reader.names, name):
            raise DatasetError(f"{self.path} has a branch {name}: give its friend of this name another one")
        told = self._told.get(name, FriendTree(friend.path))
        its = f"{friend.tree or 'what is'} in {friend.path}, the friend {name} of {self.path},"
        if told.index:
            return JoinedFriend(name, friend, ByNumber(told.index, friend, self.reader, its), told.missing)
        if told.by:
            return JoinedFriend(name, friend, ByColumns(told.by, friend, self.reader, its), told.missing)
        if friend.order == "indexed":
            return JoinedFriend(name, friend, ByTreeIndex(friend.tree_index, friend, self.reader, its), told.missing)
        if friend.order:
            raise DatasetError(
                f"{its} was written with its entries in any order (kEntriesReshuffled), so that they belong to others: "
                "write it with an entry for each of the file's, in their order, or name columns that tell which belong: "
                'em.Friend(..., by=("run", "event"))'
            )
        if friend.entries != self.reader.entries:
            raise DatasetError(
                f"{friend.path} has {friend.entries} entries{in_tree(friend.tree, '')}, and {self.path}, whose friend "
                f"{name} it is, has {self.reader.entries}{in_tree(self.reader.tree, '')}: friends have one entry for each "
                'of the file\'s, or are joined by columns, em.Friend(..., by=("run", "event"))'
            )
        if isinstance(self.reader, TreeSeries) and isinstance(friend, TreeSeries):
            friend.check_befriends(name, self.reader)
        return friend


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
