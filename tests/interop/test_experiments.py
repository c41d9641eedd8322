"""docs/experiments.md: the first analysis of a member of each experiment runs as it is written there, and its numbers are
those of uproot and numpy alone, event by event.

Kernels compute in 64 bits, columnar functions in the types of the file: so does what they are compared with.

What takes time is compiling the kernels, a second or two each. By default there is one section of each way to read:
NanoAOD's collections, AO2D's joined series of trees, records in RNTuples, interpretations of the user's, plain columns, old
blocks, old trees. Of the others (marker `interop`) the code is run as far as the session, and what is read in them has tests
by itself: links (`test_links`), split objects (`test_split_trees`), members that are arrays (`test_array_members`).
"""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock, create_autospec

import awkward as ak
import eventmill as em
import numpy as np
import pytest
import skhep_testdata
import uproot
from eventmill.analysis.analysis import Kernel
from numpy.typing import NDArray

from benchmarks.coffea_samples import samples_folder

ROOT = Path(__file__).parents[2]
WRITTEN = ROOT / "tests" / "data" / "experiments"
TEXT = (ROOT / "docs" / "experiments.md").read_text()
SECTIONS = {part.partition("\n")[0]: part for part in TEXT.split("\n## ")[1:]}
OF_COFFEA = ("nano_dimuon", "PHYSLITE_example", "delphes", "test_FCC_Winter2023", "pduneana")

Ran = Callable[[str], dict[str, Any]]


def run(title: str, folder: Path) -> dict[str, Any]:
    """Runs the code of a section, after that before all sections; returns its variables."""
    variables: dict[str, Any] = {"__name__": "__main__"}
    for number, block in enumerate(code(TEXT.partition("\n## ")[0]) + code(SECTIONS[title])):
        script = folder / f"block{number}.py"
        script.write_text(block)
        exec(compile(block, str(script), "exec"), variables)
    return variables


