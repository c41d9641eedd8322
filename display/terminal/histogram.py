"""Histograms in a terminal: a line is a bin, or some bins that lie together, drawn by histoprint."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from rich.cells import cell_len, set_cell_size
from rich.text import Text

from ..drawings import Axis, Drawing
from ..logs import shown

_LABEL = 14
"""Columns for the name of a category."""
_COLOUR = "cyan"
_ONE, _MANY = "c0000", "K0000"
"""histoprint's colours: of one histogram, a plain area; of several the first is one, and the others are drawn over it."""
_SMALLEST = 4
_SYMBOL = re.compile(r"[\\#]([A-Za-z]+)")


def histogram(parts: Sequence[Drawing], lines: int, columns: int) -> Text:
    """A histogram, or several over each other, in at most so many lines and columns.

    What is under and over, and what is not drawn as it is, is told in words at the end.

    Args:
        parts: of one axis, all the same one; of two axes, what is drawn is the projection on the first.

    Example:
        >>> from hist import Hist
        >>> from ..drawings import drawings
        >>> mass = Hist.new.Reg(4, 0, 4, name="m", label="m [GeV]").Double().fill([0.5, 1.5, 1.5, 9.0])
        >>> lines = histogram(drawings("mass", mass), 8, 30).plain.splitlines()
        >>> lines[2], lines[-1]
        ('       2 _████████████████████', 'm [GeV] · 1 over')
    """
    axis = parts[0].axes[0]
    contents = [_projected(part) for part in parts]
    notes = [plain(axis.title)] if axis.title else []
    if len(parts[0].axes) > 1:
        notes.append(f"all of {plain(parts[0].axes[1].title)}")
    inside = [values[1:-1] for values in contents]
    room = max(_SMALLEST, lines - 2 - (len(parts) > 1))
    if axis.labels:
        notes += [f"{axis.bins - room} more"] if axis.bins > room else []
        drawn = _categories(axis, inside[0], room, columns)
    else:
        together = _together(axis.bins, room)
        if together > 1:
            notes.append(f"{together} bins a line" + (", their mean" if parts[0].kind == "means" else ""))
        drawn = _bins(axis, inside, [part.label for part in parts], together, parts[0].kind == "means", columns)
    for words, at in (("under", 0), ("over", -1)):
        if parts[0].kind != "means" and (outside := sum(float(values[at]) for values in contents)):
            notes.append(f"{outside:,.6g} {words}")
    if any((values < 0).any() for values in inside):
        notes.append("bins below 0 are empty here")
    notes += parts[0].notes
    return Text("\n", no_wrap=True).join([drawn, Text(shown(" · ".join(notes)), style="dim")])


def plain(title: str) -> str:
    """A title as it can be written in a line: hist's are often for matplotlib, or have ROOT's number signs.

    Example:
        >>> plain(r"$m_{\\mu\\mu}$ [GeV]"), plain("p_{T}(#mu) [GeV]"), plain("50 % #1"), plain("Muon_pt {x}")
        ('m_μμ [GeV]', 'p_T(μ) [GeV]', '50 % #1', 'Muon_pt {x}')
    """
    if "$" not in title and not _SYMBOL.search(title):
        return title
    return _SYMBOL.sub(lambda found: _letter(found[1]), title).replace("$", "").replace("{", "").replace("}", "")


def _letter(name: str) -> str:
    size = "CAPITAL" if name[0].isupper() else "SMALL"
    try:
        return unicodedata.lookup(f"GREEK {size} LETTER {name.upper()}")
    except KeyError:
        return name


def _projected(part: Drawing) -> NDArray[np.float64]:
    """The cells of its first axis, with flow."""
    cells: NDArray[np.float64] = part.contents.reshape(-1, part.axes[0].bins + 2)
    return np.asarray(cells.sum(axis=0))


class _Ticks:
    """What histoprint takes for a format: it divides all edges by a power of ten, which is harder to read than they are."""

    def __init__(self, edges: Sequence[float]) -> None:
        largest = max(map(abs, edges))
        self.exponent = math.floor(math.log10(largest)) if largest else 0

    def format(self, edge: float) -> str:
        """An edge, to be put before its line."""
        return f"{edge * 10.0**self.exponent:>8.5g} "

    def without_exponent(self, text: str) -> str:
        """A histogram, without the words for the power."""
        words = f" x 10^{self.exponent:+03.0f}"
        return text.replace(words, " " * len(words), 1) if self.exponent else text


def _bins(
    axis: Axis, contents: list[NDArray[np.float64]], labels: list[str], together: int, means: bool, columns: int
) -> Text:
    from histoprint.formatter import HistFormatter

    starts = np.arange(0, axis.bins, together)
    sums = [np.add.reduceat(values, starts) for values in contents]
    if together > 1:
        sizes = np.diff([*starts, axis.bins])
        # The last line may have fewer bins: as long as all of them would be, so that a flat histogram is flat.
        sums = [values / sizes if means else values * (together / sizes) for values in sums]
    edges = [*(axis.edges[at] for at in starts), axis.edges[-1]]
    ticks = _Ticks(edges)
    formatter = HistFormatter(
        edges,
        lines=len(starts) + 1 + (len(labels) > 1),
        columns=columns,
        scale_bin_width=False,
        count_area=False,
        labels=[shown(label) for label in labels] if len(labels) > 1 else ("",),
        tick_format=ticks,
        bg_colors=_ONE if len(labels) == 1 else _MANY,
    )
    drawn = formatter.format_histogram([np.maximum(values, 0.0) for values in sums])
    return Text.from_ansi(ticks.without_exponent(drawn).rstrip("\n"))


def _together(bins: int, lines: int) -> int:
    """How many bins go into a line: if it can be, all lines have as many.

    Example:
        >>> _together(120, 17), _together(37, 18), _together(10, 20)
        (8, 3, 1)
    """
    least = -(-bins // lines)
    return next((size for size in range(least, 2 * least) if bins % size == 0), least)


def _categories(axis: Axis, values: NDArray[np.float64], most: int, columns: int) -> Text:
    """histoprint knows numbers only."""
    largest = max(float(values.max(initial=0.0)), 0.0)
    text = Text(no_wrap=True)
    for at, label in enumerate(axis.labels[:most]):
        value = float(values[at])
        number = f" {value:,.6g}"
        room = columns - _LABEL - 1 - cell_len(number)
        length = int(room * max(0.0, value) / largest) if largest else 0
        text.append("\n" if at else "").append(set_cell_size(shown(label), _LABEL)).append(" ")
        text.append("█" * length, _COLOUR).append(number)
    return text
