"""Who may use a master, as its owner and its users see to it from a session."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from ..protocol import messages
from ..protocol.connection import Connection, write_connection
from ..protocol.messages import TokenInfo, TokenTerms, UserInfo
from ..protocol.tokens import new_token

if TYPE_CHECKING:
    from .watch import Watch


class SessionAccess:
    """The users and tokens of a session's master: `session.access`.

    Every user has a key of her own, in a connection file that `add_user` writes. A token lets workers enrol, each with a key
    that it makes itself.

    Example:
        >>> session.access.users()
        []
        >>> token = session.access.make_token("tonight", uses=10, valid=3600.0)
        >>> [(info.terms.name, info.used) for info in session.access.tokens()]
        [('tonight', 0)]
        >>> session.access.revoke_token("tonight")
    """

    def __init__(self, watch: Watch) -> None:
        self._watch = watch

    def users(self) -> list[UserInfo]:
        """The users there are, beside the master's owner."""
        return self._listed().users

    def tokens(self) -> list[TokenInfo]:
        """The tokens there are; users see their own."""
        return self._listed().tokens

    def add_user(
        self, name: str, file: str | os.PathLike[str], *, groups: Iterable[str] = (), operator: bool = False
    ) -> None:
        """Let a user in, with a new key, and not with an earlier one of hers.

        Args:
            name: whose queries those of this key are.
            file: where the connection file is written (mode 0600) with which she connects: give it to her, and keep none.
            groups: to which she belongs: workers may serve a group.
            operator: she may stop all queries and send all workers away.

        Raises:
            QueryFailed: only the owner of the master adds users; or the name is none.
        """
        import zmq

        public, secret = (half.decode() for half in zmq.curve_keypair())
        user = UserInfo(name, list(groups), operator)
        self._watch.request(lambda number: messages.AddUser(number, public, user), messages.Done)
        master = self._watch.link.connection
        write_connection(Path(file), Connection(master.address, "session", master.server_key, public, secret))

    def remove_user(self, name: str) -> None:
        """Let a user in no more: her queries stop, her sessions and workers are sent away. Raises `QueryFailed`."""
        self._watch.request(lambda number: messages.RemoveUser(number, name), messages.Done)

    def make_token(
        self,
        name: str,
        *,
        owner: str = "",
        pool: str = "",
        uses: int = 1,
        slots: int = 4096,
        valid: float = 43200.0,
    ) -> str:
        """Make a token that lets workers enrol. It is a secret: it belongs into a file of mode 0600.

        Args:
            name: by which it is listed and revoked.
            owner: whose queries its workers serve: a user's, a "@group"'s, or everybody's (""). Users make tokens for
                workers of their own.
            pool: of which these workers are; "": of any.
            uses: workers that may come with it.
            slots: that each of them may have.
            valid: seconds for which it is good, and so its workers.

        Raises:
            QueryFailed: there is one of this name, there is no such owner, or this session may not.
        """
        master = self._watch.link.connection
        token, public = new_token(master.address, master.server_key)
        terms = TokenTerms(name, owner, pool, uses, slots, valid)
        self._watch.request(lambda number: messages.MakeToken(number, public, terms), messages.Done)
        return token

    def revoke_token(self, name: str) -> None:
        """Let nobody enrol with a token any more, and send its workers away. Raises `QueryFailed`."""
        self._watch.request(lambda number: messages.RevokeToken(number, name), messages.Done)

    def _listed(self) -> messages.AccessList:
        return self._watch.request(messages.AskAccess, messages.AccessList)
