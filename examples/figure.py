"""What the examples do with a histogram: print it, and draw it into a file where matplotlib is installed."""

from __future__ import annotations

from typing import Any

from hist import Hist


def show(histogram: Hist[Any], path: str) -> None:
    """Print a histogram with one axis; save it as `path` (PNG, PDF, ...) too where matplotlib is installed."""
    print(histogram)
    try:
        from matplotlib.figure import Figure
    except ImportError:
        print(f"no {path}: install matplotlib to have one")
        return
    figure = Figure(layout="constrained")
    axes = figure.add_subplot()
    axes.stairs(histogram.values(), histogram.axes[0].edges, fill=True)
    axes.set_xlabel(histogram.axes[0].label)
    axes.set_ylabel("entries")
    figure.savefig(path)
    print(f"saved {path}")
