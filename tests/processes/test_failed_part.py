"""A query that fails keeps what was merged, and offers the rest: the two together are the whole, or there is no offer."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import awkward as ak
import eventmill as em
import numpy as np
import pytest
import uproot
import zmq
from eventmill.master import effects, merger
from eventmill.merge import Partial, Total, decode, encode
from eventmill.packetizer.ledger import Ledger
from eventmill.protocol import messages as m
from eventmill.session.result import ResultAccount, dataset_of
from fleet import JournaledWorld, World, unpacked

SECONDS = 60
BROKEN = m.Failure("analysis", "ZeroDivisionError", "division by zero")


def failing(made: World, steps: int, fails: bool = True, **options: object) -> str:
    """A query over all files with three workers, that fails after so many steps of the world, something being merged."""
    made.hello(b"session", "session")
    for name in (b"a", b"b", b"c"):
        made.hello(name, "worker", slots=2)
    query = made.submit(**options)
    for _ in range(steps):
        made.step()
    while not (made.core.queries[query].ledger.processed and leases(made)):
        assert made.step(), "nothing is left that could fail"
    if fails:
        fail(made, query)
    return query


def leases(made: World) -> list[tuple[bytes, m.Lease]]:
    """What waits in slots."""
    return [(it.identity, lease) for it in made.workers.values() for queue in it.queues.values() for lease in queue]


def fail(made: World, query: str, failure: m.Failure = BROKEN) -> None:
    holder, lease = leases(made)[0]
    made.tell(holder, "worker", m.Failed(query, lease.lease, failure), [b"pickled"])


def entries(made: World, lost: list[m.LostRange]) -> list[tuple[str, int]]:
    return [
        (it.path, entry)
        for it in lost
        for entry in range(it.start, made.lengths[it.path] if it.stop is None else it.stop)
    ]


@pytest.mark.parametrize("seed", range(40))
def test_what_is_merged_and_what_is_lost_are_all_entries_once(seed: int) -> None:
    """Protects the ledger's last act: leases, duplicates, files that nobody has opened, empty ones, whatever was going
    on."""
    made = World([50, 0, 300, 7, 1000, 20] * 3, seed)
    query = failing(made, steps=seed)
    assert made.core.queries[query].state == "merging" and not made.core.queries[query].ledger.leases
    made.run()
    ended, lost = made.ended[query], entries(made, made.lost[query])
    assert (ended.state, ended.failure.error) == ("failed", "ZeroDivisionError")
    assert ended.result_frames > 0
    merged = list(made.merged[query].elements())
    assert sorted(merged + lost) == sorted(
        (name, entry) for name, length in made.lengths.items() for entry in range(length)
    )
    assert ended.account.processed == len(merged)
    assert ended.account.total == ended.account.processed + ended.account.failed
    assert all("ZeroDivisionError: division by zero" in it.reason for it in made.lost[query])


def test_lengths_that_were_announced_are_not_relied_on() -> None:
    ledger = Ledger([10, 10, None])
    ledger.commit([(opened(ledger, 0, 10), 0, 10)])
    ledger.abandon("why")
    assert list(ledger.files.undone()) == [(1, 0, None), (2, 0, None)] and not ledger.losses
    ledger.check()
    assert ledger.complete and not ledger.estimated


def opened(ledger: Ledger, file: int, length: int) -> int:
    lease = ledger.lease_opening(file, length, "slot").number
    ledger.opened(lease, length, length)
    return lease


def test_a_query_waits_for_no_slot_to_merge_its_objects() -> None:
    made = World([500] * 12)
    query = failing(made, steps=10)
    made.carry_out(made.core.crowded(query, [b"total"], made.now))
    assert made.core.queries[query].compaction is None
    assert [it for it in made.to_take if it.final] == [effects.Take(query, final=True, as_is=True)]


def test_a_total_that_does_not_count_right_is_not_offered() -> None:
    made = World([500] * 12)
    query = failing(made, steps=10)
    made.merged[query] -= type(made.merged[query])(list(made.merged[query])[:3])
    made.run()
    ended = made.ended[query]
    assert (ended.state, ended.failure.kind, ended.result_frames) == ("failed", "count", 0)


def test_a_total_that_does_not_merge_is_not_offered_and_the_error_is_the_first() -> None:
    made = World([500] * 12)
    query = failing(made, steps=10)
    made.carry_out(made.core.merge_failed(query, m.Failure("analysis", "MergeError", "shapes differ"), made.now))
    made.run()
    ended = made.ended[query]
    assert (ended.state, ended.failure.error, ended.result_frames) == ("failed", "ZeroDivisionError", 0)


def test_a_miscounted_partial_result_ends_a_query_without_an_offer() -> None:
    made = World([500] * 12)
    made.hello(b"session", "session")
    made.hello(b"a", "worker", slots=2)
    query = made.submit()
    made.work(made.workers[b"a"], 0)
    made.commit(made.workers[b"a"])
    fail(made, query, m.Failure("count", "CountError", "counts 3, where 4"))
    assert (made.ended[query].failure.kind, made.ended[query].result_frames) == ("count", 0)


def test_what_is_merged_is_offered_though_the_rest_of_a_limit_cannot_be_told() -> None:
    """Which entries of files that are not open are within the limit, nobody knows: the rest says so when it is asked for."""
    made = World([100] * 6)
    query = failing(made, steps=0, limit=450)
    made.run()
    ended, lost = made.ended[query], made.lost[query]
    assert ended.state == "failed" and ended.result_frames
    assert ended.account.processed == made.merged[query].total()
    with pytest.raises(em.errors.DatasetError, match="max_entries would have used is not known"):
        ResultAccount(lost=lost).failed_dataset()


MISFIT = m.Failure("analysis", "MergeError", "shapes differ")


@pytest.mark.parametrize("unwritten", [False, True])
@pytest.mark.parametrize("complete", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_what_does_not_fit_is_taken_out_and_the_others_are_kept(complete: bool, seed: int, unwritten: bool) -> None:
    """Protects hours of work from the last packet, whose arrays had another shape, or made a list too long."""
    made = World([500] * 12, seed)
    query = failing(made, steps=10, fails=False, unwritten=unwritten)
    while len(made.merges) < 3 or (complete and made.core.queries[query].running):
        assert made.step()
    for number, left_out in enumerate(made.merges[:2]):  # and one that was on its way when the first was told
        for entry in unpacked(left_out.frames):
            del made.merged[query][entry]
        if not made.core.queries[query].over:
            made.carry_out(made.core.merge_failed(query, MISFIT, made.now, left_out))
        assert number or made.core.queries[query].state == "merging"
    made.run()
    ended, lost = made.ended[query], entries(made, made.lost[query])
    assert (ended.state, ended.failure) == ("failed", MISFIT) and ended.result_frames
    merged = list(made.merged[query].elements())
    assert sorted(merged + lost) == sorted((name, entry) for name in made.lengths for entry in range(500))
    assert ended.account.processed == len(merged)


def test_a_merger_tells_what_it_could_not_add_and_holds_the_rest() -> None:
    made = merger.Merger(zmq.Context.instance())
    try:
        for index, values in enumerate((np.ones(2), np.ones(2), np.ones(3), np.ones(2))):
            frames = encode(values, 10).to_frames()
            answer = made.do(effects.Merge("q", frames, [(0, 10 * index, 10 * index + 10)]))
            if index == 2:
                assert isinstance(answer, merger.Unmergeable) and answer.left_out.parts == [(0, 20, 30)]
            else:
                assert answer is None
        taken = made.do(effects.Take("q", final=True, as_is=True))
        assert isinstance(taken, merger.Taken)
        total = Partial.from_frames(taken.frames)
        assert total.entries == 30 and decode(total).tolist() == [3, 3]
    finally:
        made.close()


def test_a_merger_keeps_all_of_an_array_that_has_become_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects what is merged, and the commit that went beyond the limit: only what comes later is left out."""
    monkeypatch.setattr("eventmill.merge.sums.AWKWARD_LIMIT", 1000)
    made = merger.Merger(zmq.Context.instance())
    try:
        for index in range(4):
            frames = encode({"pt": ak.Array([float(index)] * 60)}, 10).to_frames()
            answer = made.do(effects.Merge("q", frames, [(0, 10 * index, 10 * index + 10)]))
            if index == 3:
                assert isinstance(answer, merger.Unmergeable) and answer.left_out.parts == [(0, 30, 40)]
                assert "em.write(array, folder)" in answer.failure.message
            else:
                assert answer is None
        taken = made.do(effects.Take("q", final=True, as_is=True))
        assert isinstance(taken, merger.Taken)
        total = Partial.from_frames(taken.frames)
        assert total.entries == 30 and decode(total)["pt"].to_list() == [0.0] * 60 + [1.0] * 60 + [2.0] * 60
    finally:
        made.close()


