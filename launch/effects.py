"""What the launcher's core asks its loop to do, and what the loop answers: the only way a decision becomes I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..protocol.messages import Message
from .pools.pool import Job, Trouble


@dataclass(frozen=True, slots=True)
class Tell:
    """Send a message to the master."""

    message: Message


# --- calls of a pool, which may block: its thread does them in their order, and answers each -----------------------------


@dataclass(frozen=True, slots=True)
class Start:
    """Start so many workers. `call` is what the system calls their jobs; no other call has it."""

    pool: str
    call: str
    count: int


@dataclass(frozen=True, slots=True)
class Find:
    """Look for the jobs of a call of which nobody knows what became."""

    pool: str
    call: str


@dataclass(frozen=True, slots=True)
class FindLeft:
    """Look for all jobs of a pool, whoever has started them."""

    pool: str


@dataclass(frozen=True, slots=True)
class List:
    """Ask what the system says of these jobs."""

    pool: str
    jobs: Sequence[str]


@dataclass(frozen=True, slots=True)
class Stop:
    """Have the system end these jobs."""

    pool: str
    jobs: Sequence[str]


@dataclass(frozen=True, slots=True)
class ReadLog:
    """Get what a job that `call` started has said last."""

    pool: str
    call: str
    job: str


Call = Start | Find | FindLeft | List | Stop | ReadLog


@dataclass(frozen=True, slots=True)
class Answer:
    """What a call came to: `jobs` that were started or found, what the system says of them (`listing`), or the `text` of a
    log."""

    call: Call
    jobs: Sequence[str] = ()
    listing: Mapping[str, Job] = field(default_factory=dict)
    text: str = ""


@dataclass(frozen=True, slots=True)
class Failed:
    """A call came to nothing, and why."""

    call: Call
    words: str
    trouble: Trouble


# --- what is written down, before anything that comes after it is done --------------------------------------------------


@dataclass(frozen=True, slots=True)
class SaveWanted:
    """So many workers are wanted in a pool; somebody has said so `by_hand`, or nobody."""

    pool: str
    workers: int
    by_hand: bool = True


@dataclass(frozen=True, slots=True)
class SaveCall:
    """Workers will be asked for."""

    pool: str
    call: str
    count: int


@dataclass(frozen=True, slots=True)
class SaveJobs:
    """A call has these jobs, and its count is of no interest any more."""

    pool: str
    call: str
    jobs: Sequence[str]


@dataclass(frozen=True, slots=True)
class ForgetJobs:
    """Nothing is left of these jobs."""

    pool: str
    jobs: Sequence[str]


Saving = SaveWanted | SaveCall | SaveJobs | ForgetJobs


@dataclass(frozen=True, slots=True)
class Saved:
    """What an earlier launcher wrote down of a pool: how many were wanted, by hand or not, the calls without an answer and
    their counts, and the jobs, with the call of each."""

    wanted: int = 0
    calls: Mapping[str, int] = field(default_factory=dict)
    jobs: Mapping[str, str] = field(default_factory=dict)
    by_hand: bool = False


Effect = Tell | Call | Saving
