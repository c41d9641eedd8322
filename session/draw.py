"""A quick look: what an expression of branches gives, as a histogram."""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..packetizer.dataset import Dataset
from ..protocol.errors import AnalysisError, DatasetError

if TYPE_CHECKING:
    from hist import Hist

    from .session import Session

Bins = tuple[int, float, float]
FIRST_LOOK = 20_000
"""Entries whose values decide on an axis that nobody has chosen."""
_BINS = 100
_LIBRARIES = ("np", "ak", "abs")
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
    branches = list(dict.fromkeys((*_branches(expression), *(_branches(where) if where else ()))))

    def values(events: Any) -> Any:
        import awkward as ak
        import numpy as np

        names = {"np": np, "ak": ak} | {branch: events[branch] for branch in branches}
        selected = eval(expression, names)  # noqa: S307  (in a slot, as all code of the user)
        if where:
            selected = selected[eval(where, names)]  # noqa: S307
        return ak.drop_none(ak.ravel(selected))

    return values


def _branches(expression: str) -> list[str]:
    """The names in an expression that are no library's.

    Raises:
        AnalysisError: it is no Python expression, or names no branch.
    """
    try:
        tree = ast.parse(expression.strip(), mode="eval")
    except (SyntaxError, ValueError) as error:
        raise AnalysisError(
            f"cannot read {expression!r}: {error}. Write it in Python, with branches by their names, np and ak: "
            "draw(data, 'np.sqrt(Jet_pt)', where='(nMuon >= 2) & (MET_pt > 20)')"
        ) from None
    names = [node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id not in _LIBRARIES]
    if not names:
        raise AnalysisError(f"{expression!r} names no branch")
    return names
