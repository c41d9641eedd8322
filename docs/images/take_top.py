"""Takes the picture of `eventmill top` in the README, of a real master with a query at work: run it.

Needs what the tests need (`make test` installs it).
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[1] / "tests" / "support"), str(HERE.parents[1])]

import eventmill as em  # noqa: E402
from eventmill.cli.sample import write_sample  # noqa: E402
from eventmill.cli.top import SessionSource  # noqa: E402
from eventmill.display.terminal.app import Top  # noqa: E402
from hist import Hist  # noqa: E402
from processes import Standing, eventually  # noqa: E402

from benchmarks.xrootd_server import serving  # noqa: E402

EVENTS = 12_000_000
SIZE = (132, 40)
REACHED = 0.4
"""Of the query, when the picture is taken."""


@em.kernel(
    mass=Hist.new.Reg(120, 0, 120, label=r"$m_{\mu\mu}$ [GeV]").Double(),
    pt=Hist.new.Reg(50, 0, 100, label=r"$p_T$ [GeV]").Double(),
)
def dimuon(mass, pt, Muon_pt, Muon_eta, Muon_phi, Muon_charge):  # type: ignore[no-untyped-def] # noqa: N803
    """The mass of pairs of muons of opposite charge."""
    for i in range(len(Muon_pt)):
        pt.fill(Muon_pt[i])
        for j in range(i + 1, len(Muon_pt)):
            if Muon_charge[i] != Muon_charge[j]:
                angles = math.cosh(Muon_eta[i] - Muon_eta[j]) - math.cos(Muon_phi[i] - Muon_phi[j])
                mass.fill(math.sqrt(2 * Muon_pt[i] * Muon_pt[j] * angles))


def talks(events):  # type: ignore[no-untyped-def]
    """A second query, whose analysis has something to say."""
    import logging

    for run in range(3):
        print(f"run {run}: calibration of {2020 + run}")  # noqa: T201
    logging.getLogger("calibration").warning("12 muons without a charge")
    return {"events": len(events)}


async def look(source: SessionSource) -> str:
    """The picture, once the query is as far as it is to be."""
    app = Top(source)
    async with app.run_test(size=SIZE) as pilot:
        for _ in range(1200):
            await pilot.pause(0.1)
            rows = list(source.feed.view.queries.values())
            if rows and (rows[-1].view.fraction or 0.0) >= REACHED:
                break
        await pilot.pause(0.4)
        return app.export_screenshot(title="eventmill top")


def main() -> None:
    """A master, two workers, a query that is over, and one that is not."""
    with contextlib.ExitStack() as stack:
        name = stack.enter_context(tempfile.TemporaryDirectory())
        server = stack.enter_context(serving(host="localhost"))
        standing = stack.enter_context(contextlib.closing(Standing(Path(name) / "state")))
        files = write_sample(server.folder / "events", events=EVENTS)
        for site in ("T2_DE_DESY", "T0_CH_CERN"):
            standing.worker(slots=2, options=("--site", site, "--name", site[3:].lower().replace("_", "-")))
        with standing.connect() as session:
            eventually(lambda: len(session.workers()) == 2, "the workers join")
            data = [f"{server.url}/events/{file.name}" for file in files]
            session.process(data, talks, name="counting").result()
            session.process(data, dimuon)
            with standing.connect() as other:
                (HERE / "top.svg").write_text(asyncio.run(look(SessionSource(other))))


if __name__ == "__main__":
    main()
