"""Pictures of histograms for notebooks that are read later: matplotlib draws them, which the extra `plot` installs."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from io import BytesIO

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.mathtext import MathTextParser

from .drawings import Axis, Drawing, mathtext

COLORS = ("#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6", "#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd")
"""As in assets/histograms.js: those of Petroff, which CMS recommends (https://arxiv.org/abs/2107.02270)."""
WIDTH, HEIGHT = 5.6, 3.8
"""Inches of one picture."""
_drawing = threading.Lock()


class _Formulas(MathTextParser):  # type: ignore[type-arg]  # only its stubs have arguments
    """Reads formulas apart from the user's figures, which may be drawn at the same time by another thread.

    matplotlib has one parser for all, kept in this attribute of the class, with the state of the formula at hand. Two
    threads in it spoil each other's formulas, or end with an error: a cell of the user's, too.
    """

    _parser = None


def figure(pictures: Sequence[Sequence[Drawing]], log: bool = False) -> Figure:
    """Pictures beside each other, two a row, each of one or several histograms.

    Example:
        >>> from hist import Hist
        >>> from eventmill.display.drawings import drawings
        >>> mass = Hist.new.Reg(10, 0, 10, name="m").Double().fill([1.0, 2.0])
        >>> len(figure([drawings("mass", mass)]).axes)
        1
    """
    columns = min(2, len(pictures))
    rows = -(-len(pictures) // max(1, columns))
    made = Figure((WIDTH * columns, HEIGHT * rows), layout="constrained")
    for at, parts in enumerate(pictures):
        axes = made.add_subplot(rows, columns, at + 1)
        if len(parts[0].axes) == 1:
            _draw_lines(axes, parts, log)
        else:
            _draw_map(made, axes, parts[0], log)
        name = parts[0].name if len({part.name for part in parts}) == 1 else ""
        axes.set_title(_plain(name), loc="left", fontsize="medium")
    return made


def png(pictures: Sequence[Sequence[Drawing]], log: bool = False, dpi: int = 100) -> bytes:
    """The same as an image. Any thread may ask for it, whatever others draw."""
    with _drawing:
        made = figure(pictures, log)
        made.dpi = dpi
        renderer = FigureCanvasAgg(made).get_renderer()  # type: ignore[no-untyped-call]
        renderer.mathtext_parser.__class__ = _Formulas
        file = BytesIO()
        made.savefig(file, format="png", dpi=dpi)
        return file.getvalue()


def _draw_lines(axes: Axes, parts: Sequence[Drawing], log: bool) -> None:
    for at, part in enumerate(parts):
        values = part.contents[1:-1]
        errors = None if part.variances is None else np.sqrt(part.variances[1:-1])
        alone = len(parts) == 1 and errors is None
        edges, color = _edges(part.axes[0]), COLORS[at % len(COLORS)]
        axes.stairs(values, edges, fill=alone, color=color, label=_plain(part.label or part.name), linewidth=1.3)
        if errors is not None:
            axes.errorbar((edges[1:] + edges[:-1]) / 2, values, errors, fmt="none", color=color, linewidth=1.0)
    _name(axes, parts[0].axes[0])
    axes.set_xlim(*_edges(parts[0].axes[0])[[0, -1]])
    axes.set_ylabel({"counts": "entries", "weights": "sum of weights", "means": "mean"}[parts[0].kind])
    if log and any((part.contents[1:-1] > 0).any() for part in parts):
        axes.set_yscale("log")
    if len(parts) > 1:
        axes.legend(frameon=False, fontsize="small")


def _draw_map(made: Figure, axes: Axes, part: Drawing, log: bool) -> None:
    x, y = part.axes
    cells = part.contents.reshape(y.bins + 2, x.bins + 2)[1:-1, 1:-1]
    shown = np.ma.masked_equal(cells, 0.0)
    norm = "log" if log and (cells > 0).any() else "linear"
    mesh = axes.pcolormesh(_edges(x), _edges(y), shown, norm=norm, rasterized=True)
    made.colorbar(mesh, ax=axes)
    _name(axes, x)
    axes.set_ylabel(_title(y))


def _edges(axis: Axis) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.asarray(axis.edges or range(axis.bins + 1), np.float64)


def _title(axis: Axis) -> str:
    """The title of an axis, with its formulas, unless matplotlib cannot read them."""
    title = mathtext(axis.title)
    try:
        _Formulas("agg").parse(title)
    except ValueError:
        return _plain(axis.title)
    return title


def _plain(text: str) -> str:
    return text.replace("$", r"\$")


def _name(axes: Axes, axis: Axis) -> None:
    axes.set_xlabel(_title(axis))
    if axis.labels:
        axes.set_xticks(np.arange(axis.bins) + 0.5, map(_plain, axis.labels), rotation=20 if axis.bins > 4 else 0)
