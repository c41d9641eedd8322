"""A lease: the right of one slot to process some entries of a file, and the stages that it goes through.

`TRANSITIONS` is the table that the ledger goes by: what it does not allow is refused as stale.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any


class StaleLease(Exception):
    """A part of a commit, or a report, names a lease that is not live or a range that is not its own."""


class Stage(Enum):
    """Where a lease is between being made and being over."""

    OPENING = "opening"
    """Its file is to be opened under it: neither length nor end are known."""
    LEASED = "leased"
    """Its entries are at work, or wait in its holder's queue."""
    FINISHED = "finished"
    """Its entries are processed; the commit that carries them is still to come."""
    OVER = "over"
    """Nobody may report on it or commit it any more."""


TRANSITIONS: dict[tuple[Stage, str], tuple[Stage, ...]] = {
    (Stage.OPENING, "opened"): (Stage.LEASED,),
    (Stage.OPENING, "truncate"): (Stage.OPENING, Stage.OVER),
    (Stage.OPENING, "give back"): (Stage.OVER,),
    (Stage.OPENING, "fail"): (Stage.OVER,),
    (Stage.LEASED, "truncate"): (Stage.LEASED, Stage.OVER),
    (Stage.LEASED, "finished"): (Stage.FINISHED, Stage.OVER),
    (Stage.LEASED, "commit"): (Stage.LEASED,),
    (Stage.LEASED, "give back"): (Stage.OVER,),
    (Stage.LEASED, "fail"): (Stage.OVER,),
    (Stage.LEASED, "duplicate committed"): (Stage.OVER,),
    (Stage.FINISHED, "commit"): (Stage.FINISHED, Stage.OVER),
    (Stage.FINISHED, "give back"): (Stage.OVER,),
    (Stage.FINISHED, "fail"): (Stage.OVER,),
    (Stage.FINISHED, "duplicate committed"): (Stage.OVER,),
}
"""What may happen to a lease in each stage, and where it leads; anything else is refused as stale."""


def diagram() -> str:
    """The stages of a lease as a Mermaid state diagram, drawn from `TRANSITIONS`."""
    lines = ["stateDiagram-v2", "    [*] --> opening: lease_opening", "    [*] --> leased: lease, duplicate"]
    for (stage, event), targets in TRANSITIONS.items():
        lines += [f"    {stage.value} --> {target.value}: {event}" for target in targets]
    return "\n".join([*lines, "    over --> [*]"])


@dataclass(slots=True)
class Lease:
    """The right of one holder to process entries `[start, stop)` of a file.

    An `opening` lease stands for a file whose length is not known: its `stop` is a wish until the file is opened.
    A `finished` lease is processed and waits for the commit that carries it; so does the lease of a file without entries,
    whose empty result is committed like any other. With a `chunk`, its entries are suspected of taking slots down, and no
    more of them are taken at a time.
    """

    number: int
    file: int
    start: int
    stop: int
    holder: Any
    stage: Stage = Stage.LEASED
    committed: bool = False
    duplicate: int | None = None
    chunk: int | None = None

    @property
    def opening(self) -> bool:
        """Whether its file is still to be opened."""
        return self.stage is Stage.OPENING

    @property
    def finished(self) -> bool:
        """Whether it is processed, and waits for the commit that carries it."""
        return self.stage is Stage.FINISHED
