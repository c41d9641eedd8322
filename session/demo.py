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

from ..packetizer.dataset import Dataset
from ..protocol.analysis import kernel
from .result import Result, Snapshot, describe_account
from .sample import write_sample
from .session import connect

BINS, LOW, HIGH = 110, 2.0, 200.0
PEAKS = {"J/ψ": 3.097, "Υ": 9.46, "Z": 91.19}
_HEIGHT = 16


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
    console = Console()
    folder = folder or Path(platformdirs.user_cache_dir("eventmill")) / f"demo-{events}"
    files = _sample(console, folder, events)
    console.print(f"starting a master and its worker slots on this machine; {len(files)} files in {folder}")
    with connect(slots=slots) as session:
        query = session.process(Dataset([str(file) for file in files], tree="Events"), dimuon)
        with Live(console=console, refresh_per_second=10) as live:
            for snapshot in query.stream():
                live.update(picture(snapshot, width=min(console.width, 110)))
        result = query.result()
    console.print()
    console.print(f"[bold]account:[/bold] {describe_account(result.account)}")
    save_png(result, png, console)
    return result


def _sample(console: Console, folder: Path, events: int) -> list[Path]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:,} events"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("writing a sample", total=events)
        return write_sample(folder, events=events, progress=lambda done: progress.update(task, completed=done))


def picture(snapshot: Snapshot, width: int) -> Group:
    """The spectrum as text, both axes logarithmic, with the known peaks named and a line that says how far it has come."""
    heights = [math.log10(value) if value >= 1 else 0.0 for value in snapshot["mass"].values()]
    columns = max(20, min(len(heights), width - 2))
    top = max(max(heights), 1.0)
    rows = []
    for row in range(_HEIGHT, 0, -1):
        cells = []
        for column in range(columns):
            filled = heights[column * len(heights) // columns] / top * _HEIGHT - (row - 1)
            cells.append(" ▁▂▃▄▅▆▇█"[max(0, min(8, round(filled * 8)))])
        rows.append("".join(cells))
    words = f"{snapshot.fraction:4.0%}  {describe_account(snapshot.account)}, {snapshot.seconds:.1f} s"
    return Group(Text("\n".join(rows), style="cyan"), Text(_axis(columns), style="dim"), Text(words, style="bold"))


def _axis(columns: int) -> str:
    """The line under the spectrum: its ends, and the names of the peaks where they are."""
    line = list(f"{LOW:g}" + " " * columns)
    marks = PEAKS | {f"{HIGH:g} GeV": HIGH / 1.2}
    for name, mass in marks.items():
        position = int(math.log(mass / LOW) / math.log(HIGH / LOW) * columns)
        line[position : position + len(name)] = name
    return "".join(line).rstrip()


def save_png(result: Snapshot, png: Path, console: Console) -> None:
    """Save the spectrum as a picture, if matplotlib is there."""
    try:
        import matplotlib
    except ImportError:
        console.print("no picture saved: install matplotlib (`pip install eventmill[plot]`)")
        return
    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 5), layout="constrained")
    mass = result["mass"]
    axes.stairs(mass.values(), mass.axes[0].edges, fill=True, color="#2a6f97")
    axes.set(
        xscale="log",
        yscale="log",
        xlabel=mass.axes[0].label,
        ylabel="muon pairs",
        title=describe_account(result.account),
    )
    figure.savefig(png, dpi=120)
    plt.close(figure)
    console.print(f"saved {png}")
