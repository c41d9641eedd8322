"""A result as somebody looks at it who must not run the code of those that made it: nothing in it is unpickled.

A page of a standing master shows the results of all its users. What was pickled in their slots would run as the page's
own user; a histogram's axes and cells travel as plain descriptions, which is all that it takes to draw it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from . import nodes
from .described import described
from .encode import decode
from .miniature import coarse
from .nodes import Tree
from .opened import Opened
from .partial import Partial


@dataclass(frozen=True, slots=True)
class Opaque:
    """An object of somebody's class, of which nothing but the class is known here."""

    type_name: str

    def __str__(self) -> str:
        return f"a {self.type_name}, which its own session can show"


def plain(partial: Partial) -> object:
    """The value of a partial result without what only Python can merge (`Opaque`), for displays.

    Dicts are read-only mappings, histograms boost-histogram's, of no more bins than a
    screen shows, awkward arrays a line that says how long they are.

    Example:
        >>> from .encode import encode
        >>> found = plain(encode({"n": 3, "mine": {1, 2}}, 5))
        >>> dict(found)
        {'n': 3, 'mine': {1, 2}}
    """
    return _value(partial.tree)


def _value(tree: Tree) -> Any:
    match tree:
        case nodes.Array(data=data):
            return data if data.ndim else data[()]
        case nodes.List(items=branches):
            return [_value(branch) for branch in branches]
        case nodes.Tuple(items=branches):
            return tuple(_value(branch) for branch in branches)
        case nodes.Dict(items=named):
            return Opened(named, _value)
        case nodes.Awkward():
            return f"an awkward array of {sum(chunk.length for chunk in tree.chunks()):,} entries"
        case nodes.Histogram():
            return described(coarse(tree))
        case nodes.Pickled(type_name=name):
            return Opaque(name)
        case (  # each kind is named: what is pickled is never to come here
            nodes.Nothing() | nodes.Constant() | nodes.Binary() | nodes.Number() | nodes.Counter() | nodes.Set()
            | nodes.Sketched() | nodes.Cutflow() | nodes.Written() | nodes.Rows()
        ):  # fmt: skip
            return decode(Partial(tree))
