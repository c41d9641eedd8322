"""What a display follows at a master without waiting: it asks for what is new, again and again."""

from __future__ import annotations

import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..protocol.codec import Buffer
from ..protocol.errors import EventmillError
from ..protocol.messages import Message

if TYPE_CHECKING:
    from .watch import Watch

log = logging.getLogger(__name__)


class Feed(ABC):
    """Asks one question at a time, each with the cursor of the answer before.

    Args:
        watch: the session's line to its master.
    """

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._lock = threading.Lock()
        self._asking = False

    def poll(self) -> None:
        """Ask for what is new; nothing happens while an answer is awaited. To be called once a second or so."""
        with self._lock:
            if self._asking or self._watch.link.closed:
                return
            self._asking = True
        self._ask()

    @abstractmethod
    def _question(self, number: int) -> Message:
        """The request of this number."""

    @abstractmethod
    def _take(self, answer: Message, frames: Sequence[Buffer]) -> bool:
        """Take in an answer and its frames, in the link's thread; whether there is more. It may be another one than was
        hoped for: what is missing is asked for again later."""

    def _ask(self) -> None:
        try:
            self._watch.link.ask(self._question, self._answered)
        except EventmillError as error:  # the master is away, or the session was closed: perhaps it is there next time
            log.debug("not asked for what is new: %s", error)
            self._asking = False

    def _answered(self, answer: Message, frames: Sequence[Buffer]) -> None:
        if self._take(answer, frames):
            self._ask()
        else:
            self._asking = False
