"""Corrections of correctionlib as tables of numbers, which compiled code can evaluate.

correctionlib has no interface that compiled code could call: its evaluator is a C++ object behind Python. What it evaluates
is a tree, which is put here into arrays, once, in the session; workers need no correctionlib. Formulas are parsed by
correctionlib itself, and kept as what a stack machine does. `worker.kernels.correction_access` walks over it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..protocol.errors import AnalysisError
from .kernel_parameters import Given
from .word_codes import code_of

VALUE, BINNING, CATEGORY, FORMULA, TRANSFORM = range(5)
"""Kinds of nodes."""
CLAMP, ERROR, WRAP = -1, -2, -3
"""What is done with a value outside of all bins, where that is not another node."""
LITERAL, VARIABLE = 0, 1
"""The first operations of formulas; unary and binary ones follow."""
UNARY = (
    "NEGATIVE", "LOG", "LOG10", "EXP", "ERF", "SQRT", "ABS", "COS", "SIN", "TAN", "ACOS", "ASIN", "ATAN", "COSH", "SINH",
    "TANH", "ACOSH", "ASINH", "ATANH",
)  # fmt: skip
BINARY = (
    "LOGICALOR", "LOGICALAND", "EQUAL", "NOTEQUAL", "GREATER", "LESS", "GREATEREQ", "LESSEQ", "MINUS", "PLUS", "DIV",
    "TIMES", "POW", "ATAN2", "MAX", "MIN",
)  # fmt: skip
OPERATIONS = ("LITERAL", "VARIABLE", *UNARY, *BINARY)


@dataclass
class Tables:
    """The tree of a correction.

    Attributes:
        nodes: of each its kind and four numbers, which say by kind: VALUE, the place in `values`; BINNING, the first and
            the number of `axes`, the first of `children`, what is done outside; CATEGORY, the input, the first of `keys`
            and `children`, their number, the node by default or -1; FORMULA, the first and the number of `operations`;
            TRANSFORM, the input, the node with the rule, the node after it, whether the input is a whole number.
        axes: of each the input, the first edge in `values`, and the number of edges; of equal bins, the number of bins below
            0, and in `values` the ends.
        children: numbers of nodes.
        keys: beside the children of categories, whole numbers, or the codes of words.
        operations: of formulas, each with the place of a value or the number of an input.
        values: numbers.
    """

    nodes: list[list[int]] = field(default_factory=list)
    axes: list[list[int]] = field(default_factory=list)
    children: list[int] = field(default_factory=list)
    keys: list[int] = field(default_factory=list)
    operations: list[list[int]] = field(default_factory=list)
    values: list[float] = field(default_factory=list)

    def arrays(self) -> tuple[NDArray[Any], ...]:
        """All of it, as compiled code takes it; `nodes[0]` is the root."""
        shapes = ((self.nodes, 5), (self.axes, 3), (self.children, 1), (self.keys, 1), (self.operations, 2))
        whole = [np.array(rows, np.int64).reshape(-1, width) for rows, width in shapes]
        return (*whole, np.array(self.values, np.float64))


class Correction(Given):
    """A correction that a kernel takes as a parameter: see `correction`."""

    def __init__(self, content: str, name: str) -> None:
        self._content, self.name = content, name
        told = json.loads(content)["corrections"][0]
        self.inputs = [(it["name"], it["type"]) for it in told["inputs"]]
        self.tables = _Writer(told).tables

    def evaluate(self, *values: Any) -> float:
        """As correctionlib's own, by which it is done outside compiled code."""
        import correctionlib  # type: ignore[import-not-found,unused-ignore]

        its = correctionlib.CorrectionSet.from_string(self._content)[self.name]
        return float(its.evaluate(*values))

    def __repr__(self) -> str:
        return f"em.correction({self.name})"


def correction(evaluator: Any) -> Correction:
    """A correction of correctionlib as a parameter of a kernel: `def weigh(out, Muon, sf=em.correction(cset["muon_sf"]))`.

    There, `sf.evaluate(...)` takes numbers and words in the order of its inputs, as correctionlib's does, and gives what it
    gives: binnings with their flow, categories, formulas, transformations. It is not compiled into the code: another file
    needs no other code.

    Args:
        evaluator: what `correctionlib.CorrectionSet.from_file("muon.json.gz")["muon_sf"]` is.

    Raises:
        AnalysisError: this is no such thing, or there is something in it that compiled code does not do (random numbers,
            networks, compound corrections).

    Example:
        >>> sf = correction(correctionlib.CorrectionSet.from_file("muon.json.gz")["muon_sf"])     # doctest: +SKIP
    """
    context = getattr(evaluator, "_context", None)
    content = getattr(context, "_data", None)
    name = getattr(evaluator, "name", "")
    if not isinstance(content, str):
        raise AnalysisError(
            f'em.correction takes a correction of correctionlib, CorrectionSet.from_file(...)["name"], not {evaluator!r:.60}'
        )
    told = json.loads(content)
    its = [it for it in told["corrections"] if it["name"] == name]
    if not its:
        raise AnalysisError(f"{name} is a compound correction: take those that it consists of, and multiply them")
    return Correction(json.dumps({"schema_version": told["schema_version"], "corrections": its}), name)


