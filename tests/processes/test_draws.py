# mypy: allow-untyped-defs, allow-untyped-decorators
"""Random numbers in kernels are the entries' own: the same however the entries are cut, and on any number of workers."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import eventmill as em
import numba
import numpy as np
import pytest
import uproot
from columns import flat
from eventmill.analysis.analysis import Kernel, kernel
from eventmill.analysis.fingerprint import fingerprint_of_code
from eventmill.reading.columns import Flat
from eventmill.worker.kernels import draws
from eventmill.worker.kernels.compile import CompiledKernel
from eventmill.worker.kernels.draws import ALL, FEW, GENERATORS
from eventmill.worker.slot.seeding import Seed
from hist import Hist
from numpy.typing import NDArray
from processes import Standing

ENTRIES = 1000


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("compiled")


@numba.njit
def smeared(value):
    return np.random.normal(value, 1.0) + random.gauss(0.0, 1.0) + random.random()


@kernel(drawn=np.zeros((ENTRIES, 2)))
def some(drawn, i):
    """A few numbers, from both generators, by a helper; a half pair of normal numbers is left over."""
    drawn[i, 0] = smeared(0.0)
    drawn[i, 1] = np.random.random()


@kernel(drawn=np.zeros((ENTRIES, 2)))
def now_and_then_many(drawn, i):
    """One in a hundred draws more than are filled at first, and one in two hundred more than a twister has."""
    drawn[i, 0] = np.random.random()
    for _ in range(400 if i % 200 == 50 else 40 if i % 100 == 50 else 0):
        drawn[i, 1] = np.random.random()


@kernel(drawn=np.zeros((ENTRIES, 2)))
def only_random(drawn, i):
    drawn[i, 0] = random.random()
    drawn[i, 1] = random.expovariate(1.0)


@kernel(drawn=np.zeros((ENTRIES, 2)))
def seeded(drawn, i):
    """Whoever seeds gets what numba gives for the seed."""
    np.random.seed(5)
    drawn[i, 0] = np.random.random()


def drawn(thing: Kernel, cache: Path, cuts: Sequence[int], seed: Seed = Seed(3, "file")) -> NDArray[Any]:  # noqa: B008
    compiled = CompiledKernel(thing, cache)
    for start, stop in itertools.pairwise(cuts):
        compiled.run({"i": Flat(np.arange(start, stop))}, start, None, seed)
    outputs, entries = compiled.take()
    assert entries == cuts[-1] - cuts[0]
    array = outputs["drawn"]
    assert isinstance(array, np.ndarray)
    return array


@pytest.mark.parametrize("thing", [some, now_and_then_many, only_random, seeded], ids=lambda thing: thing.__name__)
def test_however_the_entries_are_cut_they_draw_the_same(thing: Kernel, cache: Path) -> None:
    whole = drawn(thing, cache, [0, ENTRIES])
    for cuts in (range(ENTRIES + 1), [*range(0, ENTRIES, 7), ENTRIES], [0, 49, 51, 250, 251, ENTRIES]):
        assert np.array_equal(drawn(thing, cache, cuts), whole)


@pytest.mark.parametrize("thing", [some, now_and_then_many, only_random], ids=lambda thing: thing.__name__)
def test_no_two_entries_files_or_seeds_draw_the_same(thing: Kernel, cache: Path) -> None:
    arrays = [drawn(thing, cache, [0, ENTRIES], seed) for seed in (Seed(3, "file"), Seed(4, "file"), Seed(3, "other"))]
    numbers = np.concatenate(arrays).ravel()
    numbers = numbers[numbers != 0]
    assert len(np.unique(numbers)) == len(numbers)


def test_the_numbers_are_distributed_as_they_should_be(cache: Path) -> None:
    """Over entries, which are neighbours of the same seed, and within one that draws many."""

    @kernel(bins=np.zeros(20), pairs=np.zeros((10, 10)), moments=np.zeros(2))
    def uniform(bins, pairs, moments, i):
        before = np.random.random()
        for _ in range(30):
            number = np.random.random()
            bins[int(number * 20)] += 1
            pairs[int(before * 10), int(number * 10)] += 1
            before = number
        normal = np.random.normal()
        moments[0] += normal
        moments[1] += normal * normal

    entries = 20_000
    compiled = CompiledKernel(uniform, cache)
    compiled.run({"i": Flat(np.arange(entries))}, 0, None, Seed(1))
    outputs, _ = compiled.take()
    for name, cells in (("bins", 20), ("pairs", 100)):
        counts: Any = outputs[name]
        expected = 30 * entries / cells
        chi2 = ((counts - expected) ** 2 / expected).sum()
        assert abs(chi2 - (cells - 1)) < 5 * np.sqrt(2 * cells), (name, chi2)
    moments: Any = outputs["moments"]
    assert abs(moments[0] / np.sqrt(entries)) < 5
    assert abs(moments[1] / entries - 1) < 5 * np.sqrt(2 / entries)


def test_listed_entries_draw_by_their_numbers_in_the_file(cache: Path) -> None:
    """Counted by their positions in the list, they would draw others with another list."""
    whole = drawn(some, cache, [0, ENTRIES])
    listed = np.array([3, 500, 501, 900])
    compiled = CompiledKernel(some, cache)
    compiled.run({"i": Flat(listed)}, 0, listed, Seed(3, "file"))
    array: Any = compiled.take()[0]["drawn"]
    assert np.array_equal(array[listed], whole[listed])


def test_what_is_run_again_after_an_error_draws_the_same(cache: Path) -> None:
    """An entry that raises is found by running parts of the others again; here it draws more than was filled, too."""

    @kernel(total=np.zeros(1), drawn=np.zeros((ENTRIES, 2)))
    def fails(total, drawn, i):
        for _ in range(1 + i):
            drawn[i, 0] = np.random.random()
        if i == 60:
            raise ValueError("odd")
        total[0] += 1

    columns = {"i": Flat(np.arange(100))}
    compiled = CompiledKernel(fails, cache)
    with pytest.raises(ValueError, match="odd"):
        compiled.run(columns, 0)
    compiled.take()
    for part in ((0, 30), (30, 60), (61, 100)):
        compiled.run_again(*part)
    outputs, entries = compiled.take()
    fresh = CompiledKernel(fails, cache)
    for start, stop in ((0, 60), (61, 100)):
        fresh.run({"i": Flat(np.arange(start, stop))}, start)
    expected, _ = fresh.take()
    total: Any = outputs["total"]
    assert entries == total[0] == 99
    assert np.array_equal(outputs["drawn"], expected["drawn"])  # type: ignore[call-overload]


def test_only_kernels_that_draw_pay_for_it(cache: Path) -> None:
    @kernel(total=np.zeros(1))
    def plain(total, x):
        total[0] += x

    for thing, expected in ((plain, None), (only_random, [False, True]), (some, [True, True])):
        for _ in range(2):  # compiled, and loaded
            compiled = CompiledKernel(thing, cache)
            compiled.run({"x": flat(1.0), "i": Flat(np.zeros(1, np.int64))}, 0)
            (loop,) = compiled._loops.values()
            assert (None if loop.draws is None else loop.draws.which) == expected
    assert FEW < ALL and len(GENERATORS) == 2


def test_what_was_drawn_before_is_no_reason_to_compile_again(cache: Path) -> None:
    """`np.random.normal` is a method of a generator: its state was taken for a part of the code, and every slot of every
    session compiled each kernel that draws for four seconds."""
    gauss, uniform = random.gauss, np.random.random

    def taken(i):
        return gauss(0.0, 1.0) + uniform()

    def fingerprints() -> list[str]:
        return [fingerprint_of_code(function) for function in (some.function, taken, smeared, only_random.function)]

    before = fingerprints()
    drawn(some, cache, [0, ENTRIES])
    random.random(), np.random.random()
    again = CompiledKernel(some, cache)
    again.run({"i": Flat(np.arange(3))}, 0, None, Seed(3, "file"))
    assert (again.compiled, again.loaded) == (0, 1)
    assert fingerprints() == before and len(set(before)) == 4


def test_a_kernel_that_is_loaded_compiles_nothing(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What sets a generator, and looks whether it is used up, was compiled for calls from Python: a second, in each slot."""
    whole = drawn(some, cache, [0, ENTRIES])

    def compiled(*_: object) -> None:
        raise AssertionError("it would be compiled")

    for name in ("begun", "used_up"):
        monkeypatch.setattr(draws, name, compiled)
    assert np.array_equal(drawn(some, cache, [0, 10, ENTRIES]), whole)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("files")
    for number in range(2):
        with uproot.recreate(folder / f"{number}.root") as file:
            file["Events"] = {"x": np.linspace(0, 1, 300) + number}
    return [f"{folder / f'{number}.root'}:Events" for number in range(2)]


def test_any_chunks_and_workers_give_the_same_histogram(
    session: em.Session, standing: Standing, files: list[str]
) -> None:
    """The whole way: it is what makes a smeared histogram the same tomorrow."""

    @kernel(h=Hist.new.Reg(100, -4, 6).Double())
    def smear(h, x):
        h.fill(np.random.normal(x, 0.5) + random.gauss(0.0, 0.1))

    chunks = [(1, 1), (7, 7), (1000, 1000), None]
    found = [session.process(files, smear, chunk=chunk).result()["h"].values() for chunk in chunks]
    other = session.process(files, smear, seed=1).result()["h"].values()
    with standing.connect() as alone:  # one slot instead of two
        found.append(alone.process(files, smear).result()["h"].values())
    assert all(np.array_equal(values, found[0]) for values in found)
    assert found[0].sum() == 600
    assert not np.array_equal(other, found[0])
