"""What is made of faults: what is tried again and when, and which entries take slots down.

**Errors of the data** may pass: a server does not answer, a connection breaks. They are tried again after growing pauses,
by other slots and from other replicas, until `TRIES` attempts at the same entries have failed. A *permanent* one (no such
file, no such tree) is tried again only where there is another replica.

**Slots that go down** may have been taken down by an event (a segmentation fault, `os._exit`, an endless loop, more memory
than there is). The agent says which chunk was at work. Its entries become *suspects*: they are leased alone, in chunks 64
times smaller, so that the next slot to go down says more exactly where. An entry that has done it `PROOF` times by itself
is the culprit; so is a range that keeps doing it without being narrowed down. What else a slot went down with is only done
again.

It may as well have been anything else: somebody, or a machine that is short of memory. Suspects whose result is committed
are innocent, and the size of their chunks does not depend on how many of them are left, nor on the packets that they are
leased in: they are divided once for each slot that goes down.
"""

from __future__ import annotations

from dataclasses import dataclass, field

TRIES = 6
FIRST_PAUSE = 0.5
"""Seconds before the second try; each pause is twice as long as the one before."""
NARROWING, LEAST_NARROWING = 64, 8
"""Chunks that a suspected range is worked on in; when chunks are dear, not so many, but so many at least."""
DEAR = 8.0
"""Seconds that these chunks may take together beside what their entries take: more than that is dear."""
PROOF = 2
MAX_UNNARROWED = 4
"""Slots that may go down over one range, no chunk of it having been named, before it is given up."""
MAX_IN_A_ROW = 12
"""Slots that may go down one after the other without a commit before the analysis itself is the culprit."""

Span = tuple[int, int]


@dataclass(slots=True)
class Retries:
    """Failed attempts to read the files of one query; spans are entries, the whole file while it is being opened."""

    _faults: dict[int, list[Span]] = field(default_factory=dict)

    def pause(self, file: int, span: Span, transient: bool, replicas: int) -> float | None:
        """Seconds until these entries are to be tried again; None when it has been tried often enough."""
        self._faults.setdefault(file, []).append(span)
        tries = self._tries(file, span)
        if transient:
            return None if tries >= TRIES else FIRST_PAUSE * 2.0 ** (tries - 1)
        return None if tries >= replicas else 0.0

    def last_try(self, file: int, span: Span) -> bool:
        """Whether nobody will try these entries again if it fails once more."""
        return self._tries(file, span) >= TRIES - 1

    def other_replicas(self, file: int, span: Span, replicas: int) -> bool:
        """Whether there are replicas that have not been tried when one is found to be damaged."""
        return self._tries(file, span) < replicas - 1

    def _tries(self, file: int, span: Span) -> int:
        faults = self._faults.get(file)
        return 0 if faults is None else sum(start < span[1] and span[0] < stop for start, stop in faults)


@dataclass(frozen=True, slots=True)
class Suspect:
    """Entries that are suspected, and how many of them are to be taken at a time."""

    start: int
    stop: int
    chunk: int


@dataclass(slots=True)
class Suspicion:
    """What a slot went down at work on, and the spans of it that are not known to be innocent."""

    span: Span
    left: list[Span]

    def chunk(self, overhead: float) -> int:
        """Entries of a chunk, when each chunk takes `overhead` seconds whatever its size."""
        affordable = int(DEAR / overhead) if overhead else NARROWING
        start, stop = self.span
        return -(-(stop - start) // max(LEAST_NARROWING, min(NARROWING, affordable)))


@dataclass(slots=True)
class Quarantine:
    """Slots that went down at work on one query."""

    in_a_row: int = 0
    total: int = 0
    _suspicions: dict[int, list[Suspicion]] = field(default_factory=dict)
    _counts: dict[tuple[int, int, int], int] = field(default_factory=dict)

    def add(self, file: int, span: Span) -> Span | None:
        """A slot went down at work on these entries of a file. Returns the entries that are to blame, None while that
        is not certain."""
        self.in_a_row += 1
        self.total += 1
        key = (file, *span)
        self._counts[key] = count = self._counts.get(key, 0) + 1
        most = PROOF if span[1] - span[0] <= 1 else MAX_UNNARROWED
        # What else was suspected with these entries is not any more: it is known better now.
        others = [it for it in self._suspicions.get(file, ()) if it.span[1] <= span[0] or span[1] <= it.span[0]]
        blamed = count >= most or self.in_a_row >= MAX_IN_A_ROW
        self._suspicions[file] = others if blamed else [*others, Suspicion(span, [span])]
        return span if blamed else None

    def committed(self) -> None:
        """A slot has done something, and lived."""
        self.in_a_row = 0

    def clear(self, file: int, start: int, stop: int) -> None:
        """These entries are done: they are not suspected any more."""
        suspicions = self._suspicions.get(file)
        if not suspicions:
            return
        for it in suspicions:
            pieces = [piece for low, high in it.left for piece in ((low, min(high, start)), (max(low, stop), high))]
            it.left = [(low, high) for low, high in pieces if low < high]
        self._suspicions[file] = [it for it in suspicions if it.left]

    def suspect(self, file: int, start: int, stop: int, overhead: float = 0.0) -> Suspect | None:
        """The first suspected entries in a range, when each chunk takes `overhead` seconds whatever its size."""
        if file not in self._suspicions:
            return None
        found = [
            Suspect(max(low, start), min(high, stop), it.chunk(overhead))
            for it in self._suspicions[file]
            for low, high in it.left
            if max(low, start) < min(high, stop)
        ]
        return min(found, key=lambda suspect: suspect.start, default=None)
