"""A result counts the entries in it, and whoever takes one compares: a difference ends the query with an error that names
it, and is never a result. What would go unnoticed in the account alone is done here step by step.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import eventmill as em
import numpy as np
import pytest
import uproot
from agent import Agent, sent
from bench import Bench, only
from eventmill.analysis.items import pack_items
from eventmill.master import effects
from eventmill.master.merger import Merger, Sum
from eventmill.master.recorder import Recorder
from eventmill.merge import Partial, Total, encode
from eventmill.packetizer.leases import Gap
from eventmill.packetizer.ledger import Ledger
from eventmill.protocol import messages as m
from eventmill.protocol.errors import CountError
from eventmill.reading.columns import Flat
from eventmill.session.result import Result
from eventmill.worker.kernels.compile import CompiledKernel
from eventmill.worker.slot import isolation
from eventmill.worker.slot import packet_run as slot
from eventmill.worker.slot.isolation import Fault, Isolation, between
from eventmill.worker.slot.tasks import ColumnarTask, ItemTask, KernelTask
from fleet import JournaledWorld, World, packed


def world(lengths: list[int], **options: object) -> tuple[World, str]:
    made = World(lengths)
    made.hello(b"session", "session")
    made.hello(b"worker", "worker", slots=1)
    return made, made.submit(**options)


def failure(made: World, query: str) -> m.Failure:
    """Why a query has failed."""
    ended = made.ended[query]
    assert ended.state == "failed" and ended.result_frames == 0 and ended.failure is not None
    return ended.failure


# --- the ledger and the master ------------------------------------------------------------------------------------------


def test_the_ledger_takes_nothing_whose_count_differs() -> None:
    ledger = Ledger([None])
    lease = ledger.lease_opening(0, 100, "slot").number
    ledger.opened(lease, entries=100, stop=100)
    gaps = [Gap(lease, 10, 12, "bad")]
    for counted in (0, 97, 99, 100):
        with pytest.raises(
            CountError, match=rf"counts {counted} entries, where lease 0 \[0, 100\) without 2 .* makes 98"
        ):
            ledger.commit([(lease, 0, 100)], gaps, counted)
        assert (ledger.processed, ledger.failed, ledger.leased) == (0, 0, 100)
    assert ledger.commit([(lease, 0, 100)], gaps, 98) == 98


@pytest.mark.parametrize("on_error", ["fail", "skip"])
@pytest.mark.parametrize("counted", [99, 101])
def test_a_commit_whose_count_differs_fails_its_query(counted: int, on_error: str) -> None:
    """Protects from: a slot or agent that loses a part of its sum, or adds one twice, and reports all of it as done."""
    made, query = world([100], on_error=on_error)
    lease = made.workers[b"worker"].queues[0].pop(0)
    made.tell(b"worker", "worker", m.Opened(query, lease.lease, 100, 100, [0, 100]))
    made.tell(b"worker", "worker", m.Finished(query, lease.lease, 100, 0.1, 0.1, 0))
    made.tell(b"worker", "worker", m.Commit(1, query, [m.Part(lease.lease, 0, 100)]), encode(1, counted).to_frames())
    assert failure(made, query).error == "CountError"
    assert all(
        word in failure(made, query).message for word in (query, "worker-", f"counts {counted} entries", "makes 100")
    )
    answer = next(message for message in made.inbox[b"worker"] if isinstance(message, m.Committed))
    assert not answer.accepted


@pytest.mark.parametrize("on_error", ["fail", "skip"])
def test_what_a_worker_finds_is_no_error_to_skip(on_error: str) -> None:
    made, query = world([100, 100], on_error=on_error)
    lease = made.workers[b"worker"].queues[0].pop(0)
    made.tell(b"worker", "worker", m.Failed(query, lease.lease, m.Failure("count", "CountError", "counts 3, where 4")))
    assert failure(made, query).message == "counts 3, where 4"


@pytest.mark.parametrize("times", [0, 2], ids=["a commit without its partial", "a partial twice"])
def test_a_total_whose_count_differs_is_no_result(times: int) -> None:
    """The merger loses a partial result, or adds one twice; the ledger knows nothing of that."""
    made, query = world([1000])
    whole = made.merge
    seen: list[effects.Effect] = []

    def merge(task: effects.Effect) -> None:
        for _ in range(times if isinstance(task, effects.Merge) and not seen else 1):
            whole(task)
        seen.append(task)

    made.merge = merge  # type: ignore[method-assign]
    made.run()
    assert failure(made, query).error == "CountError"
    assert f"query {query}: the result counts" in failure(made, query).message


def test_a_snapshot_says_how_much_is_in_it() -> None:
    """It was asked for before later commits came: the ledger's account is ahead of it."""
    made, query = world([1000] * 8)
    worker = made.workers[b"worker"]
    made.work(worker, 0)
    made.commit(worker)
    made.now += 1.0
    made.carry_out(made.core.expire(made.now))
    assert made.to_take
    frames = packed(made.merged[query])
    inside = made.merged[query].total()
    made.work(worker, 0)
    made.commit(worker)
    made.carry_out(made.core.taken(query, frames, False, made.now))
    (snapshot,) = [message for message in made.inbox[b"session"] if isinstance(message, m.Snapshot)]
    assert snapshot.account.processed == inside < made.core.queries[query].ledger.processed