@pytest.mark.parametrize(
    ("value", "grows"),
    [(np.zeros(200), ""), (ak.Array(np.zeros(10)), "an array of"), ([np.zeros(2**13)], "arrays, and 10,000 could not")],
)
def test_what_grows_is_told_before_it_cannot_be_sent_and_what_is_large_is_not(
    monkeypatch: pytest.MonkeyPatch, value: Any, grows: str
) -> None:
    """Protects results of one large histogram, as well as the hours in a list that would have become too long."""
    monkeypatch.setattr(merger, "LARGEST", 1000)
    monkeypatch.setattr(merger, "MOST_UNSEEN", 100)
    monkeypatch.setattr(merger, "MOST_FRAMES", 40)
    growth, total, told = merger.Growth(), Total(), set[str]()
    for _ in range(60):
        partial = encode(value, 1)
        total.add(partial)
        told.add(growth.look(total, partial.to_frames()))
    assert any(grows in words for words in told - {""}) if grows else told == {""}


def test_a_total_that_outgrows_memory_ends_with_all_that_was_merged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects the master and what it has merged from the kernel, which would end it; one that does not grow may go on."""
    monkeypatch.setattr(merger, "MOST_UNSEEN", 100)
    made = merger.Merger(zmq.Context.instance(), free=lambda: 20_000)
    try:
        for index in range(60):
            frames = encode({"dense": np.ones(800)}, 10).to_frames()
            assert made.do(effects.Merge("same", frames, [(0, 10 * index, 10 * index + 10)])) is None
            frames = encode({f"h{index}": np.ones(80)}, 10).to_frames()
            answer = made.do(effects.Merge("grows", frames, [(0, 10 * index, 10 * index + 10)]))
            if answer is not None:
                break
        assert isinstance(answer, merger.Unmergeable) and answer.left_out.parts == ()
        assert "GiB of memory left; write rows to files (em.write)" in answer.failure.message
        taken = made.do(effects.Take("grows", final=True, as_is=True))
        assert isinstance(taken, merger.Taken)
        total = Partial.from_frames(taken.frames)
        assert 10 < index < 59 and total.entries == 10 * (index + 1)
        assert {name: values.tolist() for name, values in decode(total).items()} == {
            f"h{number}": [1.0] * 80 for number in range(index + 1)
        }
    finally:
        made.close()


def test_aborting_a_query_that_is_failing_does_not_hide_its_error() -> None:
    made = World([500] * 12)
    query = failing(made, steps=10)
    made.tell(b"session", "session", m.Stop(query, keep=False))
    assert made.ended[query].state == "failed" and made.ended[query].failure == made.core.queries[query].outcome.failure


@pytest.mark.parametrize("journaled", [False, True])
def test_an_offer_that_cannot_be_sent_is_none_and_the_error_stays(journaled: bool, tmp_path: Path) -> None:
    made = JournaledWorld([500] * 12, tmp_path) if journaled else World([500] * 12)
    query = failing(made, steps=10)
    made.run()
    assert made.ended[query].state == "failed" and made.ended[query].result_frames
    made.carry_out(made.core.unsendable(query, "12,000 frames", made.now, b"session", made.ended[query]))
    assert (made.ended[query].failure.error, made.ended[query].result_frames) == ("ZeroDivisionError", 0)


def test_what_is_offered_outlives_the_master(tmp_path: Path) -> None:
    made = JournaledWorld([500] * 12, tmp_path, seed=3)
    query = failing(made, steps=10)
    made.run()
    first, lost = made.ended.pop(query), made.lost.pop(query)
    assert first.state == "failed" and first.result_frames
    made.crash()
    made.run()
    assert (made.ended[query], made.lost[query]) == (first, lost)


# --- in real processes ------------------------------------------------------------------------------------------------

FILES, EACH = 4, 3000
BAD = 2 * EACH + 1234


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("events")
    for number in range(FILES):
        with uproot.recreate(folder / f"{number}.root") as file:
            file["Events"] = {"x": np.arange(number * EACH, (number + 1) * EACH)}
    return [str(folder / f"{number}.root") for number in range(FILES)]


def total(events: Any) -> dict[str, int]:
    return {"n": len(events), "added": int(np.asarray(events.x).sum())}


def test_what_a_failed_query_has_and_the_rest_make_the_whole(
    session: em.Session, paths: list[str], tmp_path: Path
) -> None:
    merged = tmp_path / "merged"

    def fails(events: Any) -> dict[str, int]:
        x = np.asarray(events.x)
        if BAD in x:
            while not merged.exists():
                time.sleep(0.01)
            raise ValueError("no such muon")
        return {"n": len(x), "added": int(x.sum())}

    query = session.process(em.Dataset(paths, tree="Events"), fails, chunk=500)
    for snapshot in query.stream():
        if snapshot.account.processed:
            break
    merged.touch()
    with pytest.raises(ValueError, match="no such muon") as caught:
        query.result(SECONDS)
    part = query.partial()
    assert (
        f"{part.account.processed:,} entries were merged: error.result is what they gave" in caught.value.__notes__[-1]
    )
    given = caught.value.result
    assert (given["n"], given["added"], given.account) == (part["n"], part["added"], part.account)
    assert part.state == "failed" and 0 < part["n"] == part.account.processed < FILES * EACH
    whole = part.merged(session.process(part.account.failed_dataset(), total).result(SECONDS))
    assert (whole.state, whole["n"], whole["added"]) == ("done", FILES * EACH, sum(range(FILES * EACH)))
    assert (whole.account.processed, whole.account.total, whole.account.lost) == (FILES * EACH, FILES * EACH, [])


def test_a_query_that_has_merged_nothing_offers_all_of_it_to_be_done_again(
    session: em.Session, paths: list[str]
) -> None:
    """Protects who asks every error for its result: there is one, and the rest is the whole."""

    def fails(events: Any) -> dict[str, int]:
        raise ValueError("never")

    query = session.process(paths, fails)
    with pytest.raises(ValueError, match="never") as caught:
        query.result(SECONDS)
    assert "were merged" not in "".join(caught.value.__notes__)
    part = caught.value.result
    assert (part.value, part.account.processed, part.account) == (None, 0, query.partial().account)
    whole = part.merged(session.process(part.account.failed_dataset(), total).result(SECONDS))
    assert (whole["n"], whole["added"]) == (FILES * EACH, sum(range(FILES * EACH)))
    assert whole.account.processed == whole.account.total == FILES * EACH


class Picky(Exception):
    """Has a result of its own, which is to stay."""

    def __init__(self, result: str) -> None:
        super().__init__(result)
        self.result = result


class Strict(Exception):
    def __setattr__(self, name: str, value: object) -> None:
        if not name.startswith("__"):
            raise AttributeError(f"cannot set {name}")
        super().__setattr__(name, value)


@pytest.mark.parametrize("error", [Picky("mine"), Strict("hard")])
def test_what_an_exception_itself_calls_its_result_stays(session: em.Session, paths: list[str], error: Any) -> None:
    """Protects what is raised: a user's own class must not hide it behind an error about attributes."""

    def fails(events: Any) -> dict[str, int]:
        raise error

    query = session.process(paths, fails)
    with pytest.raises(Exception, match=r"mine|hard") as caught:
        query.result(SECONDS)
    assert getattr(caught.value, "result", None) == getattr(error, "result", None)
    assert query.partial().account.failed_dataset()


