"""Whatever an analysis raises arrives as what it is, and whatever arrives ends nobody's script."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import eventmill as em
import pytest
from eventmill.protocol.errors import AnalysisError
from eventmill.protocol.messages import File
from eventmill.session.ending import rebuild
from eventmill.worker.slot.failures import describe
from processes import SECONDS

FILE = File("f.root", "Events")


class OddNotes(Exception):
    __notes__ = "not a list"


class Answers(Exception):
    """Has whatever it is asked for, as a mock has."""

    def __getattr__(self, name: str) -> Any:
        return self


class Forbids(Exception):
    """Ends whoever asks what it has not, or for its notes, and lets nothing be set."""

    @property
    def __notes__(self) -> Any:
        raise SystemExit(3)

    def __getattr__(self, name: str) -> Any:
        raise SystemExit(3)

    def __setattr__(self, name: str, value: object) -> None:
        raise SystemExit(3)


class Mute(Exception):
    """Ends whoever asks what it says."""

    def __str__(self) -> str:
        sys.exit("no words")


class Sealed(Exception):
    """Ends whoever pickles it."""

    def __reduce__(self) -> Any:
        sys.exit("no pickle")


class Own(BaseException):
    pass


@pytest.mark.parametrize("kind", [OddNotes, Answers, Forbids, Mute, Own, asyncio.CancelledError, GeneratorExit])
def test_whatever_its_class_does_an_exception_arrives_as_itself(kind: type[BaseException]) -> None:
    error = kind("odd")
    failure, pickled = describe(error, FILE, 3, 4)
    arrived = rebuild(failure, pickled[0])
    assert type(arrived) is kind and failure.error == kind.__name__
    assert failure.message in ("odd", "<Mute whose text raises SystemExit>")
    if kind is not Forbids:
        assert "entry 3" in "".join(arrived.__notes__)


def test_what_cannot_be_pickled_arrives_with_its_words() -> None:
    failure, pickled = describe(Sealed("odd"), FILE, 3, 4)
    arrived = rebuild(failure, b"".join(pickled))
    assert isinstance(arrived, AnalysisError) and "Sealed: odd" in str(arrived)


class Ends(Exception):
    """Ends whoever makes it again."""

    def __reduce__(self) -> Any:
        return sys.exit, (4,)


@pytest.mark.parametrize("kind", [Ends, SystemExit, KeyboardInterrupt])
def test_an_exception_that_arrives_ends_nobodys_script(kind: type[BaseException]) -> None:
    """Neither as it is made again, nor as what `sys.exit` raises."""
    failure, pickled = describe(kind("odd"), FILE, None, None)
    arrived = rebuild(failure, pickled[0])
    assert isinstance(arrived, AnalysisError) and f"{kind.__name__}: odd" in str(arrived)


def test_analyses_may_raise_what_is_no_error(session: em.Session) -> None:
    """A cancelled task, for example, was said to have taken down its slot, again and again."""

    def cancelled(item: int) -> int:
        import asyncio

        raise asyncio.CancelledError("by whom?")

    def odd(item: int) -> int:
        class Odd(BaseException):
            __notes__ = 3

            def __getattr__(self, name: str) -> Any:
                raise ValueError(name)

        if item == 5:
            raise Odd("five")
        return item

    query = session.process(em.items(range(10)), cancelled)
    with pytest.raises(asyncio.CancelledError, match="by whom") as caught:
        query.result(SECONDS)
    assert any("item" in note or "entry" in note for note in caught.value.__notes__)

    async def waits() -> None:
        await query

    with pytest.raises(AnalysisError, match="CancelledError: by whom"):
        asyncio.run(waits())
    result = session.process(em.items(range(10)), odd, on_error="skip").result(SECONDS)
    assert result.value == sum(range(10)) - 5 and [it.start for it in result.account.lost] == [5]
    with pytest.raises(BaseException, match="five") as last:
        session.process(em.items(range(10)), odd).result(SECONDS)
    assert type(last.value).__name__ == "Odd"