@pytest.fixture
def ran(session: em.Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ran:
    """Runs the code of a section in a folder with the files; returns its variables."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(em, "connect", lambda: session)

    def with_files(title: str) -> dict[str, Any]:
        for path in set(re.findall(r'"([\w-]+\.root)"', SECTIONS[title])):
            Path(path).symlink_to(real_file(path))
        return run(title, tmp_path)

    return with_files


def code(text: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)


def real_file(name: str) -> Path:
    """Where a file is; a skip where it is one of coffea's and `make samples` has not been run."""
    if (WRITTEN / name).exists():
        return WRITTEN / name
    if name.removesuffix(".root") not in OF_COFFEA:
        return Path(skhep_testdata.data_path(name))
    if not samples_folder().is_dir():
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("there are no files of coffea: make samples")
    return samples_folder() / name


def columns(path: str | Path, tree: str, *names: str) -> Iterator[tuple[Any, ...]]:
    """Each entry's values of some branches, as uproot reads them, with numpy's types."""
    with uproot.open(real_file(path) if isinstance(path, str) else path) as file:
        arrays = file[tree].arrays(list(names), library="np")
    return zip(*(arrays[name] for name in names), strict=True)


def binned(values: Sequence[Any], bins: int, low: float, high: float) -> NDArray[Any]:
    """What a histogram with this axis is to have, without what is below and above it."""
    return np.histogram(np.asarray(values, np.float64), bins, (low, high))[0]


def pair_mass(*numbers: Any) -> Any:
    pt1, eta1, phi1, pt2, eta2, phi2 = numbers
    return np.sqrt(2 * pt1 * pt2 * (np.cosh(eta1 - eta2) - np.cos(phi1 - phi2)))


def pairs(*lists: Any) -> Iterator[tuple[tuple[Any, ...], tuple[Any, ...]]]:
    """Each two of the things whose properties these lists have."""
    things = list(zip(*lists, strict=True))
    return ((one, two) for i, one in enumerate(things) for two in things[i + 1 :])


def both_have(variables: dict[str, Any], name: str, expected: NDArray[Any]) -> None:
    """A histogram, or an array, of the kernel and of the columnar function."""
    assert expected.sum() > 0, "there is something to compare"
    for result in (variables["in_kernel"], variables["in_columns"]):
        found = result[name] if isinstance(result[name], np.ndarray) else result[name].values()
        assert np.array_equal(found, expected), name


def test_all_sections_are_looked_at_here() -> None:
    """Each has a test that names it, and is on one screen."""
    tested = set(re.findall(r'ran\("([^"]+)"\)', Path(__file__).read_text()))
    assert set(SECTIONS) == tested
    assert all(len(code(section)) >= 2 for section in SECTIONS.values())


@pytest.mark.parametrize("title", SECTIONS)
def test_sections_say_what_they_want_in_words_of_today(
    title: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Datasets, kernels, histograms and calls of the session, though nothing is read."""
    session = create_autospec(em.Session, instance=True)
    session.process.return_value = MagicMock()
    monkeypatch.setattr(em, "connect", lambda: session)
    run(title, tmp_path)
    asked = [call.args for call in session.process.call_args_list]
    assert all(isinstance(data, em.Dataset) for data, _ in asked)
    kernels = [analysis for _, analysis in asked if isinstance(analysis, Kernel)]
    assert 0 < len(kernels) < len(asked), "each way to write it"


def test_cms_nanoaod(ran: Ran) -> None:
    variables = ran("CMS NanoAOD")
    trigger = "HLT_Mu17_TrkIsoVVL_Mu8_TrkIsoVVL_DZ_Mass8"
    names = (trigger, "Muon_pt", "Muon_eta", "Muon_phi", "Muon_charge", "Muon_mediumId")
    masses, cutflow = [], np.zeros(2, np.int64)
    for fired, *muons in columns("nano_dimuon.root", "Events", *names):
        cutflow += [1, fired]
        for (*one, charge, good), (*two, other, also_good) in pairs(*muons) if fired else ():
            if good and also_good and charge != other:
                masses.append(pair_mass(*map(float, [*one, *two])))
    both_have(variables, "mass", binned(masses, 30, 0, 150))
    both_have(variables, "cutflow", cutflow)


@pytest.mark.interop
def test_atlas_physlite(ran: Ran) -> None:
    variables = ran("ATLAS PHYSLITE")
    names = [f"AnalysisElectronsAuxDyn.{name}" for name in ("pt", "eta", "phi", "charge", "DFCommonElectronsLHLoose")]
    masses, jets = [], []
    for *electrons, jet_pt in columns("PHYSLITE_example.root", "CollectionTree", *names, "AnalysisJetsAuxDyn.pt"):
        for (*one, charge, good), (*two, other, also_good) in pairs(*electrons):
            if good and also_good and charge != other:
                masses.append(pair_mass(*map(float, [*one, *two])) / 1000)
        jets += [pt / 1000 for pt in map(float, jet_pt) if pt > 20_000]
    both_have(variables, "mass", binned(masses, 30, 0, 150))
    both_have(variables, "jets", binned(jets, 40, 0, 400))

    found = []
    with uproot.open(real_file("PHYSLITE_example.root")) as file:
        names = ("trackParticleLinks", "DFCommonElectronsLHLoose")
        branches = [*(f"AnalysisElectronsAuxDyn.{name}" for name in names), "GSFTrackParticlesAuxDyn.d0"]
        arrays = file["CollectionTree"].arrays(branches).to_list()
    for event in arrays:
        tracks, loose, impact = (event[name] for name in branches)
        for links, good in zip(tracks, loose, strict=True):
            if good and links and links[0]["m_persKey"] == 776133387:
                found.append(impact[links[0]["m_persIndex"]])
    assert len(found) > 50 and np.array_equal(variables["d0"].values(), binned(found, 40, -0.1, 0.1))


@pytest.mark.interop
def test_atlas_open_data(ran: Ran) -> None:
    variables = ran("ATLAS Open Data")
    leptons = [f"lep_{name}" for name in ("pt", "eta", "phi", "charge", "type", "isTightID")]
    weights = ["mcWeight", *(f"scaleFactor_{name}" for name in ("PILEUP", "ELE", "MUON"))]
    found = []
    for electron, muon, number, *rest in columns(
        "atlas_open_data.root", "mini", "trigE", "trigM", "lep_n", *leptons, *weights
    ):
        if not (electron or muon) or number != 2:
            continue
        [((*one, charge, kind, tight), (*two, other, other_kind, also_tight))] = pairs(*rest[:6])
        if charge != other and kind == other_kind and tight and also_tight and min(one[0], two[0]) > 10_000:
            found.append((pair_mass(*map(float, [*one, *two])) / 1000, np.prod(np.asarray(rest[6:], np.float64))))
    masses, weight = np.array(found).T
    assert len(masses) > 100
    expected, _ = np.histogram(masses, 40, (60, 120), weights=weight)
    squares, _ = np.histogram(masses, 40, (60, 120), weights=weight**2)
    for result, precision in ((variables["in_kernel"], 1e-12), (variables["in_columns"], 1e-6)):
        assert np.allclose(result["mass"].values(), expected, rtol=precision, atol=0)
        assert np.allclose(result["mass"].variances(), squares, rtol=precision, atol=0)


@pytest.mark.interop
def test_lhcb(ran: Ran) -> None:
    variables = ran("LHCb")
    cuts = ("B_L0MuonDecision_TOS", "B_IPCHI2_OWNPV", "B_PT", "Kplus_ProbNNk", "B_M", "B_DTF_M")
    momenta = [f"{muon}_P{axis}" for axis in "EXYZ" for muon in ("muplus", "muminus")]
    mass, refitted, dimuon = [], [], []
    for triggered, impact, pt, kaon, its, refits, *p in columns(
        "lhcb_decay_tree.root", "B2JpsiKTuple/DecayTree", *cuts, *momenta
    ):
        if triggered and impact <= 9 and pt >= 1000 and kaon >= 0.2:
            energy, x, y, z = (one + other for one, other in zip(p[::2], p[1::2], strict=True))
            mass.append(its)
            refitted.append(refits[0])
            dimuon.append(np.sqrt(energy**2 - (x**2 + y**2 + z**2)))
    both_have(variables, "mass", binned(mass, 60, 5150, 5450))
    both_have(variables, "refitted", binned(refitted, 60, 5150, 5450))
    both_have(variables, "dimuon", binned(dimuon, 50, 3000, 3200))


def test_alice_ao2d(ran: Ran) -> None:
    variables = ran("ALICE, Run 3: AO2D")
    transverse, momenta, signals, positions = [], [], [], []
    with uproot.open(WRITTEN / "AO2D.root") as file:
        folders = [key for key in file.keys(cycle=False) if key.endswith("/O2track_iu")]
    assert len(folders) == 3
    for folder in folders:
        extra = folder.replace("O2track_iu", "O2trackextra_001")
        tracks = columns("AO2D.root", folder, "fIndexCollisions", "fSigned1Pt", "fTgl")
        more = columns("AO2D.root", extra, "fTPCNClsFindable", "fTPCSignal")
        for (collision, inverse, slope), (clusters, signal) in zip(tracks, more, strict=True):
            if collision >= 0 and clusters >= 80:
                transverse.append(1 / abs(float(inverse)))
                momenta.append(transverse[-1] * np.sqrt(1 + float(slope) ** 2))
                signals.append(signal)
        collisions = list(columns("AO2D.root", folder.replace("O2track_iu", "O2collision_001"), "fPosZ", "fNumContrib"))
        rows = [collision for (collision,) in columns("AO2D.root", folder, "fIndexCollisions")]
        assert -1 in rows
        positions += [collisions[row][0] for row in rows if row >= 0 and collisions[row][1] >= 2]
    both_have(variables, "pt", binned(transverse, 50, 0, 5))
    both_have(variables, "signal", np.histogram2d(momenta, signals, (20, 50), ((0, 5), (0, 120)))[0])
    for name in ("z_in_kernel", "z_in_columns"):
        assert np.array_equal(variables[name].values(), binned(positions, 40, -20, 20)) and len(positions) > 100


@pytest.mark.interop
def test_alice_esd(ran: Ran) -> None:
    variables = ran("ALICE, Runs 1 and 2: ESD")
    vertex = [f"PrimaryVertex.AliVertex.{name}" for name in ("fPosition[3]", "fNContributors")]
    z, pt = [], []
    for position, contributors, parameters, clusters in columns(
        "AliESDs.root", "esdTree", *vertex, "Tracks.fP[5]", "Tracks.fTPCncls"
    ):
        if contributors >= 1 and abs(position[2]) <= 10:
            z.append(position[2])
            pt += [1 / abs(float(own[4])) for own, number in zip(parameters, clusters, strict=True) if number >= 70]
    both_have(variables, "z", binned(z, 40, -20, 20))
    both_have(variables, "pt", binned(pt, 50, 0, 5))

    lambdas: list[float] = []
    names = [f"V0s.{name}" for name in ("fV0pt", "fV0CosPA", "fInvMass[2]")]
    for v0s in columns("uproot-issue187.root", "fTreeV0", *names):
        lambdas += [mass[1] for pt, cosine, mass in zip(*v0s, strict=True) if pt > 1 and cosine > 0.99]
    expected = binned(lambdas, 50, 1.08, 1.2)
    assert expected.sum() > 500
    assert np.array_equal(variables["lambdas_in_kernel"].values(), expected)
    assert np.array_equal(variables["lambdas_in_columns"].values(), expected)


def test_belle_2(ran: Ran) -> None:
    variables = ran("Belle II")
    names = ("Mbc", "deltaE", "R2", "Kp_kaonID", "isSignal", "extraInfo__boFBDT_rank__bc")
    masses, differences, simulated = [], [], np.zeros(2, np.int64)
    for mass, difference, ratio, kaon, signal, rank in columns("belle2_ntuple.root", "Bp", *names):
        if rank != 1 or ratio > 0.4 or kaon < 0.5:
            continue
        if abs(difference) < 0.05:
            masses.append(mass)
            if not np.isnan(signal):
                simulated[int(signal)] += 1
        if mass > 5.27:
            differences.append(difference)
    both_have(variables, "beam_mass", binned(masses, 45, 5.2, 5.29))
    both_have(variables, "difference", binned(differences, 40, -0.2, 0.2))
    both_have(variables, "simulated", simulated)


def recoil_masses(events: Iterator[tuple[Any, ...]]) -> NDArray[Any]:
    """Of the indices of muons, and charge, energy and momentum of all particles."""
    found = []
    for muons, charge, *fourvectors in events:
        for i in muons:
            for j in muons:
                if charge[i] > 0 and charge[j] < 0:
                    energy, *momentum = (float(own[i]) + float(own[j]) for own in fourvectors)
                    found.append(np.sqrt(max((240 - energy) ** 2 - sum(p**2 for p in momentum), 0)))
    return binned(found, 50, 0, 250)


@pytest.mark.interop
def test_fcc_in_trees(ran: Ran) -> None:
    variables = ran("FCC: EDM4hep in TTrees")
    members = [
        f"ReconstructedParticles.{name}" for name in ("charge", "energy", *(f"momentum.{axis}" for axis in "xyz"))
    ]
    events = columns("test_FCC_Winter2023.root", "events", "Muon#0.index", *members)
    both_have(variables, "recoil", recoil_masses(events))


def test_fcc_in_rntuples(ran: Ran) -> None:
    """Of RNTuples, uproot reads the records as a whole."""
    variables = ran("FCC: EDM4hep in RNTuples")
    with uproot.open(WRITTEN / "edm4hep_rntuple.root") as file:
        events = file["events"].arrays(["ReconstructedParticles", "Muon_objIdx"]).to_list()
    own = (
        (
            [muon["index"] for muon in event["Muon_objIdx"]],
            *([particle[name] for particle in event["ReconstructedParticles"]] for name in ("charge", "energy")),
            *([particle["momentum"][axis] for particle in event["ReconstructedParticles"]] for axis in "xyz"),
        )
        for event in events
    )
    both_have(variables, "recoil", recoil_masses(own))


@pytest.mark.interop
def test_delphes(ran: Ran) -> None:
    variables = ran("Delphes")
    names = ("Jet.PT", "Jet.Eta", "Jet.BTag", "MissingET.MET")
    sums, missing, tagged = [], [], np.zeros(5, np.int64)
    for pt, eta, tag, met in columns("delphes.root", "Delphes", *names):
        good = (pt > 30) & (abs(eta) < 2.5)
        sums.append(pt[good].astype(np.float64).sum())
        missing.append(met[0])
        tagged[min((tag[good] & 1).sum(), 4)] += 1
    both_have(variables, "scalar_sum", binned(sums, 50, 0, 2000))
    both_have(variables, "missing", binned(missing, 40, 0, 400))
    both_have(variables, "tagged", tagged)


@pytest.mark.interop
def test_dune(ran: Ran) -> None:
    variables = ran("DUNE")
    names = ("Chi2_proton", "Chi2_ndof", "resRange_SCE", "calibrated_dEdX_SCE")
    ranges: list[float] = []
    losses: list[float] = []
    for tracks in columns("pduneana.root", "pduneana/beamana", *(f"reco_daughter_allTrack_{name}" for name in names)):
        for squares, ndof, distance, loss in zip(*tracks, strict=True):
            if ndof > 0 and squares / ndof > 80:
                ranges += list(distance)
                losses += list(loss)
    both_have(variables, "loss", np.histogram2d(ranges, losses, (26, 30), ((0, 26), (0, 30)))[0])


def test_km3net(ran: Ran) -> None:
    variables = ran("KM3NeT")
    names = ("trks.dir.z", "mc_trks.E", "hits.tot", "hits.trig")
    zenith, energy, thresholds = [], [], []
    for direction, simulated, tot, triggered in columns("uproot-issue431.root", "E", *names):
        zenith += list(-direction[:1])
        energy += list(np.log10(simulated[:1]))
        thresholds += list(tot[triggered > 0])
    both_have(variables, "zenith", binned(zenith, 20, -1, 1))
    both_have(variables, "energy", binned(energy, 40, 0, 8))
    both_have(variables, "thresholds", binned(thresholds, 64, 0, 256))
    with uproot.open(real_file("uproot-issue434.root")) as file:
        tots = ak.flatten(file["KM3NET_EVENT"]["snapshotHits"].array(variables["hits"]).tot)
    for name in ("tots_in_kernel", "tots_in_columns"):
        assert np.array_equal(variables[name].values(), binned(tots, 64, 0, 256)) and len(tots) > 100


def as_written_today(content: bytes) -> bytes:
    """A file whose old blocks, which uproot does not know, are zlib's: the opposite of what wrote it."""
    changed = bytearray(content)
    for found in re.finditer(rb"CS\x08", content):
        start = found.start() + 9
        stop = start + int.from_bytes(content[start - 6 : start - 3], "little")
        deflated = content[start + 6 : stop]
        plain = zlib.decompress(deflated, wbits=-15)
        changed[found.start() : stop] = (
            b"ZL\x08" + content[start - 6 : start] + b"\x78\x01" + deflated + zlib.adler32(plain).to_bytes(4, "big")
        )
    return bytes(changed)


def test_babar(ran: Ran, tmp_path: Path) -> None:
    variables = ran("BaBar")
    today = tmp_path / "today.root"
    today.write_bytes(as_written_today((WRITTEN / "babar_ntp1.root").read_bytes()))
    names = ("R2All", "DstarMass", "Dstarp3CM", "Dstard2Idx", "D0Mass")
    differences = []
    for ratio, mass, momentum, daughter, d0 in columns(today, "ntp1", *names):
        if ratio <= 0.6:
            differences += [float(m) - float(d0[i]) for m, p, i in zip(mass, momentum, daughter, strict=True) if p > 2]
    exact = binned(differences, 50, 0.139, 0.164)
    assert exact.sum() > 100 and np.array_equal(variables["in_kernel"]["difference"].values(), exact)
    assert abs(variables["in_columns"]["difference"].values() - exact).sum() <= 8, "differences in 32 bits"


def test_old_files(ran: Ran) -> None:
    variables = ran("Old ROOT files")
    numbers, deposits = (
        np.array(own) for own in zip(*columns("uproot-from-geant4.root", "HitStrips", "Event", "Energy"), strict=True)
    )
    both_have(variables, "strips", binned(deposits, 50, 0, 15))
    energies = np.bincount(numbers, weights=deposits.astype(np.float64), minlength=1000)
    for result in (variables["in_kernel"], variables["in_columns"]):
        assert result["energies"].shape == (1000,) and np.allclose(result["energies"], energies, rtol=1e-12, atol=0)
