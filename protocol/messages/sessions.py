"""What sessions and the master say to each other."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from ..skipping import Skip
from ..usage import Course, WorkerInfo
from ..values import Chunk, Digests, NonNegative, Seconds, Word, Words
from .launches import LaunchInfo
from .parts import Account, Activity, CredentialsInfo, Failure, Message, QueryInfo, State, Wait

# --- session to master ----------------------------------------------------------------------------------------------


class Submit(Message, frozen=True):
    """Start a query. Frames: the analysis (opaque), the files (`protocol.file_blocks`), and the shared inputs, if any:
    opaque bytes that go to every slot, the items of a dataset of items, or the `SharedInputs` of one of files. With
    `credentials`, the last frame is what `Credentials` has; the query waits for them when a master that was started again
    has none.

    Of two queries of one owner, the one of higher `priority` is served first. `most_readers` slots at most read from one
    file server at a time. A slot that is at work on the same few entries for longer than `timeout` is ended.
    `seed` is of the random numbers that the analysis draws without one of its own. `chunk` bounds the entries of a call.
    `limit` is how many entries are used at most, `limits` of the datasets of these names.
    Of submissions with the same `token` (random, the session's) the first one starts a query, and the others find it.

    `attachments` names large arrays of the analysis. The bytes of those that are `carried` are frames behind all others;
    of the others, the master may have them. `Lacking` answers if it does not: then it is submitted again, with these.

    With `on_error="skip"`, `tolerance` says what may be lost before the query fails.

    `user` is whose query it is, by the key of the session; the master sets it, and `owner` with it ("" where the key is that
    of the master's owner, who may call herself as she likes). The result is for these users to `share`, too; for all of
    them, if "all" is among them. Relative paths of files that it writes count from the session's `folder`. `inputs` are
    the files beside the data that the analysis reads by itself, with their checksums. With `unwritten`, nothing of it is
    written down: it has addresses with secrets in them.
    """

    request: NonNegative
    name: Word
    kind: Literal["kernel", "columnar", "processor"]
    digest: Word
    owner: Word = ""
    branches: list[Word] | None = None
    on_error: Literal["fail", "skip"] = "fail"
    tolerance: Skip | None = None
    limit: NonNegative | None = None
    limits: dict[Word, NonNegative] = {}
    priority: Annotated[int, Meta(ge=-1000, le=1000)] = 0
    most_readers: Annotated[int, Meta(ge=1, le=2**31)] | None = None
    timeout: Seconds = 600.0
    credentials: bool = False
    seed: NonNegative = 0
    chunk: Chunk | None = None
    token: Word = ""
    attachments: Digests = []
    carried: Digests = []
    user: Word = ""
    share: Annotated[list[Word], Meta(max_length=1000)] = []
    folder: Words = ""
    inputs: Annotated[list[Words], Meta(max_length=1000)] = []
    unwritten: bool = False

    @property
    def is_limited(self) -> bool:
        """Whether only the first entries of the dataset are used, or of some in it."""
        return self.limit is not None or bool(self.limits)

    @property
    def whose(self) -> tuple[str, str]:
        """Whose it is: code of two owners never meets in a process."""
        return self.user, self.owner


class Stop(Message, frozen=True):
    """End a query early: keep what is merged (`keep`), or drop it. Answered if it is a `request`."""

    query: Word
    keep: bool
    request: NonNegative = 0


class Credentials(Message, frozen=True):
    """What the slots of a query show to file servers from now on. Frame: opaque bytes, of which nobody writes anything down.

    A session says it to renew them, with what may be known of them (`info`), or without a frame to tell only that; answered
    if it is a `request`. The master says it to workers behind `Setup`, and agents to slots.
    """

    query: Word
    info: CredentialsInfo | None = None
    request: NonNegative = 0


class Remove(Message, frozen=True):
    """Forget a query that is over, and its result. Answered if it is a `request`."""

    query: Word
    request: NonNegative = 0


class Attach(Message, frozen=True):
    """Receive the snapshots and the end of a query submitted earlier, by any session."""

    request: NonNegative
    query: Word


class Leave(Message, frozen=True):
    """Hear no more of a query: what undoes `Attach`, or `Submit`. The query goes on."""

    query: Word


MOST_KEYS = 2**20
NO_KEYS = b"\x90"


class Seen(Message, frozen=True):
    """A snapshot of a query has arrived. What is to be in the next one, if the result is large: what is under the `keys` of
    the dict that it is (MessagePack of a list, `merge/keys.py`), or the `whole`."""

    query: Word
    keys: Annotated[bytes, Meta(max_length=MOST_KEYS)] = NO_KEYS
    whole: bool = False


class AskPart(Message, frozen=True):
    """Ask for what is under some keys of the merged result so far, or for the `whole`.

    If `entries` is not 0, it is to be of these, as an answer before was: for a while, the master knows what was in that.
    """

    request: NonNegative
    query: Word
    keys: Annotated[bytes, Meta(max_length=MOST_KEYS)] = NO_KEYS
    whole: bool = False
    entries: NonNegative = 0


class AskMiniature(Message, frozen=True):
    """Ask for the merged result so far as small as a display needs it, if more than `after` entries are in it.

    `names` are the histograms that are looked at (`merge/names.py`), `windows` where some are looked at closely: from where
    to where of their first axis.
    """

    request: NonNegative
    query: Word
    after: NonNegative = 0
    names: Annotated[list[Words], Meta(max_length=1000)] = []
    windows: Annotated[dict[Words, tuple[float, float]], Meta(max_length=1000)] = {}


class Ask(Message, frozen=True):
    """Ask for the list of queries or of workers."""

    request: NonNegative
    what: Literal["queries", "workers"]


class Shutdown(Message, frozen=True):
    """End the master, and with it its workers. Answered if it is a `request`."""

    request: NonNegative = 0


class Drain(Message, frozen=True):
    """Let a worker leave in good order: it gets no more, hands on what it has not done, commits and goes.

    A session says it to the master, with the worker's name; the master passes it on. Answered if it is a `request`.
    """

    worker: Word
    request: NonNegative = 0


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
    for; `begins` what they do while nothing is reached. `lines` have been said by the analysis, `warnings` of them are
    warnings. `sites` tells how many slots are where, for those that have the most. `credentials` is what may be known of
    those that it has.
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
    lines: NonNegative = 0
    sites: dict[Word, NonNegative] = {}
    credentials: CredentialsInfo | None = None
    warnings: NonNegative = 0


class Snapshot(Message, frozen=True):
    """The merged result so far, and the account that it covers. Frames: the partial result; of a large one a `part`, in
    which only those keys are that the session has asked for.

    The session answers with `Seen`, and gets no other snapshot of the query before: a slow session falls behind, it does
    not pile up messages.
    """

    query: Word
    account: Account
    seconds: Seconds
    part: bool = False


class PartIs(Message, frozen=True):
    """Answer to `AskPart`. Frames: the partial result, and the account that it covers. Without `part` it is the whole."""

    request: NonNegative
    account: Account
    seconds: Seconds
    part: bool = False


class Miniature(Message, frozen=True):
    """Answer to `AskMiniature`. Frames: a partial result with fewer bins, and the account that it covers; without frames,
    there is nothing new, or it was asked for too soon."""

    request: NonNegative
    account: Account = Account()
    seconds: Seconds = 0.0


class Ended(Message, frozen=True):
    """A query reached a final state.

    Frames: the partial result (`result_frames` of them, none after abort), the losses (MessagePack of `list[LostRange]`),
    and the pickled exception, if any. `lines` were said by the analysis. `starts` tell how those of its workers came to be
    that pools have started, by pool.
    """

    query: Word
    state: State
    account: Account
    seconds: Seconds
    report: list[WorkerInfo] = []
    failure: Failure | None = None
    result_frames: NonNegative = 0
    course: Course = Course()
    lines: NonNegative = 0
    starts: dict[Word, list[LaunchInfo]] = {}
