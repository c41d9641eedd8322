"""What messages consist of: their base, the words for states, and the structs that they share."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from ..values import LONGEST, Metadata, NonNegative, Runs, Seconds, Word, Words

PROTOCOL = 23
"""Version of this vocabulary; a peer with another one is refused in words."""

Role = Literal["session", "worker", "launcher"]
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


class FriendTree(msgspec.Struct, frozen=True, array_like=True):
    """A tree whose branches belong to the entries of a file.

    They are those of the same numbers, unless the file's column `index` has their numbers, or they are found `by` columns of
    the file, each with the friend's. `missing` stands for those that the friend does not have: "none", "error", a number, or
    a number for each of some columns.
    """

    path: Words
    tree: Word = ""
    index: Word = ""
    by: dict[Word, Word] = {}
    missing: bool | int | float | Literal["none", "error"] | dict[Word, bool | int | float] = "error"


class File(msgspec.Struct, frozen=True, omit_defaults=True):
    """One file of a dataset. An empty `tree` means the only tree in the file.

    `entries` is the number of entries where it is known beforehand; the file itself has the last word. `replicas` are
    copies of it elsewhere. `listed`, where it is not None, are the only entries that are used; packets of such a file
    number them from 0. Cycles and items are in no file: `entries` of them are made (with `seed`), or come with the query.
    `friends` are trees with more branches for its entries, by name. A file that is in a catalogue has to have the `identity`
    (UUID and size) with which it was registered. It is the `place`th of its dataset.
    """

    path: Words
    tree: Word = ""
    dataset: Word = ""
    entries: NonNegative | None = None
    metadata: Metadata = {}
    kind: Literal["tree", "cycles", "items"] = "tree"
    seed: NonNegative = 0
    replicas: tuple[Words, ...] = ()
    listed: Runs | None = None
    friends: dict[Word, FriendTree] = {}
    identity: Word = ""
    place: NonNegative = 0


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

    `denied` is the tag of the query's credentials, if a file server does not accept these.
    `transient` errors, such as a server that does not answer, may be gone when it is tried again. `missing` is the name of
    the branch that a file has not, `notes` are those of the exception.
    What is loaded once, and cannot be, fails `everywhere`: it is no fault of these entries, and never skipped.
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
    denied: Word = ""
    everywhere: bool = False


class LostRange(msgspec.Struct, frozen=True):
    """Entries that are not in the result, and why. `stop` is None where the file was never opened.

    Of a file of which only listed entries are used, `runs` are those that are meant: what lies between was never wanted.
    `supplied` says that the dataset has aliases or defaults, or a mask that nobody has applied to these entries; `limited`
    that only the first entries of the dataset were wanted, and nobody knows how many of these. `undone` are those of which
    nothing went wrong: the query was stopped before.
    """

    path: Words
    tree: Word
    start: NonNegative
    stop: NonNegative | None
    reason: Words
    dataset: Word = ""
    metadata: Metadata = {}
    kind: Literal["tree", "cycles", "items"] = "tree"
    runs: Runs | None = None
    friends: dict[Word, FriendTree] = {}
    supplied: bool = False
    limited: bool = False
    undone: bool = False


class Account(msgspec.Struct, frozen=True):
    """What became of a query's entries; `total` is exact once every file has been opened (`estimated` false).

    `inputs` are files beside the data that the analysis reads by itself, with their SHA-256.
    `kind` is what is counted: the entries of trees, cycles, or items. `notes` tell what was not as announced, such as a file
    with fewer entries than its catalogue says. `undone` is the rest of a query that was stopped, once it is over.
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
    undone: list[LostRange] = []
    inputs: list[Words] = []


class Wait(msgspec.Struct, frozen=True):
    """What a query waits for. For a file server: how many `slots` do, the `server` that one of them has waited for longest,
    for so many `seconds`, with which `file`. Before another try: the `reason` why the last one failed. For workers: what has
    become of those that pools were asked for."""

    what: WaitsFor
    slots: NonNegative = 0
    server: Words = ""
    file: Words = ""
    seconds: Seconds = 0.0
    reason: Words = ""


class CredentialsInfo(msgspec.Struct, frozen=True):
    """What is known of a query's credentials, and not what they are.

    `kind` is what of them ends first, in `left` seconds; below 0: that many ago. None: they do not say. They are `renewed`
    by a command of the session that brought them, from a file, or by nobody. `trouble` says why the last attempt failed. The
    session is `away`: nobody renews them before it is there again. They are `missing` when a master was started again.
    """

    kind: Literal["token", "proxy", "keytab", ""] = ""
    left: Annotated[float, Meta(ge=-LONGEST, le=LONGEST)] | None = None
    renewed: Literal["command", "file", "nobody"] = "nobody"
    trouble: Word = ""
    away: bool = False
    missing: bool = False


class QueryInfo(msgspec.Struct, frozen=True):
    """One line of the list of queries; its account has no list of losses.

    It began so many seconds `ago`, and has taken `seconds` of them: until now, or until it was over. Of its `credentials`
    they are told who may read its result, while it runs.
    """

    query: Word
    name: Word
    owner: Word
    state: State
    account: Account
    seconds: Seconds
    ago: Seconds = 0.0
    credentials: CredentialsInfo | None = None
