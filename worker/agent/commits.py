"""What slots have handed over: added up for each query, and committed with its ranges in one message."""

from __future__ import annotations

from collections.abc import Sequence

from ...merge import Total, entries_in
from ...protocol import messages
from ...protocol.codec import Buffer, Frames
from ...protocol.counts import miscount
from ...protocol.errors import CountError
from ...protocol.messages import Part
from .outbox import Outbox
from .states import QueryState

COMMIT_INTERVAL = 0.5
"""Seconds that the oldest uncommitted range waits at most, while there is more to come."""
COMMIT_BYTES = 64 * 2**20
"""A total of this size is committed at once."""
MOST_UNANSWERED = 256 * 2**20
"""Bytes in commits without an answer from which on slots have to wait: the master is slow, and nothing piles up here."""
MOST_GAPS = 10_000
"""Skipped ranges that a commit waits with: they are in its message."""


class Commits:
    """The commits of a worker.

    Args:
        outbox: where they go.
    """

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._commits = 0
        self._unanswered: dict[int, int] = {}

    @property
    def choked(self) -> bool:
        """Whether slots have to wait, because the master does not answer."""
        return sum(self._unanswered.values()) >= MOST_UNANSWERED

    @property
    def all_answered(self) -> bool:
        """Whether the master has answered all of them."""
        return not self._unanswered

    def answered(self, commit: int) -> None:
        """The master has answered a commit, or will never see it."""
        self._unanswered.pop(commit, None)

    def forget(self) -> None:
        """The master knows nothing of this worker any more, and answers nothing."""
        self._unanswered.clear()

    def add(self, query: QueryState, message: messages.Commit, frames: Frames, now: float) -> None:
        """Add what a slot has handed over to the query's total.

        Raises:
            CountError: it does not count the entries of its packets.
            EventmillError: it is no result, or does not fit the others.
        """
        _check_count(message, entries_in(frames))
        query.total.add_frames(frames)
        if not query.parts:
            query.since = now
        for part in message.parts:
            before = query.parts.get(part.lease)
            query.gaps += len(part.gaps)
            together = Part(part.lease, before.start, part.stop, [*before.gaps, *part.gaps]) if before else part
            query.parts[part.lease] = together

    def apart(self, message: messages.Commit, frames: Frames) -> None:
        """Commit what may be refused without adding it to the total.

        Raises:
            CountError: as `add`.
        """
        _check_count(message, entries_in(frames))
        self._send(message.query, message.parts, frames)

    def commit(self, query: QueryState) -> None:
        """Commit what has been added up for a query, if anything has."""
        if not query.parts:
            return
        self._send(query.number, list(query.parts.values()), query.total.to_frames())
        query.total, query.parts, query.gaps = Total(), {}, 0
        query.interval = min(COMMIT_INTERVAL, 2 * query.interval)

    @staticmethod
    def is_large(query: QueryState) -> bool:
        """Whether it is to be committed at once, because of its size."""
        return query.total.nbytes >= COMMIT_BYTES or query.gaps >= MOST_GAPS

    def _send(self, query: str, parts: Sequence[Part], frames: Frames | list[Buffer]) -> None:
        self._commits += 1
        self._unanswered[self._commits] = sum(len(frame) for frame in frames)
        self._outbox.tell(messages.Commit(self._commits, query, list(parts)), frames)


def _check_count(message: messages.Commit, counted: int) -> None:
    """What a slot hands over is to count the entries of its packets; CountError if not."""
    parts = [(part.lease, part.start, part.stop) for part in message.parts]
    if wrong := miscount(counted, parts, sum(part.skipped for part in message.parts)):
        raise CountError(f"query {message.query}: {wrong}")
