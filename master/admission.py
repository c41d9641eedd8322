"""Who is let in, and who is sent away: workers enrol, sessions add users and make tokens, and keys come to their end."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Literal

from ..protocol import messages
from ..protocol.codec import Frames
from .access import Access, AccessRefused, Identity
from .calls import Handlers, SendMessage
from .effects import Effect, SaveAccess
from .lifecycle import Lifecycle
from .peers import Peer, Worker
from .queries import Queries
from .roster import Roster

log = logging.getLogger(__name__)


class Admission:
    """Has `Access` decide, has it written down, and sees to it that whoever is let in no more is gone.

    Args:
        access: the keys that are let in.
        roster: who is there.
        queries: the master's queries; they stop when their user is removed.
        lifecycle: stops them.
        send: sends a message with frames to a peer, `send(identity, message, frames, now=now)`.
        do: has any other effect carried out.
    """

    def __init__(
        self,
        access: Access,
        roster: Roster,
        queries: Queries,
        lifecycle: Lifecycle,
        send: SendMessage,
        do: Callable[[Effect], None],
    ) -> None:
        self._access = access
        self._roster = roster
        self._queries = queries
        self._lifecycle = lifecycle
        self._send = send
        self._do = do

    def add_to(self, handlers: Handlers[Peer]) -> None:
        """What sessions ask about it comes here."""
        handlers.add(messages.AddUser, self._add_user)
        handlers.add(messages.RemoveUser, self._remove_user)
        handlers.add(messages.MakeToken, self._make_token)
        handlers.add(messages.RevokeToken, self._revoke_token)
        handlers.add(messages.AskAccess, self._ask)

    def who(self, peer: Peer | None, key: str, now: float) -> Identity | None:
        """As whom a peer speaks, who has this key, whether it has said hello or not; None when it is let in no more."""
        if peer is not None and peer.key == key and now < peer.who.until:
            return peer.who
        return self._access.identity(key, now)

    def enrol(self, identity: bytes, key: str, message: messages.Enrol, owner: str, now: float) -> None:
        """A worker comes with a token for workers of this owner, and wants to be let in by a key of its own."""
        try:
            seconds = self._access.enrol(key, message, now)
        except AccessRefused as refused:
            log.warning("a worker on %s was not enrolled: %s", message.host, refused)
            self._tell_launcher(message, "failed", str(refused), owner, now)
            self._send(identity, messages.Fault(str(refused), fatal=True), now=now)
            return
        self._save()
        self._tell_launcher(message, "enrolled", "", owner, now)
        self._send(identity, messages.Enrolled(seconds), now=now)

    def _tell_launcher(
        self, message: messages.Enrol, stage: Literal["enrolled", "failed"], reason: str, owner: str, now: float
    ) -> None:
        reached = messages.Stage(stage, 0.0, reason, message.pool, message.job, message.host)
        self._roster.pools.reached(reached, owner, now)

    def left(self, peer: Peer) -> None:
        """A peer has left in good order."""
        self._access.left(peer.key)
        self._save()

    def deadline(self) -> float:
        """When `expire` is to be called at the latest."""
        return self._access.deadline()

    def expire(self, now: float) -> None:
        """Send workers away whose token is over."""
        if now >= self._access.deadline():
            self._access.expire(now)
            self._save()
            self._dismiss("the token by which this worker came is over", now)

    def _dismiss(self, why: str, now: float) -> None:
        """Peers whose key is let in no more go; what others may do now is noted with them."""
        for peer in self._roster.peers:
            who = self._access.identity(peer.key, now)
            if who is not None:
                peer.who = who
            else:
                last = messages.Fault(why, fatal=True) if isinstance(peer, Worker) else messages.Bye(why)
                self._send(peer.identity, last, now=now)
                self._roster.lose(peer.identity, f"was sent away: {why}", now)

    def _save(self) -> None:
        changes, self._access.changes = self._access.changes, []
        if changes:
            self._do(SaveAccess(changes))

    # --- what sessions ask ----------------------------------------------------------------------------------------

    def _add_user(self, peer: Peer, message: messages.AddUser, frames: Frames, now: float) -> None:
        name = message.user.name
        self._change(
            peer, message, lambda: self._access.add_user(message.user, message.public_key, peer.who), now,
            f"the key of user {name} was replaced",
        )  # fmt: skip
        for query in self._queries.live.values():
            if query.submit.user == name:
                query.served_by = self._access.served_by(name)

    def _remove_user(self, peer: Peer, message: messages.RemoveUser, frames: Frames, now: float) -> None:
        name = message.name
        if not self._change(
            peer, message, lambda: self._access.remove_user(name, peer.who), now, f"user {name} was removed"
        ):
            return
        for query in list(self._queries.live.values()):
            if query.submit.user == name:
                self._lifecycle.stop(query, True, now)

    def _make_token(self, peer: Peer, message: messages.MakeToken, frames: Frames, now: float) -> None:
        self._change(
            peer, message, lambda: self._access.make_token(message.public_key, message.terms, peer.who, now), now
        )

    def _revoke_token(self, peer: Peer, message: messages.RevokeToken, frames: Frames, now: float) -> None:
        self._change(
            peer, message, lambda: self._access.revoke_token(message.name, peer.who), now,
            f"the token {message.name!r}, by which this worker came, was revoked",
        )  # fmt: skip

    def _change(
        self,
        peer: Peer,
        message: messages.AddUser | messages.RemoveUser | messages.MakeToken | messages.RevokeToken,
        change: Callable[[], None],
        now: float,
        why: str = "",
    ) -> bool:
        """Change who is let in, have it written down, and answer; those who are let in no more are told why."""
        try:
            change()
        except AccessRefused as refused:
            self._send(peer.identity, messages.Refused(message.request, str(refused)), now=now)
            return False
        self._save()
        self._send(peer.identity, messages.Done(message.request), now=now)
        if why:
            self._dismiss(why, now)
        return True

    def _ask(self, peer: Peer, message: messages.AskAccess, frames: Frames, now: float) -> None:
        self._send(peer.identity, messages.AccessList(message.request, *self._access.listed(peer.who, now)), now=now)
