"""An analysis with a part for each of several trees of the same files: events, and what is beside them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..protocol.errors import AnalysisError
from .variations import Varied


class ByTree:
    """Parts of an analysis by the tree that they are of; `session.process(data, {"Events": ..., "Runs": ...})` makes it.

    Args:
        parts: by the names of trees; each is whatever can be analysed by itself: a kernel, a function, a processor.

    Raises:
        AnalysisError: there are none, or a tree has no name.

    Example:
        >>> ByTree({"Events": len, "Runs": len}).trees
        ['Events', 'Runs']
    """

    def __init__(self, parts: Mapping[Any, Any]) -> None:
        if not parts or not all(isinstance(tree, str) and tree for tree in parts):
            raise AnalysisError(
                f"{list(parts)!r:.200}: an analysis by tree is a dict of parts by the names of trees, "
                '{"Events": analysis, "Runs": sums}'
            )
        if nested := [tree for tree, part in parts.items() if isinstance(part, Mapping | ByTree)]:
            raise AnalysisError(f"the part for the tree {nested[0]} is a dict again: it must be an analysis")
        self.parts = dict(parts)
        self.__name__ = " and ".join(_name(part) for part in self.parts.values())

    @property
    def trees(self) -> list[str]:
        """The trees that are read."""
        return list(self.parts)

    @property
    def functions(self) -> list[Any]:
        """All that is called."""
        parts = self.parts.values()
        return [function for part in parts for function in (part.functions if isinstance(part, Varied) else [part])]

    def __repr__(self) -> str:
        return f"<analysis of {', '.join(f'{tree}: {_name(part)}' for tree, part in self.parts.items())}>"


def _name(part: Any) -> str:
    return getattr(part, "__name__", None) or type(part).__name__
