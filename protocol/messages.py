"""The messages that sessions, the master, agents and slots exchange.

Every message is a frozen struct whose class name is its tag on the wire. Arrays and opaque bytes are never inside a
message: they travel as the *frames* behind it (`protocol.codec`), and each docstring says which frames belong to it.
The same `Lease`, `Opened`, `Finished`, `Commit` and `Failed` are spoken on both hops, master - agent and agent - slot.

Units: entries are entry numbers of one tree, `stop` is exclusive, times are seconds, sizes are bytes.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from .column_types import MOST_COLUMNS, ColumnType
from .usage import WorkerInfo
from .values import MOST, Calls, Chunk, Digest, Digests, NonNegative, Runs, Scalar, Seconds, TriedCalls, Word, Words

PROTOCOL = 4
"""Version of this vocabulary; a peer with another one is refused in words."""

Role = Literal["session", "worker"]
State = Literal["running", "merging", "done", "stopped", "aborted", "failed"]
"""States of a query; all but the first two are final."""
Activity = Literal["loading", "opening", "reading", "compiling", "running"]
"""What a slot can be doing: it loads the user's code, opens a file, waits for data, compiles, or runs the analysis."""
WaitsFor = Literal["workers", "slots", "server", "retry", "credentials", "merging", "failure"]
"""What a query can wait for: workers to join, slots that are busy with other queries, a file server, another try of what
failed, credentials that a session has to bring, what is being merged, or what a query that failed has merged before."""
FINAL: frozenset[str] = frozenset({"done", "stopped", "aborted", "failed"})


class Message(msgspec.Struct, frozen=True, tag=True, tag_field="type"):
    """Base of all messages."""


# --- parts of messages ----------------------------------------------------------------------------------------------


class Friend(msgspec.Struct, frozen=True, array_like=True):
    """A tree whose branches belong to the same entries as those of a file."""

    path: Words
    tree: Word = ""


class File(msgspec.Struct, frozen=True):
    """One file of a dataset. An empty `tree` means the only tree in the file.

    `entries` is the number of entries where it is known beforehand; the file itself has the last word. `replicas` are
    copies of it elsewhere. `listed`, where it is not None, are the only entries that are used; packets of such a file
    number them from 0. Cycles and items are in no file: `entries` of them are made (with `seed`), or come with the query.
    `friends` are trees with more branches for its entries, by name.
    """

    path: Words
    tree: Word = ""
    dataset: Word = ""
    entries: NonNegative | None = None
    metadata: dict[Word, Scalar] = {}
    kind: Literal["tree", "cycles", "items"] = "tree"
    seed: NonNegative = 0
    replicas: list[Words] = []
    listed: Runs | None = None
    friends: dict[Word, Friend] = {}


class Gap(msgspec.Struct, frozen=True, array_like=True):
    """Entries `[start, stop)` of a part that are not in its result, and why."""

    start: NonNegative
    stop: NonNegative
    reason: Words


class Part(msgspec.Struct, frozen=True, array_like=True):
    """Entries `[start, stop)` of a lease, as they stand in a commit. Its `gaps`, in ascending order, were skipped."""

    lease: NonNegative
    start: NonNegative
    stop: NonNegative
    gaps: list[Gap] = []

    @property
    def skipped(self) -> int:
        """Entries of its gaps."""
        return sum(gap.stop - gap.start for gap in self.gaps)


class LeaseKey(msgspec.Struct, frozen=True, array_like=True):
    """A lease, named from outside its query."""

    query: Word
    lease: NonNegative


class Failure(msgspec.Struct, frozen=True):
    """An error on its way to the user: what was raised, by which line, on which entries.

    `transient` errors, such as a server that does not answer, may be gone when it is tried again. `missing` is the name of
    the branch that a file has not, `notes` are those of the exception.
    `kind` says whose fault it is: the user's code ("analysis"), the input ("data"), the slot that vanished ("slot"), or
    ours, since a partial result does not count the entries that it is said to hold ("count"): that one is never skipped.
    The exception itself, pickled, travels as a frame behind the message, so that the session can raise it again.
    """

    kind: Literal["analysis", "data", "slot", "count"]
    error: Word
    message: Words
    notes: Words = ""
    traceback: Words = ""
    path: Words = ""
    tree: Word = ""
    start: NonNegative | None = None
    stop: NonNegative | None = None
    worker: Word = ""
    transient: bool = False
    missing: Word = ""


