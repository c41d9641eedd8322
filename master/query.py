"""One query as the master sees it: what was asked for, its ledger, who listens, and how it ended."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import InitVar, dataclass, field

import msgspec

from ..dataset.shared_inputs import SharedInputs
from ..packetizer import leases as ledgers
from ..packetizer.call_costs import Tried
from ..packetizer.ledger import Ledger
from ..packetizer.lengths import Lengths
from ..packetizer.limits import Limits
from ..packetizer.listed_entries import EntryList
from ..packetizer.packetizer import FIRST_ENTRIES, Packet, Packetizer
from ..packetizer.tolerance import Losses
from ..protocol.codec import Buffer, Frames
from ..protocol.column_types import ColumnType
from ..protocol.messages import (
    FINAL,
    Account,
    Ended,
    Failure,
    LaunchInfo,
    Lease,
    QueryInfo,
    Setup,
    State,
    Submit,
)
from ..protocol.values import MOST
from .delegated import Delegated
from .file_table import FileTable
from .learnt import Learnt
from .listings import Listings
from .peers import Slot
from .places import Places
from .query_account import LONGEST_REASON, Missing, account_of, lost_ranges, notes
from .query_state import Audience, Counters, Journaled, Outcome
from .saved import Saved
from .shares import Shares
from .transitions import may_follow

MAX_KILLS = 3
"""Slots that may go down while they merge a query's objects."""
SHUNNED = 2.0
"""Seconds that a slot leaves what it has failed with to others, once it can be tried again."""
LONGEST_TIME = 1e8
"""Seconds that a query can have run before a restart: a clock on the wall may say anything."""
EVERYBODYS = frozenset({""})
"""Workers that serve all queries."""
WHOLE = 2**62
"""Where a file of unknown length ends, for the entries that are at fault when it cannot be opened."""
FIRST = {"tree": FIRST_ENTRIES, "cycles": 1000, "items": 1}
"""Entries of a slot's first packet, by the kind of data: an item may take a minute."""
_losses = msgspec.msgpack.Encoder()


UNKEPT = "the journal could not be written when the query ended: should the master die before it can be, this is lost"
"""What the account of a query says that is over, and was not written down."""


@dataclass(slots=True)
class Compaction:
    """A total whose pickled objects a slot is to merge; `holder` is the slot that does it, (worker, index)."""

    frames: Sequence[Buffer]
    holder: tuple[bytes, int] | None = None
    kills: int = 0


