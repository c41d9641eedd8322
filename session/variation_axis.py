"""Histograms of all variations as one, which has an axis for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import boost_histogram as bh
import numpy as np

from ..analysis.variations import NOMINAL
from ..merge import Total, decode, encode
from ..protocol.errors import AnalysisError


def variation_axis(result: Any, name: str = "variation") -> Any:
    """What a query with `em.vary` gave, its histograms with an axis for the variations in front of their own.

    Args:
        result: of a query with variations, a snapshot of it, or a dict of what each variation gave.
        name: of the axis.

    Returns what the analysis returned, with one histogram in the place of those of all variations; nominal comes first. What
    is no histogram, as a number or a cutflow, is a dict by variation. What some variations lack has those that have it. Axes
    that grew have the categories of all variations.

    Raises:
        AnalysisError: the result has no variations, or a histogram has an axis of this name.
        MergeError: a histogram has other axes in one variation than in another.

    Example:
        >>> from hist import Hist
        >>> nominal, up = (Hist.new.Reg(4, 0, 8, name="x").Double().fill(values) for values in ([1, 3, 3], [5]))
        >>> joined = variation_axis({"nominal": {"x": nominal, "n": 3}, "up": {"x": up, "n": 1}})
        >>> [*joined["x"].axes.name], joined["x"]["up", :].values().tolist(), joined["n"]
        (['variation', 'x'], [0.0, 0.0, 1.0, 0.0], {'nominal': 3, 'up': 1})
    """
    value = getattr(result, "value", result)
    if not isinstance(value, Mapping) or NOMINAL not in value:
        raise AnalysisError(
            f"the result has no variations: variation_axis takes that of an analysis under em.vary, which has the key "
            f"{NOMINAL!r}"
        )
    return _joined(dict(value), name)


def _joined(by_variation: dict[Any, Any], axis: str) -> Any:
    values = list(by_variation.values())
    if all(isinstance(value, Mapping) for value in values):
        keys = dict.fromkeys(key for value in values for key in value)
        return {
            key: _joined({name: value[key] for name, value in by_variation.items() if key in value}, axis)
            for key in keys
        }
    if all(isinstance(value, bh.Histogram) for value in values):
        return _histogram([str(name) for name in by_variation], values, axis)
    return by_variation


def _histogram(names: list[str], histograms: list[Any], axis: str) -> Any:
    """One histogram, of which each of these is a slice."""
    whole = _sum(histograms)
    if axis in [getattr(it, "name", "") for it in whole.axes]:
        raise AnalysisError(
            f"a histogram has an axis {axis} already: variation_axis(result, name=...) gives it another name"
        )
    blank = whole.copy().reset()
    alike = [it if it.axes == blank.axes else _sum([blank, it]) for it in histograms]
    first: Any = bh.axis.StrCategory(names, overflow=False)
    if not type(whole).__module__.startswith("boost_histogram"):
        import hist

        first = hist.axis.StrCategory(names, name=axis, overflow=False)
    joined = type(whole)(first, *whole.axes, storage=whole.storage_type())
    joined.__dict__.update(histograms[0].__dict__)  # name, label, metadata
    joined.__dict__["_variance_known"] = all(it.__dict__.get("_variance_known", True) for it in histograms)
    cells = np.stack([it.view(flow=True) for it in alike])
    if whole.storage_type is bh.storage.Unlimited:
        joined[...] = cells  # its view is a converted copy
    else:
        np.asarray(joined.view(flow=True))[...] = cells
    return joined


def _sum(histograms: list[Any]) -> Any:
    """As packets are summed: with the categories of all."""
    total = Total()
    for each in histograms:
        total.add(encode(each, 0))
    return decode(total.partial())
