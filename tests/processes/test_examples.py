"""The examples: each runs as its first lines say, and prints numbers that uproot and numpy alone find too."""

from __future__ import annotations

import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import awkward as ak
import numpy as np
import processes
import pytest
import uproot
from numpy.typing import NDArray
from skhep_testdata import data_path

pytestmark = pytest.mark.long("each example is a program that starts all that users start")

EXAMPLES = Path(__file__).parents[2] / "examples"
HZZ, ZMUMU = data_path("uproot-HZZ.root"), data_path("uproot-Zmumu.root")


def run(name: str, folder: Path, *arguments: str) -> str:
    """An example from start to end, with `folder` for its pictures; what it prints."""
    command = [sys.executable, str(EXAMPLES / name), *arguments]
    environment = processes.environment(folder) | {"PYTHONWARNINGS": "error"}
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=folder, env=environment, timeout=100, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    said = [line for line in done.stderr.splitlines() if " is waiting: " not in line]  # as on a busy machine it may be
    assert not said, "an example prints no warnings"
    return done.stdout


def mass(px: ak.Array, py: ak.Array, pz: ak.Array, e: ak.Array) -> ak.Array:
    return np.sqrt(np.maximum(e * e - px * px - py * py - pz * pz, 0.0))


def hzz_pairs() -> ak.Array:
    """Mass in GeV and product of charges of each pair of muons of HZZ, event by event."""
    names = ("Px", "Py", "Pz", "E", "Charge")
    events = uproot.open(HZZ)["events"].arrays([f"Muon_{name}" for name in names])
    muons = ak.zip({name: ak.values_astype(events[f"Muon_{name}"], np.float64) for name in names})
    first, second = ak.unzip(ak.combinations(muons, 2))
    total = mass(*(first[name] + second[name] for name in names[:4]))
    return ak.zip({"mass": total, "charge": first.Charge * second.Charge})


