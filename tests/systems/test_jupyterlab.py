"""The notebook widget in a real JupyterLab, in a real browser."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jupyterlab import SECONDS, lab, page

ANALYSIS = r"""
import eventmill as em, numpy as np
from hist import Hist
session = em.connect(slots=1)
def toy(cycles):
    print("a chunk")
    mass = Hist.new.Reg(60, 50, 130, label=r"$m_{\mu\mu}$ [GeV]").Double().fill(np.random.normal(91, 8, len(cycles)))
    process = Hist.new.StrCat(["<i>top</i>", "W"], name="process").Reg(10, 0, 10, name="x").Weight()
    return {"mass": mass, "process": process.fill("W", [1.0], weight=2.0), "cutflow": {"all": len(cycles)}}
"""
ENDLESS = 'query = session.process(em.cycles(10**11, seed=1), toy, name="<b>toy</b>")\nquery'
WAITING = ENDLESS + ".result()"


def entries_drawn(shown: Any) -> int:
    return int(shown.get_attribute(".eventmill", "data-drawn") or 0)


def wait_for_more(shown: Any, than: int) -> int:
    """The entries of a later picture."""
    shown.wait_for_function(
        f"Number(document.querySelector('.eventmill')?.dataset.drawn ?? 0) > {than}", timeout=SECONDS
    )
    return entries_drawn(shown)


def save(shown: Any) -> None:
    shown.keyboard.press("Control+s")
    shown.wait_for_selector(".jp-mod-dirty", state="hidden")


def run(shown: Any, cell: int) -> None:
    shown.locator(".jp-Notebook .jp-Cell").nth(cell).click()
    shown.keyboard.press("Shift+Enter")


@pytest.mark.timeout(600)
def test_histograms_grow_before_the_eyes_and_stop_keeps_what_there_is(tmp_path: Path) -> None:
    """Also after the page was loaded again, and while a cell waits for the result; names with HTML in them are text."""
    with lab(tmp_path, [ANALYSIS, ENDLESS, WAITING]) as address, page() as shown:
        shown.goto(address)
        shown.wait_for_selector("text=Python 3 (ipykernel) | Idle")
        run(shown, 0)
        shown.wait_for_selector('.jp-InputPrompt:text("[1]:")')
        run(shown, 1)
        shown.wait_for_selector(".eventmill svg")
        first = wait_for_more(shown, 0)
        assert wait_for_more(shown, first) > first, "it grows"
        assert shown.locator(".eventmill .em-head b").inner_text() == "<b>toy</b>"
        assert shown.locator(".em-legend").all_inner_texts()[1].split() == ["<i>top</i>", "W"]
        assert "slot" in shown.locator(".em-words").inner_text()
        shown.wait_for_selector('.em-output:has-text("a chunk [")')  # printed at each call, and shown once
        save(shown)
        shown.reload()
        shown.wait_for_selector(".eventmill svg")
        again = wait_for_more(shown, 0)
        assert again >= first and wait_for_more(shown, again) > again, "and goes on in a page that was loaded again"
        shown.locator(".eventmill button", has_text="stop").click()
        shown.wait_for_selector('.eventmill[data-state="stopped"]')
        assert "of 100,000,000,000 cycles" in shown.locator(".em-words").inner_text()
        run(shown, 2)
        other = shown.locator(".jp-Cell").nth(2)
        other.locator(".eventmill svg").first.wait_for()
        other.locator(".eventmill").evaluate("shown => (shown.dataset.live = true)")
        other.locator("button", has_text="stop").click()
        other.locator(
            '.eventmill[data-state="stopped"]:not([data-live])'
        ).wait_for()  # with what is to stay in the notebook
        other.locator(".jp-OutputArea-executeResult").wait_for()
        total = int(other.locator(".em-rows td").inner_text().replace(",", ""))
        assert total > 0 and f"{total:,} of" in other.locator(".em-words").inner_text()
        save(shown)
    outputs = json.loads((tmp_path / "test.ipynb").read_text())["cells"][2]["outputs"]
    text = "".join(next(output["data"]["text/html"] for output in outputs if output["output_type"] == "display_data"))
    assert 'src="data:image/png;base64,' in text and f"{total:,}" in text and "<b>toy</b>" not in text
