"""What the queries of a simulated world are over: files that do not exist, and what is wrong with their entries.

Every entry of a query has a number of its own, counted through all its files. The result of an analysis here (there are
some of each kind, in `chaos_tasks`) has an array with a 1 for every entry processed: the sum over all packets says which
entries were counted, and how often.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal

import msgspec
import numpy as np
from eventmill.dataset.shared_inputs import SharedInputs
from eventmill.packetizer.listed_entries import EntryList
from eventmill.protocol import messages as m
from eventmill.system.content_folder import digest_of
from numpy.typing import NDArray

Counts = NDArray[np.int64]
MOST_ENTRIES = 100
"""Of all files of a query."""
MASK = SharedInputs(mask=b"a mask").packed()[0]


class Bag:
    """An object that only Python can merge: it must come out as often as it went in."""

    def __init__(self, entries: int) -> None:
        self.entries = entries

    def __add__(self, other: Bag) -> Bag:
        return Bag(self.entries + other.entries)


def table_of(weight: int) -> bytes:
    """A large array, as far as it matters here."""
    return weight.to_bytes(100, "big")


def weight_in(table: bytes) -> int:
    """What is in it."""
    return int.from_bytes(table, "big")


def of_friend(numbers: Any) -> Any:
    """What a friend has for events of these numbers."""
    return numbers * numbers + 1


@dataclass(slots=True)
class SimulatedFile:
    """A file, by what a slot finds in it.

    Attributes:
        first: the number of its first entry among all entries of the query.
        listed: the only entries that are used, when the query comes with a list.
        masked: what a mask leaves, when the query comes with a mask.
        friend: the path of a file with more branches for its entries.
        known: the entries that the catalogue says it has.
        hiccups: how often reading it fails before it works.
        broken: it cannot be opened at all.
        bad: entries that raise.
        deadly: entries that take the slot's process down.
    """

    path: str
    length: int
    first: int
    clusters: list[int]
    listed: list[int] | None = None
    masked: list[int] | None = None
    friend: str = ""
    known: int | None = None
    hiccups: int = 0
    broken: bool = False
    bad: frozenset[int] = frozenset()
    deadly: frozenset[int] = frozenset()

    @property
    def used(self) -> Counts:
        """The entries that are used."""
        runs = self.masked if self.listed is None else self.listed
        return np.arange(self.length) if runs is None else EntryList(runs).entries()


@dataclass(slots=True)
class Plan:
    """A query that a session is going to submit, and what became of it.

    Attributes:
        stops: seconds after which its session stops it, and whether to keep what is merged.
        weight: of its entries in `more`, which is in an attachment of the analysis; 0 without one.
        unsaved: its session was told that it is lost if the master dies.
    """

    name: str
    files: list[SimulatedFile]
    submit: m.Submit
    begins: float = 0.0
    stops: tuple[float, bool] | None = None
    objects: bool = False
    analysis: Literal["columnar", "item", "kernel", "processor"] = "columnar"
    over: Literal["tree", "cycles", "items"] = "tree"
    weight: int = 0
    number: str | None = None
    unsaved: bool = False
    ended: m.Ended | None = None
    frames: list[Any] = field(default_factory=list)
    by_path: dict[str, SimulatedFile] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.by_path = {file.path: file for file in self.files}

    @property
    def size(self) -> int:
        """Entries of all files."""
        return sum(file.length for file in self.files)

    @property
    def has_friends(self) -> bool:
        return any(file.friend for file in self.files)

    @property
    def skips(self) -> bool:
        return self.submit.on_error == "skip"

    def submission(self) -> list[bytes]:
        """The frames that a `Submit` comes with."""
        files = [
            m.File(
                file.path, entries=file.known, listed=file.listed, kind=self.over,
                friends={"more": m.FriendTree(file.friend, "More")} if file.friend else {},
            )
            for file in self.files
        ]  # fmt: skip
        shared_inputs = [MASK] if any(file.masked is not None for file in self.files) else []
        return [self.name.encode(), msgspec.msgpack.encode(files), *shared_inputs]

    def attach(self, weight: int) -> None:
        """Let the analysis have an attachment."""
        self.weight = weight
        self.submit = msgspec.structs.replace(self.submit, attachments=list(self.attachments))

    @property
    def attachments(self) -> dict[str, bytes]:
        """The large arrays of the analysis, by their digests."""
        content = table_of(self.weight)
        return {digest_of(content): content} if self.weight else {}

    def numbers(self, lease: m.Lease, start: int, stop: int) -> Counts:
        """The numbers of the entries that `[start, stop)` of a lease stands for."""
        file = self.by_path[lease.file.path]
        runs = file.masked if lease.opening and lease.runs is None else lease.runs
        if runs is None:
            return np.arange(file.first + start, file.first + stop)
        return EntryList(runs).entries(start - lease.start, stop - lease.start) + file.first

    def used(self) -> NDArray[np.bool_]:
        """Which entries are to be in the result, the limit left aside."""
        flags = np.zeros(self.size, bool)
        for file in self.files:
            flags[file.used + file.first] = True
        return flags


def draw_plan(random: Random, name: str, owner: str, window: float) -> Plan:
    """A query as the seed wants it: mostly simple, each peculiarity now and then."""

    def chance(probability: float) -> bool:
        return random.random() < probability

    def some(file_length: int, at_most: int) -> frozenset[int]:
        return frozenset(random.randrange(file_length) for _ in range(random.randint(1, at_most)) if file_length)

    files: list[SimulatedFile] = []
    over: Literal["tree", "cycles", "items"] = random.choice(("tree", "tree", "tree", "tree", "cycles", "items"))
    masked, listed = chance(0.08), chance(0.12)
    skip, friends = chance(0.4), over == "tree" and chance(0.15)
    short = over == "tree" and chance(0.12)  # of short packets, a slot has many
    for index in range(random.randint(10, 40) if short else random.choice((1, 1, 2, 3)) if over == "tree" else 1):
        length = 0 if chance(0.08) else random.randint(1, 2 if short else 30)
        first = sum(file.length for file in files)
        edges = sorted({0, length, *(random.randint(0, length) for _ in range(random.randint(0, 4)))})
        file = SimulatedFile(f"{name}/file{index}", length, first, edges)
        if over != "tree":
            file.length, file.known, file.clusters = max(1, length), max(1, length), []
        elif masked:
            file.masked = _runs(random, length)
        elif listed and chance(0.7):
            file.listed = _runs(random, length)
        elif chance(0.2):
            file.known = length if chance(0.7) else random.randint(0, 40)
        file.friend = f"{name}/friend{index}" if friends else ""
        if chance(0.1) and over == "tree":
            file.hiccups = random.randint(1, 4)
        if skip and chance(0.3):
            file.bad = some(length, 5)
        if skip and chance(0.12):
            file.deadly = some(length, 1)
        if skip and chance(0.06) and over == "tree":
            file.broken = True
        files.append(file)
    if not skip and chance(0.08):
        victim = random.choice(files)
        if chance(0.5):
            victim.bad = some(victim.length, 2)
        else:
            victim.deadly = some(victim.length, 1)
    limit = random.randint(1, sum(file.length for file in files) + 5) if chance(0.1) else None
    submit = m.Submit(
        0, name, "kernel", f"digest of {name}", owner, on_error="skip" if skip else "fail", limit=limit,
        priority=random.choice((0, 0, 0, 5, -5)), most_readers=random.choice((None, None, 1)), timeout=30.0,
        token=name,
    )  # fmt: skip
    stops = (random.uniform(0.0, window), chance(0.6)) if chance(0.08) else None
    begins, objects = random.choice((0.0, random.uniform(0.0, window / 2))), chance(0.04)
    analysis: Literal["columnar", "item", "kernel", "processor"] = random.choice(("columnar", "kernel"))
    if over == "items":
        analysis = "item"
    elif over == "tree" and not friends and chance(0.3):
        analysis = "processor"
    return Plan(name, files, submit, begins, stops, objects and analysis == "columnar", analysis, over)


def _runs(random: Random, length: int) -> list[int]:
    """Some entries of a file, perhaps none."""
    return EntryList.from_entries([entry for entry in range(length) if random.random() < 0.5]).runs()
