"""Pictures of a report, as SVG with the colours of what it stands in: the same picture is good on light and on dark.

They are drawn with matplotlib (extra `plot`), whose own state is left alone.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ...protocol.usage import summed
from .facts import UNNAMED, Cause, Facts, Presence, grouped, last_packets, spread, times, waits
from .words import CAUSES, duration

COLOURS: dict[Cause, str] = {
    "computing": "#3f90da",
    "calls": "#832db6",
    "waiting": "#ffa90e",
    "opening": "#b9ac70",
    "compiling": "#92dadd",
    "idle": "#94a4a2",
    "ends": "#717581",
    "lost": "#a96b59",
    "absent": "#bd1f01",
    "merging": "#e76300",
}
"""Those of Petroff (arXiv:2107.02270), which people see who are blind to some, too."""
SEQUENCE = (
    "#3f90da",
    "#ffa90e",
    "#bd1f01",
    "#94a4a2",
    "#832db6",
    "#a96b59",
    "#e76300",
    "#b9ac70",
    "#717581",
    "#92dadd",
)
MOST_BARS = 24
"""Workers that get a bar each; of more there is a histogram."""
MOST_LINES = 64
"""Slots that get a line each."""
LONGEST_NAME = 28
_INK = "#010203"
"""Stands for the colour of the text around the picture."""
_ELEMENT = r'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" \1 role="img">'
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "eventmill",
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.size": 9.0,
    "text.color": _INK,
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "axes.titlecolor": _INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "xtick.labelcolor": _INK,
    "ytick.labelcolor": _INK,
    "legend.frameon": False,
    "legend.labelcolor": _INK,
    "grid.color": _INK,
    "grid.alpha": 0.12,
    "grid.linewidth": 0.8,
}


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture of a report: what it shows, and its SVG element, to be put into a page."""

    title: str
    svg: str


def pictures(facts: Facts) -> list[Picture]:
    """All pictures for which the report has the numbers, the most telling first."""
    drawn = (_draw(title, draw, facts) for title, draw in _PICTURES)
    return [picture for picture in drawn if picture is not None]


