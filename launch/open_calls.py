"""Calls of a pool that ask for workers and have no answer yet: what was asked for counts, whatever is known of it.

    asked -> answered
    asked -> doubtful -> looked for -> its jobs are found, or twice in a row none: answered

A call is doubtful when its answer will not come: the system was down, or the launcher was killed in the middle of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf

from ..protocol.messages import LaunchInfo
from .launches import AGREED, Launch

FIND_SECONDS = 2.0
"""Between two looks for the jobs of a call, of which both must find none."""


@dataclass(slots=True)
class OpenCall:
    """One of them: for so many workers, when it was made; the next look for its jobs is at `look`, of those before so many
    in a row have found none."""

    count: int
    asked: float
    doubtful: bool = False
    looking: bool = False
    found_none: int = 0
    look: float = inf


class OpenCalls:
    """Those of one pool, by name.

    Args:
        left: by an earlier launcher, and the workers of each.
        now: the time.

    Example:
        >>> calls = OpenCalls({}, now=0.0)
        >>> calls.add("eventmill-slurm-1", 8, now=0.0)
        >>> calls.workers, calls.doubtful
        (8, False)
    """

    def __init__(self, left: Mapping[str, int], now: float) -> None:
        self.open = {name: OpenCall(count, now, doubtful=True, look=now) for name, count in left.items()}

    @property
    def workers(self) -> int:
        """That were asked for."""
        return sum(call.count for call in self.open.values())

    @property
    def doubtful(self) -> bool:
        """Whether some of them may never be answered."""
        return any(call.doubtful for call in self.open.values())

    @property
    def under_way(self) -> bool:
        """Whether the system is at one of them, or is being asked about one."""
        return any(call.looking or not call.doubtful for call in self.open.values())

    def add(self, name: str, count: int, now: float) -> None:
        """One is made."""
        self.open[name] = OpenCall(count, now)

    def close(self, name: str) -> OpenCall | None:
        """One is answered."""
        return self.open.pop(name, None)

    def doubt(self, name: str, now: float) -> None:
        """The answer to one will not come."""
        self.open[name].doubtful, self.open[name].look = True, now

    def infos(self, now: float) -> list[LaunchInfo]:
        """What was asked for and has no id yet, under the name of its call."""
        return [
            Launch(f"{name}/{index}", name, call.asked).info(now)
            for name, call in self.open.items()
            for index in range(call.count)
        ]

    def look(self, now: float) -> str | None:
        """One whose jobs are to be looked for now, if there is any; it counts as done then."""
        for name, call in self.open.items():
            if not call.looking and now >= call.look:
                call.looking = True
                return name
        return None

    def looked(self, name: str, now: float) -> bool:
        """No jobs of one were found: whether that was said often enough to be true."""
        call = self.open[name]
        call.looking, call.look = False, now + FIND_SECONDS
        call.found_none += 1
        return call.found_none >= AGREED

    def failed_to_look(self, name: str) -> None:
        """Nobody could say whether one has jobs."""
        if name in self.open:
            self.open[name].looking = False

    def due(self) -> float:
        """When the next look is to be; infinity if there is none."""
        return min((call.look for call in self.open.values() if not call.looking), default=inf)
