"""Profiles: which workers, file servers and data a simulation has. Read from a small YAML file or a query's report.

All quantities are plain numbers in seconds, entries, bytes, and these a second. `[low, high]` stands for values spread
evenly over the workers of a group, in their order. `docs/simulator.md` shows complete examples.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta

from ..protocol.errors import DatasetError
from ..protocol.usage import WorkerInfo

Positive = Annotated[float, Meta(gt=0.0, le=1e15)]
Seconds = Annotated[float, Meta(ge=0.0, le=1e9)]
Share = Annotated[float, Meta(ge=0.0, le=1.0)]
Count = Annotated[int, Meta(ge=1, le=1_000_000)]
Entries = Annotated[int, Meta(ge=0, le=10**15)]
# A range is a list whose length is checked below: msgspec 0.22 mixes up the length of a fixed tuple and the constraint of
# the number beside it in a union.

T = TypeVar("T")
MOST_SLOTS = 200_000
MOST_PACKETS = 20_000_000
"""What can be simulated within some minutes to an hour; more is a slip of the pen."""
PACKET_SECONDS = 1.0
"""About what a packet takes, to reckon how many there will be."""
_PROFILE = "no profile: that has `data` and `workers`, as the examples in docs/simulator.md"
_REPORT = "no report: that is a list of workers, as `msgspec.json.encode(query.report())` makes it"
CLUSTERS_KNOWN = 4096
"""Cluster boundaries that a slot reports for one file at most."""


class FileServer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A server that holds part of the files; its readers share `bandwidth` bytes a second."""

    name: str
    bandwidth: Positive
    site: str = ""