class LostRange(msgspec.Struct, frozen=True):
    """Entries that are not in the result, and why. `stop` is None where the file was never opened.

    Of a file of which only listed entries are used, `runs` are those that are meant: what lies between was never wanted.
    `supplied` says that the dataset has aliases or defaults, or a mask that nobody has applied to these entries; `limited`
    that only the first entries of the dataset were wanted, and nobody knows how many of these.
    """

    path: Words
    tree: Word
    start: NonNegative
    stop: NonNegative | None
    reason: Words
    dataset: Word = ""
    metadata: dict[Word, Scalar] = {}
    kind: Literal["tree", "cycles", "items"] = "tree"
    runs: Runs | None = None
    friends: dict[Word, Friend] = {}
    supplied: bool = False
    limited: bool = False


class Account(msgspec.Struct, frozen=True):
    """What became of a query's entries; `total` is exact once every file has been opened (`estimated` false).

    `kind` is what is counted: the entries of trees, cycles, or items. `notes` tell what was not as announced, such as a file
    with fewer entries than its catalogue says.
    """

    total: NonNegative = 0
    processed: NonNegative = 0
    failed: NonNegative = 0
    estimated: bool = False
    files: NonNegative = 0
    files_opened: NonNegative = 0
    redone: NonNegative = 0
    refused: NonNegative = 0
    workers_lost: NonNegative = 0
    notes: list[Words] = []
    lost: list[LostRange] = []
    kind: Literal["tree", "cycles", "items"] = "tree"


class Wait(msgspec.Struct, frozen=True):
    """What a query waits for. For a file server: how many `slots` do, the `server` that one of them has waited for longest,
    for so many `seconds`, with which `file`. Before another try: the `reason` why the last one failed."""

    what: WaitsFor
    slots: NonNegative = 0
    server: Words = ""
    file: Words = ""
    seconds: Seconds = 0.0
    reason: Words = ""


class QueryInfo(msgspec.Struct, frozen=True):
    """One line of the list of queries; its account has no list of losses."""

    query: Word
    name: Word
    owner: Word
    state: State
    account: Account
    seconds: Seconds


# --- any peer -------------------------------------------------------------------------------------------------------


class Hello(Message, frozen=True):
    """First message of a peer. `protocol` and `python` must be the master's; slots are up and warm when a worker says it.

    `incarnation` counts the hellos that this peer said before. The welcome repeats it: what comes before the welcome of
    the latest hello is for what the peer was earlier.
    """

    role: Role
    name: Word
    protocol: int = PROTOCOL
    version: Word = ""
    python: Word = ""
    host: Word = ""
    site: Word = ""
    pid: NonNegative = 0
    slots: Annotated[int, Meta(ge=0, le=4096)] = 0
    incarnation: NonNegative = 0


class Welcome(Message, frozen=True):
    """The master's answer to `Hello`: its view of the peer and how often it wants to hear from it."""

    peer: Word
    version: Word
    heartbeat: Seconds
    silence: Seconds
    incarnation: NonNegative = 0


class Heartbeat(Message, frozen=True):
    """Sent when there was nothing else to say; any message counts as one."""


class Fault(Message, frozen=True):
    """The peer's message could not be accepted: why, in words. `fatal` ends the conversation."""

    reason: Words
    fatal: bool = False


class Unknown(Message, frozen=True):
    """The master does not know this peer (any more): say hello again, leases of before are dead."""


class Bye(Message, frozen=True):
    """The peer leaves in good order."""


# --- session to master ----------------------------------------------------------------------------------------------


class Submit(Message, frozen=True):
    """Start a query. Frames: the analysis (opaque), the files (MessagePack of `list[File]`), and the shared inputs, if any:
    opaque bytes that go to every slot, the items of a dataset of items, or the `SharedInputs` of one of files. With
    `credentials`, the last frame is what `Credentials` has; the query waits for them when a master that was started again
    has none.

    Of two queries of one owner, the one of higher `priority` is served first. `most_readers` slots at most read from one
    file server at a time. A slot that is at work on the same few entries for longer than `timeout` is ended.
    `seed` is of the random numbers that the analysis draws without one of its own. `chunk` bounds the entries of a call.
    Of submissions with the same `token` (random, the session's) the first one starts a query, and the others find it.

    `attachments` names large arrays of the analysis. The bytes of those that are `carried` are frames behind all others;
    of the others, the master may have them. `Lacking` answers if it does not: then it is submitted again, with these.
    """

    request: NonNegative
    name: Word
    kind: Literal["kernel", "columnar", "processor"]
    digest: Word
    owner: Word = ""
    branches: list[Word] | None = None
    on_error: Literal["fail", "skip"] = "fail"
    limit: NonNegative | None = None
    priority: Annotated[int, Meta(ge=-1000, le=1000)] = 0
    most_readers: Annotated[int, Meta(ge=1, le=2**31)] | None = None
    timeout: Seconds = 600.0
    credentials: bool = False
    seed: NonNegative = 0
    chunk: Chunk | None = None
    token: Word = ""
    attachments: Digests = []
    carried: Digests = []


