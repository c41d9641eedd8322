"""The notebooks among the examples: each runs, shows what is committed, and finds what uproot and numpy find alone."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import awkward as ak
import nbformat
import numpy as np
import pytest
import uproot
from eventmill.cli.sample import write_sample
from notebooks import NOTEBOOKS, run


def shown(name: str, folder: Path, **values: str) -> Any:
    """The values of these expressions after the last cell of a notebook, which is run; it shows what is committed."""
    path = NOTEBOOKS / f"{name}.ipynb"
    told = ", ".join(f"{key!r}: {value}" for key, value in values.items())
    made = run.executed(path, folder, f"import json\nPath = __import__('pathlib').Path\nwritten = json.dumps({{{told}}})\n"
                        "_ = Path('values.json').write_text(written)")  # fmt: skip
    for new, kept in zip(made.cells, nbformat.read(path, as_version=4).cells, strict=True):
        if new.cell_type == "code" and run.VARIES not in new.metadata.get("tags", []):
            assert run.same_but_for_times(new.outputs, kept.outputs), f"run examples/notebooks/run.py {name}"
    return json.loads((folder / "values.json").read_text())


def columns(folder: str, **sample: Any) -> Any:
    """All events of a sample as the notebook writes it, as one array."""
    return uproot.concatenate([f"{path}:Events" for path in write_sample(folder, **sample)])


def test_a_first_look_counts_what_numpy_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = shown(
        "first_look",
        tmp_path,
        pt="pt.values().tolist()",
        mass="result['mass'].values(flow=True).tolist()",
        pairs="result['pairs'].tolist()",
        met="met.values(flow=True).tolist()",
        processed="result.account.processed",
    )
    events = columns("events", events=100_000, files=4)
    central = ak.flatten(events.Muon_pt[abs(events.Muon_eta) < 2.1])
    assert found["pt"] == np.histogram(ak.to_numpy(central[central < 100]), np.linspace(0, 100, 51))[0].tolist()
    muons = ak.zip({name: events[f"Muon_{name}"] for name in ("pt", "eta", "phi", "charge")})
    one, two = ak.unzip(ak.combinations(muons, 2))
    opposite = one.charge != two.charge
    pairs = [int(ak.sum(opposite)), int(ak.sum(~opposite))]
    assert found["pairs"] == pairs and found["processed"] == len(events) == 100_000
    mass = np.sqrt(2 * one.pt * two.pt * (np.cosh(one.eta - two.eta) - np.cos(one.phi - two.phi)))[opposite]
    expected = np.histogram(ak.to_numpy(ak.flatten(mass)), np.linspace(0, 120, 121))[0]
    assert sum(found["mass"]) == pairs[0]
    assert np.abs(np.array(found["mass"][1:-1]) - expected).sum() <= 20, "in 32 bits a mass may be beyond an edge"
    assert sum(found["met"]) == 100_000 and found["met"][-1] == ak.sum(events.MET_pt >= 200)


def test_systematics_are_what_each_variation_gives_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = shown(
        "systematics",
        tmp_path,
        cutflow="result['simulation']['cutflow']",
        ht="{name: ht[name, :].values(flow=True).tolist() for name in VARIATIONS}",
        variances="nominal.variances(flow=True).tolist()",
        data="observed.values(flow=True).tolist()",
    )

    def selected(events: Any, scale: float) -> Any:
        two = events[ak.num(events.Muon_pt) >= 2]
        pt, eta, phi, charge = (two[f"Muon_{name}"] for name in ("pt", "eta", "phi", "charge"))
        angles = np.cosh(eta[:, 0] - eta[:, 1]) - np.cos(phi[:, 0] - phi[:, 1])
        mass = np.sqrt(2 * pt[:, 0] * pt[:, 1] * angles)
        peak = two[(charge[:, 0] != charge[:, 1]) & (mass > 80) & (mass < 100)]
        jets = peak.Jet_pt * scale
        jets = jets[jets > 30]
        return len(two), len(peak), ak.to_numpy(ak.sum(jets, axis=1)[ak.num(jets) >= 2])

    def bins(ht: Any, weight: float) -> Any:
        edges = np.array([-np.inf, *np.linspace(60, 300, 13), np.inf])
        return pytest.approx(np.histogram(ht, edges)[0] * weight, abs=2.5 * weight)  # an edge is met in 32 bits or not

    simulated = columns("simulation", events=120_000, files=4, seed=12)
    two, peak, ht = selected(simulated, 1.0)
    assert list(found["cutflow"].values()) == [120_000, two, peak, len(ht)]
    for name, scale, weight in (
        ("nominal", 1.0, 1 / 3),
        ("jet energy up", 1.03, 1 / 3),
        ("jet energy down", 0.97, 1 / 3),
        ("muon efficiency up", 1.0, 1.02**2 / 3),
        ("muon efficiency down", 1.0, 0.98**2 / 3),
    ):
        varied = selected(simulated, scale)[2]
        assert found["ht"][name] == bins(varied, weight)
        assert sum(found["ht"][name]) == pytest.approx(len(varied) * weight, abs=1.1 * weight)
    assert found["variances"] == bins(ht, 1 / 9)
    assert found["data"] == bins(selected(columns("data", events=40_000, files=2, seed=11), 1.0)[2], 1.0)


def test_a_standing_master_is_left_and_found_again(tmp_path: Path) -> None:
    """Its query goes on in between; stopped, its part counts what the account has, and nothing is left running."""
    found = shown(
        "standing_master",
        tmp_path,
        counted="part['times'].sum(flow=True)",
        processed="part.account.processed",
        then="snapshot.account.processed",
        state="part.state",
        mean="mean",
        ends="[master.poll(), worker.poll()]",
    )
    assert found["state"] == "stopped" and found["counted"] == found["processed"] >= found["then"] > 0
    truncated = 1.5 - 10 / np.expm1(10 / 1.5)  # the mean of an exponential distribution below 10
    assert found["mean"] == pytest.approx(truncated, abs=5 * 1.5 / np.sqrt(found["processed"]) + 0.01)
    assert found["ends"] == [0, 0]


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_notebooks_are_kept_with_what_they_show_and_name_no_machine(path: Path) -> None:
    """For who reads them where nothing runs: pictures as such, not within HTML or in a widget."""
    notebook = nbformat.read(path, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    outputs = [output for cell in code for output in cell.outputs]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 2
    assert "error" not in {output.output_type for output in outputs} and "widgets" not in notebook.metadata
    for output in outputs:
        for text in (output.get("text", ""), *output.get("data", {}).values()):
            is_picture = len(text) > 1000 and " " not in text
            assert is_picture or not re.search(r"(?<![\w.<])/(home|root|tmp|work|usr|var|Users)\b|model_id", text)


def test_what_differs_in_times_only_is_the_same() -> None:
    """A second run of the script leaves such a notebook as it is; a number of events is none."""

    def text(words: str) -> list[Any]:
        return [nbformat.v4.new_output("stream", text=words)]

    one = text("17:02:15 5 of 10 entries  4.9 s  20,000/s 3.3 MB/s ━━━ 100%   done")
    assert run.same_but_for_times(one, text("09:12:44 5 of 10 entries  12 s  1,000/s 12 MB/s ━━ 100%  done"))
    assert not run.same_but_for_times(one, text("17:02:15 6 of 10 entries  4.9 s  20,000/s 3.3 MB/s ━━━ 100%   done"))
