"""What the account of a query tells beside its numbers: what is missing in the result and why, and what was unexpected."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from heapq import merge
from itertools import islice
from typing import TYPE_CHECKING

from ..packetizer.files import Files, Loss
from ..protocol.addresses import shown
from ..protocol.codec import Buffer
from ..protocol.long_lists import LongList
from ..protocol.messages import Account, LostRange, State

if TYPE_CHECKING:
    from .query import Query

LONGEST_REASON = 500
MOST_NOTES = 10
A_PIECE = 500
"""Ranges that are listed at a time: they take some milliseconds."""


def account_of(query: Query) -> Account:
    """What became of the entries of a query, by the ledger; without the list of losses."""
    ledger = query.ledger
    return Account(
        total=ledger.total,
        processed=ledger.processed,
        failed=ledger.failed,
        estimated=ledger.estimated,
        files=len(ledger.files),
        files_opened=ledger.opened_files,
        redone=ledger.redone,
        refused=query.counters.refused,
        workers_lost=query.counters.workers_lost,
        notes=notes(query),
        kind=query.files[0].kind if query.files else "tree",
        inputs=query.submit.inputs,
    )


def notes(query: Query) -> list[str]:
    """What was not as it had been announced, and what is wrong with the journal."""
    surprises = query.ledger.surprises
    notes = [note for note in (query.journal.trouble, query.journal.damage) if note]
    notes += [
        f"{shown(query.files[it.file].path)} has {it.entries} entries, not {it.known} as announced"
        for it in surprises[:MOST_NOTES]
    ]
    more = len(surprises) - MOST_NOTES
    if more > 0:
        notes.append(f"and {more} more files do not have the entries that were announced")
    if query.counters.retried:
        times = "once" if query.counters.retried == 1 else f"{query.counters.retried} times"
        notes.append(f"data had to be read again {times}, the last time because {query.counters.trouble}")
    if query.counters.downfall:
        slots = query.packetizer.kills.total
        who = "a slot went down" if slots == 1 else f"{slots} slots went down, the last one"
        notes.append(f"{who} at work on {query.counters.downfall}")
    for name, missing in query.counters.filled.items():
        notes.append(f"{len(missing)} of {len(query.files)} files have no {name}: its default was taken")
    if query.masked and query.ledger.complete and query.ledger.opened_files and not query.ledger.opened_entries:
        notes.append("no entry of any file is within the mask")
    return notes


class Missing:
    """The list of what is not in a result, made a piece at a time: of a dataset of a million files it may have as many.

    Args:
        query: whose it is. It is to have ended, or to do nothing more.
        state: in which it ends: of one that is stopped or abandoned, what nobody has done is in the list, too.

    Attributes:
        state: the same.
        account: as it was before: of a file that turned out to be empty, and is in the list, it knows that.
        encoded: the list as it travels: MessagePack of `list[LostRange]`.
    """

    def __init__(self, query: Query, state: State) -> None:
        self.state = state
        self.account = query.account()
        self.encoded: Buffer = b""
        self._ranges = _missing(query, stopped=state == "stopped")
        self._list = LongList()

    def go_on(self) -> bool:
        """Make one more piece. Returns whether that was the last one."""
        piece = list(islice(self._ranges, A_PIECE))
        for it in piece:
            self._list.append(it)
        if len(piece) == A_PIECE:
            return False
        self.encoded = self._list.encoded()
        return True


def lost_ranges(query: Query) -> list[LostRange]:
    """What will not be in the result and why."""
    return list(_missing(query))


def _missing(query: Query, stopped: bool = False) -> Iterator[LostRange]:
    files = query.ledger.files
    for loss in joined(merge(sorted(files.losses, key=_place), _abandoned(files), key=_place)):
        yield _range(query, loss)
    if stopped:
        for number in list(query.ledger.leases):  # nobody works on them any more
            query.ledger.give_back(number)
        for file, start, stop in files.undone():
            yield _range(query, Loss(file, start, stop, "not processed when the query was stopped"), undone=True)


def _abandoned(files: Files) -> Iterator[Loss]:
    if files.abandoned:
        for file, start, stop in files.undone():
            yield Loss(file, start, stop, files.abandoned)


def _range(query: Query, loss: Loss, undone: bool = False) -> LostRange:
    file = query.files[loss.file]
    reason = loss.reason[:LONGEST_REASON]
    start, stop = loss.start, loss.stop
    if loss.file in query.listings and stop is not None and stop > start:
        reason = f"{reason} ({stop - start} listed entries)"
        start, stop = query.listings.entries(loss.file, start, stop)
    runs = query.listings.runs(loss.file, loss.start, loss.stop)
    path, unopened = shown(file.path), loss.stop is None
    supplied = file.kind == "tree" and (query.has_columns or (query.masked and unopened))
    return LostRange(
        path, file.tree, start, stop, reason, file.dataset, file.metadata, file.kind, runs, file.friends,
        supplied, limited=unopened and query.submit.is_limited, undone=undone,
    )  # fmt: skip


def _place(loss: Loss) -> tuple[int, int]:
    return loss.file, loss.start


def joined(losses: Iterable[Loss]) -> Iterator[Loss]:
    """Losses that come in the order of their files, with neighbours that were lost for the same reason as one.

    Example:
        >>> list(joined([Loss(0, 0, 5, "broken"), Loss(0, 5, 9, "broken"), Loss(0, 9, 10, "late")]))
        [Loss(file=0, start=0, stop=9, reason='broken'), Loss(file=0, start=9, stop=10, reason='late')]
    """
    last: Loss | None = None
    for loss in losses:
        if last is not None and (last.file, last.stop, last.reason) == (loss.file, loss.start, loss.reason):
            last = Loss(loss.file, last.start, loss.stop, loss.reason)
            continue
        if last is not None:
            yield last
        last = loss
    if last is not None:
        yield last
