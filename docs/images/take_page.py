"""Takes the pictures of the status page in the README, from a real master at work: `python docs/images/take_page.py`.

Needs what the tests need (`make test-systems` installs it), an XRootD server, and Chromium.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
SUPPORT = HERE.parents[1] / "tests" / "support"
sys.path[:0] = [str(SUPPORT), str(SUPPORT / "systems"), str(HERE.parents[1])]

import eventmill as em  # noqa: E402
from eventmill.cli.sample import write_sample  # noqa: E402
from hist import Hist  # noqa: E402
from jupyterlab import page  # noqa: E402
from processes import Standing  # noqa: E402

from benchmarks.xrootd_server import serving  # noqa: E402

EVENTS = 36_000_000
DESKTOP, PHONE = (1280, 860), (390, 844)
SITES = ("cern.ch", "desy.de", "in2p3.fr")


def toy_top(cycles: Any) -> Any:
    """A second query: toy Monte Carlo, in which some cycles cannot be made."""
    import numpy as np

    mass = np.random.normal(172.5, 6.0, len(cycles))
    print(f"{len(cycles)} cycles, mean {mass.mean():.3f}")  # noqa: T201 - for the page's log
    if np.random.random() < 0.05:
        raise ValueError(f"no solution for the neutrino: {mass[0]:.1f} GeV")
    time.sleep(0.4)
    return {"mass": Hist.new.Reg(60, 140, 205, label=r"$m_t$ [GeV]").Double().fill(mass)}


def main() -> None:
    """Start it all, and look at it while it runs."""
    with tempfile.TemporaryDirectory() as name, serving() as server:
        folder = Path(name)
        write_sample(server.folder / "events", events=EVENTS)
        master = Standing(folder, options=("--status-port", "0"))
        try:
            take(master, f"{server.url}/events/*.root")
        finally:
            master.close()


def take(master: Standing, files: str) -> None:
    """Two queries at work on three workers, one of which comes late; then the pictures."""
    scope: dict[str, Any] = {"em": em, "Hist": Hist, "np": __import__("numpy"), "math": __import__("math")}
    analysis = (HERE / "dimuon_cell.py").read_text().partition("\nquery =")[0]
    address = json.loads((master.state / master.name / "status.json").read_text())["steer"]
    for site in SITES[:2]:
        master.worker(slots=4, options=("--site", site))
    with master.connect() as session, page(*DESKTOP, device_scale_factor=1.5) as shown:
        exec(compile(analysis, "dimuon_cell.py", "exec"), scope)  # noqa: S102 - the cell that the README shows
        session.process(em.cycles(2_000_000, seed=1), toy_top, name="top mass, toys", on_error="skip", chunk=2000)
        query = session.process(files, scope["dimuon"], name="dimuons")
        shown.goto(address)
        shown.wait_for_selector(".card")
        time.sleep(15)
        master.worker(slots=4, options=("--site", SITES[2]))
        time.sleep(20)
        for scheme in ("light", "dark"):
            shown.emulate_media(color_scheme=scheme)
            shown.wait_for_timeout(1500)
            shown.screenshot(path=str(HERE / f"page-{scheme}.png"))
        shown.emulate_media(color_scheme="light")
        shown.goto(f"{address.partition('?')[0]}#/query/{query.id}")
        shown.wait_for_selector("[data-drawn]")
        shown.wait_for_timeout(1500)
        shown.screenshot(path=str(HERE / "page-query.png"))
        shown.click('[data-tab="slots"]')
        shown.select_option(".filters select", "120")
        shown.wait_for_timeout(2500)
        shown.locator("main .panel").screenshot(path=str(HERE / "page-slots.png"))
        shown.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
        shown.emulate_media(color_scheme="dark")
        shown.goto(f"{address.partition('?')[0]}#/")
        shown.wait_for_selector(".card")
        shown.wait_for_timeout(1500)
        shown.screenshot(path=str(HERE / "page-phone.png"))


if __name__ == "__main__":
    main()
