"""What there is to do: the work that is left of queries, and what their users wish.

Work is measured in *slot-seconds*: what is left of a query, times what it has cost a slot so far.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf


@dataclass(frozen=True, slots=True)
class Work:
    """What is left of a query.

    Args:
        query: its name.
        owner: whose it is.
        left: slot-seconds of an average slot.
        parallel: slots that can work on it at the same time.
        asked: when it was submitted, by the same clock as all times here.
        known: it is known what it costs; else `left` is a guess.
    """

    query: str
    owner: str
    left: float
    parallel: int
    asked: float = 0.0
    known: bool = True


@dataclass(frozen=True, slots=True)
class Wish:
    """What a user wishes for all her queries, until she wishes something else.

    Without a time to finish in, workers are started for as long as it is worth their start.

    Args:
        owner: who she is.
        pools: where workers may be started; none named: wherever they may serve her.
        finish_in: seconds after its submission in which each query is to be finished.
        deadline: when all that is there is to be finished.
        max_workers: at most, all pools together.
        max_cost: that may be spent on her work from now on.

    Example:
        >>> Wish("ada", finish_in=1200.0).due(Work("q-1", "ada", 600.0, 100, asked=50.0))
        1250.0
    """

    owner: str = ""
    pools: tuple[str, ...] = ()
    finish_in: float = inf
    deadline: float = inf
    max_workers: int | None = None
    max_cost: float = inf

    def due(self, work: Work) -> float:
        """When a query is to be finished."""
        return min(work.asked + self.finish_in, self.deadline)
