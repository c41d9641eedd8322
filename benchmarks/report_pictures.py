"""The pictures of a report in docs/images: of a real query, whose workers come late and go, and whose files are partly far.

    python -m benchmarks.report_pictures --browser chromium

starts a master with three workers, one of which joins late and one of which is killed; half of the files come from a web
server that takes its time. The page of the report is then shown by a browser without a window, on light and on dark.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import eventmill as em
import numpy as np
import uproot
from hist import Hist

from benchmarks.range_server import Answer, range_server, send_part

IMAGES = Path(__file__).parents[1] / "docs" / "images"
FILES, EVENTS = 24, 200_000
LATENCY = 0.08
"""Seconds until the web server answers."""
WIDTH, HEIGHT = 1200, 1750
LATE, KILLED = 4.0, 8.0
"""Seconds after which a worker joins, and one is killed."""


def write(folder: Path) -> None:
    """Files with the momenta of two muons each event."""
    random = np.random.default_rng(1)
    for number in range(FILES):
        with uproot.recreate(folder / f"{number:02}.root") as file:
            columns = {name: random.exponential(20.0, EVENTS) for name in ("pt1", "pt2")}
            columns |= {name: random.normal(0.0, 1.0, EVENTS) for name in ("eta1", "eta2", "phi1", "phi2")}
            file.mktree("Events", dict.fromkeys(columns, "f8")).extend(columns)


def dimuon(events: Any) -> dict[str, Any]:
    """The mass of the pair, and a bootstrap of its mean that keeps a core busy."""
    cosines = np.cosh(events.eta1 - events.eta2) - np.cos(events.phi1 - events.phi2)
    mass = np.asarray(np.sqrt(2 * events.pt1 * events.pt2 * cosines))
    random = np.random.default_rng(1)
    means = [np.sort(random.choice(mass, len(mass))).mean() for _ in range(60)]
    return {
        "mass": Hist.new.Reg(60, 0, 120, name="mass", label="m [GeV]").Double().fill(mass),
        "means": Hist.new.Reg(60, 0, 120, name="mean").Double().fill(means),
    }


def late_answer(folder: Path) -> Answer:
    """Of a server that has the files of a folder and takes its time."""

    def answer(request: BaseHTTPRequestHandler, start: int, stop: int) -> None:
        time.sleep(LATENCY)
        send_part(request, (folder / request.path.strip("/")).read_bytes(), start, stop)

    return answer


def report(folder: Path) -> em.Query:
    """Run the query."""
    write(folder)
    state = folder / "state"
    command = [sys.executable, "-m", "eventmill.cli.main"]
    environment = os.environ | {"EVENTMILL_STATE": str(state)}
    started: list[subprocess.Popen[bytes]] = []

    def start(*arguments: str) -> subprocess.Popen[bytes]:
        started.append(subprocess.Popen([*command, *arguments], env=environment, stderr=subprocess.DEVNULL))
        return started[-1]

    def worker(name: str) -> subprocess.Popen[bytes]:
        return start("worker", str(state / "pictures" / "worker.json"), "--slots", "2", "--name", name)

    try:
        start("master", "pictures", "--host", "127.0.0.1", "--interface", "127.0.0.1", "--port", "0")
        while not (state / "pictures" / "client.json").exists():
            time.sleep(0.05)
        with em.connect(state / "pictures") as session, range_server(late_answer(folder)) as address:
            worker("batch-007")
            unlucky = worker("batch-011")
            while len(session.workers()) < 2:
                time.sleep(0.05)
            far = [f"{address}/{number:02}.root" for number in range(FILES // 2)]
            near = [str(folder / f"{number:02}.root") for number in range(FILES // 2, FILES)]
            query = session.process(em.Dataset(far + near, tree="Events"), dimuon, name="dimuon mass")
            time.sleep(LATE)
            worker("batch-023")
            time.sleep(KILLED - LATE)
            unlucky.kill()
            query.result(progress=False)
            return query
    finally:
        for process in reversed(started):
            process.terminate()
        for process in started:
            process.wait()


def photograph(browser: str, page: Path, picture: Path, width: int, height: int, dark: bool) -> None:
    """Have a browser show a page."""
    look = ["--blink-settings=preferredColorScheme=0"] if dark else []
    arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", *look]
    size = f"--window-size={width},{height}"
    command = [browser, *arguments, size, f"--screenshot={picture}", page.as_uri()]
    subprocess.run(command, check=True, capture_output=True, timeout=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--browser", default="chromium", help="a Chromium (default: %(default)s)")
    parser.add_argument("--to", type=Path, default=IMAGES, help="a folder (default: %(default)s)")
    options = parser.parse_args()
    options.to.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        query = report(Path(folder))
        print(query.report())
        page = query.report().html(Path(folder) / "report.html")
        for name, dark in (("light", False), ("dark", True)):
            photograph(options.browser, page, options.to / f"report-{name}.png", WIDTH, HEIGHT, dark)


if __name__ == "__main__":
    main()
