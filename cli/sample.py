"""A sample of collision events to try things on: NanoAOD-like files with known physics inside.

`eventmill demo` and the benchmarks read these files. Opposite-sign muon pairs show the J/psi, Upsilon and Z peaks over
a falling background; triples of jets show the top quark. Everything follows from the seed: two machines count the same.

The sixteen branches of the tree `Events`, with NanoAOD's names and units (GeV, radians):

    run, luminosityBlock, event                                     one number an event
    nMuon, Muon_pt, Muon_eta, Muon_phi, Muon_mass, Muon_charge      falling in pt
    nJet, Jet_pt, Jet_eta, Jet_phi, Jet_mass                        falling in pt
    MET_pt, MET_phi                                                 one number an event
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import awkward as ak
import numpy as np
import uproot
from numpy.typing import NDArray

from ..protocol.errors import DatasetError

TREE = "Events"
ENTRIES_PER_BASKET = 10_000  # 4 bytes an event in a flat branch: NanoAOD's usual 32 kB baskets, roughly
RECIPE = 1  # raise it whenever the events of a given seed change, so that files of the older kind are written anew
_BEING_WRITTEN = -1  # in the place of a file's size
INDEX_NAME = "sample.json"  # beside the files: with which parameters they were made

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

MUON_MASS = 0.1056583745
MUON_MINIMUM_PT, MUON_MAXIMUM_ETA = 3.0, 2.4
JET_MINIMUM_PT, JET_MAXIMUM_ETA = 15.0, 4.7
MUON_RESOLUTION, JET_RESOLUTION = 0.012, 0.10  # relative, of pt


class Peak(NamedTuple):
    """A resonance that decays to two muons: its mass and width, the share of dimuon events, its mean pt (all GeV)."""

    mass: float
    width: float
    share: float
    mean_pt: float


# Masses and widths: Particle Data Group, Review of Particle Physics 2024. Shares are chosen to make every peak visible.
PEAKS = (
    Peak(3.0969, 0.0000926, 0.15, 14.0),  # J/psi
    Peak(9.4604, 0.0000540, 0.06, 12.0),  # Upsilon(1S)
    Peak(10.0234, 0.0000320, 0.025, 12.0),  # Upsilon(2S)
    Peak(10.3551, 0.0000203, 0.015, 12.0),  # Upsilon(3S)
    Peak(91.1880, 2.4955, 0.30, 20.0),  # Z
)
W_MASS, W_WIDTH = 80.3692, 2.085
TOP_MASS, TOP_WIDTH = 172.57, 1.42
TOP_SHARE, TOP_MEAN_PT = 0.25, 70.0  # share of the events with three jets or more

MUON_MULTIPLICITY = (0.29, 0.40, 0.24, 0.05, 0.02)  # probability of 0, 1, 2, ... muons
JET_MULTIPLICITY = (0.04, 0.13, 0.23, 0.24, 0.17, 0.10, 0.05, 0.03, 0.01)


def write_sample(
    folder: str | os.PathLike[str],
    events: int = 2_000_000,
    files: int = 4,
    seed: int = 1,
    progress: Callable[[int], None] | None = None,
) -> list[Path]:
    """Write NanoAOD-like files of simulated events into `folder` and return their paths, in order of event number.

    The events are shared out evenly over the files. A file that is there already, made with the same parameters, is
    kept; a writing that was broken off leaves no half file behind. An event takes about 90 bytes on disk, and one core
    writes some 400,000 a second.

    `progress`, if given, is called with the number of events done so far, several times a second.

    Raises DatasetError when the folder cannot be written to, holds files of these names that were not written here, or a
    number makes no sense.

    >>> paths = write_sample("sample", events=20_000, files=2)
    >>> [path.name for path in paths]
    ['events_0.root', 'events_1.root']
    """
    if files < 1 or events < files or seed < 0:
        raise DatasetError(
            f"cannot make a sample of {events} events in {files} files with seed {seed}: "
            "give at least one file, at least one event a file, and a seed that is not negative"
        )
    folder = Path(folder).expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return _write_files(folder, events, files, seed, progress)
    except OSError as error:
        raise DatasetError(
            f"cannot write the sample to {folder}: {error}; give a folder with space to write to"
        ) from error


def make_events(count: int, rng: np.random.Generator) -> dict[str, Any]:
    """Make `count` events: numpy arrays (MET_pt, MET_phi) and jagged awkward records (Muon, Jet), for uproot to write.

    >>> sorted(make_events(100, np.random.default_rng(1)))
    ['Jet', 'MET_phi', 'MET_pt', 'Muon']
    """
    muons_per_event, muons = _make_muons(count, rng)
    jets_per_event, jets = _make_jets(count, rng)
    met_pt, met_phi = _make_missing_momentum(muons_per_event, rng)
    return {
        "Muon": _jagged(muons_per_event, muons),
        "Jet": _jagged(jets_per_event, jets),
        "MET_pt": met_pt,
        "MET_phi": met_phi,
    }


# Files


def _write_files(
    folder: Path, events: int, files: int, seed: int, progress: Callable[[int], None] | None
) -> list[Path]:
    index_path = folder / INDEX_NAME
    parameters = {"recipe": RECIPE, "events": events, "files": files, "seed": seed}
    paths = [folder / f"events_{number}.root" for number in range(files)]
    found, complete, others = _read_index(index_path)
    _check_ours(paths, others | complete)
    if found != parameters:
        complete, others = {}, others | complete
    done = 0
    for number, path in enumerate(paths):
        first, stop = events * number // files, events * (number + 1) // files
        if not (path.is_file() and path.stat().st_size == complete.get(path.name)):
            complete[path.name] = _BEING_WRITTEN
            _replace(index_path, _index(parameters, complete, others))
            for written in _write_file(path, number, first, stop, seed):
                if progress:
                    progress(done + written)
            complete[path.name] = path.stat().st_size
            others.pop(path.name, None)
            _replace(index_path, _index(parameters, complete, others))
        done += stop - first
        if progress:
            progress(done)
    return paths


def _index(parameters: dict[str, int], complete: dict[str, int], others: dict[str, int]) -> str:
    return json.dumps({"parameters": parameters, "bytes": complete, "others": others}, indent=1)


def _read_index(index_path: Path) -> tuple[dict[str, int], dict[str, int], dict[str, int]]:
    """With which parameters files were written here, name and size in bytes of each, and those of what was written before
    with others and is still there.

    Raises:
        DatasetError: there is a file of this name that is no index of ours.
    """
    try:
        index = json.loads(index_path.read_text())
        return dict(index["parameters"]), dict(index["bytes"]), dict(index.get("others", {}))
    except FileNotFoundError:
        return {}, {}, {}
    except (ValueError, KeyError, TypeError):
        raise DatasetError(
            f"{index_path} is no index of a sample, and it would be written over: give another folder"
        ) from None


def _check_ours(paths: Sequence[Path], written: dict[str, int]) -> None:
    """Raise `DatasetError` if a file is there that was not written here: it is the user's, and stays as it is."""
    for path in paths:
        if os.path.lexists(path) and written.get(path.name) not in (_BEING_WRITTEN, path.lstat().st_size):
            raise DatasetError(
                f"{path} is not as it was written for a sample, or never was, and it would be written over: "
                "move it away, or give another folder"
            )


