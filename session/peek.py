"""A look at what is in a file, by this process."""

from __future__ import annotations

import os

from ..dataset.dataset import Dataset
from ..display.contents_table import Contents
from ..protocol.credentials import Credentials
from ..protocol.errors import DatasetError
from ..reading.contents import contents
from ..reading.storage.credentials import credential_set_of
from ..reading.storage.list_files import list_files


def peek(
    file: Dataset | str | os.PathLike[str],
    tree: str | None = None,
    *,
    grep: str | None = None,
    credentials: Credentials | None = None,
) -> Contents:
    """What is in a file: its trees, their branches with types, titles and sizes, and what else is there.

    Only metadata are read, by this process and not by workers; the file may be far away, and a TTree or an RNTuple.
    Branches whose names begin alike (`Muon_pt`, `Muon_eta`) are in one line where there are many. `em.branches` lists what
    an analysis calls them, with awkward's types.

    Args:
        file: a path or URL, also `"run1.root:Events"`; of a pattern, folder or dataset the first file.
        tree: look into this tree only, or into those that fit a pattern; by default into the first 20.
        grep: a regular expression: show only branches in whose names, types or titles it is found, each in a line.
        credentials: what servers are shown; by default what the environment has.

    Raises:
        DatasetError: there is no such file or tree, or it is not a whole ROOT file.
        ValueError: `grep` is no regular expression.

    Example:
        >>> peek("run1.root", grep="^Muon_p")                                                   # doctest: +SKIP
        run1.root: 931.4 kB, ZSTD(5); 1 tree
        Events: TTree of 10,000 entries, 2 of 16 branches, 136.9 kB (unpacked 169.9 kB)
        branch    type          stored  unpacked
        Muon_pt   float[nMuon]  68.3 kB   84.9 kB
        Muon_phi  float[nMuon]  68.6 kB   84.9 kB
    """
    dataset = file if isinstance(file, Dataset) else Dataset(os.fspath(file), tree)
    if dataset.files[0].kind != "tree":
        raise DatasetError(f"{dataset!r} is in no file")
    files = dataset.expanded(list_files).files
    shown = None if credentials is None else credential_set_of(credentials.pack())
    note = "" if len(files) == 1 else f"; the first of {len(files):,} files"
    return Contents(contents(files[0].path, files[0].tree, credential_set=shown), grep, note)
