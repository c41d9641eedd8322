"""What became of a query's entries, in words."""

from __future__ import annotations

from ..protocol.messages import Account

_COUNTED = {"tree": ("entry", "entries"), "cycles": ("cycle", "cycles"), "items": ("item", "items")}


def describe_account(account: Account) -> str:
    """The account in one line.

    Example:
        >>> describe_account(Account(total=10, processed=10, files=1, files_opened=1))
        '10 of 10 entries processed in 1 of 1 file'
    """
    if not account.files:
        return "just submitted"
    if account.estimated and not account.total:
        return f"none of {account.files:,} {_files(account.files)} opened yet"
    about = "about " if account.estimated else ""
    text = f"{account.processed:,} of {about}{account.total:,} {counted(account)} processed"
    if account.kind == "tree":
        text += f" in {account.files_opened:,} of {account.files:,} {_files(account.files)}"
    if lost := losses_and_where(account):
        text += f", {lost}"
    if account.redone:
        text += f", {account.redone:,} redone"
    if account.notes:
        text += f" (note: {'; '.join(account.notes)})"
    return text


def counted(account: Account, count: int = 0) -> str:
    """What an account counts, in the word for so many: entries, cycles or items.

    Example:
        >>> counted(Account()), counted(Account(kind="cycles"), 1)
        ('entries', 'cycle')
    """
    one, many = _COUNTED[account.kind]
    return one if count == 1 else many


def losses(account: Account) -> str:
    """What is not in the result; empty when all of it is.

    Example:
        >>> losses(Account(total=10, processed=8, failed=2))
        '2 entries lost'
    """
    unopened = sum(lost.stop is None for lost in account.lost)
    words = [f"{account.failed:,} {counted(account, account.failed)}"] if account.failed else []
    if unopened:
        words.append(f"{unopened:,} {_files(unopened)}")
    if not words and account.lost:
        words.append(f"{len(account.lost):,} {'range' if len(account.lost) == 1 else 'ranges'}")
    return f"{' and '.join(words)} lost" if words else ""


def losses_and_where(account: Account) -> str:
    """The same, with where to look."""
    lost = losses(account)
    return f"{lost} (see result.account.lost)" if lost else ""


def _files(count: int) -> str:
    return "file" if count == 1 else "files"