def _write_file(path: Path, number: int, first: int, stop: int, seed: int) -> Iterator[int]:
    """Write events `[first, stop)`; yields how many are written. The file takes its name when it is whole."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with uproot.recreate(partial, compression=uproot.ZSTD(5)) as file:
            tree: Any = None
            for start in range(first, stop, ENTRIES_PER_BASKET):
                count = min(ENTRIES_PER_BASKET, stop - start)
                columns = {
                    **_make_ids(number, first, start, count),
                    **make_events(count, np.random.default_rng((seed, number, start - first))),
                }
                if tree is None:
                    types = {name: _branch_type(column) for name, column in columns.items()}
                    baskets = -(-(stop - first) // ENTRIES_PER_BASKET)
                    tree = file.mktree(TREE, types, initial_basket_capacity=baskets)
                tree.extend(columns)
                yield start + count - first
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _branch_type(column: Any) -> Any:
    return column.dtype if isinstance(column, np.ndarray) else column.type.content


def _replace(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    partial.write_text(text)
    partial.replace(path)


def _make_ids(number: int, first: int, start: int, count: int) -> dict[str, NDArray[Any]]:
    """Every file is a run; a luminosity block has 500 events; event numbers count through the whole sample."""
    event = np.arange(start, start + count, dtype=np.uint64)
    return {
        "run": np.full(count, 360_000 + number, np.uint32),
        "luminosityBlock": ((event - np.uint64(first)) // np.uint64(500) + np.uint64(1)).astype(np.uint32),
        "event": event + np.uint64(1),
    }


# Particles. Momenta are arrays of shape (4, n): px, py, pz, E in GeV. Objects have shape (n,), event after event.


def _make_muons(count: int, rng: np.random.Generator) -> tuple[Integers, dict[str, NDArray[Any]]]:
    """Muons of `count` events: how many each event has, and their columns. Pairs from `PEAKS` are among them."""
    per_event = rng.choice(len(MUON_MULTIPLICITY), size=count, p=MUON_MULTIPLICITY)
    total = int(per_event.sum())
    pt = MUON_MINIMUM_PT + rng.exponential(9.0, total)
    eta = rng.uniform(-MUON_MAXIMUM_ETA, MUON_MAXIMUM_ETA, total)
    phi = rng.uniform(-np.pi, np.pi, total)
    charge = rng.choice(np.array([-1, 1], np.int32), total)

    first = np.cumsum(per_event) - per_event
    pairs = first[per_event >= 2]
    kind = np.searchsorted(np.cumsum([peak.share for peak in PEAKS]), rng.random(len(pairs)), side="right")
    for number, peak in enumerate(PEAKS):
        slots = pairs[kind == number]
        legs = _decay_to_muons(peak, len(slots), rng)
        seen = np.all([(leg[0] > MUON_MINIMUM_PT) & (abs(leg[1]) < MUON_MAXIMUM_ETA) for leg in legs], axis=0)
        for position, leg in enumerate(legs):
            for column, values in zip((pt, eta, phi), leg, strict=True):
                column[slots[seen] + position] = values[seen]
        charge[slots[seen] + 1] = -charge[slots[seen]]

    columns = {"pt": pt, "eta": eta, "phi": phi, "mass": np.full(total, MUON_MASS), "charge": charge}
    return per_event, _ordered(per_event, columns)


def _make_jets(count: int, rng: np.random.Generator) -> tuple[Integers, dict[str, NDArray[Any]]]:
    """Jets of `count` events: how many each event has, and their columns. Some of the events hold a t -> b q q'."""
    per_event = rng.choice(len(JET_MULTIPLICITY), size=count, p=JET_MULTIPLICITY)
    total = int(per_event.sum())
    pt = JET_MINIMUM_PT * (1.0 - rng.random(total)) ** (-1.0 / 3.5)  # falls like pt^-4.5
    eta = rng.triangular(-JET_MAXIMUM_ETA, 0.0, JET_MAXIMUM_ETA, total)
    phi = rng.uniform(-np.pi, np.pi, total)
    mass = pt * rng.uniform(0.05, 0.20, total)

    first = np.cumsum(per_event) - per_event
    triples = first[per_event >= 3]
    slots = triples[rng.random(len(triples)) < TOP_SHARE]
    quarks = _decay_top(len(slots), rng)
    seen = np.all([(jet[0] > JET_MINIMUM_PT) & (abs(jet[1]) < JET_MAXIMUM_ETA) for jet in quarks], axis=0)
    for position, jet in enumerate(quarks):
        for column, values in zip((pt, eta, phi, mass), jet, strict=True):
            column[slots[seen] + position] = values[seen]

    return per_event, _ordered(per_event, {"pt": pt, "eta": eta, "phi": phi, "mass": mass})


