"""What a query gives back: snapshots while it runs, a result at its end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

from ..merge import Partial, decode
from ..protocol.codec import Frames
from ..protocol.messages import Account, State


class Snapshot:
    """The merged result of the entries processed so far.

    Attributes:
        account: what became of the entries up to now.
        seconds: time since the query began.
        state: "running", or the final state.

    Example:
        A snapshot is read like the dict that the analysis returns::

            snapshot["mass"].plot()
    """

    def __init__(self, frames: Frames, account: Account, seconds: float, state: State) -> None:
        self._frames = frames
        self.account = account
        self.seconds = seconds
        self.state = state

    @cached_property
    def value(self) -> Any:
        """What the analysis returned, merged: a dict for kernels, any mergeable object for functions."""
        return decode(Partial.from_frames(self._frames)) if self._frames else None

    @property
    def fraction(self) -> float:
        """Fraction of the dataset's entries in this result, 0 to 1; of an estimate while files are unopened."""
        return self.account.processed / self.account.total if self.account.total else float(self.final)

    @property
    def final(self) -> bool:
        """Whether the query is over."""
        return self.state not in ("running", "merging")

    def __getitem__(self, key: Any) -> Any:
        if self.value is None:
            raise KeyError(f"{key!r}: nothing has been merged")
        return self.value[key]

    def __contains__(self, key: object) -> bool:
        return isinstance(self.value, Mapping) and key in self.value

    def __iter__(self) -> Iterator[Any]:
        return iter(self.value if self.value is not None else ())

    def keys(self) -> Any:
        return (self.value or {}).keys()

    def items(self) -> Any:
        return (self.value or {}).items()

    def values(self) -> Any:
        return (self.value or {}).values()

    def __repr__(self) -> str:
        content = list(self.value) if isinstance(self.value, Mapping) else type(self.value).__name__
        return (
            f"<{type(self).__name__} {self.state}: {describe_account(self.account)}, {self.seconds:.1f} s, {content}>"
        )


class Result(Snapshot):
    """The result of a query that is over: all of the dataset ("done"), or what was merged when it was stopped."""


def describe_account(account: Account) -> str:
    """The account in one line.

    Example:
        >>> describe_account(Account(total=10, processed=10, files=1, files_opened=1))
        '10 of 10 entries processed in 1 of 1 files'
    """
    about = "about " if account.estimated else ""
    text = f"{account.processed:,} of {about}{account.total:,} entries processed"
    text += f" in {account.files_opened:,} of {account.files:,} files"
    if account.failed or account.lost:
        text += f", {account.failed:,} failed"
    if account.redone:
        text += f", {account.redone:,} redone"
    return text
