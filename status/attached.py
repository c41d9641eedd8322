"""The queries that somebody looks at: attached to when the first one does, and left when nobody has for a while."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import secrets
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from ..display.choice import FIRST_SHOWN, listed, pictures
from ..display.drawings import Drawing, Item, Pick
from .facts import BadQuestion, Fields, account, failure
from .source import Merged, Source, Watched

Window = tuple[float, float]
IDLE_SECONDS = 60.0
"""After so long without a look a query is left."""
MOST_ATTACHED = 50
"""At a time; beyond that, the one that was looked at longest ago is left."""
MOST_SHOWN = 40
"""Histograms of one answer."""
WAIT_SECONDS = 20.0
HEARD_SECONDS = 3.0
"""How long a query that was attached to is waited for to be heard of."""


class Attached:
    """A query that is looked at.

    Args:
        query: it.

    Attributes:
        looked: when it was looked at last.
    """

    def __init__(self, query: Watched) -> None:
        self.query = query
        self.looked = time.monotonic()
        self._boot = secrets.token_hex(4)
        self._count = itertools.count(1)
        self._snapshot: Merged | None = None
        self._version = ""
        self._value: tuple[Merged, Any] | None = None
        self._listed: tuple[Merged, str, tuple[list[Item], int]] | None = None

    @property
    def version(self) -> str:
        """Of its snapshot: another one for each, also before the first, and of no other page."""
        snapshot = self.query.snapshot
        if snapshot is not self._snapshot or not self._version:
            self._snapshot, self._version = snapshot, f"{self._boot}-{next(self._count)}"
        return self._version

    async def newer(self, after: str) -> bool:
        """Wait for a snapshot that is not the one of this version; false when there was none for a while.

        Raises EventmillError when nothing more will come of the query.
        """
        if not after or self.version != after:
            return True
        if self.query.view.final:  # who asks on is not to ask all the time
            await asyncio.sleep(WAIT_SECONDS)
            return False
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(WAIT_SECONDS):
                await self.query.until(lambda: self.version != after)
        return self.version != after

    def value(self, snapshot: Merged) -> Any:
        """What a snapshot holds, opened once."""
        if self._value is None or self._value[0] is not snapshot:
            self._value = snapshot, snapshot.plain
        return self._value[1]

    def listed(self, snapshot: Merged, filter: str) -> tuple[list[Item], int]:  # noqa: A002 - it is called so
        """What of a snapshot is listed, found once while the same is asked for."""
        kept = self._listed
        if kept is None or kept[0] is not snapshot or kept[1] != filter:
            kept = self._listed = snapshot, filter, listed(self.value(snapshot), filter)
        return kept[2]

    def about(self, filter: str) -> Fields:  # noqa: A002 - it is called so
        """All but its drawings."""
        query, snapshot = self.query, self.query.snapshot
        found, more = self.listed(snapshot, filter) if snapshot is not None else ([], 0)
        final = query.view.final
        return {
            "account": account(query.account),
            "items": [asdict(item) for item in found],
            "more": more,
            "shown": [item.name for item in found if item.kind == "histogram"][:FIRST_SHOWN],
            "snapshot": self.version,
            "report": repr(query.report()) if final else None,
            "failure": failure(query.failure),
        }

    def drawings(
        self, shown: list[str], picks: Mapping[str, Mapping[str, Pick]], windows: Mapping[str, Window], together: bool
    ) -> Fields:
        """The histograms of these names, as a browser draws them. Raises BadQuestion when something else is picked of them
        than they have."""
        version, snapshot = self.version, self.query.snapshot
        shown = shown[:MOST_SHOWN]
        value: Any = {}
        if snapshot is not None:
            value = snapshot.small(shown, windows).plain if windows else self.value(snapshot)
        try:
            drawn = pictures(value, shown, picks, together)
        except (IndexError, ValueError) as error:
            raise BadQuestion(f"picks: {error}") from None
        return {
            "snapshot": version,
            "entries": snapshot.account.processed if snapshot is not None else 0,
            "final": self.query.view.final,
            "pictures": [
                {"name": name, "drawings": [_drawing(part) for part in parts]} for name, parts in drawn if parts
            ],
        }


class Attachments:
    """The queries that are looked at now, by number.

    Args:
        source: the session that attaches to them.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._attached: dict[str, asyncio.Task[Attached]] = {}

    async def get(self, number: str) -> Attached:
        """A query. Raises QueryFailed when there is none of this number, ConnectionFailed when nobody answers."""
        if number not in self._attached:
            self._attached[number] = asyncio.create_task(self._attach(number))
        try:
            found = await asyncio.shield(self._attached[number])
        except Exception:
            self._attached.pop(number, None)
            raise
        found.looked = time.monotonic()
        return found

    async def _attach(self, number: str) -> Attached:
        query = await asyncio.to_thread(self._source.attach, number)
        query.wants_all()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(HEARD_SECONDS):
                await query.until(lambda: query.view.heard)
        return Attached(query)

    def leave_idle(self, now: float) -> None:
        """Leave what nobody has looked at for a while."""
        there = {number: task.result() for number, task in self._attached.items() if _is_there(task)}
        ordered = sorted(there, key=lambda number: there[number].looked)
        over = len(ordered) - MOST_ATTACHED
        for place, number in enumerate(ordered):
            if place < over or there[number].looked < now - IDLE_SECONDS:
                del self._attached[number]
                there[number].query.leave()

    def lost(self, number: str) -> None:
        """Nothing more will come of it: the next look attaches anew."""
        self._attached.pop(number, None)

    async def close(self) -> None:
        """Leave all."""
        tasks, self._attached = list(self._attached.values()), {}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _is_there(task: asyncio.Task[Attached]) -> bool:
    return task.done() and not task.cancelled() and task.exception() is None


def _drawing(part: Drawing) -> Fields:
    arrays = [np.ascontiguousarray(array, "<f8") for array in part.arrays]
    return {**part.description(), "arrays": [base64.b64encode(array.data).decode() for array in arrays]}


def windows_of(told: Any) -> dict[str, Window]:
    """From where to where histograms are looked at, as a browser tells it. Raises BadQuestion when it is something else."""
    fine = isinstance(told, dict) and all(
        isinstance(of, list) and len(of) == 2 and all(isinstance(end, int | float) for end in of)
        for of in told.values()
    )
    if not fine:
        raise BadQuestion("windows: it must be like {name: [low, high]}")
    return {name: (float(low), float(high)) for name, (low, high) in told.items()}


def picks_of(told: Any) -> dict[str, dict[str, Pick]]:
    """What is picked, as a browser tells it. Raises BadQuestion when it tells something else."""
    fine = isinstance(told, dict) and all(
        isinstance(of, dict) and all(isinstance(pick, str | int) and not isinstance(pick, bool) for pick in of.values())
        for of in told.values()
    )
    if not fine:
        raise BadQuestion("picks: it must be like {name: {axis: pick}}")
    found: dict[str, dict[str, Pick]] = told
    return found
