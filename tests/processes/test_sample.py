"""The sample of events: the same everywhere, whole or not there, and with the physics that its description promises."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot
from eventmill.cli.sample import ENTRIES_PER_BASKET, INDEX_NAME, TREE, make_events, write_sample
from eventmill.protocol.errors import DatasetError

BRANCHES = [
    "run", "luminosityBlock", "event",
    "nMuon", "Muon_pt", "Muon_eta", "Muon_phi", "Muon_mass", "Muon_charge",
    "nJet", "Jet_pt", "Jet_eta", "Jet_phi", "Jet_mass",
    "MET_pt", "MET_phi",
]  # fmt: skip


def read(paths: list[Path]) -> Any:
    return uproot.concatenate([f"{path}:{TREE}" for path in paths])


@pytest.fixture(scope="module")
def events() -> Any:
    """60,000 events as they are made, without files."""
    return ak.zip(make_events(60_000, np.random.default_rng(7)), depth_limit=1)


def momenta(particles: Any) -> Any:
    pt, eta, phi, mass = (ak.values_astype(particles[name], np.float64) for name in ("pt", "eta", "phi", "mass"))
    px, py, pz = pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)
    return ak.zip({"px": px, "py": py, "pz": pz, "e": np.sqrt(px**2 + py**2 + pz**2 + mass**2)})


def mass_of(*particles: Any) -> Any:
    px, py, pz, e = (sum(particle[name] for particle in particles) for name in ("px", "py", "pz", "e"))
    return np.sqrt(e**2 - px**2 - py**2 - pz**2)


def test_files_hold_all_events_in_nanoaod_branches(tmp_path: Path) -> None:
    """Readers rely on names, types and layout: sixteen branches, one counter an object, baskets of 10,000 entries."""
    paths = write_sample(tmp_path, events=25_001, files=2)
    with uproot.open(paths[1]) as file:
        tree = file[TREE]
        assert tree.keys() == BRANCHES
        assert tree["event"].typename == "uint64_t"
        assert tree["Muon_charge"].typename == "int32_t[]"
        assert tree["MET_pt"].num_baskets == -(-12_501 // ENTRIES_PER_BASKET)
        assert file.file.compression == uproot.ZSTD(5)
    everything = read(paths)
    assert everything.event.tolist() == list(range(1, 25_002))
    assert ak.all(everything.nMuon == ak.num(everything.Muon_pt))
    assert sorted(set(everything.run.tolist())) == [360_000, 360_001]
    assert everything.luminosityBlock[0] == 1


def test_same_seed_same_events(tmp_path: Path) -> None:
    """Two machines that make the sample count the same; another seed gives other events."""
    one, two, other = (write_sample(tmp_path / name, 3000, 2, seed) for name, seed in (("a", 1), ("b", 1), ("c", 2)))
    assert ak.array_equal(read(one), read(two))
    assert not ak.array_equal(read(one).MET_pt, read(other).MET_pt)


def test_complete_files_are_kept_and_others_written_anew(tmp_path: Path) -> None:
    """A second call writes only what is not there, or was made with other parameters."""

    def inodes(paths: list[Path]) -> list[int]:
        return [path.stat().st_ino for path in paths]

    paths = write_sample(tmp_path, 3000, 3)
    first = inodes(paths)
    assert inodes(write_sample(tmp_path, 3000, 3)) == first

    paths[1].unlink()
    again = inodes(write_sample(tmp_path, 3000, 3))
    assert (again[0], again[2]) == (first[0], first[2])
    assert len(read(paths)) == 3000

    write_sample(tmp_path, 3000, 3, seed=2)
    assert ak.array_equal(read(paths), read(write_sample(tmp_path / "fresh", 3000, 3, seed=2)))


def test_broken_off_writing_leaves_no_half_file(tmp_path: Path) -> None:
    """Ctrl-C in the middle of the second file: the first is kept, the second is not there, and no other file either."""
    done: list[int] = []

    def interrupt(events: int) -> None:
        done.append(events)
        if events > 30_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_sample(tmp_path, 50_000, 2, progress=interrupt)
    assert done == [10_000, 20_000, 25_000, 25_000, 35_000]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["events_0.root", INDEX_NAME]
    assert len(read(write_sample(tmp_path, 50_000, 2))) == 50_000


@pytest.mark.parametrize(("events", "files", "seed"), [(0, 1, 1), (3, 4, 1), (10, 0, 1), (10, 1, -1)])
def test_numbers_without_sense_are_refused(tmp_path: Path, events: int, files: int, seed: int) -> None:
    """The message says what to give instead."""
    with pytest.raises(DatasetError, match="at least one event a file"):
        write_sample(tmp_path, events, files, seed)


def test_folder_that_cannot_be_written(tmp_path: Path) -> None:
    """A file in the folder's place: the error names it."""
    (tmp_path / "taken").write_text("")
    with pytest.raises(DatasetError, match="taken"):
        write_sample(tmp_path / "taken", 10, 1)


def test_objects_are_inside_the_detector_and_ordered(events: Any) -> None:
    """Acceptance, order in pt, and charges, as analyses take them for granted."""
    for particles, minimum_pt, maximum_eta in ((events.Muon, 2.9, 2.4), (events.Jet, 4.0, 4.7)):
        assert ak.min(particles.pt) > minimum_pt
        assert ak.max(abs(particles.eta)) <= maximum_eta + 1e-6
        assert ak.max(abs(particles.phi)) <= np.pi + 1e-6
        assert ak.all(particles.pt[:, 1:] <= particles.pt[:, :-1])
    assert set(np.unique(ak.to_numpy(ak.flatten(events.Muon.charge)))) == {-1, 1}


@pytest.mark.parametrize(("mass", "window"), [(3.097, 0.1), (9.46, 0.2), (91.19, 4.0)], ids=["J/psi", "Upsilon", "Z"])
def test_peaks_in_opposite_sign_pairs_only(events: Any, mass: float, window: float) -> None:
    """Three resonances stand over the pairs of the same charge, which are all background."""
    first, second = ak.unzip(ak.combinations(events.Muon, 2))
    near = abs(mass_of(momenta(first), momenta(second)) - mass) < window
    opposite = first.charge != second.charge
    assert ak.sum(near & opposite) > 5 * ak.sum(near & ~opposite)


def test_top_quark_in_jet_triples(events: Any) -> None:
    """Triples at the top quark's mass are more than the falling spectrum of unrelated triples has either side."""
    mass = ak.flatten(mass_of(*ak.unzip(ak.combinations(momenta(events.Jet), 3))))
    low, peak, high = (int(ak.sum(abs(mass - centre) < 5.0)) for centre in (140.0, 172.5, 205.0))
    assert peak > 1.2 * (low + high) / 2
