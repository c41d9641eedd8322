"""A master that dies and is started again, in virtual time: whatever moment it dies at, every entry counts exactly once."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from eventmill.master import lifecycle, query
from eventmill.protocol import messages as m
from fleet import JournaledWorld

FILES = msgspec.msgpack.encode([m.File("file0")])
LENGTHS = [0, 40, 1000, 1, 0, 300, 77, 2000]


@contextlib.contextmanager
def world(folder: Path, lengths: list[int], seed: int = 0, workers: int = 2) -> Iterator[JournaledWorld]:
    with contextlib.closing(JournaledWorld(lengths, folder, seed)) as made:
        made.hello(b"session", "session")
        for index in range(workers):
            made.hello(f"worker{index}".encode(), "worker", slots=2)
        yield made


def assert_exact(made: JournaledWorld, query: str, expected: set[tuple[str, int]]) -> None:
    """Every entry was merged exactly once, or is in the list of losses, once."""
    ended = made.ended[query]
    assert ended.state == "done"
    lost = [(it.path, entry) for it in made.lost[query] for entry in range(it.start, it.stop or 0)]
    merged = made.merged[query]
    assert set(merged.values()) <= {1} and not merged.keys() & set(lost) and len(lost) == len(set(lost))
    gone = {it.path for it in made.lost[query] if it.stop is None}
    assert merged.keys() | set(lost) == {it for it in expected if it[0] not in gone}
    account = ended.account
    assert (account.processed, account.failed) == (len(merged), len(lost)) and not account.estimated


def fail(made: JournaledWorld, query: str) -> None:
    """An error in the user's code, in one of the leases that workers have before them."""
    queues = [(worker, queue) for worker in made.workers.values() for queue in worker.queues.values()]
    for worker, queue in queues:
        if queue and queue[0].query == query:
            failure = m.Failure("analysis", "ValueError", "bad", start=queue[0].start, stop=queue[0].start + 1)
            made.tell(worker.identity, "worker", m.Failed(query, queue.pop(0).lease, failure))
            return


