# mypy: allow-untyped-defs, allow-untyped-decorators
"""Collections as parameters of kernels: `Muon[i].pt` is what the flat columns have, and only what is touched is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import awkward as ak
import eventmill as em
import numpy as np
import pytest
import uproot
from columns import flat, jagged
from eventmill.analysis.analysis import Kernel, kernel
from eventmill.protocol.errors import AnalysisError
from eventmill.reading.columns import Column, Flat, Jagged
from eventmill.reading.groups import Group
from eventmill.reading.reader import Reader
from eventmill.reading.record_groups import record_group
from eventmill.worker.kernels.compile import CompiledKernel

ENTRIES = 700
"""More than two of the blocks in which kernels convert columns."""


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("compiled")


@pytest.fixture(scope="module", params=["TTree", "RNTuple"])
def file(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Muons in 32 bits and jets that they point to, in a tree with counters, and as lists of records in an RNTuple."""
    path = str(tmp_path_factory.mktemp("files") / "events.root")
    with uproot.recreate(path) as out:
        if request.param == "TTree":
            out.mktree("Events", {name: array.type.content for name, array in events().items()})
            out["Events"].extend(events())
        else:
            out.mkrntuple("Events", events())
    return path


def events() -> dict[str, ak.Array]:
    random = np.random.default_rng(3)
    muons, jets = random.poisson(1.3, ENTRIES), random.poisson(2.0, ENTRIES)
    jet_of = [random.integers(-1, max(jets[event], 1), count) for event, count in enumerate(muons)]
    muon = {
        "pt": ak.unflatten(random.exponential(30, muons.sum()).astype("f4"), muons),
        "eta": ak.unflatten(random.normal(0, 1.5, muons.sum()), muons),
        "charge": ak.unflatten(random.choice([-1, 1], muons.sum()).astype("i4"), muons),
        "tight": ak.unflatten(random.random(muons.sum()) < 0.5, muons),
        "jet": ak.unflatten(np.concatenate(jet_of).astype("i4"), muons),
    }
    jet = {"pt": ak.unflatten(random.exponential(50, jets.sum()).astype("f4"), jets)}
    return {
        "Muon": ak.zip(muon),
        "Jet": ak.zip(jet),
        "MET_pt": ak.Array(random.exponential(20, ENTRIES).astype("f4")),
        "MET_phi": ak.Array(random.uniform(-3, 3, ENTRIES).astype("f4")),
    }


def of_file(thing: Kernel, reader: Reader, cache: Path) -> CompiledKernel:
    compiled = CompiledKernel(thing, cache)
    compiled.parameters.look_at(lambda name: record_group(reader, name))
    compiled.prepare(lambda names: reader.read(names, 0, 0))
    return compiled


def run(compiled: CompiledKernel, reader: Reader, start: int = 0, stop: int = ENTRIES) -> dict[str, Any]:
    compiled.run(reader.read(compiled.branches, start, stop), start)
    return compiled.take()[0]


def touched(compiled: CompiledKernel) -> set[str]:
    return {name.replace(".", "_") for name in compiled.branches}


def _sum_of(a, b):
    return a.pt + b.pt


def _all_kinds(n, x, Muon, Jet, MET):
    n[0] += len(Jet)
    for i in range(len(Muon)):
        first = Muon[i]
        for second in Muon[i + 1 :]:
            n[1] += first.charge * second.charge * 200
            n[2] += first == second
            n[3] += second.index
            x[0] += _sum_of(first, second)
        if first.tight and 0 <= first.jet < len(Jet):
            x[1] += Jet[first.jet].pt / MET.pt
    if len(Muon) > 0:
        x[2] += Muon[-1].pt + Muon.pt.max()


