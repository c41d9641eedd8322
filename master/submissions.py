"""Queries that sessions submit, from their arrival to their beginning.

A dataset of many files is taken in a block at a time, a block each turn of the master's loop, so that nobody waits long for
an answer while somebody submits a million files.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from ..protocol import messages
from ..protocol.codec import Frames
from ..protocol.values import some
from .access import EVERYBODY, Access
from .attachments import Attachments
from .broken import Concerning
from .calls import SendMessage
from .file_table import FileTable
from .learnt import Learnt
from .lifecycle import Lifecycle
from .numbering import Numbering
from .peers import Peer
from .queries import Queries
from .query import Query

log = logging.getLogger(__name__)

MALFORMED = (ValueError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
AT_ONCE = 1
"""Blocks of files that a submission may have to be taken in at once."""


@dataclass(slots=True)
class Incoming:
    """A submission whose files are not all taken in yet, and who waits for the answer under which number."""

    identity: bytes
    submit: messages.Submit
    frames: Frames
    files: FileTable


class Submissions:
    """Makes queries of what sessions submit.

    Args:
        tag: goes into the numbers of queries; `numbering` gives the rest.
        queries: the master's queries, by number.
        learnt: what is known of analyses.
        access: the users there are.
        attachments: large arrays that sessions send.
        lifecycle: begins queries.
        send: sends a message with frames to a peer, `send(identity, message, frames, now=now)`.
        forget_old: makes room for one more query.
    """

    def __init__(
        self,
        tag: str,
        numbering: Numbering,
        queries: Queries,
        learnt: Learnt,
        access: Access,
        attachments: Attachments,
        lifecycle: Lifecycle,
        send: SendMessage,
        forget_old: Callable[[float], None],
    ) -> None:
        self._tag = tag
        self._numbering = numbering
        self._queries = queries
        self._learnt = learnt
        self._access = access
        self._attachments = attachments
        self._lifecycle = lifecycle
        self._send = send
        self._forget_old = forget_old
        self._incoming: deque[Incoming] = deque()
        self.at_work: Incoming

    @property
    def waiting(self) -> bool:
        """Whether there are files to be taken in."""
        return bool(self._incoming)

    def take(self, peer: Peer, message: messages.Submit, frames: Frames, now: float) -> None:
        """A session submits a query."""
        message = self._owned(peer, message)
        if unknown := [name for name in message.share if name != EVERYBODY and name not in self._access.users]:
            reason = f"share={unknown[0]!r}: this master has no such user; there are: {some(self._access.users)}"
            self._send(peer.identity, messages.Refused(message.request, reason), now=now)
            return
        if self._submitted_before(peer, message, now):
            return
        try:
            message, frames = self._attachments.take(message, frames)
            if len(frames) < 2:
                raise ValueError(f"{len(frames)} frames: an analysis and files are to be there")
            files = FileTable(frames[1])
        except MALFORMED as error:
            self._refuse(peer.identity, message, error, now)
            return
        incoming = Incoming(peer.identity, message, frames, files)
        if lacking := self._attachments.lacking(message):
            self._send(peer.identity, messages.Lacking(message.request, lacking), now=now)
        elif files.blocks_left > AT_ONCE:
            self._incoming.append(incoming)
        elif self._take_block(incoming, now):
            self._begin(incoming, now)

    def go_on(self, now: float) -> None:
        """Take in another block of the submission whose turn it is, which is then `at_work`, and begin the query if it was
        the last one."""
        if not self._incoming:
            return
        incoming = self.at_work = self._incoming.popleft()
        if not self._take_block(incoming, now):
            return
        if incoming.files.blocks_left:
            self._incoming.append(incoming)  # those that came with it have their turn
        elif lacking := self._attachments.lacking(incoming.submit):
            self._send(incoming.identity, messages.Lacking(incoming.submit.request, lacking), now=now)
        else:
            self._begin(incoming, now)

    def _take_block(self, incoming: Incoming, now: float) -> bool:
        """Take in a block of files; false if it is malformed, and the submission refused."""
        try:
            incoming.files.take()
        except MALFORMED as error:
            self._refuse(incoming.identity, incoming.submit, error, now)
            return False
        return True

    def _refuse(self, identity: bytes, message: messages.Submit, error: Exception, now: float) -> None:
        self._send(identity, messages.Refused(message.request, f"malformed submission: {error}"), now=now)

    def _begin(self, incoming: Incoming, now: float) -> None:
        message, frames, identity = incoming.submit, incoming.frames, incoming.identity
        number = f"q{self._tag}{self._numbering.last + 1}"
        try:
            query = Query.submitted(number, message, frames, incoming.files, now, self._learnt)
        except MALFORMED as error:
            self._refuse(identity, message, error, now)
            return
        self._numbering.next()
        query.served_by = self._access.served_by(message.user)
        self._queries.add(query)
        query.audience.asked = (identity, message.request)
        self._forget_old(now)
        log.info("query %s: %s over %d files for %s", number, message.name, len(query.files), message.owner)
        with Concerning(query):
            kept = frames[:-1] if message.credentials else frames
            self._lifecycle.begin(query, kept, self._attachments.of(message), now)
            self._lifecycle.end_if_complete(query, now)

    def _owned(self, peer: Peer, message: messages.Submit) -> messages.Submit:
        """A submission with the name of whose it is. The owner of the master is called as she likes, but not as a user."""
        user = peer.who.user
        owner = user or message.owner
        if not user and owner in self._access.users:
            owner = f"{owner} (owner of the master)"
        return msgspec.structs.replace(message, user=user, owner=owner)

    def _submitted_before(self, peer: Peer, message: messages.Submit, now: float) -> bool:
        """Whether a session submits again, since it could not know that its query was taken: then it goes on with that."""
        for incoming in self._incoming:
            if message.token and (incoming.submit.token, incoming.submit.user) == (message.token, message.user):
                incoming.identity = peer.identity
                incoming.submit = msgspec.structs.replace(incoming.submit, request=message.request)
                return True
        query = self._queries.submitted_with(message.token)
        if query is None or query.submit.user != message.user:
            return False
        if query.audience.asked is not None:
            query.audience.asked = (peer.identity, message.request)
        else:
            self._lifecycle.watch(query, peer.identity, message.request, now)
        return True
