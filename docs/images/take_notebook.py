"""Takes the picture of the notebook widget in the README, from a real JupyterLab: `python docs/images/take_notebook.py`.

Needs what the tests need (`make test-systems` installs it), and Chromium.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[1] / "tests" / "support" / "systems")]

from eventmill.cli.sample import write_sample  # noqa: E402
from jupyterlab import lab, page  # noqa: E402

EVENTS = 8_000_000
FIRST = """import math
import eventmill as em
import numpy as np
from hist import Hist

session = em.connect()"""


def main() -> None:
    """Write the sample, run the notebook, and look at it while the query runs."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_sample(folder / "events", events=EVENTS)
        cells = [FIRST, (HERE / "dimuon_cell.py").read_text()]
        with lab(folder, cells) as address, page(1500, 1500, device_scale_factor=1.5) as shown:
            shown.goto(address)
            shown.wait_for_selector("text=Python 3 (ipykernel) | Idle")
            for number in range(len(cells)):
                shown.locator(".jp-Notebook .jp-Cell").nth(number).click()
                shown.keyboard.press("Shift+Enter")
                if not number:
                    shown.wait_for_selector('.jp-InputPrompt:text("[1]:")')
            shown.wait_for_function(
                "parseInt(document.querySelector('.em-percent')?.textContent) >= 40", timeout=120_000
            )
            shown.locator(".eventmill").screenshot(path=str(HERE / "notebook.png"))


if __name__ == "__main__":
    main()
