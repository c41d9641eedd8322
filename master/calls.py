"""How the parts of the master core call each other: what sends messages, and which message goes to which method."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Generic, Protocol, TypeVar

from ..protocol.codec import Buffer, Frames
from ..protocol.messages import Message

P = TypeVar("P", contravariant=True)
M = TypeVar("M", bound=Message)


class SendMessage(Protocol):
    """Sends a message with its frames to a peer."""

    def __call__(self, identity: bytes, message: Message, frames: Iterable[Buffer] = (), *, now: float) -> None: ...


class Handlers(Generic[P]):
    """Which method deals with which message of a kind of peer.

    Example:
        >>> from eventmill.protocol.messages import Bye
        >>> handlers = Handlers[str]()
        >>> handlers.add(Bye, lambda peer, message, frames, now: print(peer, "leaves"))
        >>> handlers.handle("worker", Bye(), [], 0.0)
        worker leaves
    """

    def __init__(self) -> None:
        self._by_kind: dict[type[Message], Callable[[Any, Any, Frames, float], None]] = {}

    def add(self, kind: type[M], handler: Callable[[P, M, Frames, float], None]) -> None:
        """Messages of a kind go to a method from now on."""
        self._by_kind[kind] = handler

    def handle(self, peer: P, message: Message, frames: Frames, now: float) -> None:
        """Deal with a message; `KeyError` when nobody does."""
        self._by_kind[type(message)](peer, message, frames, now)