@pytest.mark.parametrize("how", ["fails", "stops"])
def test_part_and_rest_of_named_datasets_with_friends_and_lists_are_the_whole(
    session: em.Session, tmp_path: Path, how: str
) -> None:
    """Protects the sum: files of two named datasets, of which different entries are listed, with a friend."""
    gate, size = tmp_path / "gate", 3000
    for number in range(2):
        with uproot.recreate(tmp_path / f"{number}.root") as file:
            file["Events"] = {"x": np.arange(number * size, (number + 1) * size)}
        with uproot.recreate(tmp_path / f"friend{number}.root") as file:
            file["Events"] = {"w": np.arange(number * size, (number + 1) * size) % 7}
    paths = [str(tmp_path / f"{number}.root") for number in range(2)]
    lists = {paths[0]: range(0, size, 2), paths[1]: range(100, size)}

    def weighed(events: Any, file: Any) -> dict[str, Any]:
        numbers, weights = np.asarray(events.x), np.asarray(events.f.w)
        name = file.dataset
        if how and size + 2800 in numbers:
            while not gate.exists():
                time.sleep(0.01)
            if how == "fails":
                raise ValueError("no such muon")
        return {name: {"n": len(numbers), "sum": int((numbers * weights).sum())}}

    friends = {"f": f"{tmp_path}/friend{{stem}}.root"}
    data = em.Dataset({"a": paths[:1], "b": paths[1:]}, "Events", friends=friends, entries=lists)
    query = session.process(data, weighed, chunk=100)
    for snapshot in query.stream():
        if snapshot.account.processed:
            break
    if how == "fails":
        gate.touch()
        with pytest.raises(ValueError, match="no such muon") as caught:
            query.result(SECONDS)
        part = caught.value.result
    else:
        query.stop()
        part = query.result(SECONDS)
        assert part.state == "stopped" and part.account.undone and not part.account.lost
    rest = part.account.failed_dataset(data)
    how = ""
    whole = part.merged(session.process(rest, weighed).result(SECONDS))
    kept = {"a": np.arange(0, size, 2), "b": np.arange(size + 100, 2 * size)}
    assert whole.value == {name: {"n": len(it), "sum": int((it * (it % 7)).sum())} for name, it in kept.items()}
    assert whole.account.processed == whole.account.total == sum(map(len, kept.values()))


