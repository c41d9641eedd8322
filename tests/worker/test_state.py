# mypy: allow-untyped-defs, allow-untyped-calls
"""What outlives a call of an analysis is not counted again: each call finds the analysis as it came.

Every case below adds up to one a call, as it does with coffea's FuturesExecutor, which unpickles the processor for each
chunk. Where an object is kept between calls, three calls gave 6 (1 + 2 + 3), in slots as many sums as there were packets.
"""

from __future__ import annotations

import collections
import enum
import functools
import sys
import textwrap
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attached import store
from eventmill.analysis.analysis import pack
from eventmill.analysis.items import pack_items
from eventmill.merge import decode
from eventmill.protocol.errors import AnalysisError
from eventmill.protocol.messages import File, Setup
from eventmill.worker.slot.items import ItemSource
from eventmill.worker.slot.modules import OwnModules
from eventmill.worker.slot.outliving import Outliving
from eventmill.worker.slot.seeding import Seed
from eventmill.worker.slot.snapshot import MOST_COPIED, Snapshot, is_by_value
from eventmill.worker.slot.tasks import Task, load
from hist import Hist

CALLS = 3
FILE = File("items", kind="items")


def task_for(analysis: Any, cache: Path, seed: int = 0, modules: Sequence[str] = ()) -> Task:
    OwnModules({}).enter()  # the session has its modules, not those of a slot
    packed = pack(analysis, modules)
    store(packed, cache / "attachments")
    task = load(Setup("q", packed.kind, packed.digest, seed=seed), packed.blob, cache, "items")
    task.turn_to("here")
    return task


def added(analysis: Any, cache: Path, calls: int = CALLS, seed: int = 0, modules: Sequence[str] = ()) -> Any:
    """The sum of what an analysis returns for the items 0, 1, ..."""
    task = task_for(analysis, cache, seed, modules)
    task.run(ItemSource(pack_items(list(range(calls)))), FILE, 0, calls)
    return decode(task.take())


# --- whatever is kept, counts once ----------------------------------------------------------------------------------------


def empty() -> Any:
    return Hist.new.Reg(4, 0, 4).Double()


def filling_a_histogram() -> Callable[..., Any]:
    kept = empty()

    def analysis(item):
        kept.fill(1)
        return kept

    return analysis


def counting_in_a_closure() -> Callable[..., Any]:
    kept = 0

    def analysis(item):
        nonlocal kept
        kept += 1
        return kept

    return analysis


def counting_in_its_own_attribute() -> Callable[..., Any]:
    def analysis(item):
        analysis.seen += 1  # type: ignore[attr-defined]
        return analysis.seen  # type: ignore[attr-defined]

    analysis.seen = 0  # type: ignore[attr-defined]
    return analysis


def mutable_default() -> Callable[..., Any]:
    def analysis(item, file=None, *, kept=[]):  # noqa: B006
        kept.append(item)
        return len(kept)

    return analysis


def adding_to(kept: Any, add: Callable[[Any], Any], value: Callable[[Any], Any]) -> Callable[..., Any]:
    def analysis(item):
        add(kept)
        return value(kept)

    return analysis


def bound(kept: list[int], item: int) -> int:
    kept.append(item)
    return len(kept)


def an_object() -> Any:
    class Holder:
        total = 0
        of_all = collections.Counter()  # type: ignore[var-annotated]  # noqa: RUF012

        def __init__(self) -> None:
            self.hist = empty()
            self.inner = {"list": []}

        def __call__(self, item):
            self.hist.fill(1)
            self.inner["list"].append(item)
            Holder.total += 1
            Holder.of_all["n"] += 1
            numbers = [self.hist.sum(), len(self.inner["list"]), Holder.total, Holder.of_all["n"], self.other()]
            return sum(numbers) / len(numbers)

        def other(self):
            self.counted = getattr(self, "counted", 0) + 1
            return self.counted

    return Holder()


class Slotted:
    __slots__ = ("n",)

    def __init__(self) -> None:
        self.n = 0


class WithOwnPickle:
    def __init__(self) -> None:
        self.n = 0

    def __getstate__(self):
        return self.n

    def __setstate__(self, state):
        self.n = state


def add_one(thing: Any) -> None:
    thing.n += 1


def read_n(thing: Any) -> int:
    return thing.n


def add_in_place(array: Any) -> None:
    array += 1


def append_to_a(kept: Any) -> None:
    kept["a"].append(1)


