"""A query that runs as the journal has it: what a master that is started again goes on from."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..packetizer.files import Loss, OpenedFile
from ..packetizer.ranges import Ranges
from ..protocol.codec import Buffer
from ..protocol.messages import Account, Failure, Submit
from ..protocol.usage import WorkerInfo


@dataclass(slots=True)
class Saved:
    """A query that runs, as the journal has it. One that is over is `Finished`.

    Attributes:
        started: when it was submitted, in seconds since 1970.
        frames: those of the submission.
        attachments: large arrays of the analysis, by their digests, as far as they are there.
        opened: by index of the file.
        done: ranges that `total` holds, by index of the file. A file without entries is there, with no ranges, when its
            empty result is in the total.
        total: frames of the partial result; none before the first checkpoint.
        account: as it was at the last checkpoint; so is `report`.
        skipped: the first failure that `on_error="skip"` passed over, and its frames.
        damage: what of it was damaged, and what becomes of it, in words for its user; empty if nothing was.
    """

    number: str
    submit: Submit
    started: float
    frames: list[bytes] = field(default_factory=list)
    attachments: dict[str, Buffer] = field(default_factory=dict)
    opened: dict[int, OpenedFile] = field(default_factory=dict)
    done: dict[int, Ranges] = field(default_factory=dict)
    losses: list[Loss] = field(default_factory=list)
    total: list[bytes] = field(default_factory=list)
    account: Account = field(default_factory=Account)
    report: list[WorkerInfo] = field(default_factory=list)
    skipped: tuple[Failure, list[bytes]] | None = None
    damage: str = ""
