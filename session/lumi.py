"""The luminosity sections of which a result has all events: what its luminosity is computed from."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from ..analysis.lumi_sections import SECTION_BITS, LumiSections, by_run
from ..dataset.dataset import Dataset
from ..dataset.masks import Mask
from ..dataset.paths import key
from ..packetizer.listed_entries import EntryList
from ..protocol.addresses import shown
from ..protocol.errors import DatasetError
from ..protocol.messages import LostRange
from .result import dataset_of
from .sums import check_nothing_lost, not_wholly_in, own_paths

if TYPE_CHECKING:
    from .result import Result
    from .session import Session


class ProcessedLumi(dict[str, list[list[int]]]):
    """Luminosity sections by run, `{"194050": [[1, 113], [117, 120]]}`; `Session.processed_lumi` gives them.

    Attributes:
        lost: sections of the files of which the result lacks events, or may lack some: they are not in it.
        files: the paths of the files that are wholly or partly in the result.

    Example:
        >>> lumi = ProcessedLumi({"1": [[1, 3]]}, {"1": [[4, 4]]}, ["a.root"])
        >>> lumi, lumi.lost, lumi.runs
        ({'1': [[1, 3]]}, {'1': [[4, 4]]}, [1])
    """

    def __init__(self, sections: Mapping[str, Any], lost: Mapping[str, Any], files: Iterable[str]) -> None:
        super().__init__(sections)
        self.lost = dict(lost)
        self.files = list(files)

    @property
    def runs(self) -> list[int]:
        """The numbers of the runs."""
        return [int(run) for run in self]

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write the sections as `processed_lumi.json`, as brilcalc and other tools of CMS read it."""
        Path(path).write_text(json.dumps(self) + "\n")


def processed_lumi(
    session: Session, dataset: Dataset, result: Result, tree: str | None, branches: tuple[str, str]
) -> ProcessedLumi:
    """As `Session.processed_lumi`, of a dataset whose files are known."""
    mask = Mask.unpack(dataset.of_columns.mask) if dataset.of_columns.mask else None
    plain = Dataset.of_files([msgspec.structs.replace(file, friends={}) for file in dataset.files])
    apart = not_wholly_in(result, plain.files)
    found = _sections(session, plain if tree is None else plain.of_tree(tree), branches)
    if tree is not None:
        check_nothing_lost(found.lost, tree)
    own = own_paths(plain.files)
    unknown = {_path(it, own) for it in [it for it in result.account.lost if it.stop is None] + found.lost}
    lost: set[int] = set()
    again = [it for it in result.account.lost if _path(it, own) not in unknown]
    if again:
        seen = _sections(session, dataset_of([msgspec.structs.replace(it, friends={}) for it in again]), branches)
        lost |= set().union(*seen.by_file.values())
        unknown |= {_path(it, own) for it in seen.lost}  # what cannot be read tells no sections
    everything = set().union(*found.by_file.values())
    lost |= set().union(*(found.by_file.get(path, set()) for path in unknown))
    if unknown - found.by_file.keys() and tree is None:
        names = ", ".join(sorted(map(shown, unknown - found.by_file.keys())))
        raise DatasetError(
            f"which luminosity sections are in {names} cannot be told, and others may have more of them: "
            'give the tree that lists them, tree="LuminosityBlocks"'
        )
    processed = _within(everything - lost, mask)
    files = [file.path for file in plain.files if file.path not in unknown or file.path not in apart]
    return ProcessedLumi(by_run(processed), by_run(lost), files)


class _Found:
    """The sections of a dataset's rows by file, and what of it could not be read."""

    def __init__(self, result: Result, own: Mapping[str, str]) -> None:
        self.by_file: dict[str, set[int]] = {}
        for path, sections in (result.value or {}).items():
            self.by_file.setdefault(own.get(shown(key(path)), path), set()).update(sections)
        self.lost = result.account.lost


def _sections(session: Session, dataset: Dataset, branches: tuple[str, str]) -> _Found:
    sections = LumiSections(branches)
    result = session.process(dataset, sections.of_file, name="luminosity sections", on_error="skip").result()
    return _Found(result, own_paths(dataset.files))


def _path(lost: LostRange, own: Mapping[str, str]) -> str:
    """The path of a file of which something is lost."""
    return own.get(shown(key(lost.path)), lost.path)


def _within(keys: set[int], mask: Mask | None) -> set[int]:
    """Those of the sections that a mask leaves."""
    if mask is None or not keys:
        return keys
    ordered = np.array(sorted(keys), np.int64)
    left = mask.entry_list(ordered >> SECTION_BITS, ordered & ((1 << SECTION_BITS) - 1))
    return set(ordered[_numbers(left)].tolist())


def _numbers(entries: EntryList) -> Any:
    runs = entries.runs()
    return np.concatenate([np.arange(0), *(np.arange(*pair) for pair in zip(runs[::2], runs[1::2], strict=True))])
