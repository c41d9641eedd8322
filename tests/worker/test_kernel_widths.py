# mypy: allow-untyped-defs, allow-untyped-decorators
"""Kernels compute in 64 bits with what branches hold in fewer: numpy's float64 and int64 are the reference."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from eventmill.analysis.analysis import kernel
from eventmill.reading.columns import Column, Flat, Jagged, offsets_of
from eventmill.worker.kernels.compile import CompiledKernel
from eventmill.worker.kernels.inputs import BLOCK
from hist import Hist

N = 3 * BLOCK + 17


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("compiled")


def lists(values: Any, most: int, seed: int) -> Jagged:
    """Lists of up to `most` values, whose offsets do not start at 0."""
    lengths = np.random.default_rng(seed).integers(0, most + 1, N)
    offsets = offsets_of(lengths) + 3
    return Jagged(offsets, Flat(np.resize(values, offsets[-1])))


def filled(thing: Any, cache: Path, pieces: int = 1, **columns: Column) -> dict[str, Any]:
    compiled = CompiledKernel(thing, cache)
    for low, high in zip(*[np.linspace(0, N, pieces + 1).astype(int)[i : pieces + i] for i in (0, 1)], strict=True):
        compiled.run({name: column.slice(int(low), int(high)) for name, column in columns.items()}, int(low))
    return {name: getattr(out, "array", out) for name, out in compiled.take()[0].items()}


def test_the_dimuon_spectrum_is_that_of_64_bits(cache: Path) -> None:
    """In 32 bits 4 of 1.6 million pairs fell into another bin than numpy's; here the bins are fine enough to tell."""
    axis = Hist.new.Reg(1_000_000, 0, 200)

    @kernel(mass=axis.Int64())
    def dimuon(mass, pt, eta, phi, charge):
        for i in range(len(pt)):
            for j in range(i + 1, len(pt)):
                if charge[i] != charge[j]:
                    angles = math.cosh(eta[i] - eta[j]) - math.cos(phi[i] - phi[j])
                    mass.fill(math.sqrt(2 * pt[i] * pt[j] * angles))

    rng = np.random.default_rng(4)
    pt = lists(rng.exponential(30, 2000).astype("f4"), 4, seed=4)
    values = [rng.normal(0, 1.5, 2000), rng.uniform(-3, 3, 2000), rng.choice([-1, 1], 2000)]
    eta, phi, charge = (
        Jagged(pt.offsets, Flat(np.resize(x.astype(dtype), pt.offsets[-1])))
        for x, dtype in zip(values, ("f4", "f4", "i1"), strict=True)
    )
    masses, narrow = [], []
    for low, high in zip(pt.offsets[:-1], pt.offsets[1:], strict=True):
        i, j = np.triu_indices(high - low, 1)
        i, j = i + low, j + low
        opposite = charge.content.values[i] != charge.content.values[j]  # type: ignore[union-attr]
        for dtype, out in (("f8", masses), ("f4", narrow)):
            p, e, f = (x.content.values.astype(dtype) for x in (pt, eta, phi))  # type: ignore[union-attr]
            angles = np.cosh(e[i] - e[j]) - np.cos(f[i] - f[j])
            out.append(np.sqrt(2 * p[i] * p[j] * angles)[opposite])
    reference = axis.Int64().fill(np.concatenate(masses)).view(flow=True)
    mine = filled(dimuon, cache, pt=pt, eta=eta, phi=phi, charge=charge)["mass"]
    assert np.array_equal(mine, reference)
    assert not np.array_equal(axis.Int64().fill(np.concatenate(narrow)).view(flow=True), reference)


KINDS = ["i1", "u4", "f4"]
"""With a sign, without, and with digits behind the point: each takes seconds to compile. 64 bits are not made wider, and
flags have a test of their own below."""
MORE = [pytest.param(kind, marks=pytest.mark.nightly) for kind in ("u1", "i2", "u2", "i4", "i8", "f8", "?")]