def test_a_journal_whose_total_does_not_hold_what_is_done_is_not_gone_on_from(tmp_path: Path) -> None:
    made = JournaledWorld([1000, 1000], tmp_path)
    made.hello(b"session", "session")
    made.hello(b"worker", "worker", slots=1)
    query, other = made.submit(), made.submit()
    worker = made.workers[b"worker"]
    for _ in range(2):
        made.work(worker, 0)
        made.commit(worker)
    made.do_all()
    total = made.totals[query]
    made.totals[query] = total - type(total)(list(total)[:3])
    made.now += 10.0
    made.carry_out(made.core.expire(made.now))
    made.do_all()
    made.crash()
    made.do_all()
    assert failure(made, query).error == "CountError"
    assert f"query {query}: in the journal, the result counts" in failure(made, query).message
    made.run()
    assert made.ended[other].state == "done", "the others go on"
    made.close()


class Lines(Merger):
    """A merger whose tasks a test does."""

    def __init__(self) -> None:
        self._sums = {}
        self._recorder = Recorder(None)


def test_a_slot_that_merges_objects_and_loses_a_part_is_caught() -> None:
    merger = Lines()
    merger._sums["q"] = Sum(Total(), aside=encode(1, 100))
    with pytest.raises(CountError, match=r"query q: a slot was given a total of 100 entries.* gave back one of 99"):
        merger._do(effects.Replace("q", encode(1, 99).to_frames()))
    merger._do(effects.Replace("q", encode(1, 100).to_frames()))


# --- the agent ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("apart", [False, True])
def test_a_hand_over_whose_count_differs_fails_its_leases(apart: bool) -> None:
    agent = Agent()
    agent.master(m.Lease(1, "q", 0, m.File("f"), 0, 10, 1.0, apart=apart))
    agent.finish(1, 0)
    parts = [m.Part(1, 0, 10, [m.Gap(3, 4, "bad")])]
    said = agent.core.from_slot(0, m.Commit(1, "q", parts), encode(1, 10).to_frames(), 0.0)
    assert not sent(said, m.Commit)
    (failed,) = sent(said, m.Failed)
    assert isinstance(failed, m.Failed) and (failed.failure.kind, failed.failure.error) == ("count", "CountError")
    assert "query q: a partial result counts 10 entries, where lease 1 [0, 10) without 1" in failed.failure.message
    assert not agent.core.state.queries["q"].total.entries


# --- the slot -------------------------------------------------------------------------------------------------------------


def test_a_kernel_counts_the_events_whose_call_returned(tmp_path: Path) -> None:
    @em.kernel(n=np.zeros(1, np.int64))
    def analysis(n, x):  # type: ignore[no-untyped-def]
        if x == 7:
            raise ValueError("no")
        n[0] += 1

    compiled = CompiledKernel(analysis, tmp_path)
    for values, count in ((np.arange(5), 5), (np.arange(20), 7), (np.empty(0, np.int64), 0)):
        try:
            compiled.run({"x": Flat(values)}, 0)
        except ValueError:
            assert count == 7
        outputs, entries = compiled.take()
        assert entries == count == outputs["n"][0]  # type: ignore[index]
    compiled.run({"x": Flat(np.arange(5))}, 0)
    compiled.run({"x": Flat(np.arange(8, 13))}, 5)
    assert compiled.take()[1] == 10 and compiled.take()[1] == 0


