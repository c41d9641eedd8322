"""What the autoscaler decides, and what it expects to come of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Literal

Hindrance = Literal["", "max_workers", "max_cost", "most", "share", "parallel", "start"]
"""Why a user has no more workers: she may have no more, or cannot pay for more; her pools may have no more, or are in
trouble; others have their share; no more slots could work at the same time; more would come too late."""


@dataclass(frozen=True, slots=True)
class Change:
    """Have these machines of a pool go, and `wanted` workers there when they are gone."""

    pool: str
    wanted: int
    stops: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Forecast:
    """What will become of a user's wish, as far as can be told.

    Args:
        owner: whose it is.
        finish: seconds until all that there is to do is done; infinity if it never will be.
        late: seconds after it should be; 0 if it will be in time.
        workers: that do it, with those that are on their way.
        spent: of the facility's currency, for her work since she wished it.
        cost: what will have been spent at the end.
        hindrance: why there are no more workers, if it will be late.
    """

    owner: str
    finish: float = 0.0
    late: float = 0.0
    workers: int = 0
    spent: float = 0.0
    cost: float = 0.0
    hindrance: Hindrance = ""

    @property
    def met(self) -> bool:
        """Whether it will come true."""
        return self.late <= 0.0 and self.finish < inf


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to be changed in which pools, and what is expected of each wish."""

    changes: Sequence[Change] = ()
    forecasts: dict[str, Forecast] = field(default_factory=dict)
