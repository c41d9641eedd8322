"""Pools and the workers that they start, as tables in a terminal and in a notebook."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Iterable

from ..protocol.messages import LaunchInfo, PoolInfo, WishInfo
from .logs import shown
from .tables import html_table, text_table
from .wishes import wish_line

POOLS = ("pool", "system", "for", "workers", "trouble", "wanted", "most")
LAUNCHES = ("job", "pool", "stage", "host", "worker", "reason", "since", "start took")
WORDS_OF_POOLS, WORDS_OF_LAUNCHES = 5, 6
"""Of these headings, so many first ones are above words; below the others are numbers."""
STARTING = ("requested", "queued", "held", "started", "environment", "connected", "enrolled", "warm")


def pool_cells(info: PoolInfo) -> list[str]:
    """A pool under the headings `POOLS`."""
    stages = Counter(launch.stage for launch in info.launches if launch.stage != "gone")
    workers = ", ".join(f"{count} {stage}" for stage, count in stages.items()) or "none"
    words = (info.pool, info.system, info.owner or "everybody", workers, _first_line(info.trouble))
    return [*map(shown, words), f"{info.wanted:,}", f"{info.most:,}"]


def launch_cells(pool: str, info: LaunchInfo) -> list[str]:
    """A worker that a pool has started under the headings `LAUNCHES`."""
    words = (info.job, pool, info.stage, info.host, info.worker, _first_line(info.reason))
    took = sum(seconds for stage, seconds in info.stages.items() if stage in STARTING)
    return [*map(shown, words), f"{info.seconds:.0f} s", f"{took:.1f} s" if info.stages else ""]


def _first_line(text: str) -> str:
    return text.partition("\n")[0]


class LaunchList(list[LaunchInfo]):
    """The workers of one pool: a list that is shown as a table.

    Args:
        info: the pool.

    Example:
        >>> print(LaunchList(PoolInfo("night", "slurm", 1, 9, [LaunchInfo("4711_0", "queued", 7.0, "Priority")])))
        job     pool   stage   host  worker  reason    since  start took
        4711_0  night  queued                Priority    7 s
    """

    def __init__(self, info: PoolInfo) -> None:
        super().__init__(info.launches)
        self._pool = info.pool

    def __repr__(self) -> str:
        return (
            text_table(LAUNCHES, self._rows(), words=WORDS_OF_LAUNCHES) if self else f"no workers in pool {self._pool}"
        )

    def _repr_html_(self) -> str:
        return (
            html_table(LAUNCHES, self._rows(), WORDS_OF_LAUNCHES, "workers on their way")
            if self
            else f"<p>{self!r}</p>"
        )

    def _rows(self) -> list[list[str]]:
        return [launch_cells(self._pool, info) for info in self]


class PoolList(list[PoolInfo]):
    """The pools of a master: a list that is shown as a table, with what becomes of the wishes that they follow.

    Args:
        pools: them.
        wishes: those that they follow.

    Attributes:
        wishes: the same.

    Example:
        >>> PoolList()
        no pools
        >>> print(PoolList([PoolInfo("night", "slurm", 2, 9, [LaunchInfo("4711_0", "queued")])]))
        pool   system  for        workers   trouble  wanted  most
        night  slurm   everybody  1 queued                2     9
    """

    def __init__(self, pools: Iterable[PoolInfo] = (), wishes: Iterable[WishInfo] = ()) -> None:
        super().__init__(pools)
        self.wishes = list(wishes)

    def __repr__(self) -> str:
        table = text_table(POOLS, [pool_cells(info) for info in self], words=WORDS_OF_POOLS) if self else "no pools"
        return "\n".join([table, *map(wish_line, self.wishes)])

    def _repr_html_(self) -> str:
        if not self:
            return "<p>no pools</p>"
        wishes = "".join(f"<p>{html.escape(wish_line(wish))}</p>" for wish in self.wishes)
        return html_table(POOLS, [pool_cells(info) for info in self], WORDS_OF_POOLS, "pools") + wishes
