"""What a notebook shows, and what that costs: a real JupyterLab, a real Chromium without a window.

    python -m benchmarks.notebook_views                     # five minutes
    python -m benchmarks.notebook_views --readme            # puts the table

Of a histogram of 100 bins and one of a million: how soon after a cell was run it is drawn, how often then, and what that
costs of a query that runs on two slots: the CPU time of all processes but the slots (the notebook's kernel, the master, the
worker's agent), less the same of a query that nobody watches, in the time that two slots have. Turns of the three kinds
follow each other, in an order that changes, and a turn is compared with that of its round.

Each notebook has few cells (JupyterLab takes those out of the page that are not seen) and a kernel of its own; each query
has a name, by which its drawings are known from those that a query before left behind.
"""

from __future__ import annotations

import json
import math
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from . import tables
from .children import cpu_seconds, descendants, slots_below
from .options import command_line

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support" / "systems"))

from jupyterlab import SECONDS, lab, page

SIZES = (100, 1_000_000)
MODES = ("nobody", "snapshots", "widget")
FIRST, OFTEN, COST = 1.0, 1.0, 0.02
"""Targets: seconds until the first drawing, drawings a second, of the slots' time."""
PACKAGES = ("eventmill", "anywidget", "jupyterlab", "hist", "numpy")
WARM_SECONDS = 2.0
"""Until a query runs as it will go on."""

SETUP = """
import json, os
from pathlib import Path
import eventmill as em, numpy as np
from hist import Hist
session = em.connect(slots={slots})
def toy(cycles):
    return {{"h": Hist.new.Reg({bins}, 0, 1, name="x").Double().fill(np.random.random(len(cycles)))}}
query, turn = None, 0
def begin(mode):
    global query, turn
    turn += 1
    query = session.process(em.cycles(10**12, seed=turn), toy, name=f"run {{turn}}")
    if mode == "nobody":
        query.leave()
    Path("begun.json").write_text(json.dumps({{"turn": turn, "pid": os.getpid()}}))
def end():
    global query
    query = session.attach(query.id)
    query.stop()
    result = query.result(progress=False)
    Path("ended.json").write_text(json.dumps({{"entries": result.account.processed, "seconds": result.seconds}}))
session.process(em.cycles(1000, seed=1), toy).result(progress=False)
begin("nobody"), end()
"""
TURN = 'mode = Path("mode").read_text(); begin(mode)\nquery if mode == "widget" else None'
END = "end()"
WATCH = """
window.runs = {};
window.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && event.shiftKey) window.pressed = performance.now();
}, true);
new MutationObserver((changes) => {
  const now = performance.now();
  for (const { target } of changes) {
    const name = target.querySelector(".em-head b").textContent;
    (window.runs[name] ??= { pressed: window.pressed, drawn: [] }).drawn.push(now);
  }
}).observe(document.body, { subtree: true, attributes: true, attributeFilter: ["data-drawn"] });
"""


@dataclass(frozen=True)
class Turn:
    """A query that was watched in one way, or not.

    Attributes:
        others: CPU that the processes took which are no slots, those of the session and its kernel, of a slot's time.
        rate: entries a second.
        first: seconds until its first drawing; infinite if it was not drawn.
        often: drawings a second after that.
    """

    others: float
    rate: float
    first: float
    often: float


