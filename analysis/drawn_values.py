"""The numbers that expressions give for some events, to be filled into a histogram. For slots."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..protocol.errors import AnalysisError
from ..protocol.values import some
from .expressions import Expression

if TYPE_CHECKING:
    from numpy.typing import NDArray


def drawn_values(
    events: Any,
    x: Expression,
    y: Expression | None = None,
    where: Expression | None = None,
    weight: Expression | None = None,
) -> tuple[NDArray[Any], ...]:
    """The values of one expression, or the pairs of two, in flat arrays; of lists, all of their elements.

    Args:
        events: an awkward array of them.
        x, y: what is drawn. A number beside a list goes with each of its elements.
        where: a condition on events, or on the values or pairs.
        weight: of events, or of the values or pairs: one more array, the last.

    Raises:
        AnalysisError: an expression names what there is not, or gives no numbers for events; `where` is no condition.

    Example:
        >>> import awkward as ak
        >>> events = ak.Array({"pt": [[30.0, 20.0], [None, 10.0]], "met": [5, 7]})
        >>> drawn_values(events, Expression("pt"), where=Expression("met > 5"))[0].tolist()
        [10.0]
        >>> [values.tolist() for values in drawn_values(events, Expression("pt"), Expression("met"))]
        [[30.0, 20.0, 10.0], [5, 5, 7]]
        >>> [values.tolist() for values in drawn_values(events, Expression("pt"), weight=Expression("met / 10"))]
        [[30.0, 20.0, 10.0], [0.5, 0.5, 0.7]]
    """
    import awkward as ak

    together = [it for it in (x, y, weight) if it is not None]
    values = _numbers(x, events)
    if len(together) > 1:
        values = _zipped(together, [values, *(_numbers(it, events) for it in together[1:])])
    if where is not None:
        names = repr(x.text) if y is None else f"({x.text!r}, {y.text!r})"
        values = _chosen(values, _of_events(where, events), names, where.text)
    if len(together) == 1:
        return (_flat(values),)
    columns = [ak.ravel(values[field]) for field in ak.fields(values)]
    there = ~ak.is_none(columns[0])
    for column in columns[1:]:
        there = there & ~ak.is_none(column)
    return tuple(_flat(column[there]) for column in columns)


def _of_events(expression: Expression, events: Any) -> Any:
    """What an expression gives for events, as an awkward array.

    Raises:
        AnalysisError: it gives something for all of them together.
    """
    import awkward as ak
    import numpy as np

    value = expression.value(events)
    if isinstance(value, np.ndarray) and value.ndim:
        return ak.Array(value)
    if not isinstance(value, ak.Array):
        raise AnalysisError(
            f"{expression.text!r} gives one {type(value).__name__} for all events that it is given at a time, and how many "
            "these are is not fixed: write what gives a value, or a list of them, for each event"
        )
    return value


def _numbers(expression: Expression, events: Any) -> Any:
    """The numbers or truth values that an expression gives for events, or lists of them."""
    values = _of_events(expression, events)
    kind = _innermost(values)
    if fields := getattr(kind, "fields", None):
        examples = [f"{expression.text}.{field}" for field in fields]
        raise AnalysisError(f"{expression.text!r} gives records, not numbers: draw one of {some(examples)}")
    primitive = getattr(kind, "primitive", "" if len(values) else "bool")  # of nothing, the type may not be known
    if not primitive.startswith(("bool", "int", "uint", "float")):
        raise AnalysisError(f"{expression.text!r} gives {kind}, and only numbers and truth values can be drawn")
    return values


def _innermost(values: Any) -> Any:
    """The type of what is in lists, and may be missing."""
    import awkward as ak

    kind = ak.type(values).content
    while isinstance(kind, ak.types.ListType | ak.types.RegularType | ak.types.OptionType):
        if "__array__" in kind.parameters:  # a text
            break
        kind = kind.content
    return kind


def _zipped(together: Sequence[Expression], values: Sequence[Any]) -> Any:
    """Records of all."""
    import awkward as ak

    try:
        # As lists: else arrays of one shape for all events would be repeated for those of another.
        return ak.zip({str(at): ak.from_regular(each, axis=None) for at, each in enumerate(values)})
    except ValueError:
        names = " and ".join(repr(it.text) for it in together)
        raise AnalysisError(
            f"{names} have lists of different lengths, so that it is not known which values go together: "
            "choose one of an event, as in 'ak.max(Jet_pt, axis=1)'"
        ) from None


def _chosen(values: Any, condition: Any, expression: str, where: str) -> Any:
    """The values for which a condition holds.

    Raises:
        AnalysisError: it is no condition, or not one on events or on these values.
    """
    kind = _innermost(condition)
    if len(condition) and getattr(kind, "primitive", "") != "bool":
        raise AnalysisError(f"where={where!r} gives {kind}, not true or false: compare it, as in '{where} > 0'")
    if condition.ndim > values.ndim:
        raise AnalysisError(
            f"where={where!r} has several values an event, and {expression} has one: say which events are meant, as in "
            f"'ak.any({where}, axis=1)'"
        )
    try:
        return values[condition]
    except (IndexError, ValueError):
        raise AnalysisError(
            f"where={where!r} and {expression} have lists of different lengths: where is a condition on events, as "
            f"'ak.any({where}, axis=1)', or on the values of {expression}"
        ) from None


def _flat(values: Any) -> NDArray[Any]:
    """All that is there, in one array of numpy's."""
    import awkward as ak
    import numpy as np

    return np.asarray(ak.drop_none(ak.ravel(values)))