class _Writer:
    """Puts the content of a correction into tables."""

    def __init__(self, told: dict[str, Any]) -> None:
        self.tables = Tables()
        self._name, self._inputs = told["name"], told["inputs"]
        self._names = [it["name"] for it in self._inputs]
        self._formulas = told.get("generic_formulas") or []
        self._node(told["data"])

    def _node(self, content: Any) -> int:
        """Add a node with all below it; returns its number."""
        number = len(self.tables.nodes)
        self.tables.nodes.append([VALUE] * 5)
        self.tables.nodes[number] = self._written(content)
        return number

    def _written(self, content: Any) -> list[int]:
        if not isinstance(content, dict):
            return [VALUE, self._values([content]), 0, 0, 0]
        match content["nodetype"]:
            case "binning":
                return self._binning([content["input"]], [content["edges"]], content)
            case "multibinning":
                return self._binning(content["inputs"], content["edges"], content)
            case "category":
                return self._category(content)
            case "formula":
                return self._formula(content, content.get("parameters") or [])
            case "formularef":
                return self._formula(self._formulas[content["index"]], content["parameters"])
            case "transform":
                rewritten = self._names.index(content["input"])
                if '"transform"' in json.dumps(content["rule"]):
                    raise self._cannot("a transformation within the rule of another one")
                is_whole = int(self._inputs[rewritten]["type"] == "int")
                return [TRANSFORM, rewritten, self._node(content["rule"]), self._node(content["content"]), is_whole]
        raise self._cannot(f"a node {content['nodetype']}")

    def _cannot(self, what: str) -> AnalysisError:
        return AnalysisError(
            f"the correction {self._name} has {what}, which kernels cannot evaluate: use a columnar function"
        )

    def _values(self, values: list[Any]) -> int:
        first = len(self.tables.values)
        self.tables.values += [float(value) for value in values]
        return first

    def _binning(self, inputs: list[str], edges: list[Any], content: dict[str, Any]) -> list[int]:
        first = len(self.tables.axes)
        for name, its in zip(inputs, edges, strict=True):
            is_equal = isinstance(its, dict)
            place = self._values([its["low"], its["high"]] if is_equal else its)
            self.tables.axes.append([self._names.index(name), place, -its["n"] if is_equal else len(its)])
        child = self._children(content["content"], [0] * len(content["content"]))
        flow = {"clamp": CLAMP, "error": ERROR, "wrap": WRAP}.get(str(content["flow"]))
        return [BINNING, first, len(inputs), child, self._node(content["flow"]) if flow is None else flow]

    def _category(self, content: dict[str, Any]) -> list[int]:
        items = content["content"]
        keys = [code_of(it["key"]) if isinstance(it["key"], str) else int(it["key"]) for it in items]
        first = self._children([it["value"] for it in items], keys)
        default = content.get("default")
        otherwise = -1 if default is None else self._node(default)
        return [CATEGORY, self._names.index(content["input"]), first, len(items), otherwise]

    def _children(self, contents: list[Any], keys: list[int]) -> int:
        first = len(self.tables.children)
        self.tables.children += [0] * len(contents)
        self.tables.keys += keys
        for place, content in enumerate(contents):
            self.tables.children[first + place] = self._node(content)
        return first

    def _formula(self, content: dict[str, Any], parameters: list[float]) -> list[int]:
        import correctionlib._core as core  # type: ignore[import-not-found,unused-ignore]

        variables = [core.Variable.from_string(json.dumps(it)) for it in self._inputs]
        tree = core.Formula.from_string(json.dumps({**content, "parameters": list(parameters)}), variables).ast
        first = len(self.tables.operations)
        self._operations(tree, parameters)
        return [FORMULA, first, len(self.tables.operations) - first, 0, 0]

    def _operations(self, tree: Any, parameters: list[float]) -> None:
        for child in tree.children:
            self._operations(child, parameters)
        kind = tree.nodetype.name
        if kind in ("LITERAL", "PARAMETER"):
            value = tree.data if kind == "LITERAL" else parameters[tree.data]
            operation = [LITERAL, self._values([value])]
        elif kind == "VARIABLE":
            operation = [VARIABLE, int(tree.data)]
        else:
            operation = [OPERATIONS.index(tree.data.name), 0]
        self.tables.operations.append(operation)
