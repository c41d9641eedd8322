"""The branches of a tree by name."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from ..groups import without_size
from .record_members import Member, RecordMembers

UNKNOWN = -2
"""In the place of the place of a branch that has no name."""
CLONES = 3
"""The type of a branch whose subbranches are the members of objects in a TClonesArray."""


def by_name(tree: Any) -> dict[str, Any]:
    """The branches of a tree, as uproot or we have it: each by its name or, where another one has that, by its path.

    Of several with one name, the first at the lowest level has it, as in ROOT; another one at that level cannot be had.
    So it is with those of one path.
    """
    first = {branch.name: branch for branch in reversed(tree.branches)}
    names: dict[str, Any] = {}
    paths: set[str] = set()
    for path, branch in _below(tree, ""):
        if branch.name not in names and first.get(branch.name, branch) is branch:
            names[branch.name] = branch
        elif path not in names and path not in first and path not in paths:
            names[path] = branch
        paths.add(path)
    return names


def _below(tree: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    """The branches of a tree or branch with their paths, each before its own ones."""
    for branch in tree.branches:
        path = prefix + branch.name
        yield path, branch
        yield from _below(branch, f"{path}/")


def parents_of(tree: Any, names: Mapping[str, Any]) -> list[int]:
    """For each of the branches that `by_name` found, the place among them of the one that it is in: -1 for those at the top,
    `UNKNOWN` where that one has no name.
    """
    places = {id(branch): place for place, branch in enumerate(names.values())}
    parents = [UNKNOWN] * len(names)

    def walk(around: Any, parent: int) -> None:
        for branch in around.branches:
            place = places.get(id(branch), UNKNOWN)
            if place != UNKNOWN:
                parents[place] = parent
            walk(branch, place)

    walk(tree, -1)
    return parents


def paths_of(names: Collection[str], parents: Sequence[int]) -> dict[str, str]:
    """The names of branches by their paths, as uproot has them: `Jet/Jet.PT`.

    Example:
        >>> paths_of(["Jet", "Jet.PT", "TObject", "Jet/TObject"], [-1, 0, -1, 0])
        {'Jet/Jet.PT': 'Jet.PT', 'Jet/TObject': 'Jet/TObject'}
    """
    listed = list(names)

    @functools.cache
    def path(place: int) -> str:
        name, parent = listed[place], parents[place]
        if parent < 0:
            return "" if parent == UNKNOWN else name
        around = path(parent)
        return name if not around or name.startswith(f"{around}/") else f"{around}/{name}"

    return {path(place): listed[place] for place, parent in enumerate(parents) if parent >= 0 and path(parent)}


def counts_of_clones(names: Mapping[str, Any]) -> dict[str, str]:
    """For the members of objects in a split TClonesArray, as `Jet.PT`, the branch with their numbers, `Jet`.

    (uproot takes another member for their counter.)
    """
    found = {}
    for name, branch in names.items():
        parent = branch.parent
        is_member = name.startswith(f"{parent.name}.") and names.get(parent.name) is parent
        if is_member and parent.member("fType", none_if_missing=True) == CLONES:
            found[name] = parent.name
    return found


def written_type(branch: Any) -> str:
    """The type of a branch (or of a field of an RNTuple) as it was written, for errors.

    Args:
        branch: as uproot has it.
    """
    if not hasattr(branch, "streamer"):
        return str(branch.typename)
    if branch.streamer is not None and branch.streamer.typename:
        return str(branch.streamer.typename)
    for said in ("fClassName", "fTitle"):
        if branch.has_member(said) and branch.member(said):
            return str(branch.member(said))
    return "unknown"


class Named(Mapping[str, Any]):
    """Branches by name, each as uproot has it, once somebody asks for it.

    Args:
        names: of all branches.
        branch: gives one of them.
        has_more: whether there is something else of a name, which is found here but not listed.
    """

    def __init__(
        self, names: Collection[str], branch: Callable[[str], Any], has_more: Callable[[str], bool] = lambda _: False
    ) -> None:
        self._names = names
        self._branch = branch
        self._has_more = has_more

    def __getitem__(self, name: str) -> Any:
        if name not in self:
            raise KeyError(name)
        return self._branch(name)

    def __contains__(self, name: object) -> bool:
        return name in self._names or (isinstance(name, str) and self._has_more(name))

    def is_listed(self, name: str) -> bool:
        """Whether a branch is really called so."""
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def is_listed(names: Mapping[str, Any], name: str) -> bool:
    """Whether a branch is really called so, and not only as kernels write it (`Written`), or in one (`Named`)."""
    return name in names and (not isinstance(names, Named) or names.is_listed(name))


class Written(Named):
    """Branches by name; by their paths, too, as uproot has them, `Jet/Jet.PT`; and those whose names are no identifiers as
    kernels write them: `Jet_PT` for `Jet.PT`, `Muon_0_index` for `Muon#0.index`, `cov` for `cov[10]`. These are found, not
    listed; and not where two branches would have the same. So are members of records (`record_members`), for which their
    branch stands.

    Args:
        names: the branches.
        form: of a branch that may have records, by its own name; None of others.
        paths: gives their names by their paths, once somebody asks for one.

    Example:
        >>> names = Written({"Jet.PT": 1, "Jet_PT": 2, "MET.MET": 3, "A.b.c": 4, "A.b_c": 5})
        >>> names["Jet_PT"], names["MET_MET"], "A_b_c" in names, len(names)
        (2, 3, False, 5)
    """

    def __init__(
        self,
        names: Mapping[str, Any],
        form: Callable[[str], Any] = lambda _: None,
        paths: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        super().__init__(names, self._branch_of, lambda name: self.original(name) != name or bool(self.member(name)))
        self._all = names
        self._members = RecordMembers(lambda name: form(self.original(name)))
        self._as_written: dict[str, str] | None = None
        self._paths = functools.cache(paths)

    def member(self, name: str) -> Member | None:
        """The member of records that is called so, if it is no branch."""
        return None if self.original(name) in self._all else self._members.find(name)

    def _branch_of(self, name: str) -> Any:
        member = self.member(name)
        return self._all[self.original(name if member is None else member.branch)]

    def original(self, name: str) -> str:
        """The branch's own name for its path, or one that a kernel may write."""
        if name in self._names:
            return name
        if "/" in name:
            return self._paths().get(name, name)
        if self._as_written is None:
            originals: dict[str, list[str]] = {}
            for original in self._names:
                if not original.isidentifier():
                    originals.setdefault(re.sub(r"\W", "_", without_size(original)), []).append(original)
            self._as_written = {written: them[0] for written, them in originals.items() if len(them) == 1}
        return self._as_written.get(name, name)


def original(names: Mapping[str, Any], name: str) -> str:
    """A branch's own name, for one that somebody may write (`Written`)."""
    return names.original(name) if isinstance(names, Written) else name
