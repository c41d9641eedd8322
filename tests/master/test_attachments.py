"""Attachments of analyses: a master asks a session for what it does not have, and gives each worker each of them once."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import msgspec
import pytest
from eventmill.master import attachments
from eventmill.master.journal import Journal
from eventmill.master.saved import Saved
from eventmill.protocol import messages as m
from eventmill.system.content_folder import digest_of
from fleet import JournaledWorld, World

CONTENTS = [bytes([number]) * 100 for number in range(3)]
DIGESTS = [digest_of(content) for content in CONTENTS]
FILES = msgspec.msgpack.encode([m.File("file0")])


def submit(world: World, wanted: list[int], carried: list[int] = [], token: str = "") -> m.Message:  # noqa: B006
    """Submit a query with these attachments, of which some are carried; returns the master's answer."""
    digests = [DIGESTS[number] for number in wanted]
    message = m.Submit(
        1, "test", "kernel", "d", attachments=digests, carried=[DIGESTS[number] for number in carried], token=token
    )
    if not world.core.sessions:
        world.hello(b"session", "session")
    before = len(world.inbox[b"session"])
    world.tell(b"session", "session", message, [b"analysis", FILES, *(CONTENTS[number] for number in carried)])
    while isinstance(world, JournaledWorld) and world.tasks:
        world.do_task()
    answers = (m.Accepted, m.Refused, m.Lacking)
    answer = next(it for it in world.inbox[b"session"][before:] if isinstance(it, answers))
    if isinstance(answer, m.Accepted):
        world.merged.setdefault(answer.query, Counter())
    return answer


def heard(world: World, worker: bytes, kind: type[m.Message]) -> list[m.Message]:
    return [message for message in world.inbox[worker] if isinstance(message, kind)]


def test_what_the_master_has_not_is_asked_for_and_what_it_has_is_not() -> None:
    world = World([10])
    assert submit(world, [0, 1]) == m.Lacking(1, DIGESTS[:2])
    assert not world.core.queries, "nothing was submitted"
    assert isinstance(submit(world, [0, 1], carried=[0, 1]), m.Accepted)
    assert isinstance(submit(world, [0]), m.Accepted)
    assert submit(world, [1, 2]) == m.Lacking(1, [DIGESTS[2]])


def test_each_worker_gets_an_attachment_once_and_before_the_analysis() -> None:
    world = World([1000])
    world.hello(b"a", "worker", 2)
    world.hello(b"b", "worker", 2)
    submit(world, [0], carried=[0])
    submit(world, [0, 1], carried=[1])
    world.run()
    assert len(world.ended) == 2
    for worker in (b"a", b"b"):
        said = [it for it in world.inbox[worker] if isinstance(it, m.Attachment | m.Setup)]
        for position, message in enumerate(said):
            if isinstance(message, m.Setup):
                wanted = world.core.queries[message.query].submit.attachments
                assert set(wanted) <= {it.digest for it in said[:position] if isinstance(it, m.Attachment)}
        digests = [it.digest for it in said if isinstance(it, m.Attachment)]
        assert len(digests) == len(set(digests))


def test_attachments_of_no_query_take_bounded_memory_in_master_and_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attachments, "MOST_UNUSED", 150)
    world = World([10])
    world.hello(b"a", "worker", 1)
    for number in range(3):
        submit(world, [number], carried=[number])
        world.run()
    assert heard(world, b"a", m.Detach) == [m.Detach(DIGESTS[0])], "the third is used, and of the others one may stay"
    assert submit(world, [0]) == m.Lacking(1, [DIGESTS[0]])
    assert isinstance(submit(world, [1]), m.Accepted)


def test_a_submission_without_the_frames_that_it_should_carry_is_refused() -> None:
    world = World([10])
    world.hello(b"session", "session")
    world.tell(
        b"session", "session", m.Submit(1, "x", "kernel", "d", attachments=DIGESTS, carried=DIGESTS), [b"", FILES]
    )
    assert isinstance(world.inbox[b"session"][-1], m.Refused)


def test_a_query_goes_on_with_its_attachments_after_a_crash(tmp_path: Path) -> None:
    """And who submits the same array again sends nothing."""
    world = JournaledWorld([100], tmp_path)
    accepted = submit(world, [0], carried=[0])
    assert isinstance(accepted, m.Accepted)
    world.crash()
    world.hello(b"a", "worker", 1)
    assert heard(world, b"a", m.Attachment) == [m.Attachment(DIGESTS[0])]
    assert isinstance(submit(world, [0]), m.Accepted)
    world.close()


def test_a_query_whose_array_is_lost_says_so_after_a_crash(tmp_path: Path) -> None:
    world = JournaledWorld([100], tmp_path)
    accepted = submit(world, [0], carried=[0])
    assert isinstance(accepted, m.Accepted)
    (tmp_path / "journal.sqlite.attachments" / DIGESTS[0]).unlink()
    world.crash()
    query = world.core.queries[accepted.query]
    failure = query.outcome.failure
    assert query.state == "failed" and failure is not None and "submit it again" in failure.message
    world.close()


def test_the_journal_keeps_the_arrays_of_queries_that_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eventmill.master.journal.MOST_UNUSED", 0)
    journal = Journal(tmp_path / "journal.sqlite")
    assert journal.load() == []
    for number, digest in enumerate(DIGESTS):
        submitted = m.Submit(1, "x", "kernel", "d", attachments=[digest])
        journal.submitted(f"q{number}", submitted, [b"analysis", FILES], 0.0, {digest: CONTENTS[number]})
    journal.ended("q1", m.Ended("q1", "done", m.Account(), 1.0), [], 1.0)
    journal.trim(2.0)
    journal.close()
    journal = Journal(tmp_path / "journal.sqlite")
    saved = {it.number: it for it in journal.load()}
    assert {
        number: bytes(it.attachments[DIGESTS[int(number[1])]]) for number, it in saved.items() if isinstance(it, Saved)
    } == {
        "q0": CONTENTS[0],
        "q2": CONTENTS[2],
    }
    assert sorted(file.name for file in (tmp_path / "journal.sqlite.attachments").iterdir()) == sorted(DIGESTS[::2])
    journal.close()
