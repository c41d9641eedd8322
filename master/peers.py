"""Who has said hello: sessions, workers and their slots, as the master sees them."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..protocol import codec, messages
from ..protocol.usage import WorkerInfo
from .access import SESSION, Identity
from .listening import HEARTBEAT
from .shares import Share

Whose = tuple[str, str]
"""Whose a query is: the user, by her key ("": the master's owner), and what the query's owner is called."""


@dataclass(slots=True, eq=False)
class Slot:
    """One slot of a worker, and the leases that it works on, oldest first, with what each takes of its credit, `taken`
    together; one that is `leaving` gets no more.

    It began with the first of them at the time `since`. `files` are those whose layouts it knows (`master.layouts`), the one
    used last at the end. It has worked for nobody but `whose` since the time `served` (None: for nobody).
    """

    worker: Worker
    index: int
    up: bool = True
    leaving: bool = False
    leases: dict[tuple[str, int], int] = field(default_factory=dict)
    taken: int = 0
    files: dict[tuple[str, str, str, str], None] = field(default_factory=dict)
    since: float = 0.0
    whose: Whose | None = None
    served: float = 0.0


@dataclass(slots=True)
class Peer:
    """Anybody who has said hello, with this key, which lets in as `who`. It was `heard` last at that time of
    `listening.Listening`, and is to be heard again `within` so many seconds."""

    identity: bytes
    name: str
    heard: float
    spoken: float
    key: str = ""
    who: Identity = SESSION
    within: float = HEARTBEAT


@dataclass(slots=True)
class Worker(Peer):
    """A worker; a worker that comes back after it was lost is another one, with another name. It may be known to be gone
    at the time `until`. `attachments` are the digests of those that it has, it is there since it `joined`, and has `changed`
    in that turn of displays (`master.cluster_book`). One that a `pool` has started is the `job` of its system."""

    host: str = ""
    site: str = ""
    pid: int = 0
    slots: list[Slot] = field(default_factory=list)
    leases: dict[tuple[str, int], Slot] = field(default_factory=dict)
    total: Share = field(default_factory=lambda: Share("", 0, 0))
    until: float | None = None
    attachments: set[str] = field(default_factory=set)
    joined: float = 0.0
    changed: int = 0
    pool: str = ""
    job: str = ""

    @property
    def owner(self) -> str:
        """Whose queries it serves: a user's, those of a "@group", or everybody's ("")."""
        return self.who.owner

    def info(self) -> WorkerInfo:
        """One line of the list of workers."""
        return self.total.info(self.name, sum(bool(slot.leases) for slot in self.slots))


def unfit(who: Identity, hello: messages.Hello, python: str) -> str:
    """Why a peer whose key lets in as `who` cannot join a master that runs on `python`; empty when it can."""
    if hello.protocol != messages.PROTOCOL:
        return codec.version_mismatch(hello.protocol)
    role = who.role
    if hello.role != role and (hello.role, role) != ("launcher", "session"):
        return f"a {role} key cannot be used as a {hello.role}: use the {hello.role}'s connection file"
    if hello.python != python:
        return (
            f"this {hello.role} runs Python {hello.python or '?'}, the master runs Python {python}: "
            "analyses travel as bytecode, so use the same minor version everywhere"
        )
    if hello.slots > who.slots:
        return f"by the token {who.token!r} a worker has at most {who.slots} slots, not {hello.slots}"
    return ""
