"""Datasets of a catalogue, and what was found of their files, as tables in a terminal and in a notebook."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from ..protocol.messages import DatasetInfo
from .logs import shown
from .tables import html_table, text_table

DATASETS = ("dataset", "tree", "owner", "registered", "metadata", "files", "entries", "size")
WORDS_OF_DATASETS = 5
FINDINGS = ("file", "what", "why")
_MOST_ROWS = 100
_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


def size_words(size: int | None) -> str:
    """Bytes, as people say it.

    Example:
        >>> size_words(931), size_words(2_340_000_000), size_words(None)
        ('931 B', '2.34 GB', '?')
    """
    if size is None:
        return "?"
    value, units = float(size), list(_UNITS)
    while value >= 999.5 and len(units) > 1:
        value, units = value / 1000, units[1:]
    return f"{value:.3g} {units[0]}"


def dataset_cells(info: DatasetInfo) -> list[str]:
    """A dataset under the headings `DATASETS`."""
    metadata = ", ".join(f"{name}={value}" for name, value in sorted(info.metadata.items()))
    when = datetime.fromtimestamp(info.registered).astimezone()
    counts = (f"{info.files:,}", "?" if info.entries is None else f"{info.entries:,}", size_words(info.size))
    owner = info.user or info.owner
    return [
        shown(info.name),
        shown(", ".join(info.trees)),
        shown(owner),
        f"{when:%Y-%m-%d %H:%M}",
        shown(metadata),
        *counts,
    ]


class DatasetList(list[DatasetInfo]):
    """The datasets of a catalogue: a list that is shown as a table.

    Example:
        >>> DatasetList()
        no datasets
        >>> print(str(DatasetList([DatasetInfo("ttbar", 2, 1200, 3_000_000, ["Events"], owner="ada")])).splitlines()[0])
        dataset  tree    owner  registered        metadata  files  entries  size
    """

    def __repr__(self) -> str:
        return text_table(DATASETS, list(map(dataset_cells, self)), WORDS_OF_DATASETS) if self else "no datasets"

    def _repr_html_(self) -> str:
        rows = list(map(dataset_cells, self))
        return html_table(DATASETS, rows, WORDS_OF_DATASETS, "datasets") if self else "<p>no datasets</p>"


@dataclass(frozen=True)
class Finding:
    """What is wrong with a file of a dataset.

    Attributes:
        path: of the file, or of the replica that it is about.
        what: "missing" when it cannot be opened, "unreachable" when that may pass, "changed", "length", "checksum", "size".
        why: in words.
    """

    path: str
    what: str
    why: str


class Verification(list[Finding]):
    """What a look at all files of a dataset has found: a list, empty when all is well, that is shown as a table.

    Args:
        findings: what is wrong.
        name: of the dataset.
        files: of which so many were looked at, with replicas.
        entries: that those have which are there.

    Example:
        >>> Verification([], "ttbar", 12, 1200)
        ttbar: 12 files are there, as they were registered (1,200 entries)
        >>> Verification([Finding("a.root", "missing", "no such file")], "ttbar", 2, 600).ok
        False
    """

    def __init__(self, findings: Sequence[Finding], name: str, files: int, entries: int) -> None:
        super().__init__(findings)
        self.name, self.files, self.entries = name, files, entries

    @property
    def ok(self) -> bool:
        """Whether every file is there, and the one that was registered."""
        return not self

    def __repr__(self) -> str:
        if self.ok:
            return self._title()
        more = f"\nand {len(self) - _MOST_ROWS:,} more" if len(self) > _MOST_ROWS else ""
        return f"{self._title()}\n{text_table(FINDINGS, self._rows(), len(FINDINGS))}{more}"

    def _repr_html_(self) -> str:
        title = self._title()
        return html_table(FINDINGS, self._rows(), len(FINDINGS), title) if self else f"<p>{title}</p>"

    def _title(self) -> str:
        if self.ok:
            return f"{self.name}: {self.files:,} files are there, as they were registered ({self.entries:,} entries)"
        return f"{self.name}: {len(self):,} of {self.files:,} files are not as they were registered"

    def _rows(self) -> list[list[str]]:
        return [[it.path, it.what, it.why] for it in self[:_MOST_ROWS]]
