"""What slots have handed over: added up for each query, and committed with its ranges in one message."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...merge import dense_sizes, entries_in
from ...protocol import messages
from ...protocol.codec import Buffer, Frames
from ...protocol.counts import miscount
from ...protocol.errors import CountError, MergeError
from ...protocol.messages import LARGE_COMMIT, Part
from .outbox import Outbox
from .states import QueryState

COMMIT_INTERVAL = 0.5
"""Seconds that the oldest uncommitted range waits at most, while there is more to come."""
COMMIT_BYTES = 64 * 2**20
"""A total of this size that grows with what is handed over, as lists do, is committed as soon as it can be."""
PACE, LONGEST_PAUSE = 20.0, 30.0
"""Large results are committed so seldom that this takes one part in so many of the time, and no more seldom than after so
many seconds: so much work is done again when the worker is lost."""
BYTES_A_SECOND = 1e9
"""Of arrays that are nearly empty, which are added up here and looked through."""
MOST_UNANSWERED = 256 * 2**20
"""Bytes in commits without an answer from which on slots have to wait: the master is slow, and nothing piles up here."""
MOST_GAPS = 10_000
"""Skipped ranges that a commit waits with: they are in its message."""


class Commits:
    """The commits of a worker.

    Args:
        outbox: where they go.
        queries: what the agent has of them, by number.
    """

    def __init__(self, outbox: Outbox, queries: Mapping[str, QueryState]) -> None:
        self._outbox = outbox
        self._queries = queries
        self._commits = 0
        self._unanswered: dict[int, tuple[QueryState | None, int, float | None]] = {}

    @property
    def choked(self) -> bool:
        """Whether slots have to wait, because the master does not answer, or what waits for its turn has grown too much."""
        grown = sum(it.size - it.offered for it in self._queries.values() if it.offered is not None)
        return grown + sum(size for _, size, _ in self._unanswered.values()) >= MOST_UNANSWERED

    @property
    def all_answered(self) -> bool:
        """Whether the master has answered all of them."""
        return not self._unanswered

    def answered(self, commit: int, now: float) -> None:
        """The master has answered a commit, or will never see it."""
        query, size, since = self._unanswered.pop(commit, (None, 0, None))
        if query is not None and size >= LARGE_COMMIT and since is not None:
            query.pause = min(LONGEST_PAUSE, PACE * (now - since))

    def forget(self) -> None:
        """The master knows nothing of this worker any more, and answers nothing."""
        self._unanswered.clear()

    def add(self, query: QueryState, message: messages.Commit, frames: Frames, now: float) -> None:
        """Add what a slot has handed over to the query's total. If the two are too long together, what there was is
        committed first: what is too much for a result says who has all of it.

        Raises:
            CountError: it does not count the entries of its packets.
            EventmillError: it is no result, or does not fit the others.
        """
        _check_count(message, entries_in(frames))
        try:
            query.total.add_frames(frames)
        except MergeError as error:
            if not (error.too_long and query.parts):
                raise
            self.commit(query, now)
            query.total.add_frames(frames)
        query.size, query.largest = query.total.nbytes, max(query.largest, dense_sizes(frames))
        if not query.parts:
            query.since = now
        for part in message.parts:
            before = query.parts.get(part.lease)
            query.gaps += len(part.gaps)
            together = Part(part.lease, before.start, part.stop, [*before.gaps, *part.gaps]) if before else part
            query.parts[part.lease] = together

    def apart(self, message: messages.Commit, frames: Frames, now: float) -> None:
        """Commit what may be refused without adding it to the total.

        Raises:
            CountError: as `add`.
        """
        _check_count(message, entries_in(frames))
        self._send(message.query, message.parts, frames, now)

    def offer(self, query: QueryState, now: float) -> None:
        """Commit what has been added up for a query, if anything has, once it is this worker's turn if that is much."""
        if query.size < LARGE_COMMIT:
            self.commit(query, now)
        elif query.parts and query.offered is None:
            query.offered = query.size
            self._outbox.tell(messages.Offer(query.number, max(1, query.size)))

    def granted(self, number: str, now: float) -> None:
        """It is this worker's turn, for a query that it may have committed meanwhile, or forgotten."""
        query = self._queries.get(number)
        if query is not None and query.parts:
            self.commit(query, now)
        else:
            self._outbox.tell(messages.Offer(number, 0))

    def commit(self, query: QueryState, now: float | None = None) -> None:
        """Commit what has been added up for a query, if anything has, whoever's turn it is. What that takes is learnt from
        those whose beginning is known."""
        if not query.parts:
            return
        frames = query.total.to_frames(thin=True)
        if sum(map(len, frames)) < LARGE_COMMIT <= query.size:  # its answer says nothing of what it takes here
            query.pause = min(LONGEST_PAUSE, PACE * query.size / BYTES_A_SECOND)
        self._send(query.number, list(query.parts.values()), frames, now)
        query.total.clear()
        query.parts, query.gaps, query.size, query.offered = {}, 0, 0, None
        query.interval = min(COMMIT_INTERVAL, 2 * query.interval)

    @staticmethod
    def is_large(query: QueryState) -> bool:
        """Whether it is to be committed soon, because it grows too much."""
        return query.gaps >= MOST_GAPS or (query.size >= COMMIT_BYTES and query.size >= 2 * query.largest)

    def _send(self, number: str, parts: Sequence[Part], frames: Frames | list[Buffer], now: float | None) -> None:
        self._commits += 1
        self._unanswered[self._commits] = self._queries.get(number), sum(len(frame) for frame in frames), now
        self._outbox.tell(messages.Commit(self._commits, number, list(parts)), frames)


def _check_count(message: messages.Commit, counted: int) -> None:
    """What a slot hands over is to count the entries of its packets; CountError if not."""
    parts = [(part.lease, part.start, part.stop) for part in message.parts]
    if wrong := miscount(counted, parts, sum(part.skipped for part in message.parts)):
        raise CountError(f"query {message.query}: {wrong}")