def test_records_are_what_the_columns_are(file: str, cache: Path) -> None:
    reader, columns = Reader(file, "Events"), events()
    thing = kernel(n=np.zeros(4, np.int64), x=np.zeros(3))(_all_kinds)
    compiled = of_file(thing, reader, cache)
    assert touched(compiled) - {"nJet"} == {"Muon_pt", "Muon_charge", "Muon_tight", "Muon_jet", "Jet_pt", "MET_pt"}
    for start, stop in ((0, ENTRIES), (301, 650), (5, 5)):
        n, x = np.zeros(4, np.int64), np.zeros(3)
        for event in range(start, stop):
            muon, jet, met = columns["Muon"][event], columns["Jet"][event], columns["MET_pt"][event]
            pt = [float(value) for value in muon.pt]
            n[0] += len(jet)
            for i in range(len(muon)):
                for j in range(i + 1, len(muon)):
                    n[1] += int(muon.charge[i]) * int(muon.charge[j]) * 200
                    n[3] += j
                    x[0] += pt[i] + pt[j]
                if muon.tight[i] and 0 <= muon.jet[i] < len(jet):
                    x[1] += float(jet.pt[muon.jet[i]]) / float(met)
            if pt:
                x[2] += pt[-1] + max(pt)
        out = run(compiled, reader, start, stop)
        assert out["n"].tolist() == n.tolist()
        assert out["x"].tolist() == x.tolist()


