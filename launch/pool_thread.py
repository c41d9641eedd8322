"""The thread of a pool: calls of its system may take a minute, and nothing else waits for them."""

from __future__ import annotations

import logging
import queue
import socket
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path

from ..system.private_folders import make_private
from .effects import Answer, Call, Failed, Find, FindLeft, List, ReadLog, Start, Stop
from .pools.pool import Assignment, Pool, PoolError

log = logging.getLogger(__name__)

TOKEN_FILE = "token"  # noqa: S105 - its name


class Answers:
    """What pools answer, taken out by the loop that polls `fileno`."""

    def __init__(self) -> None:
        self._waiting: deque[Answer | Failed] = deque()
        self._woken, self._waker = socket.socketpair()
        self._woken.setblocking(False)
        self._waker.setblocking(False)

    def fileno(self) -> int:
        """It becomes readable when there is one."""
        return self._woken.fileno()

    def put(self, answer: Answer | Failed) -> None:
        """From any thread."""
        self._waiting.append(answer)
        try:
            self._waker.send(b"\0")
        except BlockingIOError:
            log.debug("the loop has been woken often enough")

    def take(self) -> list[Answer | Failed]:
        """All that there are."""
        try:
            self._woken.recv(65536)
        except BlockingIOError:
            log.debug("nothing new")
        taken = []
        while self._waiting:
            taken.append(self._waiting.popleft())
        return taken

    def close(self) -> None:
        """Nobody looks any more."""
        self._woken.close()
        self._waker.close()


class PoolThread:
    """One pool and its thread.

    Args:
        name: of the pool.
        pool: its settings and verbs.
        folder: its own, which is made.
        answer: is called with what comes of each call, in this thread.
        facility: whose pool it is (`Assignment.facility`).

    Attributes:
        token: the file by which its workers enrol.
        open: calls that have no answer yet.
    """

    def __init__(
        self, name: str, pool: Pool, folder: Path, answer: Callable[[Answer | Failed], None], facility: str = ""
    ) -> None:
        self._name, self._pool, self._folder, self._facility = name, pool, folder, facility
        make_private(folder)
        self.token = folder / TOKEN_FILE
        self.open = 0
        self._answer = answer
        self._calls: queue.SimpleQueue[Call | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=f"eventmill pool {name}", daemon=True)
        self._thread.start()

    def ask(self, call: Call) -> None:
        """Have a call made, after those before it."""
        self.open += 1
        self._calls.put(call)

    def close(self) -> None:
        """Make no more calls; the one that is under way is left to itself."""
        self._calls.put(None)

    def assignment(self, call: str) -> Assignment:
        """What the workers of a call are to do."""
        return Assignment(self._name, self.token, self._folder, call, self._facility)

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            try:
                answer: Answer | Failed = self._made(call)
            except PoolError as error:
                answer = Failed(call, str(error), error.trouble)
            except Exception as error:
                log.exception("error of ours in pool %s", self._name)
                answer = Failed(call, f"an error of eventmill's: {type(error).__name__}: {error}", "refused")
            self._answer(answer)

    def _made(self, call: Call) -> Answer:
        pool = self._pool
        match call:
            case Start():
                return Answer(call, pool.start(call.count, self.assignment(call.call)))
            case Find():
                return Answer(call, pool.find(self.assignment(call.call)))
            case FindLeft():
                return Answer(call, pool.left(self.assignment("")))
            case List():
                return Answer(call, listing=pool.listing(call.jobs))
            case Stop():
                pool.stop(call.jobs)
                return Answer(call)
            case ReadLog():
                return Answer(call, text=pool.log(call.job, self.assignment(call.call)))
