"""Real NanoAOD, copied until it is large: hundreds of branches of which an analysis reads twenty."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import awkward as ak
import numpy as np
import uproot

from .coffea_samples import coffea_samples
from .systems import TREE

ORIGINAL = "nano_dy.root"
"""40 simulated Drell-Yan events of CMS as CMS wrote them: 1,499 branches."""
ENTRIES_PER_BASKET = 25_000
SMEARED = ("Muon", "Electron", "Jet", "MET")
"""Collections whose kinematics differ from copy to copy: otherwise they would compress to next to nothing."""
SPREAD = 0.05
KEPT_BITS = 10
"""Of the 23 bits of a mantissa: NanoAOD's own precision, without which they would not compress at all."""


def write_nanoaod(folder: Path, events: int, files: int) -> list[Path]:
    """Write NanoAOD of this many events in files of the same size, or leave those that are there; returns their paths.

    Each event is one of the original's, drawn by lot, with momenta and angles of what is read smeared by 5 %. A million
    take some 700 MB, and two minutes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"nanoaod_{number}.root" for number in range(files)]
    if not all(path.is_file() for path in paths):
        columns = _columns(coffea_samples() / ORIGINAL)
        for number, path in enumerate(paths):
            _write(path, columns, events * (number + 1) // files - events * number // files, number)
    return paths


def _columns(original: Path) -> dict[str, ak.Array]:
    """The original's events: an array a collection, with a record an object, and one for each other branch."""
    with uproot.open(original) as file:
        tree = file[TREE]
        arrays = dict(zip(tree.keys(), tree.arrays(how=tuple), strict=True))
        counters = {name: tree[name].count_branch for name in arrays}
    counting = {counter.name for counter in counters.values() if counter is not None}
    collections: dict[str, dict[str, ak.Array]] = {}
    columns: dict[str, ak.Array] = {}
    for name, array in arrays.items():
        collection, _, field = name.partition("_")
        if counters[name] is not None and counters[name].name == f"n{collection}" and field:
            collections.setdefault(collection, {})[field] = array
        elif name not in counting:  # what counts the objects of a collection is written with that
            columns[name] = array
    return {**{name: ak.zip(fields, depth_limit=2) for name, fields in collections.items()}, **columns}


def _write(path: Path, columns: dict[str, ak.Array], events: int, seed: int) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with uproot.recreate(partial, compression=uproot.ZSTD(1)) as file:
            types = {name: str(array.type.content) for name, array in columns.items()}
            tree = file.mktree(TREE, types, initial_basket_capacity=-(-events // ENTRIES_PER_BASKET))
            for arrays in _copies(columns, events, np.random.default_rng(seed)):
                tree.extend(arrays)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _copies(columns: dict[str, ak.Array], events: int, rng: np.random.Generator) -> Iterator[dict[str, ak.Array]]:
    """A basket's events at a time."""
    originals = len(next(iter(columns.values())))
    for start in range(0, events, ENTRIES_PER_BASKET):
        drawn = rng.integers(0, originals, min(ENTRIES_PER_BASKET, events - start))
        copies = {name: array[drawn] for name, array in columns.items()}
        for name in copies:
            if name in SMEARED:
                for field in ("pt", "eta", "phi", "mass"):
                    copies[name] = ak.with_field(copies[name], _smeared(copies[name][field], rng), field)
            elif name.partition("_")[0] in SMEARED and name.endswith("_pt"):
                copies[name] = _smeared(copies[name], rng)
        yield copies


def _smeared(array: ak.Array, rng: np.random.Generator) -> ak.Array:
    values = np.asarray(ak.flatten(array, axis=None))
    factors = rng.uniform(1 - SPREAD, 1 + SPREAD, len(values)).astype(np.float32)
    bits = (values * factors).view(np.uint32) & np.uint32(0xFFFFFFFF << (23 - KEPT_BITS) & 0xFFFFFFFF)
    rounded = bits.view(np.float32)
    return ak.unflatten(rounded, ak.num(array)) if array.ndim > 1 else ak.Array(rounded)


def branches_of(paths: Sequence[Path]) -> int:
    """How many branches each of the files has."""
    with uproot.open(paths[0]) as file:
        return len(file[TREE].keys())
