"""Work that flows: slots share the queries of those whom they serve, without packets.

Owners share slots fairly, and so do the queries of an owner: each has as many as it can use, and of those that could use
more none has more than another (max-min). Shares change only when a worker or a query comes or goes, so that it is known
when the next query ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from ..elastic.needs import fair_parts

_TINY = 1e-6


@dataclass(slots=True)
class Flow:
    """A query at work.

    Attributes:
        left: slot-seconds.
        pace: slot-seconds that are done in a second.
        slots: at work on it.
    """

    query: str
    owner: str
    work: float
    parallel: int
    asked: float
    guess: float = 1.0
    left: float = 0.0
    pace: float = 0.0
    slots: float = 0.0


@dataclass(slots=True)
class Source:
    """A worker that works: its slots, their speed, whom it serves, and how many of the slots do something."""

    name: str
    slots: int
    speed: float = 1.0
    owner: str = ""
    used: float = 0.0


class Fluid:
    """All queries and workers at a time.

    Example:
        >>> fluid = Fluid()
        >>> fluid.come(Source("w", slots=4), now=0.0)
        >>> fluid.submit(Flow("q", "ada", work=100.0, parallel=2, asked=0.0), now=10.0)
        >>> fluid.next_end
        60.0
        >>> [flow.query for flow in fluid.over(now=60.0)]
        ['q']
    """

    def __init__(self) -> None:
        self.flows: dict[str, Flow] = {}
        self.sources: dict[str, Source] = {}
        self.next_end = inf
        self.done = 0.0
        self._now = 0.0

    def come(self, source: Source, now: float) -> None:
        """A worker has joined."""
        self.pass_to(now)
        self.sources[source.name] = source
        self._share()

    def go(self, name: str, now: float) -> None:
        """One takes no more work."""
        if name in self.sources:
            self.pass_to(now)
            del self.sources[name]
            self._share()

    def submit(self, flow: Flow, now: float) -> None:
        """A query has come."""
        self.pass_to(now)
        flow.left = flow.work
        self.flows[flow.query] = flow
        self._share()

    def drop(self, query: str, now: float) -> None:
        """A query is no longer wanted."""
        self.pass_to(now)
        del self.flows[query]
        self._share()

    def over(self, now: float) -> list[Flow]:
        """The queries that have ended by now, which are forgotten."""
        self.pass_to(now)
        ended = [flow for flow in self.flows.values() if flow.left <= _TINY * max(1.0, flow.work)]
        for flow in ended:
            del self.flows[flow.query]
        self._share()
        return ended

    def pass_to(self, now: float) -> None:
        """Time has passed."""
        for flow in self.flows.values():
            done = min(flow.left, flow.pace * (now - self._now))
            flow.left -= done
            self.done += done
        self._now = now

    def _share(self) -> None:
        for flow in self.flows.values():
            flow.pace = flow.slots = 0.0
        owned = sorted(
            {source.owner for source in self.sources.values()}, reverse=True
        )  # those for everybody are the last
        for owner in owned:
            flows = [flow for flow in self.flows.values() if owner in ("", flow.owner)]
            self._give([source for source in self.sources.values() if source.owner == owner], flows)
        ends = [self._now + flow.left / flow.pace for flow in self.flows.values() if flow.pace > 0.0]
        self.next_end = min(ends, default=inf)

    def _give(self, sources: Sequence[Source], flows: Sequence[Flow]) -> None:
        """Let workers work on queries: those that came first."""
        owners = list(dict.fromkeys(flow.owner for flow in flows))
        wants = {owner: [flow for flow in flows if flow.owner == owner] for owner in owners}
        total = float(sum(source.slots for source in sources))
        free = [sum(flow.parallel - flow.slots for flow in wants[owner]) for owner in owners]
        given = fair_parts(free, total)
        left = sum(given)
        speed = 0.0
        for source in sources:
            source.used = min(float(source.slots), left)
            speed += source.used * source.speed
            left -= source.used
        mean = speed / sum(given) if sum(given) > _TINY else 0.0
        for owner, slots in zip(owners, given, strict=True):
            mine = wants[owner]
            for flow, part in zip(mine, fair_parts([flow.parallel - flow.slots for flow in mine], slots), strict=True):
                flow.slots += part
                flow.pace += part * mean
