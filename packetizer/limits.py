"""How many entries are used at most: of the whole dataset, or of each of some datasets in it."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Container, Mapping, Sequence


class Limits:
    """The most entries of groups of files: the first ones, in the order of their files.

    Which entries of a file are used is known when those before it in its group were opened: they are opened one by one.

    Args:
        groups: for each file which group it is of; none where there is no limit.
        most: entries of each group that has a limit.

    Example:
        >>> limits = Limits([0, 0, 1], {0: 10})
        >>> limits.use(0, limits.within(0, 7))
        >>> limits.left(1), limits.within(1, 7), limits.left(2)
        (3, 3, None)
    """

    def __init__(self, groups: Sequence[int], most: Mapping[int, int]) -> None:
        self._groups, self._left = groups, dict(most)
        self._members = _members(groups, most)
        self._next = dict.fromkeys(most, 0)
        self.total = sum(most.values()) if most and most.keys() >= set(groups) else None
        """The most entries of all files; None if there is a file without a limit."""

    @classmethod
    def of(cls, limit: Limit, files: int) -> Limits:
        """One limit on so many files, or none."""
        if isinstance(limit, Limits):
            return limit
        return cls((), {}) if limit is None else cls(bytes(files), {0: limit})

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self._left)

    @property
    def reached(self) -> bool:
        """Whether there is a group of which no more may be used."""
        return 0 in self._left.values()

    def left(self, file: int) -> int | None:
        """How many more entries may be used of the group of a file; None: as many as there are."""
        return self._left.get(self._groups[file]) if self._left else None

    def within(self, file: int, entries: int) -> int:
        """How many are used of a file that has so many entries."""
        left = self.left(file)
        return entries if left is None else min(entries, left)

    def use(self, file: int, entries: int) -> None:
        """So many entries of a file are used, or are known to be lost."""
        if self._left and self._groups[file] in self._left:
            self._left[self._groups[file]] = max(0, self._left[self._groups[file]] - entries)

    def openable(self, unopened: Collection[int], settled: Container[int]) -> int | None:
        """The next file that may be opened: of a group with a limit, one for which those before it are `settled`."""
        for group, members in self._members.items():
            while self._next[group] < len(members) and members[self._next[group]] in settled:
                self._next[group] += 1
            if self._next[group] < len(members) and members[self._next[group]] in unopened:
                return members[self._next[group]]
        return next((file for file in unopened if self.left(file) is None), None)

    def go_back(self, file: int) -> None:
        """A file is to be opened again."""
        group = self._groups[file] if self._left else None
        if group is not None and group in self._next:
            self._next[group] = min(self._next[group], bisect_left(self._members[group], file))


def _members(groups: Sequence[int], most: Collection[int]) -> dict[int, Sequence[int]]:
    """The files of each group that has a limit, in ascending order."""
    if len(most) == 1 and most == set(groups):
        return {group: range(len(groups)) for group in most}
    members: dict[int, list[int]] = {group: [] for group in most}
    for file, group in enumerate(groups if most else ()):
        if group in members:
            members[group].append(file)
    return dict(members)


Limit = int | Limits | None
"""Of the whole dataset, or of several in it."""