@pytest.mark.parametrize("dtype", [*KINDS, *MORE])
def test_every_structure_is_read_in_64_bits(cache: Path, dtype: str) -> None:
    """Numbers, arrays of fixed size, lists, and lists of lists, at the ends of their type, in several runs."""

    @kernel(out=np.zeros(6, np.float64 if dtype[0] == "f" else np.int64))
    def read(out, number, fixed, simple, nested):
        out[0] += number * 200 - 1
        out[1] += (fixed[1] - fixed[0]) * 200
        times = fixed * np.int64(3)
        out[2] += times[0] + times[1]
        for value in simple:
            out[3] += value * 200
        if len(simple) > 1:
            out[4] += simple[0] - simple[-1]
        for i in range(len(nested)):
            for value in nested[i]:
                out[5] += value * 200

    kind = np.dtype(dtype)
    ends = [0, 1, 1 << 40, -(1 << 40)] if dtype == "i8" else [0, 1]
    if kind.kind in "iu" and dtype != "i8":
        ends = [np.iinfo(kind).min, np.iinfo(kind).max, 1, 0, 1]
    if kind.kind == "f":
        ends = [0.25, -3.5, 1.0, 16777216.0, 1024.125]  # whose sums are exact in 64 bits only
    values = np.array(ends, kind)
    number, fixed = Flat(np.resize(values, N)), Flat(np.resize(values, (N, 2)))
    simple, inner = lists(values, 5, seed=1), lists(values, 5, seed=2)
    outer = Jagged(offsets_of(np.bincount(np.random.default_rng(3).integers(0, N, N - 1), minlength=N)), inner)

    wide = np.float64 if kind.kind == "f" else np.int64
    expected = np.zeros(6, wide)
    expected[0] = (number.values.astype(wide) * 200 - 1).sum()
    expected[1] = (fixed.values[:, 1].astype(wide) - fixed.values[:, 0]).sum() * 200
    expected[2] = (fixed.values.astype(wide) * 3).sum()
    content = simple.content.values.astype(wide)  # type: ignore[union-attr]
    expected[3] = content[simple.offsets[0] :].sum() * 200
    starts, stops = simple.offsets[:-1], simple.offsets[1:]
    long = stops - starts > 1
    expected[4] = (content[starts[long]] - content[stops[long] - 1]).sum()
    used = slice(inner.offsets[0], inner.offsets[outer.offsets[-1]])
    expected[5] = inner.content.values.astype(wide)[used].sum() * 200  # type: ignore[union-attr]

    columns = {"number": number, "fixed": fixed, "simple": simple, "nested": outer}
    for pieces in (1, 5):
        out = filled(read, cache, pieces, **columns)["out"]
        assert np.array_equal(out, expected)


def test_differences_of_unsigned_numbers_may_be_negative(cache: Path) -> None:
    """Numba alone gives 18446744073709551615 for 1 - 2 of unsigned branches."""
    axis = Hist.new.Reg(10, -5, 5)

    @kernel(h=axis.Double())
    def difference(h, nJet, nMuon):
        h.fill(nJet - nMuon)

    jets, muons = np.resize(np.array([1, 4], "u1"), N), np.resize(np.array([2, 1, 3], "u4"), N)
    expected = axis.Double().fill(jets.astype(int) - muons.astype(int)).view(flow=True)
    assert np.array_equal(filled(difference, cache, nJet=Flat(jets), nMuon=Flat(muons))["h"], expected)


def test_unsigned_numbers_of_64_bits_have_a_sign(cache: Path) -> None:
    """Numba would take 2**60 + 1 and 2**60 + 2 for one number, as floats, and 1 - 2 for 18446744073709551615."""

    @kernel(out=np.zeros(6, np.int64))
    def count(out, time, before, hits):
        latest = 0
        for hit in hits:
            if hit > latest:
                latest = hit
        out[0] += time < 2**60 + 2
        out[1] += time - before
        out[2] += latest % 1000
        out[3] += max(time, 0) - 2**60
        out[4] += divmod(time, 10)[1]
        out[5] += -(before % 3)

    first, time, before = 2**60, np.arange(N, dtype="u8"), np.resize(np.array([5, 2000], "u8"), N)
    before = before + np.uint64(first)
    hits = lists(np.array([7, 5, 9, 1001], "u8") + np.uint64(first), 3, seed=8)
    latest = [max(map(int, hits.content.values[low:high]), default=0) for low, high in itertools.pairwise(hits.offsets)]  # type: ignore[union-attr]
    expected = [
        2,
        sum(number - int(it) for number, it in enumerate(before)) + N * first,
        sum(it % 1000 for it in latest),
        sum(range(N)),
    ]
    expected += [sum((first + number) % 10 for number in range(N)), -int((before % 3).sum())]
    columns = {"time": Flat(time + np.uint64(first)), "before": Flat(before), "hits": hits}
    for pieces in (1, 5):
        assert filled(count, cache, pieces, **columns)["out"].tolist() == expected


