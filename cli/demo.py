"""`eventmill demo`: a sample of NanoAOD-like events, and a dimuon spectrum that fills while you look."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import platformdirs
from hist import Hist
from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from ..analysis.analysis import kernel
from ..dataset.dataset import Dataset
from ..display.account_text import describe_account
from ..session.connect import connect
from ..session.result import Result, Snapshot
from .sample import write_sample

BINS, LOW, HIGH = 110, 2.0, 200.0
PEAKS = {"J/ψ": 3.097, "Υ": 9.46, "Z": 91.19}
_HEIGHT = 16
_DECADES = 3


@kernel(mass=Hist.new.Log(BINS, LOW, HIGH, label="m(μμ) [GeV]").Double())
def dimuon(mass: Any, Muon_pt: Any, Muon_eta: Any, Muon_phi: Any, Muon_charge: Any) -> None:  # noqa: N803
    """The mass of every pair of muons of opposite charge."""
    for i in range(len(Muon_pt)):
        for j in range(i + 1, len(Muon_pt)):
            if Muon_charge[i] != Muon_charge[j]:
                angles = math.cosh(Muon_eta[i] - Muon_eta[j]) - math.cos(Muon_phi[i] - Muon_phi[j])
                mass.fill(math.sqrt(2.0 * Muon_pt[i] * Muon_pt[j] * angles))


def run(events: int, slots: int | None, folder: Path | None, png: Path) -> Result:
    """Write the sample (once), process it with live display, print the account and the histogram, save a picture."""
    console = Console(highlight=False)
    folder = folder or Path(platformdirs.user_cache_dir("eventmill")) / f"demo-{events}"
    files = _sample(console, folder, events)
    console.print(f"{len(files)} files in {folder}", soft_wrap=True)
    console.print("starting a master and its worker slots on this machine")
    with connect(slots=slots) as session:
        query = session.process(Dataset([str(file) for file in files], tree="Events"), dimuon)
        if console.is_terminal:
            with Live(console=console, auto_refresh=False) as live:
                for snapshot in query.stream():
                    live.update(picture(snapshot, console.width), refresh=True)
            result = query.result()
        else:
            result = query.result()
            console.print(picture(result, console.width))
    console.print(f"account: {describe_account(result.account)}", soft_wrap=True)
    save_png(result, png, console)
    return result


def _sample(console: Console, folder: Path, events: int) -> list[Path]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:,} events"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("writing a sample", total=events)
        return write_sample(folder, events=events, progress=lambda done: progress.update(task, completed=done))


def picture(snapshot: Snapshot, width: int) -> Group:
    """The spectrum as text, both axes logarithmic, with the known peaks named and a line that says how far it has come.

    Args:
        snapshot: what is merged so far.
        width: columns of the terminal; no line of the picture is longer.
    """
    values = snapshot["mass"].values()
    # The axis is that of the whole dataset from the first picture on, so that the spectrum is seen to grow.
    top = math.log10(max(max(values) / max(snapshot.fraction, 1e-6), 10.0))
    heights = [1 + (math.log10(value) - top) / _DECADES if value else 0.0 for value in values]
    columns = max(20, min(len(heights), width - 2))
    rows = []
    for row in range(_HEIGHT, 0, -1):
        cells = []
        for column in range(columns):
            filled = heights[column * len(heights) // columns] * _HEIGHT - (row - 1)
            cells.append(" ▁▂▃▄▅▆▇█"[max(0, min(8, round(filled * 8)))])
        rows.append("".join(cells))
    account = snapshot.account
    words = f"{snapshot.fraction:4.0%}  {account.processed:,} of {account.total:,} entries in {snapshot.seconds:.1f} s"
    return Group(Text("\n".join(rows), style="cyan"), Text(_axis(columns), style="dim"), Text(words, style="bold"))


def _axis(columns: int) -> str:
    """The line under the spectrum: its ends, and the names of the peaks where they are, centred, none over another."""
    line = f"{LOW:g}"
    end = f"{HIGH:g} GeV"
    for name, mass in PEAKS.items():
        start = round(math.log(mass / LOW) / math.log(HIGH / LOW) * columns) - len(name) // 2
        if len(line) < start and start + len(name) < columns - len(end):
            line = line.ljust(start) + name
    return line.ljust(columns - len(end)) + end


def save_png(result: Snapshot, png: Path, console: Console) -> None:
    """Save the spectrum as a picture, if matplotlib is there."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        console.print("no picture saved: install matplotlib (`pip install eventmill\\[plot]`)")
        return
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.add_subplot()
    mass = result["mass"]
    axes.stairs(mass.values(), mass.axes[0].edges, fill=True, color="#2a6f97")
    axes.set(
        xscale="log",
        yscale="log",
        xlabel=mass.axes[0].label,
        ylabel="muon pairs",
        title=describe_account(result.account),
    )
    figure.savefig(png, dpi=120, format="png")
    console.print(f"saved {png}", soft_wrap=True)
