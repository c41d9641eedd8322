"""What the master tells workers, and agents their slots."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from ..values import MOST, Chunk, Digest, NonNegative, Runs, Seconds, TriedCalls, Word, Words
from .parts import File, Message


class Setup(Message, frozen=True):
    """A query that leases will follow for. Frames: the analysis (opaque), and the shared inputs, if the query has one.

    It is this `user`'s, by her key, or, if that is "", of the master's owner, who has called herself `owner`. `token` and
    `folder` are those of `Submit`.
    """

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
    user: Word = ""
    token: Word = ""
    folder: Words = ""


class Attachment(Message, frozen=True):
    """A large array of an analysis, for all queries to come that have it, until `Detach`. Frame: its bytes."""

    digest: Digest


class Detach(Message, frozen=True):
    """No query of now has this attachment, and the master has forgotten it."""

    digest: Digest


class Serve(Message, frozen=True):
    """An agent to a fresh slot, before anything else: until its end the process works for queries of one owner only, who is
    called as in `Setup`.

    `place` names the folders of its own in which the owner's compiled code and temporary files lie; empty: those of the
    account that the worker runs as. A process that is `hidden` keeps its memory from others of the account.
    """

    user: Word
    owner: Word
    place: Word = ""
    hidden: bool = True


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
    compaction of its total, which nobody waits for any more. If it was `aborted`, what its slots have written is removed.

    A slot that has done so says the same to its agent; the master is not answered.
    """

    query: Word
    merging: bool = False
    aborted: bool = False


class Grant(Message, frozen=True):
    """It is this worker's turn to commit what it has of a query, which it has offered (`Offer`)."""

    query: Word


class Committed(Message, frozen=True):
    """The master's answer to `Commit`: accepted as a whole, or refused as a whole."""

    commit: NonNegative
    accepted: bool
    reason: Words = ""


class Compact(Message, frozen=True):
    """Merge what only Python can merge: the pickled objects in a total, which the master never unpickles.

    Frames: the analysis (opaque), whose classes the objects may be of, and the partial result. The slot does it in turn,
    between the leases it has. `user` and `owner` are the query's, as in `Setup`.
    """

    query: Word
    slot: NonNegative
    user: Word = ""
    owner: Word = ""
