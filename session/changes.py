"""Waiting for what another thread changes: in a thread, or in an event loop, as a notebook has one."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from types import TracebackType

_TICK = 0.25
"""How often whoever waits looks whether what he waits for can still come."""


class Changes:
    """Something that one thread changes, and others wait for. Whoever changes it holds it: `with changes: ...`.

    It refers to nobody: who has it is gone as soon as nobody needs it.

    Attributes:
        lock: for who only reads: nothing changes while it is held.

    Example:
        >>> done = []
        >>> changes = Changes()
        >>> def other_thread():
        ...     with changes:
        ...         done.append(1)
        >>> threading.Thread(target=other_thread).start()
        >>> changes.wait(lambda: bool(done), lambda: None, 10.0)
        True
    """

    def __init__(self) -> None:
        self.lock = threading.Condition()
        self._waiters: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    def __enter__(self) -> Changes:
        self.lock.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.lock.notify_all()
        for loop, event in self._waiters:
            if not loop.is_closed():
                loop.call_soon_threadsafe(event.set)
        self.lock.release()

    def wait(self, condition: Callable[[], bool], look: Callable[[], None], timeout: float | None = None) -> bool:
        """Wait until `condition` holds, for so many seconds at most; whether it does.

        `look` is called meanwhile, four times a second or so; it raises when there is nothing to be waited for any more.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        with self.lock:
            while not condition():
                look()
                left = _TICK if deadline is None else min(_TICK, deadline - time.monotonic())
                if left <= 0:
                    return False
                self.lock.wait(left)
        return True

    async def awaited(self, condition: Callable[[], bool], look: Callable[[], None]) -> None:
        """The same in an event loop, which goes on meanwhile."""
        waiter = asyncio.get_running_loop(), asyncio.Event()
        with self.lock:
            self._waiters.append(waiter)
        try:
            while not condition():
                look()
                try:  # not `wait_for`, which swallows the cancellation of a task that comes with the event
                    async with asyncio.timeout(_TICK):
                        await waiter[1].wait()
                except TimeoutError:
                    continue
                waiter[1].clear()
        finally:
            with self.lock:
                self._waiters.remove(waiter)
