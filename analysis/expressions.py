"""Expressions of columns, as in aliases and in `session.draw`: Python over the columns of some events.

The names in an expression are columns; `np` and `ak` are numpy and awkward, `events` is all there is
(`events["odd name"]`), and where no column has their names, `abs`, `sqrt`, `exp` and the like are those of numpy.

Expressions compute in 64 bits, as TTree::Draw does: a difference of unsigned numbers may be negative, and values of
`float` branches are not multiplied in 32 bits. A column alone stays what it is, and so do unsigned numbers of 2^63 and more.
"""

from __future__ import annotations

import ast
import copy
import functools
from collections.abc import Iterator
from types import CodeType
from typing import Any, cast

from ..protocol.errors import AnalysisError, nearest
from .syntax import parsed_expression

LIBRARIES = ("np", "ak", "events")
"""What is no column in any expression."""
FUNCTIONS = {
    "abs": "abs", "sqrt": "sqrt", "pow": "power", "exp": "exp", "log": "log", "log10": "log10", "min": "minimum",
    "max": "maximum", "sin": "sin", "cos": "cos", "tan": "tan", "asin": "arcsin", "acos": "arccos", "atan": "arctan",
    "atan2": "arctan2", "sinh": "sinh", "cosh": "cosh", "tanh": "tanh",
}  # fmt: skip
"""What physicists call functions of numpy, by name; a column of the same name goes first."""
_WIDENED = "<widened>"
"""A name that no expression can have."""
_WIDE = {"float32": "float64", "complex64": "complex128"} | dict.fromkeys(
    ("int8", "int16", "int32", "uint8", "uint16", "uint32"), "int64"
)
_OF_STRUCTURE = frozenset({"ak.num", "ak.count", "ak.local_index", "ak.is_none", "len"})
"""Functions for which the values of a column need not be read."""
_SIMPLE = (
    ast.Expression, ast.Name, ast.Attribute, ast.Load, ast.Constant, ast.Call, ast.UnaryOp, ast.USub, ast.UAdd,
    ast.BinOp, ast.Add, ast.Sub, ast.Mult, ast.Div, ast.Compare, ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.Eq, ast.NotEq,
)  # fmt: skip


class Expression:
    """A value for each event.

    Args:
        text: Python, in one line or in several.

    Attributes:
        names: what it names that is in no library: columns, and functions of `FUNCTIONS`; each once.

    Raises:
        AnalysisError: it is no Python expression, or names no column.

    Example:
        >>> Expression("np.sqrt(Muon.pt**2 + MET_pt**2)").names
        ('Muon', 'MET_pt')
    """

    def __init__(self, text: str) -> None:
        self.text = text.strip()
        _check_logic(self.text)
        _check_events(self.text)
        nodes = [node for node in ast.walk(_parsed(self.text)) if isinstance(node, ast.expr | ast.arg)]
        nodes.sort(key=lambda node: (node.lineno, node.col_offset))
        own = {name for node in nodes if (name := _assigned(node))}
        named = dict.fromkeys(name for node in nodes for name in _named(node) if name not in own)
        self.names = tuple(name for name in named if name not in LIBRARIES)
        if not self.names and "events" not in named:
            raise AnalysisError(f"{text!r} names no branch")

    @property
    def is_simple(self) -> bool:
        """Whether it means the same to ROOT's TTree::Draw: sums, products, comparisons and functions of columns."""
        nodes = list(ast.walk(_parsed(self.text)))
        called = [node.func for node in nodes if isinstance(node, ast.Call)]
        return all(isinstance(node, _SIMPLE) for node in nodes) and all(
            isinstance(function, ast.Name) and function.id in FUNCTIONS for function in called
        )

    def value(self, events: Any) -> Any:
        """What it gives for an awkward array of events.

        Raises:
            AnalysisError: the events have no column of a name in it.
            Exception: what the libraries raise.
        """
        import awkward as ak
        import numpy as np

        known = set(events.fields)
        names = {"np": np, "ak": ak, "events": events, _WIDENED: widened}
        for name in self.names:
            if name in known:
                names[name] = events[name]
            elif name in FUNCTIONS:
                names[name] = getattr(np, FUNCTIONS[name])
            elif (
                name.isidentifier()
            ):  # others are asked of the events, which may know them by more names than they list
                raise AnalysisError(f"{self.text!r} names {name}, and no column is called so{nearest(name, known)}")
        return eval(_compiled(self.text), names)  # noqa: S307  (in a slot, as all code of the user)