class Notebook:
    """A notebook in a page, whose kernel is ready to run queries.

    Args:
        shown: the page.
        folder: where the notebook lies, and its kernel works.
    """

    def __init__(self, shown: Any, folder: Path) -> None:
        self._shown, self._folder = shown, folder

    def run(self, cell: int) -> None:
        """Run one of its cells, and wait until that is over."""
        self._shown.locator(".jp-Notebook .jp-Cell").nth(cell).locator(".cm-content").click()
        self._shown.keyboard.press("Shift+Enter")

    def turn(self, mode: str, seconds: float) -> Turn:
        """Run a query for so many seconds."""
        (self._folder / "mode").write_text(mode)
        self.run(1)
        begun = self._told("begun.json")
        time.sleep(WARM_SECONDS)
        slots = slots_below(begun["pid"])
        others = [pid for pid in (begun["pid"], *descendants(begun["pid"])) if pid not in slots]
        before = sum(map(cpu_seconds, others))
        time.sleep(seconds)
        share = (sum(map(cpu_seconds, others)) - before) / (seconds * len(slots))
        drawn = self._shown.evaluate(f"window.runs['run {begun['turn']}'] ?? null")
        self.run(2)
        ended = self._told("ended.json")
        first, often = (math.inf, 0.0) if drawn is None else _drawings(drawn)
        return Turn(share, ended["entries"] / ended["seconds"], first, often)

    def ready(self) -> None:
        """Run the first cell, which starts a session."""
        self._shown.wait_for_selector("text=Python 3 (ipykernel) | Idle")
        self.run(0)
        self._told("begun.json")
        self._told("ended.json")
        self._shown.evaluate(WATCH)

    def _told(self, name: str) -> Any:
        """What a cell has written down, once it has."""
        path, deadline = self._folder / name, time.monotonic() + SECONDS / 1000
        while True:
            try:
                told = json.loads(path.read_text())
            except (FileNotFoundError, json.JSONDecodeError):
                if time.monotonic() > deadline:
                    raise RuntimeError(f"the notebook has not written {name}") from None
                time.sleep(0.05)
            else:
                path.unlink()
                return told


def _drawings(drawn: Any) -> tuple[float, float]:
    """Seconds from the key to the first drawing, and drawings a second from there to the last."""
    times = [(at - drawn["pressed"]) / 1000 for at in drawn["drawn"]]
    return times[0], (len(times) - 1) / (times[-1] - times[0]) if len(times) > 1 else 0.0


@contextmanager
def opened(bins: int, slots: int) -> Iterator[Notebook]:
    """A notebook for histograms of so many bins."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cells = [SETUP.format(bins=bins, slots=slots), TURN, END]
        with lab(folder, cells) as address, page(1300, 1400) as shown:
            shown.goto(address)
            made = Notebook(shown, folder)
            made.ready()
            yield made


def measure(bins: int, slots: int, rounds: int, seconds: float) -> dict[str, list[Turn]]:
    """Turns of each kind, one after the other, the order of each round being another one."""
    found: dict[str, list[Turn]] = {mode: [] for mode in MODES}
    with opened(bins, slots) as made:
        for number in range(rounds):
            at = number % len(MODES)
            for mode in (*MODES[at:], *MODES[:at]):
                found[mode].append(made.turn(mode, seconds))
    return found


def costs(turns: dict[str, list[Turn]], mode: str) -> tuple[float, float]:
    """Of watching: in CPU, of the slots' time, and in entries a second; medians of rounds, each by itself."""
    pairs = list(zip(turns[mode], turns["nobody"], strict=True))
    cpu = median(one.others - other.others for one, other in pairs)
    return cpu, median(1 - one.rate / other.rate for one, other in pairs)


def row(bins: int, turns: dict[str, list[Turn]]) -> list[str]:
    """A line of the table."""
    drawn = turns["widget"]
    first = [turn.first for turn in drawn]
    told = [f"{bins:,}", f"{median(first):.2f}", f"{max(first):.2f}", f"{median(turn.often for turn in drawn):.1f}"]
    for mode in MODES[1:]:
        cpu, rate = costs(turns, mode)
        told += [f"{100 * cpu:+.1f} %", f"{100 * rate:+.1f} %"]
    return told


def main() -> int:
    parser = command_line("notebook_views", __doc__)
    parser.add_argument("--rounds", type=int, default=6, help="turns of each kind")
    parser.add_argument("--seconds", type=float, default=8.0, help="that a turn is measured")
    parser.add_argument("--slots", type=int, default=2)
    parser.add_argument("--bins", type=int, nargs="*", default=list(SIZES))
    asked = parser.parse_args()
    load = os.getloadavg()[0]
    rows = [row(bins, measure(bins, asked.slots, asked.rounds, asked.seconds)) for bins in asked.bins]
    header = [
        "bins", f"first drawing [s], target {FIRST:g}: median", "slowest", f"drawings a second, target {OFTEN:g}",
        f"snapshots: CPU, target {100 * COST:g} %", "fewer entries a second", "widget: CPU", "fewer entries a second",
    ]  # fmt: skip
    how = f"{asked.slots} slots, {asked.rounds} turns of each kind, {asked.seconds:g} s each."
    text = f"{tables.heading(PACKAGES, load)}\n{how}\n\n{tables.rows(header, rows)}"
    print(text)
    if asked.readme:
        tables.put("notebook views", text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
