"""The tokens of pools: one each, on the pool's terms, and another one every day."""

from __future__ import annotations

from eventmill.launch.enrolment import RENEWED_SECONDS, RETRY_SECONDS, VALID_SECONDS, Enrolment
from eventmill.launch.pools.pool import Pool


def enrolment(**pools: Pool) -> Enrolment:
    made = iter(range(100))
    return Enrolment(pools, "a1", lambda: (f"secret-{(number := next(made))}", f"{number:040}"))


def test_tokens_are_made_on_the_terms_of_the_pool() -> None:
    """Whoever gets hold of one can start so many workers of so many slots for the pool's owner, and nothing else."""
    asked = enrolment(night=Pool(cores=8, most=5, owner="@cms"), day=Pool()).requests("alice", 0.0)
    night, day = (it.terms for it in asked)
    assert (night.pool, night.owner, night.slots, night.uses, night.valid) == ("night", "@cms", 8, 500, VALID_SECONDS)
    assert (day.pool, day.owner) == ("day", "alice")
    assert night.name != day.name


def test_a_token_is_renewed_long_before_it_ends() -> None:
    """A worker's key is good for as long as its token: it must not end in the middle of a worker's life."""
    it = enrolment(night=Pool())
    (first,) = it.requests("", 0.0)
    assert it.made(first.request, 1.0) == ("night", "secret-0")
    assert it.requests("", RENEWED_SECONDS) == []
    (second,) = it.requests("", RENEWED_SECONDS + 1.0)
    assert second.terms.name != first.terms.name and second.public_key != first.public_key
    assert RENEWED_SECONDS < VALID_SECONDS / 10


def test_a_refused_token_is_asked_for_again() -> None:
    """In a while, and not all the time."""
    it = enrolment(night=Pool())
    (first,) = it.requests("", 0.0)
    assert it.refused(first.request, 0.0) == "night" and it.deadline() == RETRY_SECONDS
    assert it.requests("", RETRY_SECONDS - 1.0) == []
    assert len(it.requests("", RETRY_SECONDS)) == 1


def test_answers_that_cannot_come_are_not_waited_for() -> None:
    """The master that was asked is gone; the next one is asked anew, and late answers count for nothing."""
    it = enrolment(night=Pool())
    (first,) = it.requests("", 0.0)
    it.parted()
    (second,) = it.requests("", 1.0)
    assert it.made(first.request, 1.0) is None
    assert it.made(second.request, 1.0) == ("night", "secret-1")