def test_code_that_was_kept_knows_what_it_touches(file: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process types nothing: which columns are read comes with the code."""
    from eventmill.worker.kernels import record_access

    reader = Reader(file, "Events")

    @kernel(x=np.zeros(1))
    def sum_of_etas(x, Muon, Jet):
        for mu in Muon:
            x[0] += mu.eta

    first = of_file(sum_of_etas, reader, cache)
    monkeypatch.setattr(record_access, "touched", {})  # for this test: code that is typed here is not typed again
    again = of_file(sum_of_etas, reader, cache)
    assert (again.compiled, again.loaded) == (0, 1)
    assert first.branches == again.branches and "Muon_eta" in touched(again) and "Muon_pt" not in touched(again)
    assert run(again, reader)["x"] == pytest.approx(ak.sum(events()["Muon"].eta))


def test_an_index_below_zero_is_an_error_and_not_the_last_one(file: str, cache: Path) -> None:
    """-1 in an index of NanoAOD says that there is none: to take the last jet would be wrong without a word."""
    reader = Reader(file, "Events")

    @kernel(x=np.zeros(1))
    def of_no_jet(x, Muon, Jet):
        for mu in Muon:
            x[0] += Jet[mu.jet].pt

    with pytest.raises(IndexError, match=r"Jet\[i\] with i below 0"):
        run(of_file(of_no_jet, reader, cache), reader)


def test_a_field_that_is_not_there_is_named_at_once(file: str, cache: Path) -> None:
    reader = Reader(file, "Events")

    @kernel(x=np.zeros(1))
    def wrong_name(x, Muon):
        x[0] += Muon[0].ptt

    with pytest.raises(AnalysisError, match=r"Muon has no field ptt; the nearest names are pt(?s:.*)Muon\[0\].ptt"):
        of_file(wrong_name, reader, cache)


def test_fields_are_asked_for_that_no_code_of_ours_mentions(file: str, cache: Path) -> None:
    """A name that is computed is in no bytecode; it compiles all the same."""
    from numba import literal_unroll

    reader = Reader(file, "Events")
    name = "e" + "ta"

    @kernel(x=np.zeros(1))
    def by_name(x, Muon):
        for field in literal_unroll((name,)):
            if len(Muon) > 0:
                x[0] += getattr(Muon[0], field)

    compiled = of_file(by_name, reader, cache)
    assert touched(compiled) == {"Muon_eta"}
    assert run(compiled, reader)["x"] == pytest.approx(ak.sum(events()["Muon"].eta[:, :1]))


def test_which_fields_a_kernel_needs_is_found_out_once(
    file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Protects the second query, of this session and of later ones: to find it out anew took half a second of each slot."""
    from eventmill.worker.kernels import record_access

    reader = Reader(file, "Events")
    name = "e" + "ta"  # as those which our own functions look up: in no bytecode

    @kernel(x=np.zeros(1))
    def summed(x, Muon, Jet):
        for mu in Muon:
            x[0] += mu.pt + getattr(mu, name)
        for jet in Jet:
            x[0] += jet.pt

    monkeypatch.setattr(record_access, "offered", {})  # nothing is known of an earlier test
    first = of_file(summed, reader, tmp_path)
    ready, attempts = CompiledKernel._ready, list[str]()
    monkeypatch.setattr(CompiledKernel, "_ready", lambda *given: attempts.append(given[1]) or ready(*given))
    again = of_file(summed, reader, tmp_path)
    assert len(attempts) == 1 and (again.compiled, again.loaded) == (0, 1)
    record_access.offered.clear()  # as in another process
    fresh = of_file(summed, reader, tmp_path)
    assert attempts[0] == attempts[1] and len(attempts) == 2 and (fresh.compiled, fresh.loaded) == (0, 1)
    (lines,) = tmp_path.glob("*.lines")
    lines.write_bytes(lines.read_bytes()[:-1])
    record_access.offered.clear()
    without = of_file(summed, reader, tmp_path)
    assert len(attempts) > 3 and (without.compiled, without.loaded) == (0, 1), (
        "it is the same code, whoever asks for it"
    )
    assert attempts[0] == attempts[-1] and without.branches == first.branches
    assert first.branches == again.branches == fresh.branches
    assert run(again, reader)["x"] == pytest.approx(run(first, reader)["x"])


def by_hand(thing: Kernel, cache: Path, group: Group, columns: dict[str, Column]) -> Any:
    compiled = CompiledKernel(thing, cache)
    compiled.parameters.look_at({"Muon": group}.get)
    compiled.prepare(lambda names: {name: columns[name].slice(0, 0) for name in names})
    compiled.run({name: columns[name] for name in compiled.branches}, 0)
    return compiled.take()[0]


@kernel(n=np.zeros(1, np.int64), x=np.zeros(1))
def two_fields(n, x, Muon):
    n[0] += len(Muon)
    for mu in Muon:
        x[0] += mu.pt * mu.eta


def test_fields_whose_lists_differ_are_no_records(cache: Path) -> None:
    group = Group({"pt": "Muon_pt", "eta": "Muon_eta"}, lists=("Muon_pt", "Muon_eta"))
    pt = jagged([1.0, 2.0], [3.0])
    shifted = Jagged(pt.offsets - 1, jagged([5.0, 6.0, 7.0]).content.slice(1, 4))
    assert by_hand(two_fields, cache, group, {"Muon_pt": pt, "Muon_eta": shifted})["x"] == [5 + 12 + 21]
    with pytest.raises(
        AnalysisError, match="Muon_eta and Muon_pt are no fields of the same records: an event has 1 and 2"
    ):
        by_hand(two_fields, cache, group, {"Muon_pt": pt, "Muon_eta": jagged([1.0], [2.0, 3.0])})


def test_other_types_in_another_file_are_compiled_for(cache: Path) -> None:
    """float in one file, double in the next: both are read for what they are."""
    compiled = CompiledKernel(two_fields, cache)
    compiled.parameters.look_at({"Muon": Group({"pt": "Muon_pt", "eta": "Muon_eta", "odd": "odd"}, "nMuon")}.get)
    narrow = {"Muon_pt": jagged([2.0], [0.5]), "Muon_eta": jagged([1.0], [4.0]), "odd": flat(1.0), "nMuon": flat(1, 1)}
    compiled.prepare(lambda names: {name: narrow[name].slice(0, 0) for name in names})
    compiled.run(narrow, 0)
    compiled.run({**narrow, "Muon_pt": jagged([3.0], [1.0], dtype="f8")}, 2)
    assert compiled.take()[0]["x"] == [2 + 2 + 3 + 4]


def test_a_branch_of_that_name_is_that_branch(file: str, tmp_path: Path) -> None:
    with uproot.recreate(tmp_path / "named.root") as out:
        out.mktree("Events", {"Muon": "float32", "Muon_pt": "float32"})
        out["Events"].extend({"Muon": np.ones(3, "f4"), "Muon_pt": np.ones(3, "f4")})
    assert record_group(Reader(str(tmp_path / "named.root"), "Events"), "Muon") is None
    assert record_group(Reader(file, "Events"), "MET_pt") is None
    assert record_group(Reader(file, "Events"), "Mouon") is None


# --- what kernels may call --------------------------------------------------------------------------------------------


@kernel(n=np.zeros(3, np.int64), x=np.zeros(6))
def all_functions(n, x, Muon, Electron, values):
    leptons = em.concat(Muon, Electron)
    for lepton in leptons:
        n[0] += 10 * lepton.which + lepton.index
        x[0] += lepton.pt
    for place, index in enumerate(em.argsort(values, descending=True)):
        n[1] += (place + 1) * index
    for place, index in enumerate(em.argsort(values)):
        n[1] += 1000 * (place + 1) * index
    n[2] += em.argmax(values) + 100 * em.argmin(values)
    if len(leptons) >= 2:
        a, b = leptons[em.argmax(leptons.pt)], leptons[len(leptons) - 1]
        x[1] += a != b and em.delta_r(a, b)
        total = em.p4(a) + em.p4(b)
        x[2] += total.mass
        x[3] += total.pt + total.phi
        x[4] += total.eta


def test_functions_do_in_compiled_code_what_they_do_in_python(cache: Path) -> None:
    """Among others: equal values keep their order, NaN come last and are no largest value, nothing has no largest one."""
    random = np.random.default_rng(7)
    counts = random.poisson(1.5, 100), random.poisson(1.0, 100)
    columns: dict[str, Column] = {}
    for name, count in zip(("Muon", "Electron"), counts, strict=True):
        for field, scale in (("pt", 30.0), ("eta", 1.0), ("phi", 1.0), ("mass", 0.1)):
            values = random.exponential(scale, count.sum()).astype("f4" if name == "Muon" else "f8")
            columns[f"{name}_{field}"] = Jagged(np.cumsum([0, *count]), Flat(values))
    odd = [random.choice([1.0, 2.0, 3.0, np.nan, np.inf], length) for length in random.integers(0, 40, 100)]
    columns["values"] = jagged(*odd, dtype="f8")
    fields = ("pt", "eta", "phi", "mass")
    groups = {name: Group({field: f"{name}_{field}" for field in fields}, f"n{name}") for name in ("Muon", "Electron")}
    compiled = CompiledKernel(all_functions, cache)
    compiled.parameters.look_at(groups.get)
    compiled.prepare(lambda names: {name: columns[name].slice(0, 0) for name in names})
    compiled.run(columns, 0)
    out = compiled.take()[0]
    n, x = np.zeros(3, np.int64), np.zeros(6)
    for event in range(100):
        all_functions(
            n, x, *(compiled.parameters.by_name[name].in_python(columns, event) for name in all_functions.branches)
        )
    assert out["n"].tolist() == n.tolist()
    assert out["x"].tolist() == pytest.approx(x.tolist(), rel=1e-12)


def test_functions_say_what_they_take(file: str, cache: Path) -> None:
    @kernel(x=np.zeros(1))
    def of_a_collection(x, Muon):
        x[0] += em.argmax(Muon)

    with pytest.raises(AnalysisError, match=r"a field of a collection, em.argmax\(Muon.pt\)"):
        of_file(of_a_collection, Reader(file, "Events"), cache)


@pytest.mark.nightly
def test_objects_of_vector_work_in_kernels(file: str, cache: Path) -> None:
    """As the guide says; they take long to compile."""
    vector = pytest.importorskip("vector")

    @kernel(x=np.zeros(2))
    def with_vectors(x, Muon):
        for one in Muon:
            for other in Muon[one.index + 1 :]:
                a = vector.obj(pt=one.pt, eta=one.eta, phi=0.1 * one.charge, mass=0.1)
                b = vector.obj(pt=other.pt, eta=other.eta, phi=0.1 * other.charge, mass=0.1)
                x[0] += (a + b).mass
                x[1] += a.deltaR(b)

    muons = events()["Muon"]
    momenta = ak.zip(
        {
            "pt": ak.values_astype(muons.pt, "f8"),
            "eta": muons.eta,
            "phi": 0.1 * muons.charge,
            "mass": ak.full_like(muons.eta, 0.1),
        }
    )
    one, other = ak.unzip(ak.combinations(momenta, 2))
    expected = [ak.sum((em.p4(one) + em.p4(other)).mass), ak.sum(em.delta_r(one, other))]
    reader = Reader(file, "Events")
    assert run(of_file(with_vectors, reader, cache), reader)["x"] == pytest.approx(expected, rel=1e-9)
