"""A quick look: what an expression of branches gives, as a histogram."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..packetizer.dataset import Dataset
from ..protocol.errors import AnalysisError, DatasetError
from ..protocol.expressions import Expression

if TYPE_CHECKING:
    from hist import Hist

    from .session import Session

Bins = tuple[int, float, float]
FIRST_LOOK = 20_000
"""Entries whose values decide on an axis that nobody has chosen."""
_BINS = 100
_BULK = (0.005, 0.995)


def draw(session: Session, dataset: Dataset, expression: str, where: str | None, bins: Bins | None) -> Hist[Any]:
    """What `Session.draw` does; see there."""
    if dataset.files[0].kind != "tree":
        raise DatasetError(f"only branches can be drawn, and {dataset.files[0].kind} have none: use session.process")
    values = _values(expression, where)
    name = expression if where is None else f"{expression} where {where}"
    if bins is None:
        first = copy.copy(dataset)
        first.max_entries = min(FIRST_LOOK, FIRST_LOOK if dataset.max_entries is None else dataset.max_entries)
        seen = session.process(first, values, name=f"first look at {name}").result().value
        bins = choose_bins(seen, name)
    number, low, high = bins

    def filled(events: Any) -> Any:
        from hist import Hist

        return Hist.new.Reg(number, low, high, label=expression).Double().fill(values(events))

    histogram: Hist[Any] = session.process(dataset, filled, name=f"draw {name}").result().value
    return histogram


def choose_bins(values: Any, name: str) -> Bins:
    """Number of bins, lower and upper end of an axis for values like these: unit bins for a few integers, else the
    range of all but half a percent on either side.

    Raises:
        AnalysisError: there is no finite value.

    Example:
        >>> import numpy as np
        >>> choose_bins(np.array([0, 1, 1, 4]), "nMuon")
        (5, -0.5, 4.5)
    """
    import numpy as np

    numbers = np.asarray(values)
    finite = numbers[np.isfinite(numbers)]
    if not len(finite):
        raise AnalysisError(f"{name}: no value in the first {FIRST_LOOK:,} entries to choose an axis by: give bins=")
    if finite.dtype.kind in "iub" and (span := int(finite.max()) - int(finite.min())) < _BINS:
        return span + 1, float(finite.min()) - 0.5, float(finite.max()) + 0.5
    low, high = (float(end) for end in np.quantile(finite, _BULK))
    return (_BINS, low, high) if low < high else (1, low - 0.5, low + 0.5)


def _values(expression: str, where: str | None) -> Callable[[Any], Any]:
    """A columnar function for the values of an expression, all in one flat array."""
    chosen = Expression(expression)
    condition = Expression(where) if where else None

    def values(events: Any) -> Any:
        import awkward as ak

        selected = chosen.value(events)
        if condition is not None:
            selected = selected[condition.value(events)]
        return ak.drop_none(ak.ravel(selected))

    return values
