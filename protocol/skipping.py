"""What a query may lose before it fails: `on_error=em.Skip(...)`."""

from __future__ import annotations

import msgspec

Limit = int | float | None
"""A number, a fraction (a float from 0.0 to 1.0), or no limit."""


class Skip(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Go on after errors, and list what is lost in the account, up to a limit: for `on_error=` of `Session.process`.

    A query that loses more than one of these allows fails at once; its error has what was merged as its `result`.

    Args:
        entries: the most entries that may be lost: a whole number, or a fraction of the dataset, as 0.01. As long as not all
            files are open, of its estimated size; files that cannot be opened are put in at the mean of the others.
        files: the most files that may be lost as a whole: a number, or a fraction of all.

    Raises:
        ValueError: one of these is neither.

    Example:
        >>> query = session.process(["events.root", "missing.root"], missing_energy, on_error=em.Skip(entries=0.6, files=1))
        >>> query.result()["met"].sum()
        10000.0
        >>> Skip(files=2.5)
        Traceback (most recent call last):
        ValueError: Skip(files=2.5): it must be a whole number from 0 on, or a fraction from 0.0 to 1.0
    """

    entries: Limit = None
    files: Limit = None

    def __post_init__(self) -> None:
        for name, limit in (("entries", self.entries), ("files", self.files)):
            if limit is None:
                continue
            number = type(limit) is int and 0 <= limit < 2**62
            if not number and not (isinstance(limit, float) and 0.0 <= limit <= 1.0):
                raise ValueError(
                    f"Skip({name}={limit!r}): it must be a whole number from 0 on, or a fraction from 0.0 to 1.0"
                )


def is_beyond(lost: float, of: float, limit: Limit) -> bool:
    """Whether so many, of so many in all, are more than a limit allows.

    Example:
        >>> is_beyond(2, 100, 1), is_beyond(1, 100, 0.01), is_beyond(2, 100, 0.01), is_beyond(9, 10, None)
        (True, False, True, False)
    """
    if limit is None:
        return False
    return lost > (limit * of if isinstance(limit, float) else limit)
