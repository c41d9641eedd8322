"""What a result holds, as it is drawn: histograms as plain arrays in ROOT's order, numbers and small arrays as rows.

Nothing here draws: JSROOT does in a browser, matplotlib on paper. Histograms are any that follow the unified histogram
interface (hist, boost-histogram), seen by their attributes: this module imports neither.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..analysis.cutflow import Cutflow
from ..merge import Opened, Unmade, joined, key_name

SUM, OVERLAY = "sum", "overlay"
"""What can be picked of an axis of categories, beside one of them: all of them in one, or each beside the others."""
MOST_OVERLAID = 12
"""Categories that are drawn beside each other; the others are left out, and that is said."""
_LONGEST_TEXT = 200
_LARGEST_ARRAY = 12
_LARGEST_WHOLE = 1e15
"""Above it a float does not say how many there are."""

_FORMULA = re.compile(r"\$([^$]*)\$")
_SHORT_SCRIPT = re.compile(r"([_^])([A-Za-z0-9]|#[A-Za-z]+)")
_BRACED = r"\{(?:[^{}$]|\{[^{}$]*\})*\}"
_ROOT_FORMULA = re.compile(rf"(?:#[A-Za-z]+(?:{_BRACED})?|[A-Za-z0-9]+(?=[_^]{_BRACED})|[_^]{_BRACED})+")
_IN_DOLLARS = re.compile(r"(\$[^$]*\$)")

Pick = str | int
"""`SUM`, `OVERLAY`, or the number of a bin."""


@dataclass(frozen=True)
class Axis:
    """An axis as it is drawn.

    Attributes:
        name, title: of the histogram's axis.
        edges: of its bins, when these have any; all of one width where `even`.
        labels: of its bins, when they are categories.
    """

    name: str
    title: str
    edges: tuple[float, ...] = ()
    even: bool = False
    labels: tuple[str, ...] = ()

    @property
    def bins(self) -> int:
        """Their number, without those for what is under and over."""
        return len(self.labels) or len(self.edges) - 1


@dataclass(frozen=True)
class Drawing:
    """A histogram of one or two axes, as ROOT has it.

    Attributes:
        name: where it is in the result.
        label: what tells it from others in the same picture.
        axes: one or two.
        contents: with under- and overflow, the first axis fastest.
        variances: of them, in the same order; None for counts, whose variances are the contents.
        kind: whether it has counts, sums of weights, or means.
        notes: what is not drawn.
        reduced: it has fewer bins than the histogram itself, of which a display may ask for more.
    """

    name: str
    label: str
    axes: tuple[Axis, ...]
    contents: NDArray[np.float64]
    variances: NDArray[np.float64] | None
    kind: Literal["counts", "weights", "means"]
    notes: tuple[str, ...] = ()
    reduced: bool = False

    @property
    def arrays(self) -> list[NDArray[np.float64]]:
        """Its contents, and its variances unless it has counts: what travels beside its description."""
        return [self.contents] if self.variances is None else [self.contents, self.variances]

    def description(self) -> dict[str, Any]:
        """All but the arrays, as it is told to a browser."""
        return {
            "name": self.name,
            "label": self.label,
            "kind": self.kind,
            "notes": list(self.notes),
            "reduced": self.reduced,
            "axes": [
                {
                    "title": root_latex(axis.title or axis.name),
                    "bins": axis.bins,
                    "edges": [axis.edges[0], axis.edges[-1]] if axis.even else list(axis.edges),
                    "even": axis.even,
                    "labels": list(axis.labels),
                }
                for axis in self.axes
            ],
        }


@dataclass(frozen=True)
class Item:
    """Something that a result holds.

    Attributes:
        name: the keys that lead to it, joined by slashes; "" for the result itself. Keys that could be taken for something
            else, such as those with slashes, are in quotes, and those that are no text in brackets.
        kind: how it is shown.
        text: itself in words, unless it is a histogram.
        menus: of a histogram, each axis that is picked from: its name and what can be picked.
    """

    name: str
    kind: Literal["histogram", "row"]
    text: str = ""
    menus: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def is_histogram(value: Any) -> bool:
    """Whether a value follows the unified histogram interface, or will when it is made."""
    names = ("axes", "view", "kind", "values", "variances")
    return isinstance(value, Unmade) or all(hasattr(value, name) for name in names)


def named(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """What a result holds, and the name of each: dicts within dicts too, in their order.

    Example:
        >>> list(named({"cutflow": {"all": 10, "two muons": 3}, "note": "x"}))
        [('cutflow/all', 10), ('cutflow/two muons', 3), ('note', 'x')]
    """
    if isinstance(value, Mapping):
        for key, inner in value.entries() if isinstance(value, Opened) else value.items():
            yield from named(inner, joined(name, key))
    elif isinstance(value, Cutflow):
        yield from named(value.rows(), name)
    elif value is not None:
        yield name, value


def item(name: str, value: Any, menus: bool = True) -> Item:
    """How something that has this name is listed; `menus` are left out where nobody picks from them."""
    if is_histogram(value):
        menus = menus and not (isinstance(value, Unmade) and value.left_out)
        return Item(name, "histogram", menus=_menus(made(value)) if menus else {})
    return Item(name, "row", in_words(value))


def items(value: Any) -> Iterator[Item]:
    """All that a result holds.

    Example:
        >>> [(item.name, item.text) for item in items({"cutflow": {"all": 10, "two muons": 3}, "note": "x"})]
        [('cutflow/all', '10'), ('cutflow/two muons', '3'), ('note', 'x')]
    """
    return (item(name, inner) for name, inner in named(value))


def made(value: Any) -> Any:
    """A histogram that can be looked at."""
    return value.made() if isinstance(value, Unmade) else value


def find(value: Any, name: str) -> Any:
    """What has this name among those of `named`. Raises KeyError if nothing has.

    Example:
        >>> value = {"a": {"b": 1}, "a/b": 2}
        >>> [(name, find(value, name)) for name, _ in named(value)]
        [('a/b', 1), ("'a/b'", 2)]
    """
    if isinstance(value, Cutflow):
        value = value.rows()
    if not isinstance(value, Mapping):
        if not name:
            return value
        raise KeyError(name)
    head = name.partition("/")[0]
    plain = bool(head) and head in value and key_name(head) == head  # as nearly all are
    for key in (head,) if plain else value:  # no name of a key is the beginning of another one with a slash after it
        is_it = key_name(key)
        if name == is_it and not isinstance(inner := value[key], Mapping):
            return inner
        if name.startswith(f"{is_it}/"):
            return find(value[key], name[len(is_it) + 1 :])
    raise KeyError(name)


def in_words(value: Any) -> str:
    """A number, a small array or anything else, in one short line.

    Example:
        >>> in_words(1234567), in_words(1e6), in_words(0.1 + 0.2), in_words(np.arange(3)), in_words(np.zeros((100, 2)))
        ('1,234,567', '1,000,000', '0.3', '0, 1, 2', 'array of 100 x 2 float64')
    """
    if isinstance(value, bool | np.bool_):
        return str(bool(value))
    if isinstance(value, int | np.integer):
        return f"{int(value):,}"
    if isinstance(value, float | np.floating):
        whole = float(value).is_integer() and abs(float(value)) < _LARGEST_WHOLE
        return f"{float(value):,.0f}" if whole else f"{float(value):,.6g}"
    if isinstance(value, np.ndarray):
        if value.ndim == 0:
            return in_words(value[()])
        if value.ndim == 1 and len(value) <= _LARGEST_ARRAY:
            return ", ".join(in_words(entry) for entry in value)
        return f"array of {' x '.join(f'{size:,}' for size in value.shape)} {value.dtype}"
    text = " ".join(str(value).split())
    return text if len(text) <= _LONGEST_TEXT else text[: _LONGEST_TEXT - 1] + "…"


def drawings(name: str, histogram: Any, picks: Mapping[str, Pick] | None = None) -> list[Drawing]:
    """How a histogram is drawn: as one picture, or as several in one where an axis of categories is overlaid.

    Args:
        name: of the histogram.
        histogram: one of any number of axes.
        picks: of the axes that do not go into the picture, what of them does, by their names as in `menus`.

    Example:
        >>> from hist import Hist
        >>> mass = Hist.new.StrCat(["data", "top"], name="process").Reg(4, 0, 4, name="m").Double()
        >>> _ = mass.fill(["data", "top", "top"], [1.5, 1.5, 9.0])
        >>> [(drawing.label, drawing.contents.tolist()) for drawing in drawings("mass", mass)]
        [('data', [0.0, 0.0, 1.0, 0.0, 0.0, 0.0]), ('top', [0.0, 0.0, 1.0, 0.0, 0.0, 1.0])]
        >>> [drawing.contents.tolist() for drawing in drawings("mass", mass, {"process": "sum"})]
        [[0.0, 0.0, 2.0, 0.0, 0.0, 1.0]]
    """
    picks = picks or {}
    values, variances, kind = _cells(histogram)
    shown = _shown_axes(histogram)
    named = dict(enumerate(_names(histogram)))
    notes: list[str] = []
    overlaid: int | None = None
    chosen: dict[int, Pick] = {}
    for at, axis in enumerate(histogram.axes):
        if at in shown:
            continue
        pick = picks.get(named[at], OVERLAY if overlaid is None and _may_overlay(axis, len(shown)) else SUM)
        if pick == OVERLAY and (overlaid is not None or len(shown) != 1):
            pick = SUM
        if pick == SUM and kind == "means":
            pick = 0
            notes.append(f"{named[at]}: {_labels(axis)[0]} (means are not added)")
        if pick == OVERLAY:
            overlaid = at
        chosen[at] = pick
    cases: list[tuple[str, dict[int, Pick]]] = [("", chosen)]
    if overlaid is not None:
        labels = _labels(histogram.axes[overlaid])
        cases = [(label, chosen | {overlaid: at}) for at, label in enumerate(labels[:MOST_OVERLAID])]
        if len(labels) > MOST_OVERLAID:
            notes.append(f"{len(labels) - MOST_OVERLAID:,} more of {named[overlaid]} are not drawn")
    if odd := int((~np.isfinite(values)).sum()):
        notes.append(f"{odd:,} {'bin is' if odd == 1 else 'bins are'} not finite, and drawn as empty")
        values = np.where(np.isfinite(values), values, 0.0)
    axes = tuple(_axis(histogram.axes[at], named[at]) for at in shown)
    together = _together(histogram, shown)
    notes += together
    found = []
    for label, case in cases:
        contents = _projected(values, histogram, shown, case)
        errors = None if variances is None else _projected(np.nan_to_num(variances), histogram, shown, case)
        found.append(Drawing(name, label, axes, contents, errors, kind, tuple(notes), bool(together)))
    return found


def compared(parts: Sequence[Sequence[Drawing]]) -> list[Drawing]:
    """Histograms over each other, each scaled to 1, as far as they have the axis of the first one.

    Example:
        >>> from hist import Hist
        >>> one, two = (Hist.new.Reg(2, 0, 2).Double().fill(values) for values in ([0.5], [0.5, 1.5]))
        >>> [part.contents.tolist() for part in compared([drawings("one", one), drawings("two", two)])]
        [[0.0, 1.0, 0.0, 0.0], [0.0, 0.5, 0.5, 0.0]]
    """
    every = [part for some in parts for part in some]
    fitting = [part for part in every if len(part.axes) == 1 and _same_bins(part, every[0])][:MOST_OVERLAID]
    if not fitting:
        return [every[0]]
    notes = (f"{len(every) - len(fitting)} with other axes are left out",) if len(every) > len(fitting) else ()
    return [_scaled(part, notes) for part in fitting]


def _same_bins(part: Drawing, other: Drawing) -> bool:
    mine, theirs = part.axes[0], other.axes[0]
    return (mine.edges, mine.labels) == (theirs.edges, theirs.labels)


def _scaled(part: Drawing, notes: tuple[str, ...]) -> Drawing:
    total = float(part.contents.sum()) if part.kind != "means" else 1.0
    scale = 1.0 / total if total else 1.0
    variances = part.contents if part.variances is None else part.variances
    return dataclasses.replace(
        part,
        label=f"{part.name} {part.label}".strip(),
        contents=part.contents * scale,
        variances=variances * scale**2,
        kind="weights" if part.kind == "counts" else part.kind,
        notes=(*part.notes, *notes),
    )


def root_latex(title: str) -> str:
    """A title as JSROOT takes it: hist's are often written for matplotlib, in dollars and with backslashes.

    Example:
        >>> root_latex(r"$m_{\\mu\\mu}$ [GeV]")
        'm_{#mu#mu} [GeV]'
        >>> root_latex("$p_T$ [GeV]"), root_latex("Muon_pt")
        ('p_{T} [GeV]', 'Muon_pt')
    """
    title = title.replace("\\", "#")  # JSROOT would load MathJax for a backslash
    return _FORMULA.sub(lambda found: _SHORT_SCRIPT.sub(r"\1{\2}", found[1]), title)


def mathtext(title: str) -> str:
    """A title as matplotlib takes it: what is a formula to ROOT is put in dollars.

    That is number signs, and what stands above or below in braces: without these a name such as `Muon_pt` is meant.

    Example:
        >>> mathtext("m(#mu#mu) [GeV]"), mathtext("50 % #1")
        ('m($\\\\mu\\\\mu$) [GeV]', '50 % #1')
        >>> mathtext("H_{T} [GeV]"), mathtext("Muon_pt"), mathtext("$H_{T}$")
        ('$H_{T}$ [GeV]', 'Muon_pt', '$H_{T}$')
    """
    parts = _IN_DOLLARS.split(title)  # every second one is in dollars already
    parts[::2] = [_ROOT_FORMULA.sub(lambda found: "$" + found[0].replace("#", "\\") + "$", part) for part in parts[::2]]
    return "".join(parts)


# --- inside -------------------------------------------------------------------------------------------------------------


def _names(histogram: Any) -> list[str]:
    """Of its axes, each another one."""
    found: list[str] = []
    for at, axis in enumerate(histogram.axes):
        name = getattr(axis, "name", "") or str(getattr(axis, "label", "") or "")
        found.append(name if name and name not in found else f"axis {at}")
    return found


def _together(histogram: Any, shown: list[int]) -> list[str]:
    """That a miniature has fewer bins than what it was made of."""
    of = getattr(histogram, "made_of", ()) or tuple(axis.size for axis in histogram.axes)
    fewer = [(of[at], histogram.axes[at].size) for at in shown if of[at] > histogram.axes[at].size]
    return [f"{bins:,} bins are drawn as {drawn:,}, each the sum of some" for bins, drawn in fewer]


def _is_category(axis: Any) -> bool:
    return bool(getattr(axis.traits, "discrete", False)) and not getattr(axis.traits, "ordered", True)


def _labels(axis: Any) -> list[str]:
    if axis.traits.discrete:
        return [str(axis.bin(at)) for at in range(axis.size)]
    return [f"{low:g} to {high:g}" for low, high in (axis.bin(at) for at in range(axis.size))]


def _shown_axes(histogram: Any) -> list[int]:
    """The axes of the picture: the first two at most that are no categories, or else a single axis of categories."""
    continuous = [at for at, axis in enumerate(histogram.axes) if not _is_category(axis) and axis.size]
    if continuous:
        return continuous[:2]
    return [at for at, axis in enumerate(histogram.axes) if axis.size][:1] or [0]


def _may_overlay(axis: Any, shown: int) -> bool:
    return shown == 1 and _is_category(axis) and axis.size > 1


def _menus(histogram: Any) -> dict[str, tuple[str, ...]]:
    shown = _shown_axes(histogram)
    return {
        name: tuple(_labels(axis))
        for at, (name, axis) in enumerate(zip(_names(histogram), histogram.axes, strict=True))
        if at not in shown
    }


def _axis(axis: Any, name: str) -> Axis:
    title = str(getattr(axis, "label", "") or name)
    if _is_category(axis):
        return Axis(name, title, labels=tuple(_labels(axis)) or ("",))
    edges = np.asarray(axis.edges, np.float64)
    widths = np.diff(edges)
    # Circular and unbounded axes may end at infinity: what is drawn has to end somewhere.
    if not np.all(np.isfinite(edges)):
        return Axis(name, title, tuple(float(at) for at in range(len(edges))), even=True)
    even = bool(np.allclose(widths, widths[0], rtol=1e-9, atol=0.0))
    return Axis(name, title, tuple(float(edge) for edge in edges), even)


def _cells(histogram: Any) -> tuple[NDArray[np.float64], NDArray[np.float64] | None, Any]:
    """Values and variances with all that is under and over."""
    values = np.asarray(histogram.values(flow=True), np.float64)
    if str(getattr(histogram.kind, "value", histogram.kind)).upper().endswith("MEAN"):
        errors = histogram.variances(flow=True)
        counts = np.asarray(histogram.counts(flow=True), np.float64)
        with np.errstate(all="ignore"):
            of_mean = np.where(counts > 0, np.asarray(errors, np.float64), 0.0)
        return np.nan_to_num(values), np.nan_to_num(of_mean), "means"
    if "variance" not in (histogram.view(flow=True).dtype.names or ()):
        return values, None, "counts"
    return values, np.asarray(histogram.variances(flow=True), np.float64), "weights"


def _projected(
    cells: NDArray[np.float64], histogram: Any, shown: list[int], chosen: Mapping[int, Pick]
) -> NDArray[np.float64]:
    """The cells of the picture, with both flows of each axis, the first axis fastest."""
    index: list[Any] = [slice(None)] * cells.ndim
    for at, pick in chosen.items():
        if pick != SUM:
            index[at] = int(pick) + bool(histogram.axes[at].traits.underflow)
    summed = tuple(at for at in range(cells.ndim) if at not in shown and isinstance(index[at], slice))
    cells = cells.sum(axis=summed, keepdims=True) if summed else cells
    index = [0 if at in summed else it for at, it in enumerate(index)]
    picked = cells[tuple(index)]
    for place, at in enumerate(shown):
        traits = histogram.axes[at].traits
        missing = [(0, 0)] * picked.ndim
        missing[place] = (int(not traits.underflow), int(not traits.overflow))
        picked = np.pad(picked, missing)
    return np.ascontiguousarray(picked.T).ravel()
