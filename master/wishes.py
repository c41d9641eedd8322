"""Users' wishes, and what was learnt of pools, as the master writes them down: they outlive it."""

from __future__ import annotations

from collections.abc import Iterable
from math import inf

import msgspec

from ..elastic.autoscaler import Saved
from ..elastic.demand import Wish
from ..protocol.messages import WishTerms
from ..protocol.values import Amount, Seconds, Word


class Wished(msgspec.Struct, frozen=True, array_like=True):
    """A user's wish, and what was spent for her since. `deadline` is seconds since 1970; that of the terms is not used."""

    owner: Word
    terms: WishTerms
    deadline: float | None = None
    spent: Amount = 0.0


class Starts(msgspec.Struct, frozen=True, array_like=True):
    """The last start times of a pool's workers."""

    pool: Word
    times: list[Seconds] = []


def wish_of(owner: str, terms: WishTerms, now: float) -> Wish:
    """A wish as the autoscaler takes it.

    Example:
        >>> wish_of("ada", WishTerms(finish_in=1200.0, deadline=60.0), now=5.0).deadline
        65.0
    """
    return Wish(
        owner,
        tuple(terms.pools),
        inf if terms.finish_in is None else terms.finish_in,
        inf if terms.deadline is None else now + terms.deadline,
        terms.max_workers,
        inf if terms.max_cost is None else terms.max_cost,
    )


def terms_of(wish: Wish, now: float) -> WishTerms:
    """A wish as it is told."""
    return WishTerms(
        list(wish.pools),
        None if wish.finish_in == inf else wish.finish_in,
        None if wish.deadline == inf else max(0.0, wish.deadline - now),
        wish.max_workers,
        None if wish.max_cost == inf else wish.max_cost,
    )


def saved_of(records: Iterable[Wished | Starts], epoch: float) -> Saved:
    """What an earlier master has written down, by the clock of this one: `epoch` is what is to be added to that for seconds
    since 1970."""
    wishes, starts, spent = [], {}, {}
    for record in records:
        if isinstance(record, Starts):
            starts[record.pool] = record.times
            continue
        deadline = None if record.deadline is None else max(0.0, record.deadline - epoch)
        wishes.append(wish_of(record.owner, msgspec.structs.replace(record.terms, deadline=deadline), 0.0))
        spent[record.owner] = record.spent
    return Saved(wishes, starts, spent)


def records_of(saved: Saved, epoch: float) -> list[Wished | Starts]:
    """What is to be written down."""
    wishes = [
        Wished(wish.owner, terms_of(wish, 0.0), None if wish.deadline == inf else wish.deadline + epoch, spent)
        for wish in saved.wishes
        for spent in (max(0.0, saved.spent.get(wish.owner, 0.0)),)
    ]
    return [*wishes, *(Starts(pool, list(times)) for pool, times in saved.starts.items())]
