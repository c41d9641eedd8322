"""Simulated collisions with electrons, b tags and weights: for ADL's queries and a ttbar analysis."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import uproot
from eventmill.cli.sample import ENTRIES_PER_BASKET, make_events

from .systems import TREE

TAGS = ("btagCSVV2",)


def collision_files(folder: Path, events: int, files: int, tags: Sequence[str] = TAGS) -> list[Path]:
    """So many events in so many files of a folder, as `write_collisions` writes each; their paths."""
    return [
        write_collisions(folder / f"events_{number}.root", events // files, number, tags) for number in range(files)
    ]


def write_collisions(path: Path, events: int, seed: int, tags: Sequence[str] = TAGS) -> Path:
    """Write a file of so many events, or leave the one that is there; returns its path.

    Args:
        tags: the names that the b tags of jets have: each has the same numbers.
    """
    if path.is_file():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with uproot.recreate(partial, compression=uproot.ZSTD(1)) as file:
            tree: Any = None
            for number, start in enumerate(range(0, events, ENTRIES_PER_BASKET)):
                count = min(ENTRIES_PER_BASKET, events - start)
                columns = _columns(count, np.random.default_rng((seed, number)), tags)
                columns["event"] = np.arange(start, start + count, dtype=np.uint64)
                if tree is None:
                    types = {name: getattr(it, "dtype", None) or it.type.content for name, it in columns.items()}
                    baskets = -(-events // ENTRIES_PER_BASKET)
                    tree = file.mktree(TREE, types, initial_basket_capacity=baskets)
                tree.extend(columns)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def _columns(count: int, rng: np.random.Generator, names: Sequence[str]) -> dict[str, Any]:
    """The sample's own, and electrons that are like its muons."""
    columns = make_events(count, rng)
    electrons, jets = make_events(count, rng)["Muon"], columns["Jet"]
    tags = rng.beta(0.6, 0.9, int(ak.sum(ak.num(jets)))).astype(np.float32)
    for name in names:
        jets = ak.with_field(jets, ak.unflatten(tags, ak.num(jets)), name)
    weights = rng.choice(np.array([-1.0, 1.0, 1.0, 1.0], np.float32), count)
    run = {name: np.ones(count, np.uint32) for name in ("run", "luminosityBlock")}
    return {**columns, **run, "Jet": jets, "Electron": electrons, "genWeight": weights}