def _draw(title: str, draw: Callable[[Figure, Facts], bool], facts: Facts) -> Picture | None:
    with rc_context(_STYLE):
        figure = Figure(figsize=(6.4, 3.0), layout="constrained")
        if not draw(figure, facts):
            return None
        written = io.StringIO()
        figure.savefig(written, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = written.getvalue()
    svg = svg[svg.index("<svg") :].replace(_INK, "currentColor")
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    return Picture(title, re.sub(r'<svg [^>]*?(viewBox="[^"]*")[^>]*>', _ELEMENT, svg, count=1))


# --- what is drawn: each returns whether there was anything ---------------------------------------------------------------


def _slots_over_time(figure: Figure, facts: Facts) -> bool:
    course = facts.course
    if not any(course.busy):
        return False
    axes = figure.subplots()
    edges = [at * course.step for at in range(len(course.busy) + 1)]
    presence = Presence.of(facts)
    most = presence.peak or math.inf  # when a packet ended is known when that is heard, and may seem a bit later
    busy = [min(most, value / course.step) for value in course.busy]
    waiting = [min(value, whole) for value, whole in zip((it / course.step for it in course.waited), busy, strict=True)]
    computing = [whole - part for whole, part in zip(busy, waiting, strict=True)]
    axes.stairs(computing, edges, fill=True, color=COLOURS["computing"], label="at work")
    if any(value >= 0.005 * max(busy) for value in waiting):
        axes.stairs(busy, edges, baseline=computing, fill=True, color=COLOURS["waiting"], label="waiting for data")
    if presence.peak:
        moments, slots = zip(*presence.steps, strict=True)
        axes.stairs(slots[:-1], moments, color=_INK, linestyle=(0, (4, 2)), linewidth=1.1, label="there", baseline=None)
    top = max([*busy, presence.peak])
    axes.set(ylabel="slots", ylim=(0, 1.05 * top))
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    _time_axis(axes, facts, course.since)
    _legend_above(axes)
    return True


def _rate_over_time(figure: Figure, facts: Facts) -> bool:
    course = facts.course
    if not any(course.entries):
        return False
    axes = figure.subplots()
    edges = [at * course.step for at in range(len(course.entries) + 1)]
    rates = [value / course.step for value in course.entries]
    axes.stairs(rates, edges, fill=True, color=COLOURS["computing"], alpha=0.25)
    axes.stairs(rates, edges, color=COLOURS["computing"], linewidth=1.4)
    axes.set(ylabel="entries a second", ylim=(0, 1.08 * max(rates)))
    _counts(axes.yaxis.set_major_formatter)
    _time_axis(axes, facts, course.since)
    return True


def _time_by_cause(figure: Figure, facts: Facts) -> bool:
    causes = times(facts)
    whole = sum(causes.values())
    if not whole:
        return False
    causes = {cause: seconds for cause, seconds in causes.items() if seconds >= 0.005 * whole}
    axes = figure.subplots()
    ordered = sorted(causes, key=lambda cause: causes[cause])
    bars = axes.barh(
        [CAUSES[it] for it in ordered], [causes[it] for it in ordered], color=[COLOURS[it] for it in ordered]
    )
    axes.bar_label(bars, [f"{duration(causes[it])}  ({causes[it] / whole:.0%})" for it in ordered], padding=4)
    axes.set_xlim(0, 1.3 * max(causes.values()))
    axes.set_xlabel("slot seconds")
    _counts(axes.xaxis.set_major_formatter)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")
    return True


def _packets_and_entries(figure: Figure, facts: Facts) -> bool:
    workers = [info for info in facts.workers if info.packets]
    if not workers:
        return False
    left, right = figure.subplots(1, 2, sharey=len(workers) <= MOST_BARS)
    sites = _site_colours(facts)
    for axes, what in ((left, "packets"), (right, "entries")):
        values = [getattr(info, what) for info in workers]
        if len(workers) <= MOST_BARS:
            colours = [sites[info.site or UNNAMED] for info in workers]
            axes.barh(range(len(workers)), values, color=colours, height=0.7)
            axes.set_yticks(range(len(workers)), [_short(info.worker) for info in workers])
            axes.tick_params(axis="y", length=0)
            axes.set_ylim(len(workers) - 0.4, -0.6)
            axes.set_xlabel(what)
            axes.grid(axis="x")
        else:
            axes.hist(values, bins=min(40, max(values) - min(values) + 1), color=COLOURS["computing"])
            axes.set(xlabel=f"{what} a worker", ylabel="workers")
            axes.grid(axis="y")
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        _counts(axes.xaxis.set_major_formatter)
    return True


def _ends(figure: Figure, facts: Facts) -> bool:
    last = spread(facts)
    if last is None:
        return False
    axes = figure.subplots()
    sites = _site_colours(facts)
    lines = [
        (*info.spans[slot], f"{_short(info.worker)}/{slot}", info.site or UNNAMED)
        for info in facts.workers
        for slot in sorted(info.spans)
    ]
    if len(lines) <= MOST_LINES:
        seen: dict[str, None] = {}
        for at, (began, ended, _, site) in enumerate(lines):
            label = site if site not in seen and len(sites) > 1 else None
            seen[site] = None
            axes.barh(at, ended - began, left=began, color=sites[site], height=0.7, label=label)
        if len(lines) <= MOST_BARS:
            axes.set_yticks(range(len(lines)), [name for _, _, name, _ in lines])
        else:
            axes.set_ylabel("slots")
        axes.set_ylim(len(lines) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        _time_axis(axes, facts)
        if 1 < len(sites) <= len(SEQUENCE):
            _legend_above(axes)
    else:
        ends = list(last_packets(facts).values()) if len(facts.workers) > MOST_LINES else [end for _, end, *_ in lines]
        axes.hist(ends, bins=50, color=COLOURS["computing"])
        axes.set_ylabel("workers" if len(facts.workers) > MOST_LINES else "slots")
        axes.set_xlabel("end of the last packet [s since the query began]")
    axes.axvspan(last.first, last.last, color=COLOURS["waiting"], alpha=0.25, linewidth=0, zorder=0)
    return True


def _efficiency_by_site(figure: Figure, facts: Facts) -> bool:
    usages = grouped((info.site or UNNAMED, usage) for info in facts.workers for usage in info.by_slot.values())
    if len(usages) < 2:
        return False
    names = sorted(usages, key=lambda name: usages[name].efficiency)[:MOST_BARS]  # of more, those that do worst
    axes = figure.subplots()
    bars = axes.barh(
        [_short(it) for it in names], [usages[it].efficiency for it in names], color=SEQUENCE[0], height=0.6
    )
    axes.bar_label(bars, [f"{usages[it].efficiency:.0%}" for it in names], padding=4)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.set_xlim(0, 1.15 * max(1.0, *(usages[it].efficiency for it in names)))
    _only_bars(figure, axes, len(names))
    return True


def _latency_by_server(figure: Figure, facts: Facts) -> bool:
    usages = {name: summed(by_site.values()) for name, by_site in waits(facts).items()}
    names = sorted((it for it in usages if usages[it].latency), key=lambda it: usages[it].latency)[-MOST_BARS:]
    if not names:
        return False
    axes = figure.subplots()
    values = [1e3 * usages[it].latency for it in names]
    bars = axes.barh([_short(it) for it in names], values, color=COLOURS["waiting"], height=0.6)
    axes.bar_label(
        bars,
        [f"{value:.3g} ms, {usages[it].requests:,} requests" for it, value in zip(names, values, strict=True)],
        padding=4,
    )
    axes.set_xlim(0, 1.5 * max(values))
    axes.set_xlabel("milliseconds from a request to its answer, on the average")
    _only_bars(figure, axes, len(names))
    return True


_PICTURES: Sequence[tuple[str, Callable[[Figure, Facts], bool]]] = (
    ("Slots at work", _slots_over_time),
    ("Where the slots' time went", _time_by_cause),
    ("Entries over time", _rate_over_time),
    ("When slots had packets, and were done", _ends),
    ("Packets and entries of each worker", _packets_and_entries),
    ("CPU efficiency by site", _efficiency_by_site),
    ("Latency by file server", _latency_by_server),
)


# --- what they share ------------------------------------------------------------------------------------------------------


def _time_axis(axes: Axes, facts: Facts, since: float = 0.0) -> None:
    again = f"; the master was started again at {duration(since)}" if since else ""
    axes.set_xlabel(f"seconds since the query began{again}")
    axes.grid(axis="x")
    if facts.seconds:
        axes.set_xlim(since, since + 1.01 * (facts.seconds - since))


def _legend_above(axes: Axes) -> None:
    axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=5, borderaxespad=0.2, handlelength=1.4)


def _only_bars(figure: Figure, axes: Axes, bars: int) -> None:
    """Horizontal bars without an axis of their own, in a picture that is as high as they need."""
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")
    axes.set_ylim(-0.7, bars - 0.3)
    figure.set_figheight(min(0.8 + 0.4 * bars, max(3.0, 0.6 + 0.19 * bars)))


def _counts(set_formatter: Callable[[Callable[[float, object], str]], object]) -> None:
    def text(value: float, _: object) -> str:
        for unit, name in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
            if abs(value) >= unit:
                return f"{value / unit:g}{name}"
        return f"{value:g}"

    set_formatter(text)


def _site_colours(facts: Facts) -> dict[str, str]:
    sites = dict.fromkeys(info.site or UNNAMED for info in facts.workers)
    return {site: SEQUENCE[at % len(SEQUENCE)] for at, site in enumerate(sites)}


def _short(name: str) -> str:
    """A name that leaves room for the picture: its end tells workers apart."""
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME // 2]}…{name[-LONGEST_NAME // 2 + 1 :]}"