class Stop(Message, frozen=True):
    """End a query early: keep what is merged (`keep`), or drop it."""

    query: Word
    keep: bool


class Credentials(Message, frozen=True):
    """What the slots of a query show to file servers from now on. Frame: opaque bytes, of which nobody writes anything down.

    A session says it to renew them; the master says it to workers behind `Setup`, and agents to slots.
    """

    query: Word


class Remove(Message, frozen=True):
    """Forget a query that is over, and its result."""

    query: Word


class Attach(Message, frozen=True):
    """Receive the snapshots and the end of a query submitted earlier, by any session."""

    request: NonNegative
    query: Word


class Seen(Message, frozen=True):
    """A snapshot of a query has arrived."""

    query: Word


class Ask(Message, frozen=True):
    """Ask for the list of queries or of workers."""

    request: NonNegative
    what: Literal["queries", "workers"]


class Shutdown(Message, frozen=True):
    """End the master, and with it its workers."""


class Drain(Message, frozen=True):
    """Let a worker leave in good order: it gets no more, hands on what it has not done, commits and goes.

    A session says it to the master, with the worker's name; the master passes it on.
    """

    worker: Word


# --- master to session ----------------------------------------------------------------------------------------------


class Accepted(Message, frozen=True):
    """A `Submit` or `Attach` succeeded. `unsaved` says why the query is not in the journal, if it should be."""

    request: NonNegative
    query: Word
    unsaved: Words = ""


class Lacking(Message, frozen=True):
    """The answer to a `Submit` whose analysis has attachments that the master does not have: nothing was submitted."""

    request: NonNegative
    digests: Digests


class Refused(Message, frozen=True):
    """A request did not succeed: why, in words."""

    request: NonNegative
    reason: Words


class Queries(Message, frozen=True):
    """Answer to `Ask`."""

    request: NonNegative
    queries: list[QueryInfo]


class Workers(Message, frozen=True):
    """Answer to `Ask`."""

    request: NonNegative
    workers: list[WorkerInfo]


class Progress(Message, frozen=True):
    """Where a query stands, several times a second. `reached` counts processed entries, committed or not yet.

    `slots` are at work on it. `waits` says what it waits for while none is, or the server that some or all of them wait
    for; `begins` what they do while nothing is reached.
    """

    query: Word
    account: Account
    reached: NonNegative
    bytes_read: NonNegative
    slots: NonNegative
    workers: NonNegative
    seconds: Seconds
    waits: Wait | None = None
    begins: Activity | None = None


class Snapshot(Message, frozen=True):
    """The merged result so far, and the account that it covers. Frames: the partial result.

    The session answers with `Seen`, and gets no other snapshot of the query before: a slow session falls behind, it does
    not pile up messages.
    """

    query: Word
    account: Account
    seconds: Seconds


class Ended(Message, frozen=True):
    """A query reached a final state.

    Frames: the partial result (`result_frames` of them, none after abort), the losses (MessagePack of `list[LostRange]`),
    and the pickled exception, if any.
    """

    query: Word
    state: State
    account: Account
    seconds: Seconds
    report: list[WorkerInfo] = []
    failure: Failure | None = None
    result_frames: NonNegative = 0


# --- master to worker, agent to slot --------------------------------------------------------------------------------


class Setup(Message, frozen=True):
    """A query that leases will follow for. Frames: the analysis (opaque), and the shared inputs, if the query has one."""

    query: Word
    kind: Literal["kernel", "columnar", "processor"]
    digest: Word
    name: Word = ""
    branches: list[Word] | None = None
    on_error: Literal["fail", "skip"] = "fail"
    timeout: Seconds = 600.0
    seed: NonNegative = 0
    chunk: Chunk | None = None
    owner: Word = ""


