"""A quick look: what an expression of branches gives, as a histogram."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..analysis.expressions import Expression
from ..dataset.dataset import Dataset
from ..protocol.errors import AnalysisError, DatasetError

if TYPE_CHECKING:
    from hist import Hist

    from .session import Session

Bins = tuple[int, float, float]
"""Number of bins, lower and upper end of an axis."""
FIRST_LOOK = 20_000
"""Entries whose values decide on an axis that nobody has chosen."""
_MOST_BINS = 40
"""Of an axis that nobody has chosen: what a terminal shows at once."""
_ROUND = (1, 2, 2.5, 5, 10)
_BULK = (0.005, 0.995)


def draw(session: Session, dataset: Dataset, expression: str, where: str | None, bins: Bins | int | None) -> Hist[Any]:
    """What `Session.draw` does; see there."""
    if dataset.files[0].kind != "tree":
        raise DatasetError(f"only branches can be drawn, and {dataset.files[0].kind} have none: use session.process")
    if bins is not None:
        _check_bins(bins)
    values = _values(expression, where)
    name = expression if where is None else f"{expression} where {where}"
    if bins is None or isinstance(bins, int):
        first = copy.copy(dataset)
        first.max_entries = min(FIRST_LOOK, FIRST_LOOK if dataset.max_entries is None else dataset.max_entries)
        seen = session.process(first, values, name=f"first look at {name}").result().value
        bins = choose_bins(seen, name, bins)
    number, low, high = bins

    def filled(events: Any) -> Any:
        from hist import Hist

        return Hist.new.Reg(number, low, high, label=expression).Double().fill(values(events))

    histogram: Hist[Any] = session.process(dataset, filled, name=f"draw {name}").result().value
    return histogram


def choose_bins(values: Any, name: str, number: int | None = None) -> Bins:
    """Number of bins, lower and upper end of an axis for values like these: unit bins for a few integers, else the
    range of all but half a percent on either side, in bins of a round width if their number is not given.

    Raises:
        AnalysisError: there is no finite value.

    Example:
        >>> import numpy as np
        >>> choose_bins(np.array([0, 1, 1, 4]), "nMuon")
        (5, -0.5, 4.5)
        >>> choose_bins(np.linspace(2.7, 63.1, 1000), "MET_pt")
        (31, 2.0, 64.0)
    """
    import numpy as np

    numbers = np.asarray(values)
    finite = numbers[np.isfinite(numbers)]
    if not len(finite):
        raise AnalysisError(f"{name}: no value in the first {FIRST_LOOK:,} entries to choose an axis by: give bins=")
    whole = finite.dtype.kind in "iub"
    if whole and number is None and (span := int(finite.max()) - int(finite.min())) < _MOST_BINS:
        return span + 1, float(finite.min()) - 0.5, float(finite.max()) + 0.5
    low, high = (float(end) for end in np.quantile(finite, _BULK))
    if not low < high:
        return number or 1, low - 0.5, low + 0.5
    return (number, low, high) if number is not None else _round_bins(low, high, whole)


def _round_bins(low: float, high: float, whole: bool) -> Bins:
    """Bins of a round width, at multiples of it, that cover a range; each of as many whole numbers as the others."""
    least = (high - low) / (_MOST_BINS - 1)
    power = 10.0 ** math.floor(math.log10(least))
    widths = [step * power for step in _ROUND if not whole or (step * power).is_integer()]
    width = next(width for width in widths if width >= least * (1 - 1e-9))
    first, last = math.floor(low / width), math.floor(high / width) + 1
    return last - first, first * width, last * width


def _check_bins(bins: Bins | int) -> None:
    try:
        number, low, high = (bins, 0.0, 1.0) if isinstance(bins, int) else bins
        good = isinstance(number, int) and number > 0 and low < high
    except (TypeError, ValueError):
        good = False
    if not good:
        raise ValueError(f"bins={bins!r}: give their number, or number, lower and upper end, as in bins=(50, 0, 100)")


def _values(expression: str, where: str | None) -> Callable[[Any], Any]:
    """A columnar function for the values of an expression, all in one flat array."""
    chosen = Expression(expression)
    condition = Expression(where) if where else None

    def values(events: Any) -> Any:
        import awkward as ak

        selected = chosen.value(events)
        if condition is not None:
            selected = _chosen(selected, condition.value(events), expression, condition.text)
        return ak.drop_none(ak.ravel(selected))

    return values


def _chosen(values: Any, condition: Any, expression: str, where: str) -> Any:
    """The values for which a condition holds.

    Raises:
        AnalysisError: it is no condition, or not one on events or on these values.
    """
    import awkward as ak

    kind = str(ak.type(condition)).rpartition("* ")[2]
    if not kind.endswith("bool"):
        raise AnalysisError(f"where={where!r} gives {kind}, not true or false: compare it, as in '{where} > 0'")
    if condition.ndim > values.ndim:
        raise AnalysisError(
            f"where={where!r} has several values an event, and {expression!r} has one: say which events are meant, as in "
            f"'ak.any({where}, axis=1)'"
        )
    try:
        return values[condition]
    except (IndexError, ValueError):
        raise AnalysisError(
            f"where={where!r} and {expression!r} have lists of different lengths: where is a condition on events, as "
            f"'ak.any({where}, axis=1)', or on the values of {expression!r}"
        ) from None