class Data(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The dataset.

    Args:
        files: how many; they lie on the servers in turn.
        entries: entries of each file; `[low, high]`: drawn at random.
        known: whether the master knows the lengths beforehand.
        cluster: entries from one cluster boundary to the next.
        bytes: read for each entry, from the file's server.
        result: size of a partial result in bytes.
        servers: the file servers; without any, files come from somewhere infinitely fast.
    """

    files: Count
    entries: Entries | list[Entries]
    known: bool = False
    cluster: Count = 10_000
    bytes: Annotated[float, Meta(ge=0.0, le=1e12)] = 0.0
    result: Annotated[float, Meta(ge=0.0, le=1e12)] = 10_000.0
    servers: list[FileServer] = []


class Churn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Workers that die at random.

    Args:
        per_minute: share of the workers that dies every minute.
        silent: share of the deaths that only their silence tells; otherwise the connection ends at once.
        replaced_after: seconds until another worker of the same kind joins; None: never.
        same_identity: whether that one comes under the identity of the dead one, as a restarted process does.
    """

    per_minute: Annotated[float, Meta(gt=0.0, le=60.0)]
    silent: Share = 0.0
    replaced_after: Seconds | None = 0.0
    same_identity: bool = False


class Trouble(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Something that happens to one worker of a group at a given time.

    Args:
        what: `slower`: works `times` times slower for `seconds`; `freeze`: the machine answers nothing for `seconds`;
            `hang`: its slots do nothing for `seconds` while its agent still answers; `drain`: it is told to leave, as by
            SIGTERM; `die`: its connection ends; `vanish`: it dies and nobody is told. The last two return after `seconds`
            under the same identity.
        at: seconds after the submission.
        worker: which worker of the group, from 0.
        seconds: how long; None: for ever.
        times: how many times slower.
    """

    what: Literal["slower", "freeze", "hang", "drain", "die", "vanish"]
    at: Seconds
    worker: Annotated[int, Meta(ge=0)] = 0
    seconds: Seconds | None = None
    times: Positive = 1.0


class Group(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Workers of one kind.

    Args:
        count: how many workers.
        slots: slots of each.
        speed: entries a second of one slot.
        jitter: relative spread of the time per entry from packet to packet (of its logarithm).
        arrive: seconds after the submission at which a worker is ready.
        walltime: seconds after its arrival at which a worker ends, whatever it is at; None: it stays.
        notice: seconds before its end that a worker learns of it, as of a spot instance; None: when it arrives.
        grace: seconds before its end at which a worker begins to leave, when it knows.
        site: where they run; a name in the output, and what the master knows of the way to file servers.
        latency: seconds one way between worker and master.
        rate: bytes a second of the worker's link, for what its slots read and for its commits; None: no limit.
        opening: seconds a slot needs to open a file.
        exchange: slot time in seconds that every packet costs beside its entries.
        churn: deaths at random.
        troubles: what happens to single workers.
    """

    speed: Positive | list[Positive]
    count: Count = 1
    slots: Annotated[int, Meta(ge=1, le=4096)] = 1
    name: str = ""
    jitter: Annotated[float, Meta(ge=0.0, le=3.0)] = 0.0
    arrive: Seconds | list[Seconds] = 0.0
    walltime: Positive | list[Positive] | None = None
    notice: Seconds | None = None
    grace: Seconds = 10.0
    site: str = ""
    latency: Annotated[float, Meta(ge=0.0, le=60.0)] = 0.0005
    rate: Positive | None = None
    opening: Seconds = 0.02
    exchange: Seconds = 0.005
    churn: Churn | None = None
    troubles: list[Trouble] = []


class Profile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a simulation simulates."""

    data: Data
    workers: Annotated[list[Group], Meta(min_length=1)]


def load(path: Path) -> Profile:
    """The profile in a YAML file, or in the JSON of a finished query's report (`msgspec.json.encode(query.report())`).

    Raises:
        DatasetError: the file cannot be read, or is nonsense; the message names the line or the field.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"the profile {path} cannot be read: {error}") from None
    if path.suffix == ".json":
        return from_report(_decoded(lambda: msgspec.json.decode(text, type=list[WorkerInfo]), path.name, _REPORT))
    return parse(text, path.name)


def parse(text: str, name: str = "profile") -> Profile:
    """The profile in a YAML text; `name` is for messages.

    Raises:
        DatasetError: it is nonsense; the message names the line or the field, and what is allowed.

    Example:
        >>> profile = parse('''
        ... data: {files: 10, entries: 100_000}
        ... workers:
        ...   - {count: 16, speed: [500, 2000], jitter: 0.1}
        ... ''')
        >>> profile.workers[0].count
        16
    """
    # Not strict: YAML 1.1 takes 1e9 (no dot, no sign) for a word.
    profile = _decoded(lambda: msgspec.yaml.decode(text, type=Profile, strict=False), name, _PROFILE)
    _check(profile, name)
    return profile


def from_report(report: Sequence[WorkerInfo]) -> Profile:
    """The workers of a finished query, at the speeds they had, and as many entries as they processed, in one file each.

    Raises:
        DatasetError: no worker in the report has processed anything.
    """
    groups = [
        Group(speed=info.entries / info.seconds, slots=info.slots, name=info.worker)
        for info in report
        if info.entries and info.seconds > 0.0 and info.slots
    ]
    if not groups:
        raise DatasetError("the report is of no use for a simulation: no worker in it has processed any entries")
    entries = sum(info.entries for info in report)
    files = max(1, round(entries / 1_000_000))
    return Profile(Data(files=files, entries=-(-entries // files)), groups)


def spread(value: float | list[float], index: int, count: int) -> float:
    """The value of worker `index` of `count`: `[low, high]` is spread evenly.

    Example:
        >>> [spread([0.0, 3.0], index, 4) for index in range(4)]
        [0.0, 1.0, 2.0, 3.0]
    """
    if not isinstance(value, list):
        return value
    low, high = value
    return low if count == 1 else low + (high - low) * index / (count - 1)


def _decoded(decode: Callable[[], T], name: str, expected: str) -> T:
    try:
        return decode()
    except msgspec.MsgspecError as error:
        if isinstance(error, msgspec.ValidationError) and " - at `$" not in str(error):  # it is the whole that is wrong
            raise DatasetError(f"{name} is {expected}") from None
        # msgspec names a field by its path, "$.workers[0].speed", or YAML's line; a reader of the file knows no "$".
        raise DatasetError(f"{name}: {str(error).replace('`$.', '`')}") from None


def _check(profile: Profile, name: str) -> None:
    """What types cannot say."""
    _check_range(profile.data.entries, f"{name}: data.entries")
    for index, group in enumerate(profile.workers):
        _check_range(group.speed, f"{name}: workers[{index}].speed")
        _check_range(group.arrive, f"{name}: workers[{index}].arrive")
        if group.walltime is not None:
            _check_range(group.walltime, f"{name}: workers[{index}].walltime")
        elif group.notice is not None:
            raise DatasetError(f"{name}: workers[{index}].notice: there is no `walltime` to be told of")
        for number, trouble in enumerate(group.troubles):
            where = f"workers[{index}].troubles[{number}]"
            if trouble.worker >= group.count:
                raise DatasetError(f"{name}: {where}.worker is {trouble.worker}: the group has 0 to {group.count - 1}")
            if trouble.what == "slower" and trouble.times == 1.0:
                raise DatasetError(f"{name}: {where} says slower, but not how many `times`")
    _check_size(profile, name)


def _check_size(profile: Profile, name: str) -> None:
    """Whether it can be simulated in reasonable time."""
    slots = sum(group.count * group.slots for group in profile.workers)
    if slots > MOST_SLOTS:
        raise DatasetError(f"{name}: {slots:,} slots are too many to simulate: take {MOST_SLOTS:,} at most")
    data = profile.data
    entries = data.files * (data.entries if isinstance(data.entries, int) else sum(data.entries) / 2)
    seconds = entries / sum(group.count * group.slots * _mean(group.speed) for group in profile.workers)
    packets = data.files + slots * seconds / PACKET_SECONDS
    if packets > MOST_PACKETS:
        raise DatasetError(
            f"{name}: these workers need {seconds / 86400:,.0f} days for these {entries:,.0f} entries, in about "
            f"{packets:,.0f} packets, which is too much to simulate: is `speed` (entries a second) right? "
            "Else take fewer entries"
        )


def _mean(value: float | Sequence[float]) -> float:
    return sum(value) / len(value) if isinstance(value, Sequence) else value


def _check_range(value: float | Sequence[float], what: str) -> None:
    if isinstance(value, list) and (len(value) != 2 or value[0] > value[1]):
        raise DatasetError(f"{what} is {value}: a range is [low, high], the first not above the second")