class Attachment(Message, frozen=True):
    """A large array of an analysis, for all queries to come that have it, until `Detach`. Frame: its bytes."""

    digest: Digest


class Detach(Message, frozen=True):
    """No query of now has this attachment, and the master has forgotten it."""

    digest: Digest


class Lease(Message, frozen=True):
    """A packet for one slot: entries `[start, stop)` of a file.

    `opening` says that the length of the file is not known yet: the slot answers with `Opened`, and takes of the range
    what the file has, or less, to end at a cluster; never more. `seconds` is the time the packet may take; a slot that
    needs longer stops at the next entry it can stop at, and the rest goes back to the master. The result of an `apart`
    lease is committed alone, because another slot works on the same entries and only the first commit counts.

    Of a file whose entries are listed, `[start, stop)` numbers the listed ones, and `runs` says which they are (those of
    the whole file in an opening lease, unless a mask is still to tell). `identity` is the file's, as it was opened first:
    a slot that finds another one under the name must not go on.

    `calls` are what is known of the analysis' calls, in all slots and in earlier queries: some for each size.

    Frames: the layout of the file as another slot has described it, where the master has one and the slot has not.

    `chunk` limits how many entries are taken at a time, where some of them are suspected of taking slots down. With
    `last_try`, a query that skips errors skips those of the data too: nobody will try to read these entries again. With
    `other_replicas`, it does not skip what is damaged: another replica may be whole.
    """

    lease: NonNegative
    query: Word
    slot: NonNegative
    file: File
    start: NonNegative
    stop: NonNegative
    seconds: Seconds
    opening: bool = False
    apart: bool = False
    identity: Word = ""
    runs: Runs | None = None
    chunk: Annotated[int, Meta(ge=1, le=MOST)] | None = None
    last_try: bool = False
    other_replicas: bool = False
    calls: TriedCalls = []


class Truncate(Message, frozen=True):
    """End a lease at `stop`, or as soon after as can be: an idle slot wants the rest. `Truncated` answers."""

    query: Word
    lease: NonNegative
    stop: NonNegative


class Revoke(Message, frozen=True):
    """A lease is dead, because another slot was faster with the same entries: drop it.

    A slot that has done so says the same to its agent; the master is not answered.
    """

    query: Word
    lease: NonNegative


class Release(Message, frozen=True):
    """A query is over: drop its leases, what was accumulated for it, and its code; unless it is `merging` also the
    compaction of its total, which nobody waits for any more.

    A slot that has done so says the same to its agent; the master is not answered.
    """

    query: Word
    merging: bool = False


class Committed(Message, frozen=True):
    """The master's answer to `Commit`: accepted as a whole, or refused as a whole."""

    commit: NonNegative
    accepted: bool
    reason: Words = ""


class Compact(Message, frozen=True):
    """Merge what only Python can merge: the pickled objects in a total, which the master never unpickles.

    Frames: the analysis (opaque), whose classes the objects may be of, and the partial result. The slot does it in turn,
    between the leases it has.
    """

    query: Word
    slot: NonNegative


# --- worker to master, slot to agent --------------------------------------------------------------------------------


class Opened(Message, frozen=True):
    """A file has been opened: its entries, where reads are best cut, and the range `[start, stop)` that the lease became.

    Of a file whose entries are listed, all of these number the listed ones; `listed` is what a mask has left, if there is
    one.
    """

    query: Word
    lease: NonNegative
    entries: NonNegative
    stop: NonNegative
    clusters: Annotated[list[NonNegative], Meta(max_length=4096)]
    identity: Word = ""
    listed: Runs | None = None


LARGEST_LAYOUT = 4 * 2**20
"""Bytes of the layout of one file; of a larger one each slot makes its own."""


class Described(Message, frozen=True):
    """The layout of the file that a lease is of, for slots that are to read it later. Frames: the layout, opaque.

    `path` is where the file was read: of replicas, each has its own.
    """

    query: Word
    lease: NonNegative
    path: Words


class Columns(Message, frozen=True):
    """What the columns are like that an analysis reads of the file of a lease, as far as it is new to the slot: the types
    of those that it had not met before in the query, and which of them the file lacks, so that they are `filled` in.

    Where a type is another one than a slot before has met, and the query goes on, the master answers the slot with those
    that hold.
    """

    query: Word
    lease: NonNegative
    types: Annotated[dict[Word, ColumnType], Meta(max_length=MOST_COLUMNS)] = {}
    filled: Annotated[list[Word], Meta(max_length=MOST_COLUMNS)] = []
    slot: NonNegative = 0


