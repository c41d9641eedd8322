"""What is made of faults: what is tried again and when, and which entries take slots down.

**Errors of the data** may pass: a server does not answer, a connection breaks. They are tried again after growing pauses,
by other slots and from other replicas, until `TRIES` attempts at the same entries have failed. A *permanent* one (no such
file, no such tree) is tried again only where there is another replica.

**Slots that go down** may have been taken down by an event (a segmentation fault, `os._exit`, an endless loop, more memory
than there is). The agent says which bite was at work. Its entries become *suspects*: they are leased alone, in bites 64
times smaller, so that the next slot to go down says more exactly where. An entry that has done it `PROOF` times by itself
is the culprit; so is a range that keeps doing it without being narrowed down. What else a slot went down with is only done
again.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from .ranges import Ranges

TRIES = 6
FIRST_PAUSE = 0.5
"""Seconds before the second try; each pause is twice as long as the one before."""
NARROWING = 64
"""Bites that a suspected range is worked on in."""
PROOF = 2
MAX_UNNARROWED = 4
"""Slots that may go down over one range, no bite of it having been named, before it is given up."""
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
        return sum(start < span[1] and span[0] < stop for start, stop in self._faults.get(file, ()))


@dataclass(slots=True)
class Kills:
    """Slots that went down at work on one query."""

    in_a_row: int = 0
    total: int = 0
    _suspects: dict[int, list[Span]] = field(default_factory=dict)
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
        others = [other for other in self._suspects.get(file, ()) if other[1] <= span[0] or span[1] <= other[0]]
        blamed = count >= most or self.in_a_row >= MAX_IN_A_ROW
        self._suspects[file] = others if blamed else [*others, span]
        return span if blamed else None

    def committed(self) -> None:
        """A slot has done something, and lived."""
        self.in_a_row = 0

    def clear(self, file: int, start: int, stop: int) -> None:
        """These entries are done, or narrowed down: they are not suspected any more."""
        suspects = self._suspects.get(file)
        if not suspects:
            return
        kept = Ranges()
        for low, high in suspects:
            for piece in ((low, min(high, start)), (max(low, stop), high)):
                if piece[0] < piece[1]:
                    kept.add(*piece)
        self._suspects[file] = list(kept)

    def suspect(self, file: int, start: int, stop: int) -> Span | None:
        """The first suspected entries in a range."""
        spans = [(max(low, start), min(high, stop)) for low, high in self._suspects.get(file, ())]
        return min((span for span in spans if span[0] < span[1]), default=None)