def test_unsigned_numbers_that_have_no_room_for_a_sign_are_an_error(cache: Path) -> None:
    """A kernel that knows of them gets them as they are."""

    @kernel(out=np.zeros(1))
    def count(out, number):
        out[0] += number % 10

    @kernel(out=np.zeros(1))
    def unsigned(out, number):
        out[0] += number % np.uint64(10)

    number = np.arange(N, dtype="u8") + np.uint64(2**63 - 3)
    assert filled(unsigned, cache, number=Flat(number))["out"] == [(number % np.uint64(10)).sum()]
    some, compiled = number[:3] - np.uint64(2**62), CompiledKernel(count, cache)
    compiled.run({"number": Flat(some)}, 0)
    with pytest.raises(OverflowError, match=r"number has 9223372036854775808, .* with np.uint64\(number\) in it"):
        compiled.run({"number": Flat(number[:4])}, 3)
    outputs, entries = compiled.take()
    out: Any = outputs["out"]
    assert (out.tolist(), entries) == ([(some % np.uint64(10)).sum()], 3)


def test_flags_stay_flags_and_bits_stay_bits(cache: Path) -> None:
    """`not` and `~` of a bool, masks of lists by lists of flags, and bits of unsigned numbers work as before."""

    @kernel(out=np.zeros(5, np.int64))
    def count(out, flag, flags, values, bits, event):
        out[0] += not flag
        out[1] += 1 if ~flag else 0
        out[2] += values[flags].sum()
        out[3] += (bits >> 6) & 1
        out[4] += event % 2

    flags = lists(np.array([True, False, False]), 3, seed=5)
    values = Jagged(flags.offsets, Flat(np.resize(np.array([100, 27, 100], "i1"), flags.offsets[-1])))
    flag, bits = np.resize([True, False, False], N), np.resize(np.array([64, 255, 191], "u1"), N)
    event = np.arange(N, dtype="u8") + 2**53  # where a float64 has even numbers only
    columns = {"flag": Flat(flag), "flags": flags, "values": values, "bits": Flat(bits), "event": Flat(event)}
    chosen = values.content.values[flags.content.values][0:]  # type: ignore[union-attr]
    before = values.content.values[:3][flags.content.values[:3]]  # type: ignore[union-attr]
    expected = [(~flag).sum(), (~flag).sum(), chosen.sum(dtype=int) - before.sum(dtype=int)]
    expected += [((bits >> 6) & 1).sum(dtype=int), (event % 2).sum(dtype=int)]
    assert filled(count, cache, **columns)["out"].tolist() == expected


def test_a_range_is_run_again_in_64_bits(cache: Path) -> None:
    """Events are found one by one in the middle of a block, and the index counts from where the range began."""

    @kernel(seen=np.zeros(1))
    def add(seen, x):
        for value in x:
            seen[0] += value

    x = lists(np.array([0.1, 0.7, 16777216.0], "f4"), 40, seed=6)
    compiled = CompiledKernel(add, cache)
    compiled.run({"x": x}, 0)
    compiled.take()
    content = x.content.values.astype(float)  # type: ignore[union-attr]
    for start, stop in ((0, 1), (BLOCK - 1, BLOCK + 1), (100, 700), (N - 1, N), (5, 5)):
        compiled.run_again(start, stop)
        sum_of = content[x.offsets[start] : x.offsets[stop]].sum()
        seen: Any = compiled.take()[0]["seen"]
        assert math.isclose(seen[0], sum_of, rel_tol=1e-12)


def test_32_bits_are_there_for_who_asks(cache: Path) -> None:
    """`np.float32(x)` in a kernel computes in 32 bits, which is what a faster cosh takes."""

    @kernel(out=np.zeros(1))
    def narrow(out, x):
        out[0] += np.float32(x) * np.float32(x)

    x = np.full(N, 0.1, "f4")
    assert filled(narrow, cache, x=Flat(x))["out"][0] == np.full(N, x[0] * x[0]).sum(dtype=float)
