"""Follows a cluster while somebody looks: asks once a second, works out once what all browsers are sent.

Nobody looks, nothing is asked. Who comes then gets what there was, as soon as the master has answered.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ..display.cluster_view import ClusterView
from ..display.logs import Logs
from . import facts
from .source import Source

POLL_SECONDS = 1.0
SILENT_SECONDS = 3.0
"""After so long without an answer the page says that the master is away."""
LOOKED_SECONDS = 10.0
"""A request counts for so long as somebody who looks."""
_MOST_KEPT = 64
"""Answers that are kept until the next view."""


@dataclass(frozen=True)
class Look:
    """What is known at a moment.

    Attributes:
        view, logs: of the cluster.
        when: tells times of day in it.
        connected: whether the master has answered of late.
        version: another one for each.
    """

    view: ClusterView
    logs: Logs
    when: facts.When
    connected: bool
    version: int


class Watching:
    """A cluster as it is looked at.

    Args:
        source: tells of it.
        tell: makes what browsers are sent of each look.
    """

    def __init__(self, source: Source, tell: Callable[[Look], bytes]) -> None:
        self._feed, self._said = source.cluster_feed(self._answered), source.log_feed()
        self._tell = tell
        self._loop: asyncio.AbstractEventLoop | None = None
        self._answer = asyncio.Event()
        self._streams = 0
        self._looked = -LOOKED_SECONDS
        self._follows = False
        self._heard_at = 0.0
        self._wall = datetime.now().astimezone()
        self.look = Look(self._feed.view, self._said.logs, facts.When(self._wall, 0.0), False, 0)
        self.told = tell(self.look)
        self._changed = asyncio.Event()
        self._wanted = asyncio.Event()
        self._kept: dict[tuple[Any, ...], bytes] = {}

    def _answered(self) -> None:
        """The master has answered; called in the link's thread."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._answer.set)

    @property
    def is_watched(self) -> bool:
        """Whether anybody looks."""
        return self._streams > 0 or time.monotonic() - self._looked < LOOKED_SECONDS

    async def run(self) -> None:
        """Follow it, until cancelled."""
        self._loop = asyncio.get_running_loop()
        while True:
            if not self.is_watched:
                self._follows = False
                self._wanted.clear()
                await self._wanted.wait()
                self._heard_at = time.monotonic()  # nobody has asked, so that nobody has failed to answer
            begun = time.monotonic()
            self._answer.clear()
            self._feed.poll()
            self._said.poll()
            await came(self._answer, SILENT_SECONDS)
            await self._update()
            await asyncio.sleep(begun + POLL_SECONDS - time.monotonic())

    async def _update(self) -> None:
        view, now = self._feed.view, time.monotonic()
        if self._answer.is_set():
            self._heard_at, self._wall = now, datetime.now().astimezone()
        connected = self._feed.answers > 0 and now - self._heard_at < SILENT_SECONDS
        look = Look(view, self._said.logs, facts.When(self._wall, view.now), connected, self.look.version + 1)
        self.told = await asyncio.to_thread(self._tell, look)
        self.look, self._follows = look, True
        self._kept.clear()
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def current(self) -> Look:
        """What is known now, for a request: the master is asked first if nobody has of late."""
        self._looked = time.monotonic()
        return self.look if self._follows else await self.next()

    async def next(self) -> Look:
        """What is known next; the same as now when there is nothing for some seconds."""
        changed = self._changed
        self._wanted.set()
        await came(changed, SILENT_SECONDS + POLL_SECONDS)
        return self.look

    async def made(self, key: tuple[Any, ...], make: Callable[[Look], Any]) -> bytes:
        """What is worked out of the current look, as JSON, off the event loop; once for all who ask for the same."""
        look = await self.current()
        key = (look.version, *key)
        if key not in self._kept:
            body = await asyncio.to_thread(lambda: facts.encoded(make(look)))
            if len(self._kept) < _MOST_KEPT:
                self._kept[key] = body
            return body
        return self._kept[key]

    async def stream(self, idle: float) -> AsyncIterator[bytes]:
        """What browsers are sent, as it changes, and nothing every `idle` seconds without. Who is slow misses some."""
        self._streams += 1
        try:
            await self.current()
            while True:
                yield self.told
                changed = self._changed
                while not await came(changed, idle):
                    yield b""
        finally:
            self._streams -= 1


async def came(event: asyncio.Event, seconds: float) -> bool:
    """Wait for an event for so many seconds; whether it came. (`asyncio.wait_for` may swallow the end of a task.)"""
    try:
        async with asyncio.timeout(seconds):
            return await event.wait()
    except TimeoutError:
        return False