def test_the_part_of_a_query_that_did_not_fail_is_its_result(session: em.Session, paths: list[str]) -> None:
    assert session.process(paths, total).partial(SECONDS)["n"] == FILES * EACH


# --- what is missing, as a dataset --------------------------------------------------------------------------------------


@pytest.mark.parametrize("listed", [None, range(0, EACH, 2)])
def test_the_mask_holds_for_a_file_that_could_not_be_opened(
    session: em.Session, tmp_path: Path, listed: range | None
) -> None:
    """Protects a number that was silently wrong: the whole file was processed, and the result said done."""
    numbers = np.arange(EACH)
    columns = {"x": numbers, "run": np.ones(EACH, np.int32), "luminosityBlock": (numbers // 100).astype(np.int32)}
    good, late, hidden = (tmp_path / name for name in ("good.root", "late.root", "hidden"))
    for path in (good, late):
        with uproot.recreate(path) as file:
            file["Events"] = columns
    late.rename(hidden)
    late.write_bytes(b"not yet copied" * 100)
    entries = None if listed is None else {str(good): listed, str(late): listed}
    data = em.Dataset(
        [str(good), str(late)],
        "Events",
        mask={"1": [[3, 4]]},
        entries=entries,
        aliases={"x2": "2 * x"},
        chunk=(10, 500),
    )

    def doubled(events: Any) -> dict[str, int]:
        return {"n": len(events), "added": int(np.asarray(events.x2).sum())}

    first = session.process(data, doubled, on_error="skip").result(SECONDS)
    kept = [n for n in range(EACH) if n // 100 in (3, 4) and (listed is None or n in listed)]
    assert (first["n"], first["added"]) == (len(kept), 2 * sum(kept))
    hidden.replace(late)
    with pytest.raises(em.errors.DatasetError, match=r"failed_dataset\(of=dataset\)"):
        first.account.failed_dataset()
    rest = first.account.failed_dataset(data)
    assert rest.chunk == (10, 500)
    whole = first.merged(session.process(rest, doubled).result(SECONDS))
    assert (whole.state, whole["n"], whole["added"]) == ("done", 2 * len(kept), 4 * sum(kept))


def test_what_a_limit_would_have_used_of_a_file_that_could_not_be_opened_is_not_guessed(
    session: em.Session, paths: list[str], tmp_path: Path
) -> None:
    broken = tmp_path / "broken.root"
    broken.write_bytes(b"not a file" * 100)
    data = em.Dataset([str(broken), *paths[:1]], "Events", max_entries=100)
    first = session.process(data, total, on_error="skip").result(SECONDS)
    with pytest.raises(em.errors.DatasetError, match="max_entries would have used is not known"):
        first.account.failed_dataset(data)


def test_what_a_fileset_says_of_a_file_that_could_not_be_opened_is_not_counted(
    session: em.Session, paths: list[str], tmp_path: Path
) -> None:
    """Protects the account and the rest: the file had more entries than its catalogue said, and these were never missed.
    Its name has what would begin a token in an address, and is to be found again."""
    late = tmp_path / "late?.root"
    late.write_bytes(b"not yet copied" * 100)
    files = {paths[0]: {"object_path": "Events"}, str(late): {"object_path": "Events", "num_entries": 10}}
    first = session.process(em.Dataset({"all": {"files": files}}), total, on_error="skip").result(SECONDS)
    assert (first.account.total, first.account.processed, first.account.failed) == (EACH, EACH, 0)
    (lost,) = first.account.lost
    assert lost.stop is None and "announced: 10 entries" in lost.reason
    late.write_bytes(Path(paths[1]).read_bytes())
    whole = first.merged(session.process(first.account.failed_dataset(), total).result(SECONDS))
    assert (whole.state, whole["n"], whole["added"]) == ("done", 2 * EACH, sum(range(2 * EACH)))


def test_no_entries_of_a_file_are_not_all_of_them() -> None:
    lost = [
        m.LostRange("a.root", "Events", 0, None, "", runs=[]),
        m.LostRange("b.root", "Events", 0, 5, "one"),
        m.LostRange("b.root", "Events", 5, 8, "other"),
    ]
    assert [file.listed for file in dataset_of(lost).files] == [[], [0, 8]]


# --- what may be lost -----------------------------------------------------------------------------------------------------


def test_a_query_that_may_lose_some_files_fails_with_more_and_keeps_what_it_has(
    session: em.Session, paths: list[str], tmp_path: Path
) -> None:
    """Protects a night's query over a site that is down: it ends at once, and is gone on with in the morning."""
    named = [tmp_path / Path(path).name for path in paths]
    for path, name in zip(paths, named, strict=True):
        name.write_bytes(Path(path).read_bytes())
    data = em.Dataset([str(name) for name in named], tree="Events")
    for name in named[1:3]:
        name.rename(name.with_suffix(".later"))
    assert session.process(data, total, on_error=em.Skip(files=2)).result(SECONDS)["n"] == (FILES - 2) * EACH
    with pytest.raises(em.errors.QueryFailed, match=r"2 of 4 files \(50.0 %\) are lost, and Skip\(files=1\)") as caught:
        session.process(data, total, on_error=em.Skip(files=1)).result(SECONDS)
    assert "DatasetError: there is no file" in str(caught.value)
    for name in named[1:3]:
        name.with_suffix(".later").rename(name)
    part = caught.value.result
    whole = part.merged(session.process(part.account.failed_dataset(), total).result(SECONDS))
    assert (whole["n"], whole["added"]) == (FILES * EACH, sum(range(FILES * EACH)))


def test_a_query_that_may_lose_some_entries_fails_with_more(session: em.Session, paths: list[str]) -> None:
    """Protects the limit: what is within it is a result, what is beyond it is none, and nothing counts twice."""

    def picky(events: Any) -> dict[str, int]:
        if (np.asarray(events.x) % 100 == 7).any():
            raise ValueError("seven")
        return total(events)

    sevens = FILES * EACH // 100
    result = session.process(paths, picky, on_error=em.Skip(entries=0.01), chunk=1000).result(SECONDS)
    assert (result["n"], result.account.failed) == (FILES * EACH - sevens, sevens)
    with pytest.raises(em.errors.QueryFailed, match=r"entries .* are lost, .* ValueError: seven") as caught:
        session.process(paths, picky, on_error=em.Skip(entries=0.009), chunk=1000).result(SECONDS)
    assert "in picky" in "".join(caught.value.__notes__), "where the first one was raised"
    part = caught.value.result
    assert part.state == "failed" and part.account.processed <= FILES * EACH - sevens
    whole = part.merged(session.process(part.account.failed_dataset(), total).result(SECONDS))
    assert (whole["n"], whole["added"]) == (FILES * EACH, sum(range(FILES * EACH)))
    with pytest.raises(ValueError, match=r"it must be 'fail', 'skip', or as em\.Skip"):
        session.process(paths, total, on_error="fail above 1 %")  # type: ignore[arg-type]


def test_a_query_whose_total_outgrows_memory_has_its_part_in_the_journal_and_says_so(tmp_path: Path) -> None:
    """What the merger tells of it leaves nothing out: all that was accepted is in the part, and the next master has it."""
    made = JournaledWorld([500] * 12, tmp_path)
    try:
        query = failing(made, steps=10, fails=False)
        grown = m.Failure(
            "analysis", "MergeError", "the result has 4.1 GiB, and the master's machine has 3.0 GiB of memory left"
        )
        made.do_all()
        made.carry_out(made.core.merge_failed(query, grown, made.now, effects.Merge(query, (), ())))
        assert made.core.queries[query].state == "merging" and not leases(made)
        made.run()
        merged = list(made.merged[query].elements())
        for master in ("the same", "the next"):
            ended, lost = made.ended.pop(query), entries(made, made.lost.pop(query))
            assert (ended.state, ended.failure) == ("failed", grown) and ended.result_frames, master
            assert merged and sorted(merged + lost) == sorted((name, it) for name in made.lengths for it in range(500))
            assert ended.account.processed == len(merged)
            if master == "the same":
                made.crash()
                made.run()
    finally:
        made.close()
