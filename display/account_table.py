"""What became of a query's entries, as tables for a notebook."""

from __future__ import annotations

from ..protocol.messages import Account, LostRange
from .account_text import counted
from .tables import html_table

MOST_LOST = 10
"""Ranges of lost entries that are shown; the others are counted."""


def account_html(account: Account) -> str:
    """The account, and where entries were lost, and why: the first of them.

    Example:
        >>> "9 of 10 entries (90.0%)" in account_html(Account(total=10, processed=9, failed=1))
        True
    """
    about = "about " if account.estimated else ""
    share = f" ({account.processed / account.total:.1%})" if account.total else ""
    rows = {
        "processed": f"{account.processed:,} of {about}{account.total:,} {counted(account)}{share}",
        "failed": f"{account.failed:,}" if account.failed else "",
        "files": f"{account.files_opened:,} of {account.files:,} opened" if account.kind == "tree" else "",
        "redone": f"{account.redone:,}" if account.redone else "",
        "refused": f"{account.refused:,}" if account.refused else "",
        "workers lost": f"{account.workers_lost:,}" if account.workers_lost else "",
        "notes": "; ".join(account.notes),
    }
    table = html_table(("", ""), [(name, text) for name, text in rows.items() if text], words=2)
    if not account.lost:
        return table
    lost = [(it.path, _entries(it), it.reason) for it in account.lost[:MOST_LOST]]
    more = len(account.lost) - MOST_LOST
    caption = "lost" if more <= 0 else f"lost (and {more:,} more, in account.lost)"
    return table + html_table(("file", "entries", "reason"), lost, words=3, caption=caption)


def _entries(lost: LostRange) -> str:
    """
    Example:
        >>> _entries(LostRange("a.root", "", 5, 7, "")), _entries(LostRange("a.root", "", 0, None, ""))
        ('5 to 7', 'all')
    """
    return "all" if lost.stop is None else f"{lost.start:,} to {lost.stop:,}"