@functools.lru_cache(maxsize=1000)
def _parsed(text: str) -> ast.Expression:
    try:
        return parsed_expression(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise AnalysisError(
            f"cannot read {text!r}: {_marked(error)}{_of_root(text)}Write it in Python, with branches by their names, np "
            "and ak: 'np.sqrt(Jet_pt)', '(nMuon >= 2) & (MET_pt > 20)'; a branch whose name Python cannot read is "
            "events['name']"
        ) from None


def _marked(error: Exception) -> str:
    """What is wrong, with a mark below the place; ends where the next sentence begins.

    Example:
        >>> try:
        ...     parsed_expression("nMuon >> > 2")
        ... except SyntaxError as error:
        ...     print(_marked(error), end="")
        invalid syntax
            nMuon >> > 2
                     ^
    """
    if not isinstance(error, SyntaxError) or error.text is None or error.offset is None:
        return f"{error}. "
    line = error.text.rstrip("\n")
    start = (error.offset or len(line) + 1) - 1  # 0: where it ends
    before = "".join(sign if sign == "\t" else " " for sign in line[:start].ljust(start))
    end = error.end_offset or 0 if error.end_lineno == error.lineno else 0
    return f"{error.msg}\n    {line}\n    {before}{'^' * max(1, min(end - 1, len(line)) - start)}\n"


def _of_root(text: str) -> str:
    """What those mean who write as for TTree::Draw, in a sentence; nothing for others."""
    written = {"&&": "&", "||": "|", "!": "~", "::": ""}
    found = [f"{sign} is {here} here" for sign, here in written.items() if here and sign in text.replace("!=", "")]
    if ":" in text.replace("::", ""):
        found.append("two axes are draw(data, 'x', y='y')")
    return f"{', '.join(found)}. ".capitalize() if found else ""


_REDUCERS = frozenset([
    "all", "any", "argmax", "argmin", "average", "corr", "count", "count_nonzero", "cov", "cumprod", "cumsum",
    "max", "mean", "median", "min", "moment", "nanargmax", "nanargmin", "nanmax", "nanmean", "nanmedian",
    "nanmin", "nanpercentile", "nanprod", "nanquantile", "nanstd", "nansum", "nanvar", "percentile", "prod",
    "ptp", "quantile", "softmax", "std", "sum", "unique", "var",
])  # fmt: skip
"""Functions of numpy and awkward that are of all events together unless they are told an axis."""
_OF_TWO = frozenset(["average", "corr", "cov", "moment", "nanpercentile", "nanquantile", "percentile", "quantile"])
"""Of these, those whose second argument is not the axis."""


def _check_logic(text: str) -> None:
    """Refuse `and`, `or`, `not` and `1 < x < 2`, which ask for one truth value where arrays have many."""
    tree = _parsed(text)
    if any(isinstance(node, ast.Lambda | ast.comprehension) for node in ast.walk(tree)):
        return  # what is in these may be single values
    for_arrays = ast.unparse(_ForArrays().visit(copy.deepcopy(tree)))
    if for_arrays != ast.unparse(tree):
        raise AnalysisError(f"{text!r}: arrays of events take & for and, | for or, ~ for not: write {for_arrays!r}")


def _check_events(text: str) -> None:
    """Refuse what is of all events of a call, or of some of these by their numbers: how many there are is not fixed."""
    tree = _parsed(text)
    if any(isinstance(node, ast.Lambda | ast.comprehension) for node in ast.walk(tree)):
        return  # in these, it may be of one event
    for node in ast.walk(tree):
        told = ""
        if isinstance(node, ast.Call) and _is_of_all(node):
            told = f"is of all events of a call. Of each event is '{ast.unparse(node.func)}(..., axis=1)'"
        if isinstance(node, ast.Subscript) and _is_of_some(node):
            told = f"takes some events by their numbers. Of each event is '{ast.unparse(node.value)}[:, ...]'"
        if told:
            raise AnalysisError(
                f"{text!r}: how events are cut for an expression is not fixed, and {ast.unparse(node)} {told}"
            )


def _is_of_all(call: ast.Call) -> bool:
    """Whether a function makes one thing of all events."""
    function, keywords = call.func, {keyword.arg: keyword.value for keyword in call.keywords}
    if not (isinstance(function, ast.Attribute) and ast.unparse(function.value) in ("np", "ak") and call.args):
        return False
    if function.attr not in _REDUCERS or None in keywords:
        return False
    positional = [] if function.attr in _OF_TWO else call.args[1:]
    axis = keywords.get("axis", positional[0] if positional else ast.Constant(None))
    several = isinstance(call.args[0], ast.List | ast.Tuple)  # of columns: their axis 0 is not that of the events
    return isinstance(axis, ast.Constant) and (axis.value is None or (axis.value == 0 and not several))


def _is_of_some(subscript: ast.Subscript) -> bool:
    """Whether events of a column are taken by their numbers."""
    first = (
        subscript.slice.elts[0] if isinstance(subscript.slice, ast.Tuple) and subscript.slice.elts else subscript.slice
    )
    if isinstance(first, ast.UnaryOp):
        first = first.operand
    if not _is_column(subscript.value):
        return False
    if isinstance(first, ast.Slice):
        return any((first.lower, first.upper, first.step))
    return isinstance(first, ast.Constant) and isinstance(first.value, int)


class _ForArrays(ast.NodeTransformer):
    """Writes what Python asks of one truth value as what arrays take."""

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.expr:
        return _joined([self.visit(value) for value in node.values], _BITWISE[type(node.op)])

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.expr:
        operand = self.visit(node.operand)
        return ast.UnaryOp(ast.Invert() if isinstance(node.op, ast.Not) else node.op, operand)

    def visit_Compare(self, node: ast.Compare) -> ast.expr:
        sides = [self.visit(side) for side in (node.left, *node.comparators)]
        pairs = zip(sides, node.ops, sides[1:], strict=False)
        return _joined([ast.Compare(left, [sign], [right]) for left, sign, right in pairs], ast.BitAnd())


_BITWISE: dict[type[ast.boolop], ast.operator] = {ast.And: ast.BitAnd(), ast.Or: ast.BitOr()}


def _joined(parts: list[ast.expr], sign: ast.operator) -> ast.expr:
    return functools.reduce(lambda left, right: ast.BinOp(left, sign, right), parts)


@functools.lru_cache(maxsize=1000)
def _compiled(text: str) -> CodeType:
    tree = copy.deepcopy(_parsed(text))
    if not _is_column(tree.body):
        tree = ast.fix_missing_locations(_Widening().visit(tree))
    code: CodeType = compile(tree, f"<{text}>", "eval")
    return code


class _Widening(ast.NodeTransformer):
    """Has each column that is computed with, and what else may be one, pass through `widened`."""

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return node if isinstance(node.ctx, ast.Store) or node.id in LIBRARIES else _through_widened(node)

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        self.generic_visit(node)
        return node if isinstance(node.value, ast.Name) and node.value.id in ("np", "ak") else _through_widened(node)

    def visit_Subscript(self, node: ast.Subscript) -> ast.expr:
        self.generic_visit(node)
        return _through_widened(node) if isinstance(getattr(node.slice, "value", None), str) else node

    def visit_Call(self, node: ast.Call) -> ast.expr:
        return node if ast.unparse(node.func) in _OF_STRUCTURE else cast("ast.expr", self.generic_visit(node))


def _through_widened(node: ast.expr) -> ast.expr:
    return ast.copy_location(ast.Call(ast.Name(_WIDENED, ast.Load()), [node], []), node)


def _is_column(node: ast.expr) -> bool:
    """Whether this is but the name of a column: `x`, `Muon.pt`, `events["x"]`."""
    if isinstance(node, ast.Attribute) or (isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant)):
        return _is_column(node.value)
    return isinstance(node, ast.Name)


