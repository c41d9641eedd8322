# mypy: allow-untyped-defs, allow-untyped-decorators
"""Cycles and items: the same total however they are cut, numpy's own numbers, bad input refused at once."""

from __future__ import annotations

import ctypes
import functools
import itertools
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import eventmill as em
import numpy as np
import platformdirs
import pytest
from eventmill.analysis.analysis import pack
from eventmill.analysis.items import PackedItems, pack_items
from eventmill.merge import Total, decode
from eventmill.protocol.errors import AnalysisError, DatasetError
from eventmill.protocol.messages import Setup
from eventmill.session.session import _encode_files
from eventmill.worker.kernels import random_streams as streams
from eventmill.worker.kernels.compile import CompiledKernel
from eventmill.worker.kernels.random_streams import Stream
from eventmill.worker.slot.cycles import CycleSource
from eventmill.worker.slot.items import ItemSource
from eventmill.worker.slot.query_state import Running
from eventmill.worker.slot.tasks import Task, load, source_without_file
from hist import Hist
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from numba.core.dispatcher import Dispatcher
from numpy.random import Generator, Philox
from property_tests import examples

SECONDS = 60
SEED = 7
SPECTRUM = Hist.new.Reg(40, -4, 12).Double()
few = examples(6, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def cache() -> Path:
    """That of the session's slots, which load what is compiled here."""
    return Path(platformdirs.user_cache_dir("eventmill"))


def numpys(cycle: int, stream: int = 0, seed: int = SEED) -> Generator:
    """A stream, by the formula that the documentation gives."""
    return Generator(Philox(key=seed, counter=[0, 0, stream, cycle]))


@functools.cache
def task_over(kind: Any, analysis: Any, cache: Path) -> Task:
    packed = pack(analysis)
    return load(Setup("1", packed.kind, packed.digest), packed.blob, cache, kind)


def total(dataset: em.Dataset, analysis: Any, cache: Path, pieces: list[tuple[int, int]]) -> Any:
    """The result of an analysis over pieces of a dataset, each from a source of its own, as another slot would have it."""
    added = Total()
    (file,) = dataset.files
    task = task_over(file.kind, analysis, cache)
    for start, stop in pieces:
        task.run(source_without_file(file, *dataset.shared_inputs or (b"",), cache), file, start, stop)
        added.add(task.take())
    return decode(added.partial())


def cuts(entries: int) -> st.SearchStrategy[list[tuple[int, int]]]:
    """All entries in pieces, in any order; some of the pieces may be empty."""

    def pieces(edges: list[int]) -> list[tuple[int, int]]:
        ends = sorted([0, *edges, entries])
        return list(itertools.pairwise(ends))

    return st.lists(st.integers(0, entries), max_size=6).map(pieces).flatmap(st.permutations)


# --- analyses -------------------------------------------------------------------------------------------------------


@em.kernel(sums=SPECTRUM, by_number=np.zeros(3, np.int64))
def decays(sums, by_number, cycle, random):
    """A number of draws that differs from cycle to cycle, of all sorts: halves of numbers are left behind by some."""
    value = random.normal(2.0, 1.0)
    for _ in range(random.poisson(1.5)):
        value += random.exponential(0.5)
    if random.integers(0, 3) == 0:
        value -= random.random()
    sums.fill(value)
    by_number[cycle % 3] += 1


def by_cycle(cycles):
    """The same as `decays`, cycle by cycle in Python."""
    sums, by_number = SPECTRUM.copy(), np.zeros(3, np.int64)
    for cycle in cycles:
        sums.fill([one_decay(cycle.random)])
        by_number[cycle.number % 3] += 1
    return {"sums": sums, "by_number": by_number}


def one_decay(random):
    value = random.normal(2.0, 1.0)
    for _ in range(random.poisson(1.5)):
        value += random.exponential(0.5)
    return value - random.random() if random.integers(0, 3) == 0 else value


def drawn_at_once(cycles):
    """Two calls for all cycles, and calls until each cycle has what it wants."""
    first, second = cycles.normal(), cycles.exponential(2)
    wanted = cycles.uniform()
    while (again := wanted > 0.5).any():
        wanted = np.where(again, cycles.uniform(), wanted)
    return {"sums": SPECTRUM.copy().fill(first + second.sum(axis=1) + wanted), "numbers": int(cycles.number.sum())}


def image(item, file):
    return {"sum": item["pixels"].sum(), "names": [item["name"]], file.metadata["night"]: 1}


# --- the same, however it is cut --------------------------------------------------------------------------------------


@given(pieces=cuts(300))
@few
@pytest.mark.parametrize("analysis", [decays, drawn_at_once], ids=["kernel", "drawn at once"])
def test_cycles_give_the_same_total_bin_by_bin_however_they_are_cut(
    cache: Path, analysis: Any, pieces: list[tuple[int, int]]
) -> None:
    dataset = em.cycles(300, seed=SEED)
    whole, added = (total(dataset, analysis, cache, cut) for cut in ([(0, 300)], pieces))
    assert whole.keys() == added.keys()
    assert all(np.array_equal(_values(added[name]), _values(whole[name])) for name in whole)


@given(pieces=cuts(5))
@few
def test_items_give_the_same_total_however_they_are_cut(cache: Path, pieces: list[tuple[int, int]]) -> None:
    images = [{"name": str(number), "pixels": np.full((2, 2), number)} for number in range(5)]
    result = total(em.items(images, metadata={"night": "first"}), image, cache, pieces)
    assert result["sum"] == 40 and result["first"] == 5
    assert sorted(result["names"]) == list("01234")


def _values(output: Any) -> Any:
    return output.values(flow=True) if isinstance(output, Hist) else output


# --- numpy's numbers --------------------------------------------------------------------------------------------------


def test_kernels_cycles_in_python_and_a_plain_numpy_loop_draw_the_same(cache: Path) -> None:
    dataset = em.cycles(400, seed=SEED)
    compiled = total(dataset, decays, cache, [(0, 150), (150, 400)])
    in_python = total(dataset, by_cycle, cache, [(0, 400)])
    plain = SPECTRUM.copy().fill([one_decay(numpys(cycle)) for cycle in range(400)])
    assert compiled["sums"] == in_python["sums"] == plain
    assert compiled["by_number"].tolist() == in_python["by_number"].tolist() == [134, 133, 133]


@em.kernel(drawn=np.zeros((50, 5)))
def exactly(drawn, cycle, random):
    row = drawn[cycle % 50]
    row[0] = random.random()
    row[1] = random.normal(3.0, 2.0)
    row[2] = random.exponential(4.0)
    row[3] = random.poisson(20.0)
    row[4] = random.integers(0, 1000)


@pytest.mark.parametrize("seed", [0, 1, 2**40, 2**62])
def test_every_number_of_a_kernel_is_the_one_of_a_fresh_generator(cache: Path, seed: int) -> None:
    """After a cycle that used part of a block and half of a number, of the largest cycles too."""
    first = 50 * (10**18 // 50) - 50
    compiled = CompiledKernel(exactly, cache)
    compiled.run(CycleSource(seed).read(exactly.branches, first, first + 50), first)
    drawn: Any = compiled.take()[0]["drawn"]
    for row, cycle in enumerate(range(first, first + 50)):
        random = numpys(cycle, seed=seed)
        expected = random.random(), random.normal(3.0, 2.0), random.exponential(4.0), random.poisson(20.0)
        assert drawn[row].tolist() == pytest.approx([*expected, random.integers(0, 1000)], rel=1e-14)


def test_a_kernel_over_cycles_is_compiled_once_and_loaded_later(cache: Path) -> None:
    for _ in range(2):
        compiled = CompiledKernel(exactly, cache)
        compiled.run(CycleSource(1).read(exactly.branches, 0, 10), 0)
    assert (compiled.loaded, compiled.compiled) == (1, 0)


def test_rows_drawn_at_once_are_those_of_fresh_generators_compiled_or_loaded(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each slot compiled for three seconds what all slots of a machine can load."""
    for _ in ("compiled", "loaded"):
        streams.filling.cache_clear()  # as in another process
        cycles = CycleSource(SEED, cache).events(1000, 1050)
        drawn = [cycles.uniform(3), cycles.normal(2), cycles.exponential(), cycles.normal(0)]
        assert [each.shape for each in drawn] == [(50, 3), (50, 2), (50,), (50, 0)]
        for row, cycle in enumerate(range(1000, 1050)):
            assert drawn[0][row].tolist() == numpys(cycle, 1).random(3).tolist()
            assert drawn[1][row].tolist() == numpys(cycle, 2).standard_normal(2).tolist()
            assert drawn[2][row] == numpys(cycle, 3).standard_exponential()
        monkeypatch.setattr(Dispatcher, "compile", None)  # nothing more can be
    assert len(CycleSource(SEED).events(5, 5).uniform()) == 0


def test_the_generators_of_two_cycles_can_be_used_in_turn() -> None:
    """Setting one generator back for each would give the second cycle's numbers to the first."""
    one, other = CycleSource(SEED).events(0, 2)
    mixed = [one.random.random(), other.random.random(), one.random.random()]
    random = numpys(0)
    assert mixed == [random.random(), numpys(1).random(), random.random()]


def test_a_generator_set_back_has_forgotten_what_was_left_over() -> None:
    stream = Stream(SEED)
    for cycle in (3, 0, 2**62):
        random, fresh = stream.at(cycle), numpys(cycle)
        for draw in ("random", "standard_normal"):
            assert getattr(random, draw)() == getattr(fresh, draw)()
        assert random.integers(9, dtype=np.uint32) == fresh.integers(9, dtype=np.uint32)  # leaves half a number behind
        random.random()


def test_a_numpy_that_keeps_its_state_elsewhere_is_refused_before_anything_is_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    foreign = (ctypes.c_uint64 * 8)()

    class Moved:
        def __init__(self) -> None:
            self.ctypes = SimpleNamespace(state_address=ctypes.addressof(foreign))
            self.state: dict[str, Any] = {}

    made = SimpleNamespace(bit_generator=Moved(), integers=lambda *_, **__: 0)
    monkeypatch.setattr(streams, "generator", lambda *_: made)
    with pytest.raises(ImportError, match="keeps the state of its Philox generator in a way"):
        Stream(SEED)
    assert not any(foreign)


def test_a_numpy_whose_state_has_another_order_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_BUFFER_POS", "_HAS_UINT32"):
        with monkeypatch.context() as patch:
            patch.setattr(streams, name, 15 if name == "_HAS_UINT32" else 5)
            with pytest.raises(ImportError, match="keeps the state of its Philox generator in a way"):
                Stream(SEED)


# --- items ------------------------------------------------------------------------------------------------------------


class Counted:
    """Counts how often it is made again."""

    made = 0

    def __init__(self, number: int) -> None:
        self.number = number

    def __reduce__(self) -> tuple[Any, ...]:
        return _made_again, (self.number,)


def _made_again(number: int) -> Counted:
    Counted.made += 1
    return Counted(number)


def test_only_the_items_at_hand_are_unpickled() -> None:
    packed = PackedItems(memoryview(pack_items(map(Counted, range(1000)))))
    Counted.made = 0
    assert len(packed) == 1000 and packed[998].number == 998
    source = ItemSource(pack_items(["a", "bb"]))
    assert source.events(1, 2) == ["bb"] and source.traffic.bytes_read > 0


def test_a_slot_takes_the_first_item_alone_and_makes_its_source_once(cache: Path) -> None:
    """One item may take a minute, and until a chunk is over a slot hears nothing."""
    dataset = em.items(["a", "b"])
    running = Running(Setup("1", "columnar", ""), b"", *dataset.shared_inputs)
    source = running.made(dataset.files[0], cache)
    assert running.made(dataset.files[0], cache) is source and source.events(0, 1) == ["a"]
    assert running.chunks.next(100) == 1


def test_an_error_names_the_item(cache: Path) -> None:
    def inverse(item):
        return 1.0 / item

    dataset = em.items([1, 2, 0, 4])
    task = task_over("items", inverse, cache)
    with pytest.raises(ZeroDivisionError):
        task.run(ItemSource(*dataset.shared_inputs), dataset.files[0], 0, 4)
    assert task.entry == 2


def test_an_item_that_cannot_be_made_again_is_named() -> None:
    class Broken:
        def __reduce__(self) -> tuple[Any, ...]:
            return int, ("no number",)

    with pytest.raises(DatasetError, match=r"item 1 cannot be made again on this worker: ValueError.*no number"):
        ItemSource(pack_items([0, Broken()])).events(0, 2)


# --- through a session ------------------------------------------------------------------------------------------------


def test_a_production_over_two_slots_is_that_of_one_process(session: em.Session) -> None:
    kernel = session.process(em.cycles(9000, seed=SEED), decays)
    at_once = session.process(em.cycles(9000, seed=SEED), drawn_at_once)
    result = kernel.result(SECONDS)
    plain = SPECTRUM.copy().fill([one_decay(numpys(cycle)) for cycle in range(9000)])
    assert result["sums"] == plain and result["by_number"].tolist() == [3000] * 3
    assert result.account.total == result.account.processed == 9000 and result.fraction == 1.0
    assert (result.account.files, result.account.files_opened) == (1, 1)
    assert at_once.result(SECONDS)["numbers"] == 9000 * 8999 // 2


def test_items_are_called_for_one_by_one_with_their_dataset(session: em.Session) -> None:
    class Box:
        def __init__(self, content: int) -> None:
            self.content = content

    def unpacked(box: Box, file: Any) -> dict[str, int]:
        return {file.dataset: box.content * file.metadata["scale"], "calls": 1}

    boxes = em.items([Box(number) for number in range(100)], name="boxes", metadata={"scale": 2})
    result = session.process(boxes, unpacked).result(SECONDS)
    assert result["boxes"] == 9900 and result["calls"] == 100
    assert result.account.processed == 100


def test_an_error_in_a_session_says_which_item_or_cycle(session: em.Session) -> None:
    def inverse(item: int) -> float:
        return 1.0 / item

    @em.kernel(counts=np.zeros(1))
    def out_of_range(counts, cycle):
        counts[cycle // 1234] += 1

    with pytest.raises(ZeroDivisionError) as caught:
        session.process(em.items([1, 2, 3, 0, 5]), inverse).result(SECONDS)
    assert "in items, entry 3 (worker" in "".join(caught.value.__notes__)
    with pytest.raises(IndexError) as caught_too:
        session.process(em.cycles(1235, seed=3), out_of_range).result(SECONDS)
    assert "in cycles(seed=3), entry 1234 (worker" in "".join(caught_too.value.__notes__)


def test_skipped_items_are_in_the_account(session: em.Session) -> None:
    def checked(item: int) -> int:
        if item == 0:
            raise ValueError("a broken image")
        return item

    result = session.process(em.items([0, 1, 1, 1, 1, 1]), checked, on_error="skip").result(SECONDS)
    account = result.account
    assert (result.value, account.processed, account.failed) == (5, 5, 1)
    assert account.lost[0].path == "items" and "a broken image" in account.lost[0].reason


def test_skipped_items_take_no_other_with_them(session: em.Session) -> None:
    """However they are cut: an item in front of one that raises was lost, in all queries but the first of a session."""

    def inverse(item: int) -> int:
        return 12 // item

    for _ in range(20):
        result = session.process(em.items([1, 2, 0, 3, 0, 4]), inverse, on_error="skip").result(SECONDS)
        assert (result.value, result.account.processed, result.account.failed) == (12 + 6 + 4 + 3, 4, 2)


# --- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [0, -1, 2.5, "many", None, True, float("nan"), 10**19])
def test_a_number_of_cycles_that_is_none_is_refused(n: Any) -> None:
    with pytest.raises(DatasetError, match="n, the number of cycles, is"):
        em.cycles(n)


@pytest.mark.parametrize("seed", [-1, 0.5, "seed", None, 2**62 + 1])
def test_a_seed_that_is_none_is_refused(seed: Any) -> None:
    with pytest.raises(DatasetError, match="seed is"):
        em.cycles(10, seed=seed)


@pytest.mark.parametrize("seed", [0, 2**62])
def test_what_is_taken_can_travel(seed: int) -> None:
    dataset = em.cycles(1e18, np.int64(seed), name="toys", metadata={"mass": np.float64(125.0)})
    (file,) = dataset.files
    assert _encode_files(dataset.files)
    assert (file.entries, file.seed, file.dataset, file.metadata) == (10**18, seed, "toys", {"mass": 125.0})
    assert file.path == f"cycles(seed={seed})"
    assert repr(dataset) == f"<Dataset of 1,000,000,000,000,000,000 cycles with seed {seed}>"


@pytest.mark.parametrize("things", ["a.fits", b"a.fits", {"a": 1}, 5, None])
def test_what_is_no_list_is_refused(things: Any) -> None:
    with pytest.raises(DatasetError, match="items takes a list of things, not"):
        em.items(things)


def test_no_items_are_refused_and_any_iterable_is_taken() -> None:
    with pytest.raises(DatasetError, match="the list has no items"):
        em.items([])
    assert em.items(path for path in ("a", "b")).files[0].entries == 2
    assert repr(em.items(np.arange(3))) == "<Dataset of 3 items>"


def test_an_item_that_cannot_be_pickled_is_named() -> None:
    with pytest.raises(DatasetError, match=r"item 2 \(lock\) cannot be sent to the workers"):
        em.items([1, "two", threading.Lock()])


def test_items_that_are_too_large_to_send_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eventmill.analysis.items.MAX_FRAME", 1000)
    with pytest.raises(DatasetError, match="the first 2 of 3 alone: put them into files"):
        em.items([b"." * 600] * 3)


def test_metadata_are_checked_as_those_of_files_are() -> None:
    for make in (lambda about: em.cycles(1, metadata=about), lambda about: em.items([1], metadata=about)):
        with pytest.raises(DatasetError, match="words, numbers and flags can travel"):
            make({"set": {1}})


class Processor:
    def process(self, events):
        return {}

    def postprocess(self, accumulator):
        return accumulator


@em.kernel(pt=Hist.new.Reg(10, 0, 100).Double())
def of_branches(pt, random, Muon_pt):
    pt.fill(Muon_pt)


@pytest.mark.parametrize(
    ("dataset", "analysis", "message"),
    [
        (em.cycles(5), of_branches, "of_branches takes Muon_pt, which cycles do not have: .*`cycle`.*`random`"),
        (em.cycles(5), Processor(), "Processor is a coffea processor.*a kernel with the parameters cycle and random"),
        (em.items([5]), Processor(), "Processor is a coffea processor.*a function of one item"),
        (em.items([5]), decays, "decays is a kernel, which reads branches, and items have none"),
    ],
)
def test_an_analysis_that_cannot_run_over_a_dataset_is_refused_at_once(
    session: em.Session, dataset: em.Dataset, analysis: Any, message: str
) -> None:
    with pytest.raises(AnalysisError, match=message):
        session.process(dataset, analysis)
