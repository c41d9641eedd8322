"""How results leave a slot: totals are handed to the agent when they are due, and all of them when the slot makes room."""

from __future__ import annotations

import time
from typing import NoReturn

from ...merge import Partial
from ...protocol import messages
from ...protocol.errors import LocalProtocolError, MergeError
from ...protocol.messages import LARGE_COMMIT, Failure, File, Part
from ...reading.storage.credentials import turn_to
from .agent_link import AgentLink
from .failures import ERRORS, describe
from .guard import Guard
from .isolation import MOST_FAULTS
from .query_state import Running
from .work_queue import WorkQueue

HAND_OVER = 0.25
"""Seconds since its beginning after which a finished packet is handed over, while there is more to do."""
PACE, LONGEST_PAUSE = 20.0, 30.0
"""Large results are handed over so seldom that this takes one part in so many of the slot's time, and no more seldom than
after so many seconds: so much is done again when the slot is lost."""
BYTES_A_SECOND = 1e9
"""That go from a slot to its agent, and are added up there."""
ROWS_SECONDS = 5.0
"""The same where rows for files are held, which are handed over as pieces: many small pieces are dear."""
MOST_GROWN = 32 * 2**20
"""Bytes of rows for files, or of awkward arrays, that are handed over at once. So much is done again when a slot is lost."""


class Handover:
    """Hands over what a slot has accumulated.

    Args:
        queue: whose queries it is of.
        link: to the agent.
        guard: of the process; a result may be the user's own object.
    """

    def __init__(self, queue: WorkQueue, link: AgentLink, guard: Guard) -> None:
        self._queue = queue
        self._link = link
        self._guard = guard
        self._commits = 0

    def add(self, running: Running, part: Part, partial: Partial, began: float) -> None:
        """Add the result of a packet that began then. If it is too long together with what there is, that is handed over
        first: what is too much for a result says who has all of it. Raises `MergeError` if it does not fit."""
        try:
            running.add(part, partial, began)
        except MergeError as error:
            if not (error.too_long and running.parts):
                raise
            self.of(running)
            running.add(part, partial, began)

    def before(self, failure: Failure, running: Running) -> None:
        """Hand over what came of other packets, if this ends the query."""
        if failure.kind == "analysis" and running.setup.on_error == "fail":
            self.of(running)

    def all_due(self) -> None:
        """Hand over the first packet, what has waited long enough, and everything when there is no lease at hand."""
        self._queue.listen()
        now = time.monotonic()
        waiting = {thing.query for thing in self._queue.todo}
        for running in self._queue.queries.values():
            if (
                _is_due(running, now)
                or running.number not in waiting
                or sum(len(part.gaps) for part in running.parts) >= MOST_FAULTS
            ):
                self.of(running)

    def of(self, running: Running) -> None:
        """Hand over what has been accumulated for a query; if it cannot travel, all packets that are in it fail."""
        if not running.parts:
            return
        if running.held or running.total.pickled_parts or running.total.nbytes >= LARGE_COMMIT:
            self._link.flush()  # that packets are finished waits for nothing that takes long, or that may end the process
        parts, total = running.taken()
        self._commits += 1
        began = time.monotonic()
        try:
            if running.task is not None:
                running.task.enter()
            turn_to(running.credential_set)
            with self._guard:
                frames = running.rows.written(total.partial()).to_frames(thin=True)
            self._link.send(messages.Commit(self._commits, running.number, parts), frames)
            took = max(time.monotonic() - began, sum(map(len, frames)) / BYTES_A_SECOND)
            running.pause = min(LONGEST_PAUSE, PACE * took)
        except ERRORS as error:
            failure, pickled = describe(cannot_be_sent(error), File(""), None, None)
            for part in parts:
                self._link.send(messages.Failed(running.number, part.lease, failure), pickled)

    def retire(self) -> NoReturn:
        """Hand over everything, and wait to be ended: a fresh process takes this one's place."""
        for running in self._queue.queries.values():
            self.of(running)
        self._link.send(messages.Bye())
        self._link.wait_to_be_ended()


def _is_due(running: Running, now: float) -> bool:
    if not running.handed_over or running.grown >= MOST_GROWN:
        return True
    if running.held:
        return now - running.since >= ROWS_SECONDS
    return now - running.since >= max(HAND_OVER, running.pause)


def cannot_be_sent(error: BaseException) -> BaseException:
    """What the user sees of an error in sending a result: it is the result that is over the limits of the protocol."""
    return MergeError(f"the result cannot be sent: {error}") if isinstance(error, LocalProtocolError) else error