def widened(value: Any) -> Any:
    """A column of numbers of less than 64 bits in 64, of unsigned ones of 64 bits with a sign, where that has room for it;
    anything else as it is.

    Example:
        >>> import awkward as ak, numpy as np
        >>> str(widened(ak.Array(np.zeros(2, np.uint8))).type)
        '2 * int64'
    """
    import awkward as ak

    if not isinstance(value, ak.Array) or value.fields:
        return value
    kind = str(value.type).rpartition("* ")[2].strip("?]")
    wide = _WIDE.get(kind)
    if kind == "uint64" and ((largest := ak.max(value, axis=None)) is None or largest < 2**63):
        wide = "int64"
    return value if wide is None else ak.values_astype(value, wide)


def _named(node: ast.expr | ast.arg) -> Iterator[str]:
    """The name that is read here, also of a column as in `events.x` or `events["x"]`."""
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
        yield node.id
    if isinstance(node, ast.Attribute | ast.Subscript) and isinstance(node.value, ast.Name):
        name = node.attr if isinstance(node, ast.Attribute) else getattr(node.slice, "value", None)
        if node.value.id == "events" and isinstance(name, str):
            yield name


def _assigned(node: ast.expr | ast.arg) -> str:
    """The variable of the expression's own that gets its value here, if one does."""
    if isinstance(node, ast.arg):
        return node.arg
    return node.id if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load) else ""
