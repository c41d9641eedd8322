"""How much of a query is lost already, compared with what its user allows."""

from __future__ import annotations

from typing import Any

from ..protocol.skipping import Skip, is_beyond
from .ledger import Ledger


class Losses:
    """Counts what a ledger has lost, each loss once.

    Example:
        >>> ledger, losses = Ledger([None, None]), Losses()
        >>> for file in (0, 1):
        ...     lease = ledger.lease_opening(file, stop=100, holder="slot")
        ...     if file == 0:
        ...         ledger.opened(lease.number, entries=100, stop=100)
        ...     else:
        ...         ledger.fail(lease.number, "OSError: broken")
        >>> losses.beyond(Skip(entries=0.5, files=1), ledger)
        ''
        >>> losses.beyond(Skip(entries=0.4), ledger)
        'about 100 of 200 entries (50.0 %) are lost, in 1 file, and Skip(entries=0.4) allows 40.0 %'
    """

    def __init__(self) -> None:
        self._seen = 0
        self._entries: dict[int, int] = {}
        self._unknown = 0
        self._whole = 0

    def beyond(self, skip: Skip, ledger: Ledger[Any]) -> str:
        """What is lost, in words, if it is more than is allowed."""
        self._count(ledger)
        if not self._seen:
            return ""
        files = ledger.files
        if is_beyond(self._whole, len(files), skip.files):
            share = f" ({self._whole / len(files):.1%})".replace("%", " %")
            return f"{self._whole:,} of {len(files):,} files{share} are lost, and {_said('files', skip.files)}"
        mean = files.opened_entries / files.opened if files.opened else 0.0
        unseen = mean * self._unknown
        lost, total = ledger.failed + unseen, ledger.total + unseen
        if not is_beyond(lost, total, skip.entries):
            return ""
        about = "about " if unseen or ledger.estimated else ""
        share = f" ({lost / total:.1%})".replace("%", " %") if total else ""
        one = len(self._entries) == 1
        return (
            f"{about}{lost:,.0f} of {total:,.0f} entries{share} are lost, in {len(self._entries):,} "
            f"file{'' if one else 's'}, and {_said('entries', skip.entries)}"
        )

    def _count(self, ledger: Ledger[Any]) -> None:
        for loss in ledger.losses[self._seen :]:
            before = self._entries.get(loss.file, 0)
            state = ledger.files[loss.file]
            if loss.stop is None:
                self._unknown += 1
            lost = self._entries[loss.file] = before + ((loss.stop or 0) - loss.start)
            self._whole += state.given_up or 0 < (state.entries or 0) <= lost
        self._seen = len(ledger.losses)


def _said(name: str, limit: float | int | None) -> str:
    shown = f"{limit:.1%}".replace("%", " %") if isinstance(limit, float) else f"{limit:,}"
    return f"Skip({name}={limit!r}) allows {shown}"
