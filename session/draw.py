"""A quick look: what expressions of branches give, as a histogram, in one pass over the data."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, cast

from ..analysis.drawn_values import drawn_values
from ..analysis.expressions import Expression
from ..merge.sketch_bins import CASES

if TYPE_CHECKING:
    from hist import Hist
    from numpy.typing import NDArray

Bins = int | tuple[int, float, float] | None
"""Of an axis: how many, or how many from where to where, or neither."""
Drawn = str | Sequence[str] | Mapping[str, str]
"""An expression, or several to be drawn over each other; in a mapping, by what they are called."""
MOST_CASES = 64
MOST_CELLS = 2**24
"""Of a histogram whose bins are given."""
_LONGEST_LABEL = 80
_EXAMPLE = "give their number, or number, lower and upper end, as in bins=(50, 0, 100)"


@dataclass(frozen=True)
class Drawing:
    """What is to be drawn.

    Attributes:
        cases: expressions by their names; the name is empty where there is but one.
        y: the expression for the second axis.
        where: the condition.
        bins: of each axis.
        weight: the expression for the weights.
    """

    cases: Mapping[str, Expression]
    y: Expression | None
    where: Expression | None
    bins: tuple[Bins, ...]
    weight: Expression | None = None

    @classmethod
    def of(cls, drawn: Drawn, where: str | None, y: str | None, bins: Any, weight: str | None = None) -> Drawing:
        """As `Session.draw` is told it, whose errors these are."""
        if isinstance(drawn, tuple):
            raise ValueError(
                f"{drawn!r}: a list of expressions is drawn over each other on one axis; for two axes write "
                f"draw(data, {drawn[0]!r}, y={drawn[-1]!r})"
            )
        if y is not None and not isinstance(drawn, str):
            raise ValueError(
                "y= gives a second axis, and several expressions are drawn over each other on one: draw one"
            )
        cases = {name: Expression(text) for name, text in _by_name(drawn).items()}
        both = None if y is None else Expression(y)
        condition = Expression(where) if where else None
        weights = None if weight is None else Expression(weight)
        return cls(cases, both, condition, _bins_of(bins, 1 if y is None else 2, len(cases)), weights)

    @property
    def name(self) -> str:
        """Of the query.

        Example:
            >>> Drawing.of("Muon_pt", "nMuon > 1", "Muon_eta", None).name
            'draw Muon_pt, y=Muon_eta where nMuon > 1'
        """
        y = "" if self.y is None else f", y={self.y.text}"
        weight = "" if self.weight is None else f", weight={self.weight.text}"
        return f"draw {self._x}{y}{weight}" + ("" if self.where is None else f" where {self.where.text}")

    def of_events(self, events: Any) -> Any:
        """What is drawn of some events, as it is merged."""
        return self._filled([drawn_values(events, x, self.y, self.where, self.weight) for x in self.cases.values()])

    def of_nothing(self) -> Hist[Any]:
        """The histogram when there are no events."""
        import numpy as np

        from ..merge import decode, encode

        columns = len(self.bins) + (self.weight is not None)
        nothing = [tuple(np.empty(0) for _ in range(columns))] * len(self.cases)
        return cast("Hist[Any]", decode(encode(self._filled(nothing))))

    def _filled(self, samples: Sequence[tuple[NDArray[Any], ...]]) -> Any:
        """The values of all cases: a histogram where all bins are given, else a sketch, whose bins are chosen at the end."""
        from ..merge.sketches import sketched

        labels = [self._x if len(self._x) <= _LONGEST_LABEL else "", *([] if self.y is None else [self.y.text])]
        names = [name for name in self.cases if name]
        fixed = [bins for bins in self.bins if isinstance(bins, tuple)]
        weights = None
        if self.weight is not None:
            samples, weights = [columns[:-1] for columns in samples], [columns[-1] for columns in samples]
        if len(fixed) < len(self.bins):
            return sketched(samples, labels, self.bins, names, weights)
        from hist import Hist
        from hist.axis import Regular, StrCategory
        from hist.storage import Double, Weight

        axes = [Regular(*bins, label=label) for bins, label in zip(fixed, labels, strict=True)]
        over = [StrCategory(names, name=CASES, overflow=False)] if names else []
        histogram: Any = Hist(*over, *axes, storage=Double() if weights is None else Weight())
        for number, columns in enumerate(samples):
            histogram.fill(*names[number : number + 1], *columns, weight=None if weights is None else weights[number])
        return histogram

    @property
    def _x(self) -> str:
        return ", ".join(expression.text for expression in self.cases.values())


def _by_name(drawn: Drawn) -> dict[str, str]:
    """Expressions by what they are called."""
    if isinstance(drawn, str):
        return {"": drawn}
    named = dict(drawn) if isinstance(drawn, Mapping) else {text: text for text in drawn}
    if not all(isinstance(word, str) and word.strip() for pair in named.items() for word in pair):
        raise ValueError(f"{drawn!r}: give an expression as a text, a list of them, or a dict of these by their names")
    if not 1 <= len(named) <= MOST_CASES:
        raise ValueError(f"{len(named)} expressions: from 1 to {MOST_CASES} can be drawn over each other")
    return {str(name): str(text) for name, text in named.items()}


def _bins_of(bins: Any, axes: int, cases: int) -> tuple[Bins, ...]:
    """The bins of each axis, checked.

    Raises:
        ValueError: there cannot be such.
    """
    every = [bins] * axes
    if axes == 2 and bins is not None and not isinstance(bins, Integral):
        if not isinstance(bins, list | tuple) or len(bins) != 2:
            raise ValueError(
                f"bins={bins!r}: of two axes, {_EXAMPLE}, for each: bins=[(50, 0, 100), 20]; None: as it fits"
            )
        every = list(bins)
    checked = tuple(_checked_bins(each) for each in every)
    cells = math.prod((each[0] if isinstance(each, tuple) else each or 1) + 2 for each in checked) * cases
    if cells > MOST_CELLS:
        raise ValueError(f"bins={bins!r}: {cells:,} bins are more than {MOST_CELLS:,}, beyond what can be looked at")
    return checked


def _checked_bins(bins: Any) -> Bins:
    if bins is None:
        return None
    number, *ends = bins if isinstance(bins, list | tuple) else (bins, 0.0, 1.0)
    good = (
        isinstance(number, Integral)
        and int(number) > 0
        and len(ends) == 2
        and all(isinstance(end, Real) for end in ends)
    )
    if not good or not ends[0] < ends[1] or not all(map(math.isfinite, ends)):
        raise ValueError(f"bins={bins!r}: {_EXAMPLE}")
    return (int(number), float(ends[0]), float(ends[1])) if isinstance(bins, list | tuple) else int(number)
