"""What the examples do with a histogram: print it, and draw it into a file if one is named."""

from __future__ import annotations

from typing import Any

from hist import Hist


def show(histogram: Hist[Any], path: str | None) -> None:
    """Print a histogram with one regular axis; save it as `path` (PNG, PDF, ...) too, which takes matplotlib."""
    print(histogram)
    if path is None:
        return
    try:
        from matplotlib.figure import Figure
    except ImportError:
        print(f"no {path}: install matplotlib to have one")
        return
    figure = Figure(layout="constrained")
    axes = figure.add_subplot()
    edges = histogram.axes[0].edges
    axes.stairs(histogram.values(), edges, fill=True)
    axes.set_xlabel(histogram.axes[0].label)
    unit = histogram.axes[0].label.partition("[")[2].rstrip("]")
    axes.set_ylabel(f"entries / {edges[1] - edges[0]:g} {unit}".rstrip())
    figure.savefig(path)
    print(f"saved {path}")
