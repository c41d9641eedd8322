"""Which rows go into which file: decided from the list of pieces alone, so that everybody comes to the same."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from operator import attrgetter
from urllib.parse import quote

import msgspec

from ..analysis.writes import WriteSpec
from ..merge.nodes import Written
from ..merge.rows import Piece, Span

SUFFIX = {"parquet": ".parquet", "root": ".root", "rntuple": ".root"}


class Share(msgspec.Struct, frozen=True, array_like=True):
    """Rows `[start, stop)` of a piece."""

    piece: Piece
    start: int
    stop: int

    @property
    def size(self) -> int:
        """Bytes in memory, about."""
        return self.piece.size * (self.stop - self.start) // max(1, self.piece.rows)


class Group(msgspec.Struct, frozen=True):
    """The rows of a file to be, in their order: of one dataset, the `number`th of it."""

    dataset: str
    number: int
    shares: list[Share]

    @property
    def rows(self) -> int:
        """How many there are."""
        return sum(share.stop - share.start for share in self.shares)


def stem(spec: WriteSpec, dataset: str) -> str:
    """How the names of the files with the rows of a dataset begin; odd characters are written as their numbers.

    Example:
        >>> from eventmill.analysis.writes import write
        >>> stem(write({}, "f").spec, "ttbar 2018/A"), stem(write({}, "f", name="mu").spec, "")
        ('ttbar=202018=2FA', 'mu')
    """
    return "-".join(as_name(part) for part in (spec.name, dataset) if part) or "rows"


def as_name(text: str) -> str:
    """What a file or folder is called after a text.

    Example:
        >>> as_name("ttbar 2018/A"), as_name("..")
        ('ttbar=202018=2FA', '=2E=2E')
    """
    named = quote(text, safe="+,").replace("%", "=")  # which means something in URLs
    return named if named.strip(".") else named.replace(".", "=2E")


def file_name(spec: WriteSpec, dataset: str, number: int) -> str:
    """The name of a file with rows of a dataset."""
    return f"{stem(spec, dataset)}-{number:04d}{SUFFIX[spec.format]}"


def groups(node: Written, complete: bool = True) -> list[Group]:
    """The files that pieces become.

    Args:
        node: the pieces, in the order in which they count.
        complete: no more of them come. If more do, those groups are left out that may still grow; the others stay as they
            are, whatever comes.
    """
    by_dataset: dict[str, list[Piece]] = {}
    for piece in node.pieces:
        by_dataset.setdefault(piece.dataset, []).append(piece)
    sorts = node.spec.order == "input"
    found: list[Group] = []
    for dataset, pieces in by_dataset.items():
        parts = [part for piece in pieces for part in _parts(piece)]
        if sorts:
            parts.sort(key=_key)
        if parts and (complete or not sorts):
            found += _filled(node.spec, dataset, parts, complete)
        elif complete:
            found.append(Group(dataset, 0, []))
    return found


class _Part(msgspec.Struct, frozen=True):
    """Rows of a piece that came of one span."""

    share: Share
    span: Span


def _key(part: _Part) -> tuple[tuple[int, str, str, int], int]:
    return part.span.key, part.share.start


def _parts(piece: Piece) -> Iterator[_Part]:
    start = 0
    for span in piece.spans:
        if span.rows:
            yield _Part(Share(piece, start, start + span.rows), span)
        start += span.rows


def _filled(spec: WriteSpec, dataset: str, parts: Iterable[_Part], complete: bool) -> Iterator[Group]:
    """Part after part until a file is full; one that is too large for it is cut."""
    number, rows, size = 0, 0, 0
    inside: list[_Part] = []
    for whole in parts:
        for part in _cut(whole, spec.rows, rows):
            full = spec.rows and rows == spec.rows
            if inside and (full or size + part.share.size > spec.size):
                yield Group(dataset, number, _shares(inside))
                number, rows, size, inside = number + 1, 0, 0, []
            inside.append(part)
            rows, size = rows + part.share.stop - part.share.start, size + part.share.size
    if inside and complete:
        yield Group(dataset, number, _shares(inside))


def _cut(part: _Part, most: int, rows: int) -> Iterator[_Part]:
    """A part in pieces of which each fits into a file of `most` rows, where the first one has `rows` already."""
    start, stop = part.share.start, part.share.stop
    room = most - rows if most and rows < most else most
    while most and stop - start > room:
        yield msgspec.structs.replace(part, share=msgspec.structs.replace(part.share, start=start, stop=start + room))
        start, room = start + room, most
    yield msgspec.structs.replace(part, share=msgspec.structs.replace(part.share, start=start))


def _shares(parts: Sequence[_Part]) -> list[Share]:
    """The rows of a file, sorted by input file and entry."""
    shares: list[Share] = []
    for share in map(attrgetter("share"), sorted(parts, key=_key)):
        last = shares[-1] if shares else None
        if last is not None and last.piece.path == share.piece.path and last.stop == share.start:
            shares[-1] = msgspec.structs.replace(last, stop=share.stop)
        else:
            shares.append(share)
    return shares