def _make_missing_momentum(
    muons_per_event: Integers, rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """pt and phi of the missing momentum: resolution, and a neutrino in 60 % of the events with a single muon."""
    count = len(muons_per_event)
    x, y = rng.normal(0.0, 16.0, (2, count))
    neutrino = np.where((muons_per_event == 1) & (rng.random(count) < 0.6), rng.gamma(4.0, 9.0, count), 0.0)
    direction = rng.uniform(-np.pi, np.pi, count)
    x += neutrino * np.cos(direction)
    y += neutrino * np.sin(direction)
    return np.hypot(x, y).astype(np.float32), np.arctan2(y, x).astype(np.float32)


def _decay_to_muons(peak: Peak, count: int, rng: np.random.Generator) -> list[tuple[Floats, Floats, Floats]]:
    """pt, eta and phi of the two muons of `count` resonances, as a detector measures them."""
    mass = _breit_wigner(peak.mass, peak.width, 15.0 * peak.width, count, rng)
    resonance = _produce(mass, peak.mean_pt, count, rng)
    legs = []
    for momentum in _decay(resonance, mass, np.full(count, MUON_MASS), np.full(count, MUON_MASS), rng):
        pt, eta, phi = _cylindrical(momentum)
        legs.append((pt * rng.normal(1.0, MUON_RESOLUTION, count), eta, phi))
    return legs


def _decay_top(count: int, rng: np.random.Generator) -> list[tuple[Floats, Floats, Floats, Floats]]:
    """pt, eta, phi and mass of the jets of b, q and q' of `count` top quarks, as a detector measures them."""
    top_mass = _breit_wigner(TOP_MASS, TOP_WIDTH, 20.0, count, rng)
    w_mass = _breit_wigner(W_MASS, W_WIDTH, 20.0, count, rng)
    masses = rng.uniform(4.0, 12.0, (3, count))
    b, w = _decay(_produce(top_mass, TOP_MEAN_PT, count, rng), top_mass, masses[0], w_mass, rng)
    q, q_bar = _decay(w, w_mass, masses[1], masses[2], rng)
    jets = []
    for momentum, mass in zip((b, q, q_bar), masses, strict=True):
        scale = np.maximum(rng.normal(1.0, JET_RESOLUTION, count), 0.2)
        pt, eta, phi = _cylindrical(momentum)
        jets.append((pt * scale, eta, phi, mass * scale))
    return jets


# Kinematics


def _breit_wigner(mass: float, width: float, reach: float, count: int, rng: np.random.Generator) -> Floats:
    """Masses spread by a (non-relativistic) Breit-Wigner curve, cut off at `reach` GeV either side."""
    limit = np.arctan(2.0 * reach / width)
    return mass + 0.5 * width * np.tan(rng.uniform(-limit, limit, count))


def _produce(mass: Floats, mean_pt: float, count: int, rng: np.random.Generator) -> Floats:
    """Momenta (4, n) of particles made in a collision: falling in pt, central in rapidity, flat in phi."""
    pt = rng.gamma(2.0, 0.5 * mean_pt, count)
    rapidity = rng.normal(0.0, 1.1, count)
    phi = rng.uniform(-np.pi, np.pi, count)
    transverse_mass = np.hypot(mass, pt)
    return np.stack(
        [pt * np.cos(phi), pt * np.sin(phi), transverse_mass * np.sinh(rapidity), transverse_mass * np.cosh(rapidity)]
    )


def _decay(
    parent: Floats, mass: Floats, mass_1: Floats, mass_2: Floats, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """Isotropic decay of `parent` (4, n) of mass `mass` into two particles: their momenta (4, n).

    Momentum in the rest frame: Particle Data Group, Review of Particle Physics 2024, "Kinematics", two-body decays.
    """
    p = np.sqrt((mass**2 - (mass_1 + mass_2) ** 2) * (mass**2 - (mass_1 - mass_2) ** 2)) / (2.0 * mass)
    cos_theta = rng.uniform(-1.0, 1.0, len(mass))
    sin_theta = np.sqrt(1.0 - cos_theta**2)
    phi = rng.uniform(-np.pi, np.pi, len(mass))
    momentum = p * np.stack([sin_theta * np.cos(phi), sin_theta * np.sin(phi), cos_theta])
    first = np.concatenate([momentum, np.hypot(p, mass_1)[np.newaxis]])
    second = np.concatenate([-momentum, np.hypot(p, mass_2)[np.newaxis]])
    return _boost(first, parent, mass), _boost(second, parent, mass)


def _boost(momentum: Floats, frame: Floats, mass: Floats) -> Floats:
    """`momentum` (4, n) from the rest frame of a particle with momentum `frame` and `mass` to the laboratory."""
    along = (momentum[:3] * frame[:3]).sum(axis=0)
    energy = (frame[3] * momentum[3] + along) / mass
    return np.concatenate([momentum[:3] + frame[:3] * (momentum[3] + energy) / (frame[3] + mass), energy[np.newaxis]])


def _cylindrical(momentum: Floats) -> tuple[Floats, Floats, Floats]:
    """pt, eta and phi of momenta (4, n)."""
    px, py, pz, _ = momentum
    pt = np.hypot(px, py)
    return pt, np.arcsinh(pz / pt), np.arctan2(py, px)


# Columns


def _ordered(per_event: Integers, columns: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """The columns of objects with each event's objects falling in pt, in the types that NanoAOD stores."""
    event = np.repeat(np.arange(len(per_event)), per_event)
    order = np.lexsort((-columns["pt"], event))
    return {
        name: values[order].astype(np.int32 if name == "charge" else np.float32) for name, values in columns.items()
    }


def _jagged(per_event: Integers, columns: dict[str, NDArray[Any]]) -> ak.Array:
    """One array of records, jagged over events: uproot writes it as a counter and one branch a column."""
    return ak.unflatten(ak.zip(columns), per_event)
