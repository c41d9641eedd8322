"""The events of the sample once more, in other codecs and as RNTuple."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import awkward as ak
import uproot
from eventmill.cli.sample import ENTRIES_PER_BASKET

from .analyses import MUONS
from .systems import TREE

CODECS = {
    "zstd": uproot.ZSTD(5),
    "lz4": uproot.LZ4(4),
    "zlib": uproot.ZLIB(1),
    "lzma": uproot.LZMA(1),
    "uncompressed": None,
}
ENTRIES_PER_CLUSTER = 100_000
"""Of an RNTuple; ROOT's own are of some 50 MB compressed."""


def rewrite(files: Sequence[Path], folder: Path, codec: str, is_rntuple: bool) -> Path:
    """One file with the muons and MET of the sample's files, written if it is not there yet.

    As TTree it has their branches in baskets of the same entries; as RNTuple each branch is a field.
    """
    path = folder / f"{codec}{'-rntuple' if is_rntuple else ''}.root"
    if path.is_file():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with uproot.recreate(partial, compression=CODECS[codec]) as file:
            if is_rntuple:
                _extend(file.mkrntuple, _fields(files))
            else:
                _extend(file.mktree, _branches(files))
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def _extend(make: Any, steps: Iterator[dict[str, Any]]) -> None:
    tree: Any = None
    for arrays in steps:
        if tree is None:
            tree = make(TREE, {name: _type(array) for name, array in arrays.items()})
        tree.extend(arrays)


def _type(array: ak.Array) -> Any:
    return str(array.type.content)


def _branches(files: Sequence[Path]) -> Iterator[dict[str, Any]]:
    for arrays in _steps(files, ENTRIES_PER_BASKET):
        muons = ak.zip({name.removeprefix("Muon_"): arrays[name] for name in MUONS})
        yield {"Muon": muons, "MET_pt": arrays.MET_pt}


def _fields(files: Sequence[Path]) -> Iterator[dict[str, Any]]:
    for arrays in _steps(files, ENTRIES_PER_CLUSTER):
        yield {name: arrays[name] for name in (*MUONS, "MET_pt")}


def _steps(files: Sequence[Path], entries: int) -> Iterator[Any]:
    for path in files:
        with uproot.open(path) as file:
            yield from file[TREE].iterate([*MUONS, "MET_pt"], step_size=entries)
