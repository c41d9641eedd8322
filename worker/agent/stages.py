"""The stages of a slot, and of the worker, as its agent sees them: the tables that the agent goes by."""

from __future__ import annotations

from typing import Literal

SlotStage = Literal["starting", "up", "ending"]
WorkerStage = Literal["starting", "joining", "working", "draining"]

SLOT: dict[tuple[SlotStage, str], tuple[SlotStage, ...]] = {
    ("starting", "ready"): ("up",),
    ("starting", "exited"): ("starting",),
    ("starting", "replaced"): ("ending",),
    ("starting", "forkserver gone"): ("starting",),
    ("starting", "master forgot"): ("ending",),
    ("up", "exited"): ("starting",),
    ("up", "replaced"): ("ending",),
    ("up", "forkserver gone"): ("starting",),
    ("up", "master forgot"): ("ending",),
    ("ending", "exited"): ("starting",),
    ("ending", "forkserver gone"): ("starting",),
    ("ending", "master forgot"): ("ending",),
}
"""What may happen to a slot in each stage, and where it leads."""

WORKER: dict[tuple[WorkerStage, str], tuple[WorkerStage, ...]] = {
    ("starting", "all slots up"): ("joining",),
    ("starting", "end is near"): ("draining",),
    ("joining", "welcome"): ("working",),
    ("joining", "master forgot"): ("starting",),
    ("joining", "end is near"): ("draining",),
    ("working", "master forgot"): ("starting",),
    ("working", "end is near"): ("draining",),
}
"""What may happen to a worker in each stage, and where it leads. From each it may leave for good."""


def after(stage: SlotStage, event: str) -> SlotStage:
    """The stage of a slot after something has happened to it.

    Raises:
        KeyError: that cannot happen in this stage.

    Example:
        >>> after("starting", "ready"), after("up", "replaced"), after("ending", "exited")
        ('up', 'ending', 'starting')
    """
    (stage,) = SLOT[stage, event]
    return stage


def leads_to(stage: WorkerStage, later: WorkerStage) -> bool:
    """Whether a worker may get from one stage to another, by one step or more.

    Example:
        >>> leads_to("joining", "draining"), leads_to("draining", "working")
        (True, False)
    """
    reached: set[WorkerStage] = set()
    found = {stage}
    while found - reached:
        reached |= found
        found = {target for (origin, _), targets in WORKER.items() if origin in reached for target in targets}
    return later in reached
