"""A result whose histograms are made when they are looked at: of ten thousand, a display shows two."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from . import nodes
from .described import described
from .encode import decode
from .miniature import is_left_out
from .nodes import Tree
from .partial import Partial

Read = Callable[[Tree], Any]


class Unmade:
    """A histogram of a result that is not made yet."""

    __slots__ = ("_node", "_read")

    def __init__(self, node: nodes.Histogram, read: Read) -> None:
        self._node, self._read = node, read

    @property
    def left_out(self) -> bool:
        """Whether it is not in this miniature of a result."""
        return is_left_out(self._node)

    def made(self) -> Any:
        """The histogram, each time a new one."""
        return self._read(self._node)


class Opened(Mapping[Any, Any]):
    """A dict of a result, each of whose values is made when it is taken.

    Args:
        items: of it.
        read: makes a value.
    """

    def __init__(self, items: Mapping[Any, Tree], read: Read) -> None:
        self._items, self._read = items, read

    def __getitem__(self, key: Any) -> Any:
        tree = self._items[key]
        if isinstance(tree, nodes.Histogram) and is_left_out(tree):
            raise KeyError(key)
        return self._read(tree)

    def __contains__(self, key: object) -> bool:
        return key in self._items

    def __iter__(self) -> Iterator[Any]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __repr__(self) -> str:
        return repr(dict(self))

    def entries(self) -> Iterator[tuple[Any, Any]]:
        """As `items`, with `Unmade` for histograms: for who wants to know what there is."""
        for key, tree in self._items.items():
            yield key, Unmade(tree, self._read) if isinstance(tree, nodes.Histogram) else self._read(tree)


def opened(partial: Partial) -> Any:
    """As `decode`, but each value of a dict is made when it is taken.

    Example:
        >>> from hist import Hist
        >>> from eventmill.merge import encode
        >>> found = opened(encode({"mass": Hist.new.Reg(2, 0, 2).Double().fill([0.5]), "cuts": {"all": 3}}, 1))
        >>> found["mass"].values().tolist(), found["cuts"]["all"]
        ([1.0, 0.0], 3)
    """
    return _value(partial.tree)


def _value(tree: Tree) -> Any:
    if isinstance(tree, nodes.Dict):
        return Opened(tree.items, _value)
    if isinstance(tree, nodes.Histogram) and tree.of:
        return described(tree)
    return decode(Partial(tree))
