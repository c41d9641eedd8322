"""What is in a file, as tables: of thousands of branches, those that belong together are in one line."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from ..dataset.contents import BranchInfo, FileInfo, TreeInfo
from .logs import compiled
from .logs import shown as without_controls
from .tables import html_table, text_table

MOST_ROWS = 40
"""Branches that have a line each, where nobody has chosen some; of those that are chosen, there may be `MOST_CHOSEN`."""
MOST_CHOSEN = 200
_HEADINGS = ("branch", "type", "title", "stored", "unpacked")
_LONGEST = (60, 40, 60)
"""Characters of a name, a type and a title."""
_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")
_MOST_NAMED = 10
_BEGINNING = re.compile(r"[^/]+/|[^/.]+\.(?=.)|[^_/.]+_(?=.)")


class Contents:
    """What is in a file: printed as tables, and shown as such in a notebook.

    Args:
        file: what it has.
        grep: a regular expression: show only branches in whose names, types or titles it is found.
        note: to be said at the top.

    Attributes:
        file: all of it, for programs.

    Raises:
        ValueError: `grep` is no regular expression.

    Example:
        >>> def muon(name):
        ...     return BranchInfo(f"Muon_{name}", "float[]", f"of the muon's {name}", "nMuon", 1_000_000, 1_200_000)
        >>> events = TreeInfo("Events", "TTree", "", 1000, (muon("pt"), muon("eta")))
        >>> Contents(FileInfo("f.root", 2_000_000, "ZSTD(5)", (events,)))
        f.root: 2.0 MB, ZSTD(5); 1 tree
        Events: TTree of 1,000 entries, 2 branches, 2.0 MB (unpacked 2.4 MB)
        branch    type          title              stored  unpacked
        Muon_pt   float[nMuon]  of the muon's pt   1.0 MB    1.2 MB
        Muon_eta  float[nMuon]  of the muon's eta  1.0 MB    1.2 MB
    """

    def __init__(self, file: FileInfo, grep: str | None = None, note: str = "") -> None:
        self.file = file
        self._grep = None if grep is None else compiled(grep)
        self._note = note

    @property
    def trees(self) -> tuple[TreeInfo, ...]:
        """The trees, each with the branches that are shown."""
        return tuple(replace(tree, branches=tuple(filter(self._is_chosen, tree.branches))) for tree in self.file.trees)

    def __repr__(self) -> str:
        return "\n".join(
            [
                self._headline(),
                *(
                    "\n".join([headline, *([text_table(*table)] if table else [])])
                    for headline, table in self._tables()
                ),
                *self._more(),
            ]
        )

    def _repr_html_(self) -> str:
        parts = [_paragraph(self._headline())]
        for headline, table in self._tables():
            parts.append(html_table(*table, caption=headline) if table else _paragraph(headline))
        return "".join([*parts, *map(_paragraph, self._more())])

    # --- inside ---------------------------------------------------------------------------------------------------

    def _is_chosen(self, branch: BranchInfo) -> bool:
        return self._grep is None or any(map(self._grep.search, (branch.name, branch.type, branch.title)))

    def _headline(self) -> str:
        file = self.file
        number = len(file.trees) + len(file.more)
        has_names = any(tree.name for tree in file.trees)  # the only table of a Parquet file has none
        counts = [
            *([f"{number:,} tree{'' if number == 1 else 's'}"] if has_names or not file.trees else []),
            *(f"{count:,} {kind}" for kind, count in file.others.items()),
        ]
        return ": ".join(
            filter(None, [_line(file.path), f"{_size(file.size)}, {file.compression or 'not compressed'}"])
        ) + (f"; {', '.join(counts)}{self._note}")

    def _tables(self) -> Iterator[tuple[str, Table | None]]:
        """For each tree a line about it, and the table of its branches, if there is something in it."""
        for whole, tree in zip(self.file.trees, self.trees, strict=True):
            yield _about(whole, tree), self._table(tree.branches) if tree.branches else None

    def _table(self, branches: Sequence[BranchInfo]) -> Table:
        """Headings, rows and how many of the columns are words."""
        most = MOST_ROWS if self._grep is None else MOST_CHOSEN
        rows = [_row(each) for each in branches] if len(branches) <= most else _grouped(branches)
        if len(rows) > MOST_CHOSEN:
            rows = [
                *rows[:MOST_CHOSEN],
                (f"and {len(rows) - MOST_CHOSEN:,} more lines: choose with grep", "", "", "", ""),
            ]
        if any(row[2] for row in rows):
            return _HEADINGS, rows, 3
        return _HEADINGS[:2] + _HEADINGS[3:], [row[:2] + row[3:] for row in rows], 2

    def _more(self) -> list[str]:
        more = self.file.more
        if not more:
            return []
        examples = ", ".join(map(_line, more[:_MOST_NAMED])) + (", ..." if len(more) > _MOST_NAMED else "")
        return [f"not looked into, unless they are named by tree: {len(more):,} more trees ({examples})"]


Row = tuple[str, ...]
Table = tuple[Row, list[Row], int]


def _about(whole: TreeInfo, tree: TreeInfo) -> str:
    if whole.why:
        return f"{_line(whole.name)}: {whole.kind}: {_line(whole.why)}"
    number = f"{len(whole.branches):,} branch{'' if len(whole.branches) == 1 else 'es'}"
    if len(tree.branches) != len(whole.branches):
        number = f"{len(tree.branches):,} of {number}"
    title = f": {_line(whole.title)}" if whole.title not in ("", whole.name, whole.name.rpartition("/")[2]) else ""
    sizes = f"{_size(tree.stored)} (unpacked {_size(tree.unpacked)})"
    name = f"{_line(whole.name)}: " if whole.name else ""
    return f"{name}{whole.kind} of {whole.entries:,} entries, {number}, {sizes}{title}"


def _row(branch: BranchInfo) -> Row:
    kind = branch.type.replace("[]", f"[{branch.counter}]", 1) if branch.counter else branch.type
    holder, _, last = branch.name.rpartition("/")
    words = (last if last.startswith(f"{holder}.") else branch.name, kind, branch.title)
    return (*map(_clipped, words, _LONGEST), _size(branch.stored), _size(branch.unpacked))


def _grouped(branches: Sequence[BranchInfo]) -> list[Row]:
    """A line for all branches whose names begin alike, with those that count what is in their lists."""
    starts = {branch.name: _start(branch.name) for branch in branches}
    used = set(starts.values())
    counted = {branch.counter: starts[branch.name] for branch in reversed(branches) if branch.counter}
    groups: dict[str, list[BranchInfo]] = {}
    for branch in branches:
        name = branch.name
        held = [start for start in (*_held(name), starts[name]) if start in used]
        groups.setdefault(counted.get(name) or held[0] or name, []).append(branch)
    rows: list[Row] = []
    for start, group in groups.items():
        members = [branch for branch in group if branch.name.startswith(start) and branch.name not in counted]
        rows += [_group_row(start, group, members)] if len(members) > 1 else map(_row, group)
    return rows


def _held(name: str) -> Iterator[str]:
    """How those would begin that a branch holds, or says the number of: `nMuon` in NanoAOD, `Jet_size` in Delphes."""
    yield from (f"{name}/", f"{name}.")
    if name.startswith("n"):
        yield f"{name[1:]}_"
    if name.endswith("_size"):
        yield f"{name.removesuffix('_size')}/"


def _start(name: str) -> str:
    """How those begin that a branch belongs to: its path, the record that it is in, or a word before an underscore."""
    found = _BEGINNING.match(name)
    return found[0] if found else ""


def _group_row(start: str, group: Sequence[BranchInfo], members: Sequence[BranchInfo]) -> Row:
    """The line of a group, `members` being those of it whose names begin so, and that count nothing."""
    holder = start[:-1]
    counters = {branch.counter for branch in members} - {"", holder}
    of = f" of {counters.pop()}" if len(counters) == 1 else ""
    names = ", ".join(branch.name.removeprefix(start).removeprefix(holder).lstrip(".") for branch in members)
    words = (f"{start}*", f"{len(members):,} branches{of}", names)
    stored, unpacked = (sum(sizes) for sizes in zip(*((each.stored, each.unpacked) for each in group), strict=True))
    return (*map(_clipped, words, _LONGEST), _size(stored), _size(unpacked))


def _size(count: int) -> str:
    """Bytes as people read them.

    Example:
        >>> _size(931), _size(1234), _size(2_500_000)
        ('931 B', '1.2 kB', '2.5 MB')
    """
    power = min(len(_UNITS) - 1, max(0, (len(str(abs(count))) - 1) // 3))
    return f"{count / 1000**power:.1f} {_UNITS[power]}" if power else f"{count} B"


def _line(text: str) -> str:
    """A text of a file in one line, which steers no terminal."""
    return " ".join(without_controls(text).split())


def _clipped(text: str, longest: int) -> str:
    line = _line(text)
    return line if len(line) <= longest else line[: longest - 1] + "…"


def _paragraph(text: str) -> str:
    return f"<p>{html.escape(text)}</p>"
