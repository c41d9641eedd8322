"""How the workers of a query came to be that pools have started: the stages of their starts, and how long each took."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import median

from ...protocol.messages import LaunchInfo

WORDS = "Workers that pools have started, and how long each stage of that took (medians):"
STAGES = ("requested", "queued", "held", "started", "environment", "connected", "enrolled", "warm", "idle")
"""Those before the first packet, in their order; "started" is until Python runs, "enrolled" until the slots are warm."""


def to_first_packet(launch: LaunchInfo) -> float:
    """Seconds from the request for a worker to its first packet, or to where it was last heard of.

    Example:
        >>> to_first_packet(LaunchInfo("1", "working", 9.0, stages={"requested": 0.5, "enrolled": 2.0, "idle": 0.0}))
        2.5
    """
    return sum(seconds for stage, seconds in launch.stages.items() if stage in STAGES)


def start_table(starts: Mapping[str, Sequence[LaunchInfo]]) -> tuple[list[str], list[list[str]]]:
    """A table of pools: headings, and a row each, with the median of what each stage took.

    Example:
        >>> launch = LaunchInfo("1", "working", 9.0, stages={"requested": 0.5, "queued": 60.0, "enrolled": 2.0})
        >>> start_table({"night": [launch, launch]})
        (['pool', 'workers', 'requested', 'queued', 'enrolled', 'to the first packet'], \
[['night', '2', '0.5 s', '60.0 s', '2.0 s', '62.5 s']])
    """
    met = {stage for launches in starts.values() for launch in launches for stage in launch.stages}
    stages = [stage for stage in STAGES if stage in met]
    rows = []
    for pool, launches in starts.items():
        took = [_middle(launch.stages.get(stage) for launch in launches) for stage in stages]
        rows.append([pool, f"{len(launches):,}", *took, _middle(map(to_first_packet, launches))])
    return ["pool", "workers", *stages, "to the first packet"], rows


def _middle(seconds: Iterable[float | None]) -> str:
    known = [it for it in seconds if it is not None]
    return f"{median(known):.1f} s" if known else ""
