"""Waiting in threads and in event loops for what another thread changes."""

from __future__ import annotations

import asyncio
import threading

import pytest
from eventmill.session.changes import Changes


def nothing() -> None:
    """There is nothing to look at."""


def test_all_who_wait_are_woken_once_it_holds() -> None:
    seen: list[int] = []
    changes = Changes()

    def change() -> None:
        for number in range(5):
            with changes:
                seen.append(number)

    async def in_a_loop() -> None:
        await asyncio.gather(*(changes.awaited(lambda least=least: len(seen) >= least, nothing) for least in (1, 3, 5)))  # type: ignore[misc]

    waiting = threading.Thread(target=lambda: changes.wait(lambda: len(seen) == 5, nothing))
    waiting.start()
    threading.Timer(0.05, change).start()
    asyncio.run(asyncio.wait_for(in_a_loop(), 20))
    waiting.join(20)
    assert not waiting.is_alive() and not changes._waiters


def test_a_wait_ends_with_its_time_and_with_what_is_found_by_looking() -> None:
    def look() -> None:
        raise ConnectionError("gone")

    assert Changes().wait(lambda: False, nothing, 0.01) is False
    with pytest.raises(ConnectionError, match="gone"):
        Changes().wait(lambda: False, look)
    with pytest.raises(ConnectionError, match="gone"):
        asyncio.run(Changes().awaited(lambda: False, look))


def test_a_task_that_is_cancelled_or_a_loop_that_is_closed_is_in_nobodys_way() -> None:
    changes = Changes()

    async def cancelled() -> None:
        task = asyncio.ensure_future(changes.awaited(lambda: False, nothing))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])

    asyncio.run(cancelled())
    assert not changes._waiters
    loop = asyncio.new_event_loop()
    loop.close()
    changes._waiters.append((loop, asyncio.Event()))
    with changes:
        pass


@pytest.mark.parametrize("turns", range(6))
def test_a_task_that_is_cancelled_in_the_moment_of_a_change_ends(turns: int) -> None:
    """`asyncio.wait_for` of Python 3.11 takes the change for its answer then, and the task goes on for ever."""
    changes = Changes()

    async def cancelled() -> None:
        task = asyncio.ensure_future(changes.awaited(lambda: False, nothing))
        for _ in range(3):
            await asyncio.sleep(0)
        with changes:
            pass
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        assert await asyncio.wait([task], timeout=2.0) == ({task}, set()) and task.cancelled()

    asyncio.run(cancelled())