def test_a_packet_whose_count_differs_fails_in_its_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two packets that are wrong by as much, this way and that, would agree when they are handed over together."""

    def twice(self: ItemTask, source: Any, file: m.File, start: int, stop: int) -> None:
        self.total.add(encode(0, stop - start + 1))

    monkeypatch.setattr(ItemTask, "run", twice)
    bench = Bench(on_error="skip", shared_inputs=[pack_items(["a"] * 10)], q=len)
    said = bench.work(m.Lease(1, "q", 0, m.File("items", kind="items", entries=10), 0, 10, 60.0))
    failed = only(m.Failed, said).failure
    assert (failed.kind, failed.error) == (
        "count",
        "CountError",
    ) and "query q, items: a partial result" in failed.message


# --- the session ----------------------------------------------------------------------------------------------------------


def test_a_result_that_does_not_count_what_its_account_says_is_none() -> None:
    account = m.Account(total=10, processed=10, files=1, files_opened=1)
    Result(encode(1, 10).to_frames(), account, 1.0, "done").check_count()
    for frames in (encode(1, 9).to_frames(), []):
        with pytest.raises(CountError, match="the ledger has 10 as processed"):
            Result(frames, account, 1.0, "done").check_count()


def test_a_partial_result_of_an_older_version_is_refused() -> None:
    with pytest.raises(em.errors.EventmillError):
        Partial.from_frames([b"\x92\xa6Number\xa11"])


# --- a slot that is taken apart -------------------------------------------------------------------------------------------

ITEMS = [0 if index % 7 == 3 else index for index in range(1, 40)]
SOUND = sum(360360 // item for item in ITEMS if item)


def inverse(item: int) -> int:
    return 360360 // item


def inverses() -> Any:
    """The same as a kernel over the branch x."""

    @em.kernel(total=np.zeros(1, np.int64))
    def kernel(total, x):  # type: ignore[no-untyped-def]
        total[0] += 360360 // x

    return kernel


def inverses_of_columns() -> Any:
    """The same as a columnar function."""

    def columnar(events: Any) -> dict[str, Any]:
        x = np.asarray(events.x)
        if (x == 0).any():
            raise ZeroDivisionError("no")
        return {"total": np.array([(360360 // x).sum()])}

    return columnar


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    name = tmp_path_factory.mktemp("numbers") / "x.root"
    with uproot.recreate(name) as file:
        file.mktree("Events", {"x": "int64"}).extend({"x": np.array(ITEMS)})
    return str(name)


def worked(kind: str, path: str, folder: Path) -> tuple[list[m.Message], Any]:
    """What a slot says of all items, those that raise skipped, in two packets; and the value that it hands over."""
    file = m.File("items", kind="items", entries=len(ITEMS)) if kind == "items" else m.File(path, "Events")
    analysis = {"items": lambda: inverse, "kernel": inverses, "columnar": inverses_of_columns}[kind]()
    bench = Bench(folder, on_error="skip", shared_inputs=[pack_items(ITEMS)] if kind == "items" else [], q=analysis)
    leases = [
        m.Lease(n, "q", 0, file, start, stop, 60.0) for n, (start, stop) in enumerate([(0, 25), (25, len(ITEMS))], 1)
    ]
    said = bench.work(*leases)
    value = bench.results().get("q")
    return said, value if kind == "items" or value is None else int(value["total"][0])


def drop_what_is_before(self: Isolation, low: int, fault: Fault, late: float) -> Any:
    """As it once was: the entries in front of one that was told to raise are never analysed."""
    while not fault.behind(low).is_narrow:
        middle = (low + fault.stop) // 2
        part = self.attempt(low, middle)
        low, fault = (middle, fault) if part is None else (low, part)
    return fault, fault.stop


def add_what_raised(self: ItemTask, source: Any, file: m.File, start: int, stop: int) -> None:
    """Of a call that raises a part is added all the same."""
    for index in range(start, stop):
        (item,) = source.events(index, index + 1)
        self._at[0] = index - start
        self.total.add(encode(inverse(item), 1))


def attempt_twice(whole: Any) -> Any:
    def run(self: ItemTask, *arguments: Any) -> None:
        whole(self, *arguments)
        if arguments[3] - arguments[2] == 1:
            whole(self, *arguments)

    return run


MUTATIONS: dict[str, tuple[str, Any, str, Any]] = {
    "what is in front of a fault is dropped": ("items", Isolation, "_narrowed", drop_what_is_before),
    "what raised is added": ("items", ItemTask, "run", add_what_raised),
    "a part is analysed twice": ("items", ItemTask, "run", attempt_twice(ItemTask.run)),
    "a fault is not named": ("columnar", slot, "gaps", lambda faults: isolation.gaps(faults)[:-1]),
    "a sound entry is named": ("items", slot, "gaps", lambda faults: [*isolation.gaps(faults), m.Gap(23, 24, "no")]),
    "a packet that begins again keeps what it had": ("kernel", KernelTask, "discard", lambda self: None),
    "a span between faults is left out": ("kernel", isolation, "between", lambda *them: list(between(*them))[1:]),
    "what is put aside is lost": ("columnar", ColumnarTask, "take", lambda self: encode(None)),
    "a chunk is lost": ("columnar", ColumnarTask, "take", lambda self: Total().partial()),
    "half of a column is lost": (
        "columnar", ColumnarTask, "_result",
        lambda self, function, events, file, entries: encode(function(events[: len(events) // 2]), len(events) // 2),
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", ["items", "kernel", "columnar"])
def test_a_slot_that_is_whole_gives_the_right_value(kind: str, path: str, tmp_path: Path) -> None:
    said, value = worked(kind, path, tmp_path)
    assert value == SOUND and not any(isinstance(message, m.Failed) for message in said)


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_slot_that_loses_entries_or_has_some_twice_gives_no_result(
    name: str, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proof that never fails is none: whichever step is taken out, the count says so, and nothing is handed over."""
    kind, where, what, instead = MUTATIONS[name]
    monkeypatch.setattr(where, what, instead)
    said, _ = worked(kind, path, tmp_path)
    failed = [message.failure for message in said if isinstance(message, m.Failed)]
    assert failed and {failure.error for failure in failed} == {"CountError"}, said
    committed = [part for message in said if isinstance(message, m.Commit) for part in message.parts]
    assert len(committed) + len(failed) == 2