def zmumu_pairs() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Mass in GeV and product of charges of the pair of muons of each event of Zmumu."""
    events = uproot.open(ZMUMU)["events"].arrays()
    return mass(*(events[f"{name}1"] + events[f"{name}2"] for name in ("px", "py", "pz", "E"))), events.Q1 * events.Q2


def printed_bins(text: str) -> list[float]:
    """The contents of a histogram as hist prints it, underflow first."""
    return [float(number) for number in re.findall(r"^\[ *-?[\w.]+, *-?[\w.]+\) (\S+) ", text, re.MULTILINE)]


def is_picture(file: Path) -> bool:
    return file.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_dimuon_adds_up_files_of_two_layouts(tmp_path: Path) -> None:
    said = run("dimuon.py", tmp_path, "--png", "dimuon.png")
    assert "jagged: 100% of the events" in said and "flat: 100% of the events" in said
    assert "2,421 of 2,421 entries processed" in said and "2,304 of 2,304 entries processed" in said
    pairs, (masses, charges) = ak.flatten(hzz_pairs()), zmumu_pairs()
    opposite = np.concatenate([ak.to_numpy(pairs.mass[pairs.charge < 0]), ak.to_numpy(masses[charges < 0])])
    expected, _ = np.histogram(opposite, np.linspace(0, 120, 61))
    under, *bins, over = printed_bins(said)
    assert under == 0 and sum(bins) + over == len(opposite)
    assert np.abs(np.array(bins) - expected).sum() <= 2, "32-bit sums may put an event on the other side of an edge"
    assert is_picture(tmp_path / "dimuon.png")


@pytest.fixture
def on_standing_master(standing: processes.Standing) -> list[str]:
    """The arguments of an example that let it run there."""
    return ["--master", str(standing.state / standing.name)]


def test_kernel_and_columnar_agree_with_each_other_and_with_numpy(
    tmp_path: Path, on_standing_master: list[str]
) -> None:
    said = run("kernel_and_columnar.py", tmp_path, "--png", "muons.png", *on_standing_master)
    assert said.endswith("the same in every bin\n")
    pairs = ak.flatten(hzz_pairs())
    opposite = ak.to_numpy(pairs.mass[pairs.charge < 0])
    expected, _ = np.histogram(opposite, np.linspace(0, 120, 61))
    under, *bins, over = printed_bins(said)
    assert under == 0 and bins == expected.tolist() and over == (opposite >= 120).sum()
    assert is_picture(tmp_path / "muons.png")


def test_the_users_own_files_of_one_layout_are_all_that_is_read(tmp_path: Path, on_standing_master: list[str]) -> None:
    own = [shutil.copy(ZMUMU, tmp_path / name) for name in ("a.root", "b.root")]
    said = run("dimuon.py", tmp_path, *on_standing_master, "--flat", *map(str, own))
    assert "4,608 of 4,608 entries processed in 2 of 2 files" in said
    assert "flat: 100% of the events" in said and "jagged" not in said


def test_weights_and_cutflow_count_and_weigh_as_numpy_does(tmp_path: Path, on_standing_master: list[str]) -> None:
    said = run("weights_and_cutflow.py", tmp_path, "--png", "mass.png", *on_standing_master)
    rows = re.findall(r"^(.{24}) +([\d,]+) +([\d.]+)$", said, re.MULTILINE)
    printed = [(name.strip(), int(count.replace(",", "")), float(weight)) for name, count, weight in rows]

    pairs = ak.firsts(hzz_pairs())
    two = ~ak.is_none(pairs)
    opposite = ak.fill_none(pairs.charge < 0, False)
    peak = opposite & ak.fill_none((pairs.mass > 60) & (pairs.mass < 120), False)
    weights = 50.0 * 20_000.0 / 2421 * uproot.open(HZZ)["events"]["EventWeight"].array(library="np")
    masses, charges = zmumu_pairs()
    cuts = {"all events": np.ones(2421, bool), "two muons": two, "opposite charge": opposite, "60 to 120 GeV": peak}
    expected = [(name, int(ak.sum(cut)), float(weights[ak.to_numpy(cut)].sum())) for name, cut in cuts.items()]
    counts = [2304, 2304, int(ak.sum(charges < 0)), int(ak.sum((charges < 0) & (masses > 60) & (masses < 120)))]
    expected += [(name, count, count * 50.0 * 900.0 / 2304) for name, count in zip(cuts, counts, strict=True)]

    assert [row[:2] for row in printed] == [row[:2] for row in expected]
    assert [row[2] for row in printed] == pytest.approx([row[2] for row in expected], abs=0.002)
    assert is_picture(tmp_path / "mass.png")


def test_systematics_are_what_numpy_makes_of_shifted_columns(tmp_path: Path, on_standing_master: list[str]) -> None:
    said = run("systematics.py", tmp_path, "--png", "systematics.png", *on_standing_master)
    events = uproot.open(HZZ)["events"].arrays([f"Muon_{name}" for name in ("Px", "Py", "Pz", "E", "Charge")])
    weights = uproot.open(HZZ)["events"]["EventWeight"].array(library="np").astype(np.float64)
    two = ak.to_numpy(ak.num(events.Muon_Px) >= 2)
    charge = ak.to_numpy(ak.sum(events.Muon_Charge[two][:, :2], axis=1)) == 0

    def window(factor: float) -> NDArray[np.bool_]:
        columns = [
            ak.values_astype(events[f"Muon_{name}"][two] * np.float32(factor), "f8") for name in ("Px", "Py", "Pz", "E")
        ]
        masses = ak.to_numpy(mass(*(column[:, 0] + column[:, 1] for column in columns)))
        passing: NDArray[np.bool_] = (masses >= 60) & (masses < 120) & charge
        return passing

    numbers = ak.to_numpy(ak.num(events.Muon_Px))[two]
    of_two = weights[two]
    expected = {
        "nominal": of_two[window(1)].sum(),
        "scale_up": of_two[window(np.float32(1) + np.float32(0.01))].sum(),
        "scale_down": of_two[window(np.float32(1) - np.float32(0.01))].sum(),
        "luminosity_up": 1.02 * of_two[window(1)].sum(),
        "muons_down": (of_two * (1 - 0.005 * numbers))[window(1)].sum(),
    }
    flow = f"two muons +{int(two.sum()):,} .*\\nopposite charge +{int(charge.sum()):,} "
    assert re.search(flow, said), said
    found = dict(re.findall(r"^(\w+) +([\d.]+) +[+-][\d.]+ %$", said, re.MULTILINE))
    for name, value in expected.items():
        assert float(found[name]) == pytest.approx(value, abs=0.002), name
    assert is_picture(tmp_path / "systematics.png")


def test_toy_monte_carlo_draws_what_numpy_draws(tmp_path: Path, on_standing_master: list[str]) -> None:
    """Cycle by cycle, with a fresh generator for each: a plain loop in one process."""
    said = run("toy_monte_carlo.py", tmp_path, "--experiments", "3000", "--seed", "5", *on_standing_master)
    generators = [
        [np.random.Generator(np.random.Philox(key=5, counter=[0, 0, c, i])) for i in range(3000)] for c in (0, 1)
    ]
    alone, row = (np.array([random.standard_exponential(20).sum() for random in each]) / 20 for each in generators)
    for name, fit in {"one_by_one": alone, "at_once": row}.items():
        pulls = (fit - 1.0) / (fit / np.sqrt(20))
        assert f"{name}: mean {pulls.mean():+.4f}, width {pulls.std():.4f}\n" in said
    pulls = (alone - 1.0) / (alone / np.sqrt(20))
    under, *bins, over = printed_bins(said)
    assert bins == np.histogram(pulls, np.linspace(-5, 5, 41))[0].tolist()
    assert (under, over) == ((pulls < -5).sum(), (pulls >= 5).sum())
    assert f"experiment 0 again: {pulls[0]:+.4f}\n" in said


def test_the_ttbar_analysis_is_the_same_as_a_processor_and_as_a_kernel(
    tmp_path: Path, on_standing_master: list[str]
) -> None:
    """The processor is that of the Analysis Grand Challenge's notebook; `benchmarks.agc` compares all bins, and ROOT's."""
    said = run("agc_ttbar.py", tmp_path, "--events", "3000", *on_standing_master)
    processor, kernel = said.split("kernel:")
    assert processor.removeprefix("processor:") == kernel and kernel.startswith(" 122 histograms")
    contents = [float(number) for number in re.findall(r" ([\d.]+) events$", kernel, re.MULTILINE)]
    assert len(contents) == 10 and sum(contents) > 0


@pytest.mark.parametrize("name", sorted({path.name for path in EXAMPLES.glob("*.py")} - {"figure.py", "samples.py"}))
def test_every_example_explains_itself(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="0"):
        run_here(name, monkeypatch, "--help")
    said = capsys.readouterr().out
    assert "Shows:" in said and f"python {name}" in said


@pytest.mark.parametrize("name", ["dimuon.py", "kernel_and_columnar.py", "systematics.py", "weights_and_cutflow.py"])
def test_an_example_without_its_files_says_what_to_install(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """After `make demo` there is no scikit-hep-testdata."""
    monkeypatch.setitem(sys.modules, "skhep_testdata", None)
    with pytest.raises(SystemExit, match="pip install scikit-hep-testdata"):
        run_here(name, monkeypatch)


def run_here(name: str, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    """An example in this process, which ends before it has connected."""
    monkeypatch.syspath_prepend(EXAMPLES)
    monkeypatch.setattr(sys, "argv", [name, *arguments])
    for beside in ("figure", "samples"):
        monkeypatch.delitem(sys.modules, beside, raising=False)
    runpy.run_path(str(EXAMPLES / name), run_name="__main__")


def test_report_names_the_calls_that_load_what_could_be_made_once(tmp_path: Path) -> None:
    """And the same muons are in both histograms: none is lost over a report."""
    said = run("report.py", tmp_path, "--html", "report")
    slow, quick = said.split("\nquick: done", 1)
    each = re.search(
        r"Each of (\d+) calls of the analysis took about 0\.5\d? s whatever its entries", " ".join(slow.split())
    )
    assert each is not None and f"{each[1]} calls, 0.5 s each" in slow and "0.5 s whatever" not in quick
    muons = len(ak.flatten(uproot.open(HZZ)["events"]["Muon_Px"].array()))
    assert re.findall(r"^\w+: ([\d,]+) muons", said, re.MULTILINE) == [f"{muons:,}"] * 2
    assert all((tmp_path / f"report-{name}.html").read_text().count("<svg") >= 4 for name in ("slow", "quick"))