CASES: dict[str, Callable[[], Any]] = {
    "histogram": filling_a_histogram,
    "closure": counting_in_a_closure,
    "attribute of the function": counting_in_its_own_attribute,
    "mutable default": mutable_default,
    "object": an_object,
    "argument of a partial": lambda: functools.partial(bound, []),
    "dict": lambda: adding_to({}, lambda kept: kept.update({len(kept): 1}), len),
    "Counter": lambda: adding_to(collections.Counter(), lambda kept: kept.update("a"), lambda kept: kept["a"]),
    "defaultdict": lambda: adding_to(collections.defaultdict(list), append_to_a, lambda kept: len(kept["a"])),
    "set": lambda: adding_to(set(), lambda kept: kept.add(len(kept)), len),
    "deque": lambda: adding_to(collections.deque(), lambda kept: kept.append(1), len),
    "array": lambda: adding_to(np.zeros(1), add_in_place, lambda kept: kept[0]),
    "list in a tuple": lambda: adding_to(([],), lambda kept: kept[0].append(1), lambda kept: len(kept[0])),
    "histogram in a tuple": lambda: adding_to((empty(),), lambda kept: kept[0].fill(1), lambda kept: kept[0].sum()),
    "iterator": lambda: adding_to([iter(range(1, 99))], lambda kept: kept.append(next(kept[0])), lambda kept: kept[1]),
    "slots": lambda: adding_to(Slotted(), add_one, read_n),
    "own pickling": lambda: adding_to(WithOwnPickle(), add_one, read_n),
    "dict that is returned": lambda: adding_to({"n": 0}, lambda kept: kept.update(n=kept["n"] + 1), lambda kept: kept),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_what_outlives_a_call_is_counted_once(name: str, tmp_path: Path) -> None:
    value = added(CASES[name](), tmp_path)
    if isinstance(value, dict):
        value = value["n"]
    assert (value.sum() if hasattr(value, "sum") else value) == CALLS


def test_what_is_one_object_stays_one(tmp_path: Path) -> None:
    """A histogram that a dict, a list and an attribute hold is copied once for a call, not once for each of them."""
    kept = empty()
    holder = an_object()
    holder.hist = kept
    places = {"dict": kept, "list": [kept, holder]}

    def analysis(item):
        kept.fill(1)
        holder.hist.fill(1)
        places["list"][0].fill(1)
        return places["dict"].sum()

    assert added(analysis, tmp_path) == 3 * CALLS


def test_a_call_that_raises_leaves_no_trace(tmp_path: Path) -> None:
    kept = {"n": 0}

    def analysis(item):
        kept["n"] += 1
        if item == 1:
            raise ValueError("odd")
        return kept["n"]

    task, source = task_for(analysis, tmp_path), ItemSource(pack_items([0, 1, 2]))
    task.run(source, FILE, 0, 1)
    with pytest.raises(ValueError, match="odd"):
        task.run(source, FILE, 1, 2)
    task.run(source, FILE, 2, 3)
    assert decode(task.take()) == 2


def test_objects_of_ones_own_in_a_result_do_not_change_with_what_they_were_made_of(tmp_path: Path) -> None:
    """They stay live in the slot's total, beside state that is put back and changed again."""
    kept: dict[str, int] = {"n": 0}

    class Sum:
        def __init__(self, parts):
            self.parts = parts

        def __add__(self, other):
            return Sum({"n": self.parts["n"] + other.parts["n"]})

    def analysis(item):
        kept["n"] += item
        return Sum(kept)

    assert added(analysis, tmp_path).parts == {"n": 0 + 1 + 2}


def test_what_cannot_be_pickled_is_left_alone_and_the_rest_beside_it_is_not(tmp_path: Path) -> None:
    class Guarded:
        def __init__(self):
            self.lock, self.n = threading.Lock(), 0

    thing = Guarded()

    def use():
        with thing.lock:
            thing.n += 1
            return thing.n

    snapshot = Snapshot([use], lambda name: name == __name__)
    for _ in range(CALLS):
        (function,) = snapshot.restore(Seed(0))
        assert function() == 1


def test_large_arrays_are_shared_and_cannot_be_written_to(tmp_path: Path) -> None:
    """Nothing is copied for a call that is larger than a few megabytes."""
    table = np.ones(MOST_COPIED // 8 + 1)

    def writing(item):
        table[0] += 1
        return table[0]

    def reading(item):
        return table[0]

    assert added(reading, tmp_path) == CALLS
    with pytest.raises(ValueError, match="read-only"):
        added(writing, tmp_path)


# --- the user's modules ---------------------------------------------------------------------------------------------------


STORE = """
    import collections, functools, threading
    from hist import Hist
    lock = threading.Lock()
    kept = Hist.new.Reg(4, 0, 4).Double()
    count = 0
    plugins = {}
    class Book:
        pages = []
    def register(function):
        plugins[function.__name__] = function
        return function
    def fill():
        global count
        with lock:
            kept.fill(1)
            count += 1
            Book.pages.append(1)
        return count + kept.sum() + len(Book.pages)
    @functools.cache
    def model():
        loads.append(1)
        return [0]
    loads = []
"""
OTHER = """
    from store import kept
    def sum_of():
        return kept.sum()
"""
PLUGIN = """
    import store
    calls = 0
    @store.register
    def twice(value):
        global calls
        calls += 1
        return 2 * value * calls
"""


def test_objects_of_helper_modules_are_put_back_in_all_modules_that_have_them(beside: Path, tmp_path: Path) -> None:
    for name, text in {"store": STORE, "other": OTHER, "plugin": PLUGIN}.items():
        (beside / f"{name}.py").write_text(textwrap.dedent(text))
    import other  # type: ignore[import-not-found]
    import store  # type: ignore[import-not-found]

    def analysis(item):
        return {"filled": store.fill(), "seen": other.sum_of()}

    def late(item):
        """What a call imports registers itself with what was there before, and starts afresh with the next call, too."""
        import plugin  # type: ignore[import-not-found]

        return {"twice": store.plugins["twice"](item), "same": store.plugins["twice"] is plugin.twice}

    assert added(analysis, tmp_path / "c") == {"filled": 3 * CALLS, "seen": CALLS}
    assert added(late, tmp_path / "c", modules=["plugin"]) == {"twice": 2 * (0 + 1 + 2), "same": True}
    assert added(analysis, tmp_path / "c") == {"filled": 3 * CALLS, "seen": CALLS}, (
        "after another query of these modules"
    )


def test_what_functools_cache_keeps_outlives_calls_and_may_not_be_a_result(beside: Path, tmp_path: Path) -> None:
    """A model is loaded once a slot. An object that is kept so and returned again and again would be counted so, too."""
    (beside / "store.py").write_text(textwrap.dedent(STORE))
    import store

    def analysis(item):
        return {str(id(store.model()))}

    def returning(item):
        store.model()[0] += 1
        return {"sum": store.model()}

    assert len(added(analysis, tmp_path / "c")) == 1
    with pytest.raises(
        AnalysisError, match=r"result\['sum'\] is the same list as in an earlier call.*Return a new one"
    ):
        added(returning, tmp_path / "c")


# --- what it costs --------------------------------------------------------------------------------------------------------


def test_functions_without_state_have_nothing_copied(tmp_path: Path) -> None:
    def helper(value):
        return np.sqrt(value)

    def analysis(item):
        return helper(item) + len(sys.argv)

    import cloudpickle

    snapshot = Snapshot([cloudpickle.loads(cloudpickle.dumps(analysis))], is_by_value)
    assert not snapshot._originals and len(snapshot._holders) < 20


# --- random numbers -------------------------------------------------------------------------------------------------------


def test_each_call_draws_numbers_of_its_own_and_the_same_wherever_it_is_made(tmp_path: Path) -> None:
    """Slots are forked from one process, and drew what it would have drawn: the same numbers, all of them."""
    import random

    import numba

    own, older, plain = np.random.default_rng(1), np.random.RandomState(1), random.Random(1)

    @numba.njit
    def compiled():
        return np.random.random(), random.random()

    def draws(item):
        a, b = compiled()
        numbers = [np.random.random(), random.random(), own.random(), older.random_sample(), plain.random(), a, b]
        return {item: tuple(repr(number) for number in numbers)}

    first, again, other = (added(draws, tmp_path, calls=20, seed=seed) for seed in (0, 0, 1))
    assert first == again, "by another slot"
    assert len({number for numbers in (*first.values(), *other.values()) for number in numbers}) == 2 * 20 * 7


def test_calls_on_other_files_draw_other_numbers(tmp_path: Path) -> None:
    task = task_for(lambda item: [float(np.random.random())], tmp_path)
    for place in ("here", "there"):
        task.turn_to(place)
        task.run(ItemSource(pack_items([0])), FILE, 0, 1)
    one, other = decode(task.take())
    assert one != other


def test_words_of_an_enum_may_come_back_with_every_call() -> None:
    """There is one of each, and none counts anything: it was taken for an object that counts on from call to call."""

    class Channel(enum.Enum):
        MUON = "muon"

    outliving = Outliving(lambda thing: False)
    for _ in range(2):
        outliving.check({"channel": Channel.MUON})
        outliving.forget()