@dataclass(slots=True)
class Query:
    """State of one query; times are the core's `now`.

    Attributes:
        dataset: the digest of its files.
        set_up: workers that have the analysis.
        shared_inputs: what slots need besides the analysis: items, or a `SharedInputs`.
        credentials: what they show to file servers, if anything.
        types: the columns that are read, each as it was met first.
        first_commit: when entries of it counted for the first time, with this master.
        begun: a slot is or was at work on it, or has been told to make way for it.
        listings: which entries are used of files of which not all are, by the number of the file.
        places: where its files lie.
        retrying: files that are to be tried again, and when; the earliest first.
        stopping: it is being stopped, and this is when it ends at the latest.
        missing: the list of what is not in its result, while that is being made.
        served_by: owners of workers that serve it (`Worker.owner`).
        starts: how its workers came to be that pools have started, by pool, once it is over.
        saved: what the journal has of it, when it was submitted to a master before this one.
    """

    number: str
    submit: Submit
    analysis: Buffer
    files: FileTable
    started: float
    dataset: str = ""
    rate: float = 0.0
    known: Sequence[Tried] = ()
    shared_inputs: Sequence[Buffer] = ()
    credentials: Delegated = field(default_factory=Delegated)
    state: State = "running"
    first_commit: float | None = None
    ended: float | None = None
    audience: Audience = field(default_factory=Audience)
    journal: Journaled = field(default_factory=Journaled)
    counters: Counters = field(default_factory=Counters)
    outcome: Outcome = field(default_factory=Outcome)
    set_up: dict[bytes, None] = field(default_factory=dict)
    shares: Shares = field(default_factory=Shares)
    leases: int = 0
    begun: bool = False
    retrying: list[tuple[float, int]] = field(default_factory=list)
    compaction: Compaction | None = None
    listings: Listings = field(default_factory=Listings)
    places: Places = field(default_factory=Places)
    types: dict[str, ColumnType] = field(default_factory=dict)
    stopping: float | None = None
    missing: Missing | None = None
    served_by: frozenset[str] = EVERYBODYS
    starts: dict[str, list[LaunchInfo]] = field(default_factory=dict)
    saved: InitVar[Saved | None] = None
    masked: bool = field(init=False)
    has_columns: bool = field(init=False)
    ledger: Ledger[Slot] = field(init=False)
    losses_so_far: Losses = field(default_factory=Losses)
    packetizer: Packetizer[Slot] = field(init=False)

    @classmethod
    def submitted(
        cls, number: str, submit: Submit, frames: Frames, files: FileTable, now: float, learnt: Learnt | None = None
    ) -> Query:
        """A query as it was submitted over these `files`, with what was `learnt` in earlier queries of the same analysis.

        Raises:
            ValueError: the submission is malformed; so do `msgspec.MsgspecError` and `UnicodeDecodeError` say.
        """
        analysis, _, *shared_inputs = frames
        if not files:
            raise ValueError("the dataset has no files")
        credentials = Delegated.taken(submit.credentials, shared_inputs)
        if len(shared_inputs) > 1:
            raise ValueError(f"{len(frames)} frames, of which {submit.credentials:d} should be credentials")
        rate, known = (learnt or Learnt()).of(submit.digest, files.digest)
        return cls(number, submit, analysis, files, now, files.digest, rate, known, shared_inputs, credentials)

    @classmethod
    def restored(cls, saved: Saved, now: float, wall: float) -> Query:
        """A query as the journal has it, at `wall` (seconds since 1970): it runs on. Raises as `submitted`."""
        started = now - ago(saved.started, wall)
        analysis, frame, *shared_inputs = saved.frames
        files = FileTable.of(frame)
        query = cls(
            saved.number, saved.submit, analysis, files, started, files.digest, shared_inputs=shared_inputs, saved=saved
        )
        query.credentials.wanted = saved.submit.credentials
        query.ledger.next_lease = round(max(0.0, wall) * 1e6)  # no master before has made a lease a microsecond
        query.shares.leave(query.seconds(now))
        return query

    @classmethod
    def recalled(
        cls, number: str, submit: Submit, started: float, state: State, seconds: float, account: Account
    ) -> Query:
        """A query that is over, of which the rest is in the journal."""
        query = cls(number, submit, b"", FileTable(), started, state=state, ended=started + seconds)
        query.outcome.account, query.journal.kept = account, True
        return query

    def __post_init__(self, saved: Saved | None) -> None:
        files, submit = self.files, self.submit
        self.listings = files.listings
        over_files = bool(files) and files[0].kind == "tree"
        supplied = [SharedInputs.unpack(packed) for packed in self.shared_inputs] if over_files else []
        self.masked = any(it.mask for it in supplied)
        self.has_columns = any(it.is_about_columns for it in supplied)
        # how much a mask leaves nobody knows beforehand
        known = Lengths.nobody_knows(len(files)) if self.masked else files.known
        self.ledger = Ledger(known, _limits(submit, files), self.listings)
        for index in self._counted():
            if index in self.ledger.unopened:
                self.ledger.count(index)
        if saved is not None:
            self._restore(saved)
        first = FIRST[files[0].kind] if files else FIRST_ENTRIES
        self.packetizer = Packetizer(
            self.ledger, files.homes, self.rate, submit.most_readers, first, self.known, submit.chunk
        )

    def _restore(self, saved: Saved) -> None:
        """Take up where another master was: what is not in the total is to do."""
        self.ledger.restore(saved.opened, saved.done, saved.losses)
        for file, opened in saved.opened.items():
            if opened.listed is not None:
                self.listings[file] = EntryList(opened.listed)
            self.places.meet(self.files, file, opened.place)
        account = saved.account
        self.ledger.redone = account.redone
        self.counters = Counters(refused=account.refused, workers_lost=account.workers_lost)
        self.shares = Shares.of(saved.report)
        self.outcome.skipped = saved.skipped
        self.journal.losses, self.journal.damage = len(saved.losses), saved.damage
        self.audience.merged = self.ledger.processed > 0

    def enter(self, state: State) -> None:
        """Get into another state, which is to be one that may follow (`transitions.TRANSITIONS`)."""
        assert may_follow(state, after=self.state), (self.number, self.state, state)
        self.state = state

    @property
    def running(self) -> bool:
        """Whether entries may still be leased and committed."""
        return self.state == "running"

    @property
    def ready(self) -> bool:
        """Whether slots can be given more of it: it runs, is not being stopped, and its credentials are here."""
        return self.running and self.stopping is None and self.credentials.there

    @property
    def over(self) -> bool:
        """Whether its state is final."""
        return self.state in FINAL

    @property
    def setup(self) -> Setup:
        """What a worker needs before its first lease of this query."""
        submit = self.submit
        return Setup(
            self.number, submit.kind, submit.digest, submit.name, submit.branches, submit.on_error, submit.timeout,
            submit.seed, submit.chunk, submit.owner, submit.user, submit.token, submit.folder,
        )  # fmt: skip

    def lease(self, slot: int, packet: Packet[Slot]) -> Lease:
        """The message that gives a packet to a slot."""
        lease = packet.lease
        file = self.files[lease.file]
        replicas = 1 + len(file.replicas)
        runs = self.listings.runs(lease.file, lease.start, None if lease.opening else lease.stop)
        if file.replicas or file.listed is not None:
            path = (file.path, *file.replicas)[packet.replica]
            file = msgspec.structs.replace(file, path=path, replicas=(), listed=None)
        identity = self.ledger.files[lease.file].identity
        retries, span = self.packetizer.retries, (lease.start, lease.stop)
        last_try = retries.last_try(lease.file, span)
        others = retries.other_replicas(lease.file, span, replicas)
        return Lease(
            lease.number, self.number, slot, file, lease.start, lease.stop, packet.seconds, lease.opening, packet.apart,
            identity, runs, lease.chunk, last_try, others, self.packetizer.calls.tell(),
        )  # fmt: skip

    def _counted(self) -> list[int]:
        """Files that nobody has to open: cycles and items, and those of which nothing is listed. One is opened all the
        same when there is no other: what comes of no entries is to be in the result."""
        counted = self.files.counted
        nothing = len(counted) == len(self.files) and self.files.trees > 0
        return counted[1:] if nothing else counted

    def seconds(self, now: float) -> float:
        """Since it began; until its end if it is over."""
        return max(0.0, (now if self.ended is None else self.ended) - self.started)

    def account(self) -> Account:
        """What became of the entries, by the ledger; without the list of losses."""
        if self.outcome.account is not None:
            return self.outcome.account
        return account_of(self)

    def losses(self) -> Buffer:
        """What is not in the result and why, as it travels: MessagePack of `list[LostRange]`."""
        if self.outcome.lost is not None:
            return self.outcome.lost
        return _losses.encode(lost_ranges(self))

    def at_fault(self, lease: ledgers.Lease[Slot], failure: Failure) -> tuple[int, int]:
        """The entries of a lease that an error came from, as the ledger numbers them: all of them where nobody knows."""
        if lease.opening:
            return 0, WHOLE
        if failure.start is None or failure.stop is None:
            return lease.start, lease.stop
        start, stop = self.listings.positions(lease.file, failure.start, failure.stop)
        start, stop = max(start, lease.start), min(stop, lease.stop)
        return (start, stop) if start < stop else (lease.start, lease.stop)

    def try_again(self, lease: ledgers.Lease[Slot], replica: str, failure: Failure, now: float) -> bool:
        """Whether entries whose data could not be read are to be tried again; if so, the file is set aside until then."""
        file = lease.file
        paths = (self.files[file].path, *self.files[file].replicas)
        pause = self.packetizer.retries.pause(file, self.at_fault(lease, failure), failure.transient, len(paths))
        if pause is None:
            return False
        self.counters.retried += 1
        self.counters.trouble = failure.message[:LONGEST_REASON]
        tried = paths.index(replica) if replica in paths else 0
        others = SHUNNED if len(self.packetizer.throughputs) > 1 else 0.0
        until = now + pause + others
        self.packetizer.placement.shun(file, tried, self.packetizer.throughputs[lease.holder], until)
        if pause and file not in self.ledger.held:
            self.ledger.hold(file)
            heapq.heappush(self.retrying, (now + pause, file))
        return True

    def release_held(self, now: float) -> None:
        """Files whose pause is over can be leased again."""
        while self.retrying and self.retrying[0][0] <= now:
            self.ledger.release(heapq.heappop(self.retrying)[1])

    def abandon(self, reason: str) -> None:
        """Nothing more of it will be done: what is not is lost."""
        self.ledger.abandon(reason)
        self.retrying.clear()
        self.compaction = None

    def begin_anew(self, reason: str) -> None:
        """Nothing that is known of it can be relied on: nothing is done of it, and nothing will be."""
        self.ledger = Ledger(Lengths.nobody_knows(len(self.files)))
        self.counters = Counters()
        self.shares.distrust()
        self.abandon(reason)
        self.packetizer = Packetizer(self.ledger, [])

    def settle(self) -> None:
        """The query is over: keep its account and result only."""
        if self.journal.trouble:
            self.journal.trouble = UNKEPT
        if self.missing is None or self.missing.state != self.state:
            self.missing = Missing(self, self.state)
        while not self.missing.go_on():
            pass
        if self.outcome.account is None:
            self.outcome.account = msgspec.structs.replace(self.missing.account, notes=notes(self))
        self.outcome.lost, self.missing = self.missing.encoded, None
        self.ledger = Ledger([])
        self.packetizer = Packetizer(self.ledger, [])
        self.analysis, self.files, self.shared_inputs, self.credentials = b"", FileTable(), (), Delegated()
        self.listings.clear()
        self.places = Places()
        self.retrying.clear()
        self.compaction = None

    def end(self) -> tuple[Ended, list[Buffer]]:
        """The message, with its frames, that tells how the query ended."""
        assert self.ended is not None
        seconds, account = self.seconds(self.ended), self.account()
        ended = Ended(
            self.number, self.state, account, seconds, self.shares.report(), self.outcome.failure,
            len(self.outcome.result), self.shares.course(seconds), min(MOST, self.counters.lines),
            self.starts,
        )  # fmt: skip
        return ended, [*self.outcome.result, self.losses(), *self.outcome.failure_frames]

    def store(self) -> None:
        """The frames with which the query ended are in the journal: they need no memory here."""
        self.journal.kept, self.outcome = True, Outcome(self.outcome.failure, account=self.outcome.account)

    def info(self, now: float) -> QueryInfo:
        """Its line in the list of queries."""
        submit = self.submit
        how = self.account(), self.seconds(now), ago(self.started, now), self.credentials.info(now)
        return QueryInfo(self.number, submit.name, submit.owner, self.state, *how)


def ago(moment: float, now: float) -> float:
    """How long before `now` a moment was, in seconds: of a clock that was set since, not less than none, nor for ever."""
    return min(LONGEST_TIME, max(0.0, now - moment))


def _limits(submit: Submit, files: FileTable) -> Limits | int | None:
    """How many entries are used at most: of the whole dataset, or of those that it consists of, by name."""
    if not submit.limits:
        return submit.limit
    numbers = files.datasets
    most = {numbers[name]: most for name, most in submit.limits.items() if name in numbers}
    return Limits(files.groups, most)
