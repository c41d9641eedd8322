"""The branches of a tree by name."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any


def by_name(tree: Any) -> dict[str, Any]:
    """The branches of a tree as uproot has it: each by its name or, where another one has that, by its path.

    Of several with one name, the first at the lowest level has it, as in ROOT; another one at that level cannot be had.
    """
    first = {branch.name: branch for branch in reversed(tree.branches)}
    names: dict[str, Any] = {}
    for path, branch in tree.iteritems(full_paths=True):
        if branch.name not in names and first.get(branch.name, branch) is branch:
            names[branch.name] = branch
        elif path not in names and path not in first:
            names[path] = branch
    return names


class Named(Mapping[str, Any]):
    """Branches by name, each as uproot has it, once somebody asks for it."""

    def __init__(self, names: Collection[str], branch: Callable[[str], Any]) -> None:
        self._names = names
        self._branch = branch

    def __getitem__(self, name: str) -> Any:
        if name not in self._names:
            raise KeyError(name)
        return self._branch(name)

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)
