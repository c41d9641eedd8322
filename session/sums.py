"""Sums of columns over a dataset, exact and by dataset: what a sample is normalised by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..dataset.paths import key, names
from ..protocol.addresses import shown
from ..protocol.errors import DatasetError
from ..protocol.messages import File, LostRange

if TYPE_CHECKING:
    from .result import Result, ResultAccount

_SHOWN = 10
"""Files that an error names."""


class Sums(dict[str, Any]):
    """Sums by dataset; `Session.sum` gives them. A dataset without a name is called "".

    Args:
        by_dataset: the sums: numbers, arrays where rows are lists, or dicts of them by column.
        apart: the same for files that are not wholly in the result that was named with `of=`.
        account: what became of the rows.

    Attributes:
        apart: as above; of files that the analysis has lost some events of. Only datasets that have such files are in it.
        account: of the rows of the tree that was summed; `account.lost` names the files that are in no sum, and why.

    Example:
        >>> sums = session.sum({"signal": ["events.root"]}, "nMuon")
        >>> sums["signal"], sums.apart, sums.account.lost
        (11211, {}, [])
    """

    def __init__(self, by_dataset: Mapping[str, Any], apart: Mapping[str, Any], account: ResultAccount) -> None:
        super().__init__(by_dataset)
        self.apart = dict(apart)
        self.account = account


def summed(
    found: Mapping[str, Mapping[str, Any]], columns: Sequence[str], files: Sequence[File], apart: set[str]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The sums by dataset and column: those of most files, and those of the files that are to be `apart`.

    Args:
        found: what is merged: by dataset, file and column.
        columns: their names.
        files: of the dataset; all its names are in the sums, also where no file has a row.
        apart: paths.
    """
    from ..analysis.column_sums import of_files

    datasets = dict.fromkeys(file.dataset for file in files)
    own = own_paths(files)
    of = {name: _of_own_paths(found.get(name, {}), own) for name in datasets}
    sums = {
        name: of_files({path: its for path, its in by_file.items() if path not in apart}, columns)
        for name, by_file in of.items()
    }
    others = {
        name: of_files({path: its for path, its in by_file.items() if path in apart}, columns)
        for name, by_file in of.items()
        if apart & by_file.keys()
    }
    return sums, others


def own_paths(files: Sequence[File]) -> dict[str, str]:
    """The path of each file by all that it may be called in results and accounts: its replicas, and without tokens."""
    return {shown(name): file.path for file in files for name in names(file)}


def _of_own_paths(by_file: Mapping[str, Any], own: Mapping[str, str]) -> dict[str, Any]:
    """Sums by the paths of files; some rows of a file may have been read at another replica than others."""
    from ..analysis.column_sums import merged

    at: dict[str, list[Any]] = {}
    for path, its in by_file.items():
        at.setdefault(own.get(shown(key(path)), path), []).append(its)
    return {path: {name: merged(its[name] for its in parts) for name in parts[0]} for path, parts in at.items()}


def not_wholly_in(result: Result, files: Sequence[File]) -> set[str]:
    """The paths of files of which a result lacks some entries.

    Raises:
        DatasetError: the result is not one of these files.
    """
    if result.account.files != len(files):
        raise DatasetError(
            f"of= is a result of {result.account.files:,} files, and {len(files):,} are to be summed: give the dataset "
            "that was analysed"
        )
    by_name = own_paths(files)
    apart = set()
    for lost in result.account.lost:
        path = by_name.get(shown(key(lost.path)))
        if path is None:
            raise DatasetError(
                f"the result lacks entries of {shown(lost.path)}, which is not in the dataset that is summed"
            )
        apart.add(path)
    return apart


def check_nothing_lost(lost: Sequence[LostRange], tree: str) -> None:
    """Raise `DatasetError` with all files that are not in the sums."""
    reasons = {shown(it.path): it.reason for it in lost}
    if not reasons:
        return
    listed = "".join(f"\n  {path}: {reason}" for path, reason in list(reasons.items())[:_SHOWN])
    more = f"\n  and {len(reasons) - _SHOWN:,} more" if len(reasons) > _SHOWN else ""
    what = f"tree {tree}" if tree else "tree"
    raise DatasetError(
        f"{len(reasons):,} file{'' if len(reasons) == 1 else 's'} cannot be summed in the {what} "
        f'(on_error="skip" sums the others, and lists these in .account.lost):{listed}{more}'
    )
