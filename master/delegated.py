"""The credentials of a query, as the master has them: bytes that it passes on, and what their session says of them."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from ..protocol.codec import Buffer
from ..protocol.credentials import tag_of
from ..protocol.messages import CredentialsInfo
from ..protocol.values import LONGEST

NEARLY_OVER = 30.0
"""Seconds before its end from which on a file server, whose clock may be ahead, takes a token to be over."""


@dataclass(slots=True)
class Delegated:
    """What a query's slots show to file servers; times are the core's `now`.

    Attributes:
        wanted: it has some, or waits for them.
        packed: as they travel; None while they are not here. Never written down.
        awaited: what there is was not accepted any more, since it is over: there will be others.
    """

    wanted: bool = False
    packed: Buffer | None = field(default=None, repr=False)
    awaited: bool = False
    _info: CredentialsInfo = field(default_factory=CredentialsInfo)
    _heard: float = 0.0
    _bringer: bytes = b""

    @classmethod
    def taken(cls, wanted: bool, frames: list[Buffer]) -> Delegated:
        """Those of a submission: the last one of its frames. Raises `ValueError` when there is none."""
        if wanted and not frames:
            raise ValueError("the credentials are missing that it is to have")
        return cls(wanted, frames.pop() if wanted else None)

    @property
    def there(self) -> bool:
        """Whether slots can be given more of the query: it needs none, or they are here and not known to be over."""
        return not self.wanted or (self.packed is not None and not self.awaited)

    def bring(self, packed: Buffer) -> None:
        """There are others, perhaps for a query that was submitted without any."""
        self.wanted, self.packed, self.awaited = True, packed, False

    def tell(self, session: bytes, info: CredentialsInfo, now: float) -> None:
        """A session says what may be known of them; it is the one that renews them, if somebody does."""
        self._info, self._heard, self._bringer = info, now, session

    def lose(self, session: bytes) -> None:
        """A session is gone."""
        if session == self._bringer:
            self._bringer = b""

    def will_be_renewed(self, denied: str, now: float) -> bool:
        """A file server has not accepted those of this tag. Whether others are here already, or will be: then the query goes
        on with them, and waits until they are here. Else it is the server's last word."""
        if not denied or self.packed is None:
            return False
        if denied != tag_of(self.packed):
            return True
        left = self._left(now)
        self.awaited = self._info.renewed != "nobody" and left is not None and left < NEARLY_OVER
        return self.awaited

    def info(self, now: float) -> CredentialsInfo | None:
        """What is told of them; None of a query that has none."""
        if not self.wanted:
            return None
        if self.packed is None:
            return CredentialsInfo(missing=True)
        away = not self._bringer and self._info.renewed != "nobody"
        return msgspec.structs.replace(self._info, left=self._left(now), away=away)

    def _left(self, now: float) -> float | None:
        left = self._info.left
        return None if left is None else max(-LONGEST, left - max(0.0, now - self._heard))
