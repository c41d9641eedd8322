"""Files of ROOT, by uproot: TTrees and RNTuples."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from ..analysis.writes import WriteSpec
from ..protocol.errors import OutputError
from .baskets import Baskets, append, branches, collections, miscounted, new_file, new_tree

if TYPE_CHECKING:
    import awkward as ak


def write_tree(spec: WriteSpec, path: Path, empty: ak.Array, batches: Iterable[ak.Array | Baskets]) -> None:
    """Write a TTree, each batch as a basket of each branch; see `formats.write`."""
    together = collections(empty)
    with new_file(path) as file:
        tree = new_tree(file, spec, empty)
        for batch in batches:
            if isinstance(batch, Baskets):
                append(tree, batch)
                continue
            if wrong := miscounted(batch, together):
                raise OutputError(
                    f"em.write to {spec.target}: n{wrong[0]} is not how many elements {wrong[1]} has in each row, as it is "
                    f"in a TTree: write the new numbers, or leave n{wrong[0]} out"
                )
            tree.extend(branches(batch, together))


def write_ntuple(spec: WriteSpec, path: Path, empty: ak.Array, batches: Iterable[ak.Array]) -> None:
    """Write an RNTuple, each batch as a cluster; see `formats.write`."""
    with new_file(path) as file:
        ntuple = file.mkrntuple(spec.tree, empty.layout.form)
        for batch in batches:
            ntuple.extend(batch)
