"""The queries that a session watches: begun, heard of, and taken up again when the master was away."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ..protocol import messages
from ..protocol.codec import Buffer, Frames
from ..protocol.connection import Connection
from ..protocol.credentials import Credentials
from ..protocol.errors import ConnectionFailed, QueryFailed
from ..protocol.messages import Message
from .delegation import Delegation
from .link import Link
from .renewer import Renewer
from .requests import Answer, Interrupted, Lacks, until_answered
from .submission import Submission

if TYPE_CHECKING:
    from .query import Query

log = logging.getLogger(__name__)


class Watch:
    """What a session waits for, over a link of its own.

    It does not refer to its session, which is to end when nobody else does; the queries that are not over do.

    Args:
        connection: the master to call.
        timeout: seconds until the master must have answered for the first time.
        check: raises `ConnectionFailed` when a process of the session's own has ended.
        file: where the connection is from.
        patience: seconds to wait for a master that is gone to be there again.

    Attributes:
        link: the line to the master.
        running: queries by their number, until they are over or nobody watches them any more.
        delegation: the credentials of queries that bring none of their own.

    Raises:
        ConnectionFailed: nobody answers, or the master refuses.
    """

    def __init__(
        self, connection: Connection, timeout: float, check: Callable[[], None], file: Path | None, patience: float
    ) -> None:
        self.running: dict[str, Query] = {}
        self.delegation: Delegation | None = None
        self.renewer = Renewer(self)
        self._claiming = threading.Lock()
        self._check_processes = check
        self.link = Link(connection, timeout, self, check, file, patience)

    def request(self, make: Callable[[int], Message], expect: type[Answer], frames: Frames = ()) -> Answer:
        """The answer to a request, as `exchange` has it, if no frames belong to it."""
        return self.exchange(make, expect, frames)[0]

    def exchange(
        self,
        make: Callable[[int], Message],
        expect: type[Answer],
        frames: Frames = (),
        on_answer: Callable[[Answer], None] | None = None,
    ) -> tuple[Answer, Sequence[Buffer]]:
        """As `Link.request`; what a process of the session's own said last says more than that nobody answers. A question
        that changes nothing is asked again when the connection broke."""
        self.link.check_not_forked()
        self._check_processes()
        try:
            return until_answered(partial(self.link.request, make, expect, frames, on_answer), expect)
        except ConnectionFailed:
            self._check_processes()
            raise

    def submit(self, submission: Submission, delegation: Delegation | None, make_query: Callable[..., Query]) -> Query:
        """Start a query, also when the connection breaks meanwhile."""
        name = submission.submit.name

        def accepted(query: Query) -> None:
            query._submission, query._delegation = submission, delegation
            if delegation is not None:
                self.link.send(messages.Credentials(query.id, delegation.info()))
                self.renewer.wake()

        digests: Sequence[str] = ()
        while True:
            sent = submission.carrying(digests)
            try:
                return self.begin(sent.message, partial(make_query, name=name), accepted, sent.frames)
            except Lacks as lacks:
                digests = lacks.digests
            except Interrupted:
                log.info("the connection broke while query %s was submitted: once more", name)

    def begin(
        self,
        make: Callable[[int], Message],
        make_query: Callable[[str], Query],
        accepted: Callable[[Query], None] | None = None,
        frames: Frames = (),
    ) -> Query:
        """Submit or attach to a query. It is made in the link's thread, before more is heard of it.

        Args:
            make: makes the message, given the number of the request; `frames` belong to it.
            make_query: makes the query, given its number.
            accepted: called with it before anything else.
        """
        watched: list[Query] = []

        def on_answer(answer: messages.Accepted) -> None:
            with self._claiming:
                query = self.running.setdefault(answer.query, make_query(answer.query))
                query._claims += 1
            if accepted is not None:
                accepted(query)
            watched.append(query)

        answer, _ = self.exchange(make, messages.Accepted, frames, on_answer)
        if answer.unsaved:
            log.warning("query %s (%s): %s", answer.query, watched[0].name, answer.unsaved)
        return watched[0]

    def leave(self, query: Query) -> None:
        """One of those that began or attached to a query hears no more of it; the master says no more when none does."""
        with self._claiming:
            query._claims -= 1
            if query._claims > 0 or self.running.get(query.id) is not query:
                return
            del self.running[query.id]
        if not self.link.closed:
            self.link.send(messages.Leave(query.id))

    def seen(self, query: Query) -> None:
        """The last snapshot of a query has been looked at: the master may send the next one."""
        if not self.link.closed:
            self.link.send(query._demand.seen(query.id))

    def part(self, query: Query, entries: int) -> tuple[messages.PartIs, Sequence[Buffer]]:
        """What is looked at of a query's result, of the same `entries` as before, if that is not 0.

        Raises:
            QueryFailed: it goes on no more.
            ConnectionFailed: as `request`.
        """
        seen = query._demand.seen(query.id)
        make = partial(messages.AskPart, query=query.id, keys=seen.keys, whole=seen.whole, entries=entries)
        return self.exchange(make, messages.PartIs)

    def delegated(self, credentials: Credentials | None) -> Delegation | None:
        """These for a query, or the session's; what is in use already is renewed once for all queries."""
        if credentials is None:
            return self.delegation
        return next((it for it in self.delegations() if it.first is credentials), None) or Delegation(credentials)

    def renew(self, delegation: Delegation) -> None:
        """Running queries have other credentials from now on, and so have others."""
        self.delegation = delegation
        for query in list(self.running.values()):
            query._delegation = delegation
        self.bring(delegation)
        self.renewer.wake()

    def look_after(self, query: Query) -> None:
        """A query that was attached to, and whose credentials nobody renews, gets this session's, if there are any."""
        if self.delegation is not None and query._delegation is None:
            query._delegation = self.delegation
            if self.delegation.good:  # else others are brought when there are some
                self._bring_credentials(query)
            self.renewer.wake()

    def delegations(self) -> list[Delegation]:
        """The credentials that queries have, and new ones will have."""
        used = [self.delegation, *(query._delegation for query in list(self.running.values()))]
        return list({id(it): it for it in used if it is not None}.values())

    def bring(self, delegation: Delegation) -> None:
        """Tell the master what is new of credentials, for all queries that have them."""
        for query in list(self.running.values()):
            if query._delegation is delegation and not self.link.closed:
                self._bring_credentials(query)

    def check(self) -> None:
        """Raise when the master is known to be gone: a wait for it would never end."""
        if self.link.closed:
            raise QueryFailed("the session was closed before the query was over")
        self._check_processes()
        if self.link.given_up:
            raise QueryFailed(self.link.lost)

    # --- in the link's thread ---------------------------------------------------------------------------------------

    def _receive(self, message: Message, frames: list[Buffer]) -> None:
        """Take in a message that is no answer; called in the link's thread."""
        if not isinstance(message, messages.Progress | messages.Snapshot | messages.Ended):
            return
        query = self.running.get(message.query)
        if isinstance(message, messages.Snapshot):
            if query is None:
                self.link.send(messages.Seen(message.query))
            elif query._demand.came(frames, time.monotonic()):
                self.link.send(query._demand.seen(message.query))
        if query is not None:
            if isinstance(message, messages.Progress) and query._demand.passed(time.monotonic()):
                self.link.send(query._demand.seen(message.query))
            query._receive(message, frames)
            if isinstance(message, messages.Ended):
                query._submission = None
                self.running.pop(message.query, None)

    def _rejoined(self) -> None:
        """The connection broke and is there again: watch again what is not over; called in the link's thread."""
        for query in list(self.running.values()):
            self.link.ask(partial(messages.Attach, query=query.id), partial(self._attached_again, query))

    def _attached_again(self, query: Query, answer: Message, _: Sequence[Buffer]) -> None:
        if isinstance(answer, messages.Accepted):
            self._bring_credentials(query)
        elif isinstance(answer, messages.Refused) and query._submission is not None:
            self._submit_again(query, query._submission, ())
        elif isinstance(answer, messages.Refused):
            self._give_up(query, answer)

    def _submit_again(self, query: Query, submission: Submission, digests: Sequence[str]) -> None:
        try:
            sent = submission.carrying(digests)
        except QueryFailed as error:
            self.running.pop(query.id, None)
            query._lose(str(error))
        else:
            self.link.ask(sent.message, partial(self._submitted_again, query), sent.frames)

    def _submitted_again(self, query: Query, answer: Message, _: Sequence[Buffer]) -> None:
        """The master had lost a query of this session; the answer is to its submission. Without one it is asked again."""
        if isinstance(answer, messages.Accepted):
            log.warning(
                "the master was started again and had lost query %s: it begins anew as %s", query.id, answer.query
            )
            self.running.pop(query.id, None)
            query.id = answer.query
            self.running[query.id] = query
            self._bring_credentials(query)
        elif isinstance(answer, messages.Lacking) and query._submission is not None:
            self._submit_again(query, query._submission, answer.digests)
        elif isinstance(answer, messages.Refused):
            self._give_up(query, answer)

    def _give_up(self, query: Query, refused: messages.Refused) -> None:
        self.running.pop(query.id, None)
        query._lose(f"the master was started again and has forgotten query {query.name}: {refused.reason}")

    def _bring_credentials(self, query: Query) -> None:
        delegation = query._delegation
        if delegation is not None and delegation.current:
            self.link.send(messages.Credentials(query.id, delegation.info()), [delegation.current.pack()])