@pytest.mark.parametrize("seed", [*range(4), *(pytest.param(n, marks=pytest.mark.nightly) for n in range(4, 60))])
def test_every_entry_counts_once_whenever_the_master_dies(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three queries: all of the files, with errors that are skipped; the first 1,200 entries; listed entries, and cycles.
    Workers come and go, and the master dies again and again."""
    monkeypatch.setattr(lifecycle, "CHECKPOINT_INTERVAL", 0.2)
    monkeypatch.setitem(query.FIRST, "tree", 50)
    with world(tmp_path, LENGTHS, seed) as made:
        every = [(path, entry) for path, length in made.lengths.items() for entry in range(length)]
        made.lengths["cycles"] = 500
        listed = [m.File("file2", listed=[3, 50, 700, 900]), m.File("file5", listed=[0, 300])]
        queries = {
            made.submit(files=len(LENGTHS), on_error="skip"): set(every),
            made.submit(files=len(LENGTHS), limit=1200): set(every[:1200]),
            made.submit_files([*listed, m.File("cycles", entries=500, kind="cycles")]): {
                *(("file2", entry) for entry in (*range(3, 50), *range(700, 900))),
                *(("file5", entry) for entry in range(300)),
                *(("cycles", entry) for entry in range(500)),
            },
        }
        first = next(iter(queries))
        while len(made.ended) < len(queries):
            chance = made.random.random()
            if chance < 0.02 and made.masters < 8:
                made.crash()
            elif chance < 0.03 and len(made.workers) > 1:
                made.kill(made.random.choice(list(made.workers)))
            elif chance < 0.05 or not made.workers:
                made.hello(f"worker{made.random.randrange(4)}".encode(), "worker", made.random.randrange(1, 4))
            elif chance < 0.07:
                fail(made, first)
            made.step()
            while made.tasks and made.random.random() < 0.7:
                made.do_task()
        for number, expected in queries.items():
            assert_exact(made, number, expected)


def test_a_session_hears_that_its_query_is_accepted_once_it_is_written_down(tmp_path: Path) -> None:
    """What it was told outlives the master from then on; slots need not wait for that."""
    with world(tmp_path, [100]) as made:
        made.tell(b"session", "session", m.Submit(1, "test", "kernel", "digest"), [b"", FILES])
        assert not any(isinstance(message, m.Accepted) for message in made.inbox[b"session"])
        assert any(isinstance(message, m.Lease) for message in made.inbox[b"worker0"])
        made.do_all()
        assert any(isinstance(message, m.Accepted) for message in made.inbox[b"session"])


def test_a_submission_that_comes_again_finds_its_query(tmp_path: Path) -> None:
    """Its session could not know whether it arrived: while it is not answered yet, while it runs, after the master died, and
    when it is over, there is one query, and each request is answered with its number."""
    submit = m.Submit(1, "test", "kernel", "digest", token="a")

    def again(made: JournaledWorld, request: int) -> list[str]:
        made.tell(b"session", "session", msgspec.structs.replace(submit, request=request), [b"", FILES])
        made.do_all()
        return [it.query for it in made.inbox[b"session"] if isinstance(it, m.Accepted) and it.request == request]

    with world(tmp_path, [1000]) as made:
        made.tell(b"session", "session", submit, [b"", FILES])
        (number,) = again(made, 2)
        made.merged[number], made.mine[number] = Counter(), b"session"
        assert not any(isinstance(it, m.Accepted) and it.request == 1 for it in made.inbox[b"session"])
        assert again(made, 3) == [number]
        made.crash()
        assert again(made, 4) == [number]
        made.run()
        assert made.ended[number].account.processed == 1000
        made.ended.clear()
        assert again(made, 5) == [number] and made.ended[number].account.processed == 1000
        other = msgspec.structs.replace(submit, token="b")
        made.tell(b"session", "session", other, [b"", FILES])
        assert len(made.core.queries) == 2


def test_results_come_from_the_journal_until_they_are_removed(tmp_path: Path) -> None:
    with world(tmp_path, [100]) as made:
        queries = [made.submit(), made.submit()]
        made.run()
        first, second = queries
        for _ in range(2):
            made.ended.clear()
            assert not any(query.outcome.kept_bytes for query in made.core.queries.values())
            for query in queries:
                made.tell(b"session", "session", m.Attach(5, query))
            made.do_all()
            assert {number: ended.account.processed for number, ended in made.ended.items()} == dict.fromkeys(
                queries, 100
            )
            made.crash()
        made.tell(b"session", "session", m.Remove(first))
        made.do_all()
        made.crash()
        assert list(made.core.queries) == [second]


def test_only_what_is_over_is_removed(tmp_path: Path) -> None:
    with world(tmp_path, [100]) as made:
        query = made.submit()
        made.tell(b"session", "session", m.Remove(query))
        made.tell(b"session", "session", m.Remove("nonsense"))
        made.run()
        assert made.ended[query].state == "done"


def test_old_results_go(tmp_path: Path) -> None:
    with world(tmp_path, [100]) as made:
        query = made.submit()
        made.run()
        made.carry_out(made.core.tidied([query], True, made.now))
        assert not made.core.queries
        made.tell(b"session", "session", m.Attach(5, query))
        assert isinstance(made.inbox[b"session"][-1], m.Refused)


def test_a_journal_that_cannot_be_written_is_a_note_and_tried_again(tmp_path: Path) -> None:
    with world(tmp_path, [100, 100]) as made:
        query = made.submit()
        made.carry_out(made.core.written(query, 0.1, "the journal cannot be written", made.now))
        assert made.core.queries[query].account().notes == ["the journal cannot be written"]
        made.now += lifecycle.CHECKPOINT_INTERVAL
        made.carry_out(made.core.expire(made.now))
        made.do_all()
        assert made.core.queries[query].account().notes == []
        made.carry_out(made.core.written(query, 0.1, "the journal cannot be written", made.now))
        made.run()
        (note,) = made.ended[query].account.notes
        assert "the journal could not be written when the query ended" in note


def test_large_totals_are_written_less_often(tmp_path: Path) -> None:
    with world(tmp_path, [100]) as made:
        query = made.core.queries[made.submit()]
        made.carry_out(made.core.written(query.number, 3.0, "", made.now))
        assert query.journal.next_checkpoint == made.now + 3.0 * lifecycle.CHECKPOINT_PAUSE


def test_a_master_that_ends_in_good_order_writes_down_what_is_merged(tmp_path: Path) -> None:
    with world(tmp_path, [100, 100], workers=1) as made:
        query = made.submit()
        worker = made.workers[b"worker0"]
        made.work(worker, 0)
        made.commit(worker)
        processed = made.core.queries[query].ledger.processed
        assert processed > 0
        made.carry_out(made.core.suspend())
        made.do_all()
        made.crash()
        assert made.core.queries[query].ledger.processed == processed


def test_workers_of_before_are_not_taken_for_later_ones(tmp_path: Path) -> None:
    """Names count on from those in a report, and query numbers from those in the journal."""
    with world(tmp_path, [100, 100]) as made:
        first = made.submit()
        made.run()
        names = {info.worker for info in made.ended[first].report}
        made.crash()
        assert names and not names & {worker.name for worker in made.core.workers.values()}
        assert made.submit() != first
