"""Files of ROOT, by uproot: TTrees and RNTuples."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..analysis.writes import WriteSpec
from ..protocol.errors import OutputError

if TYPE_CHECKING:
    import awkward as ak

LEVEL = 1
"""Of zstd, which more than this makes slower and hardly smaller."""


def write_tree(spec: WriteSpec, path: Path, empty: ak.Array, batches: Iterable[ak.Array]) -> None:
    """Write a TTree, each batch as a basket of each branch; see `formats.write`."""
    import uproot

    collections = _collections(empty)
    with uproot.recreate(path, compression=uproot.ZSTD(LEVEL)) as file:
        types = {name: column.type.content for name, column in _branches(empty, collections).items()}
        tree = file.mktree(spec.tree, types)
        for batch in batches:
            _check_counts(spec, batch, collections)
            tree.extend(_branches(batch, collections))


def write_ntuple(spec: WriteSpec, path: Path, empty: ak.Array, batches: Iterable[ak.Array]) -> None:
    """Write an RNTuple, each batch as a cluster; see `formats.write`."""
    import uproot

    with uproot.recreate(path, compression=uproot.ZSTD(LEVEL)) as file:
        ntuple = file.mkrntuple(spec.tree, empty.layout.form)
        for batch in batches:
            ntuple.extend(batch)


def _collections(empty: ak.Array) -> dict[str, list[str]]:
    """The jagged columns that have one counter, as in NanoAOD: `Muon_pt` and `Muon_eta`, where there is a column `nMuon`."""
    jagged = [name for name in empty.fields if str(empty[name].type.content).startswith("var * ")]
    found: dict[str, list[str]] = {}
    for counter in empty.fields:
        names = [name for name in jagged if name.startswith(f"{counter[1:]}_")]
        if counter.startswith("n") and counter not in jagged and names:
            found[counter[1:]] = names
    return found


def _branches(array: ak.Array, collections: dict[str, list[str]]) -> dict[str, ak.Array]:
    """The columns as uproot takes them: a record for those that have one counter, which it writes by itself."""
    import awkward as ak

    together = {name for names in collections.values() for name in names} | {f"n{name}" for name in collections}
    branches = {name: array[name] for name in array.fields if name not in together}
    for collection, names in collections.items():
        inner = {name.removeprefix(f"{collection}_"): array[name] for name in names}
        branches[collection] = ak.zip(inner, depth_limit=2)
    return branches


def _check_counts(spec: WriteSpec, batch: ak.Array, collections: dict[str, list[str]]) -> None:
    """A counter is written by itself: it is to be what its column says."""
    import awkward as ak

    for collection, names in collections.items():
        counter: Any = np.asarray(batch[f"n{collection}"])
        for name in names:
            if not np.array_equal(counter, np.asarray(ak.num(batch[name]))):
                raise OutputError(
                    f"em.write to {spec.target}: n{collection} is not how many elements {name} has in each row, as it is "
                    f"in a TTree: write the new numbers, or leave n{collection} out"
                )
