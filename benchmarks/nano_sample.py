"""Many events with the branches of real NanoAOD, from a few real ones.

`tests/samples` in coffea's source distribution has 40 events of CMS's simulation of Drell-Yan, with all their 1,499
branches. They are drawn at random, and the floating-point numbers that an analysis reads are smeared and rounded to the
bits that NanoAOD keeps: so they compress about as real ones do. What nobody reads is as it was.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import platformdirs
import uproot
from numpy.typing import NDArray

TREE = "Events"
COFFEA = "2026.9.0"
SAMPLE = "nano_dy.root"
CLUSTER = 20_000
"""Entries of a basket, as NanoAOD has some tens of thousands."""
SMEARING, MANTISSA_BITS = 0.01, 11
RECIPE = 1
"""Raise it whenever the events change, so that files of the older kind are written anew."""


def coffea_samples() -> Path:
    """The folder of the sample files in coffea's source distribution, which is downloaded once, 30 MB.

    Raises:
        SystemExit: there is no package index to download from.
    """
    cache = platformdirs.user_cache_path("eventmill") / "samples"
    folder = cache / f"coffea-{COFFEA}"
    if not (folder / SAMPLE).exists():
        folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", "coffea"]
        done = subprocess.run([*command, f"coffea=={COFFEA}", "--dest", str(cache)], check=False)
        if done.returncode != 0:
            raise SystemExit(f"coffea {COFFEA} cannot be downloaded (see above); its samples are to be in {folder}")
        archive = cache / f"coffea-{COFFEA}.tar.gz"
        with tarfile.open(archive) as tar:
            for member in tar:
                content = tar.extractfile(member) if "/tests/samples/" in member.name else None
                if content is not None:
                    (folder / Path(member.name).name).write_bytes(content.read())
        archive.unlink()
    return folder


def write_nano(folder: Path, events: int, files: int, read: Sequence[str]) -> list[Path]:
    """Write the events into `folder`, unless they are there, and return the paths of the files.

    Args:
        folder: where to.
        events: how many, shared out evenly.
        files: how many.
        read: the branches that an analysis reads.
    """
    index, parameters = folder / "nano.json", [RECIPE, COFFEA, events, files, sorted(read)]
    paths = [folder / f"nano_{number}.root" for number in range(files)]
    if index.exists() and json.loads(index.read_text()) == parameters:
        return paths
    folder.mkdir(parents=True, exist_ok=True)
    real = _real_events(coffea_samples() / SAMPLE)
    for number, path in enumerate(paths):
        print(f"writing {path} ...", flush=True)
        count = events * (number + 1) // files - events * number // files
        _write(path, real, count, set(read), np.random.default_rng((RECIPE, number)))
    index.write_text(json.dumps(parameters))
    return paths


def _real_events(path: Path) -> dict[str, Any]:
    """Of each branch an array, and of each collection one of records."""
    with uproot.open(path) as file:
        arrays = file[TREE].arrays()
    lists = [name for name in arrays.fields if arrays[name].ndim == 2]
    collections = {name.partition("_")[0] for name in lists}
    counters = {f"n{collection}" for collection in collections}  # uproot writes them anew
    columns: dict[str, Any] = {
        name: arrays[name] if name in collections else ak.to_numpy(arrays[name])
        for name in arrays.fields
        if name in collections or not (name in lists or name in counters)
    }
    for collection in sorted(collections - set(columns)):
        of_it = [name for name in lists if name.startswith(f"{collection}_")]
        columns[collection] = ak.zip({name.removeprefix(f"{collection}_"): arrays[name] for name in of_it})
    return columns


def _write(path: Path, real: dict[str, Any], events: int, read: set[str], rng: np.random.Generator) -> None:
    """Write a file, which takes its name when it is whole."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with uproot.recreate(partial, compression=uproot.ZSTD(3)) as file:
            types = {name: c.dtype if isinstance(c, np.ndarray) else c.type.content for name, c in real.items()}
            tree = file.mktree(TREE, types, initial_basket_capacity=-(-events // CLUSTER))
            for start in range(0, events, CLUSTER):
                drawn = rng.integers(0, len(real["genWeight"]), min(CLUSTER, events - start))
                tree.extend(dict(_smeared({name: column[drawn] for name, column in real.items()}, read, rng)))
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _smeared(columns: dict[str, Any], read: set[str], rng: np.random.Generator) -> Iterator[tuple[str, Any]]:
    """The columns, with other numbers in the branches that are read; no weights, whose sizes all agree."""
    for name, column in columns.items():
        if isinstance(column, np.ndarray):
            is_read = name in read and column.dtype == np.float32 and name != "genWeight"
            yield name, _smear(column, rng) if is_read else column
            continue
        if not column.fields:
            yield name, column
            continue
        packed, counts = ak.flatten(column), ak.num(column)
        fields = {field: ak.to_numpy(packed[field]) for field in packed.fields}
        for field, values in fields.items():
            if f"{name}_{field}" in read and values.dtype == np.float32 and field != "mass":
                fields[field] = _smear(values, rng)
        yield name, ak.unflatten(ak.zip(fields), counts)


def _smear(values: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Each number a little larger or smaller, with as many bits as NanoAOD keeps of it."""
    smeared = (values * rng.normal(1.0, SMEARING, len(values))).astype(np.float32)
    dropped = np.uint32(23 - MANTISSA_BITS)
    bits = smeared.view(np.uint32) + (np.uint32(1) << (dropped - np.uint32(1)))
    return (bits >> dropped << dropped).view(np.float32)