class Reached(Message, frozen=True):
    """Where in a lease its slot is: every entry before `entry` is processed."""

    query: Word
    lease: NonNegative
    entry: NonNegative


class Doing(Message, frozen=True):
    """What a slot has been doing for a lease, said when that takes long, and once more when it does something else.

    `path` is where the file is read, of replicas the one that the slot was given.
    """

    query: Word
    lease: NonNegative
    what: Activity
    seconds: Seconds
    path: Words


class Truncated(Message, frozen=True):
    """The answer to `Truncate`: the lease ends at `stop`, and the entries behind it are free for others.

    A lease that was truncated to its start is over; no `Finished` follows.
    """

    query: Word
    lease: NonNegative
    stop: NonNegative


class Finished(Message, frozen=True):
    """A slot is through with a lease, up to `stop`; its result comes with a later (or the same) commit.

    `seconds` tell how fast its entries were processed; the others what the lease cost, as in `Usage`. `calls` are
    the latest calls of the analysis, of the `made` ones that the lease took.
    """

    query: Word
    lease: NonNegative
    stop: NonNegative
    seconds: Seconds
    cpu: Seconds
    bytes_read: NonNegative
    elapsed: Seconds = 0.0
    waited: Seconds = 0.0
    requests: NonNegative = 0
    latency: Seconds = 0.0
    calls: Calls = []
    made: NonNegative = 0


class Commit(Message, frozen=True):
    """Ranges and their partial result: both count, or neither does. Frames: the partial result, which counts its entries."""

    commit: NonNegative
    query: Word
    parts: Annotated[list[Part], Meta(min_length=1)]


class Failed(Message, frozen=True):
    """A lease ended in an error, nothing of it is in any commit. Frames: the pickled exception, or none."""

    query: Word
    lease: NonNegative
    failure: Failure


class Skipped(Message, frozen=True):
    """The first error that a slot passed over in a query that skips errors. Frames: the pickled exception, or none."""

    query: Word
    failure: Failure


class Compacted(Message, frozen=True):
    """The answer to `Compact`. Frames: the partial result with its objects merged; or the pickled exception."""

    query: Word
    slot: NonNegative
    failure: Failure | None = None


class SlotDown(Message, frozen=True):
    """A slot's process is gone, and with it the leases named; `SlotUp` follows when a new process has taken its place.

    `working` is the lease that was being processed, and may be what took the slot down, `[start, stop)` the chunk of it
    that was at work, where that is known; `compacting` is the query whose total was being compacted. Neither is set when
    the slot was idle, or at work on what was dead already.
    """

    slot: NonNegative
    leases: list[LeaseKey]
    reason: Words
    working: LeaseKey | None = None
    compacting: Word = ""
    start: NonNegative | None = None
    stop: NonNegative | None = None


class SlotUp(Message, frozen=True):
    """A slot that went down is there again and takes leases."""

    slot: NonNegative


class Draining(Message, frozen=True):
    """This worker leaves in so many seconds: it is to get nothing that it cannot end in time, and the rest of what it has
    is for others. Said at the start when a batch system limits its time, and again when it is told to go earlier.
    """

    seconds: Seconds


class Ready(Message, frozen=True):
    """Slot to agent: the process is up and waits for leases."""


Any = (
    Hello | Welcome | Heartbeat | Fault | Unknown | Bye
    | Submit | Stop | Credentials | Remove | Attach | Seen | Ask | Shutdown | Drain
    | Accepted | Lacking | Refused | Queries | Workers | Progress | Snapshot | Ended
    | Setup | Attachment | Detach | Lease | Truncate | Revoke | Release | Committed | Compact
    | Opened | Described | Columns | Reached | Doing | Truncated | Finished | Commit | Failed | Skipped | Compacted
    | SlotDown | SlotUp | Draining | Ready
)  # fmt: skip
"""Every message there is."""

FROM_SESSION = (Hello, Heartbeat, Bye, Submit, Stop, Credentials, Remove, Attach, Seen, Ask, Shutdown, Drain)
"""What a peer with a session key may say."""
FROM_WORKER = (
    Hello, Heartbeat, Bye, Draining, Opened, Described, Columns, Reached, Doing, Truncated, Finished, Commit, Failed,
    Skipped, Compacted, SlotDown, SlotUp,
)  # fmt: skip
"""What a peer with a worker key may say."""
