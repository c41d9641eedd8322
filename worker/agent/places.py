"""Which folders are whose on a worker: what an owner's queries compile, and their temporary files, are hers alone."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from .states import Owner

NAME = 40
"""Characters of the name of an owner's folders: all of them hexadecimal."""


@dataclass(frozen=True, slots=True)
class Places:
    """The places of one worker.

    Args:
        account: that it runs as.
        master: the public key of its master; what its users are called means nothing elsewhere.
        alone: it belongs to one session.

    Example:
        >>> places = Places("alice", "key of the master")
        >>> places.of(("", "alice"))
        ''
        >>> len(places.of(("", "bob"))), places.of(("bob", "bob")) == Places("alice", "another").of(("bob", "bob"))
        (40, False)
    """

    account: str = ""
    master: str = ""
    alone: bool = False

    def hides(self, owner: Owner) -> bool:
        """Whether others of the account may not look into an owner's slots; into one's own a profiler may."""
        return not self.alone or self.of(owner) != ""

    def of(self, owner: Owner) -> str:
        """The name of an owner's folders; empty for the folders of the account.

        Those are for the owner of a master who is called as the account is: she runs master and worker, as in a session of
        her own. A user that the master knows by a key has others, whatever she is called: the account of a worker that
        several share is nobody's of them.
        """
        user, name = owner
        if not user and name and name == self.account:
            return ""
        whose = ("user", self.master, user) if user else ("owner", name)
        return hashlib.sha256(repr(whose).encode()).hexdigest()[:NAME]
