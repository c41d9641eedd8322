"""What is registered in `awkward.behavior` at the top of a script: there in the slots for this query, and for no other."""

from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import awkward as ak
import eventmill as em
import numpy as np
import pytest
import uproot
from eventmill.analysis.analysis import pack, unpack_with_behaviors
from eventmill.analysis.registrations import Behaviors, Table, behaviors_of
from eventmill.protocol.errors import AnalysisError
from eventmill.worker.slot import behaviors
from processes import SECONDS

ENTRIES = 100
ONE = {"pt": 30.0, "eta": 0.5, "phi": 0.1, "mass": 0.1}
MASS_OF_TWO = 2 * ONE["mass"]  # the invariant mass of a particle with itself


LIBRARY = """
import awkward as ak
import numpy as np

class Particle(ak.Array):
    @property
    def energy(self):
        return momentum(self) ** 0.5

momentum = lambda particle: particle.pt ** 2 + 16
behavior = {("*", "Particle"): Particle, (np.absolute, "Particle"): lambda particle: particle.pt}

def register():
    ak.behavior.update(behavior)
"""
"""A package that says what its records can do when it is told to, as vector does."""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Installed here and for the worker."""
    folder = tmp_path_factory.mktemp("installed") / "site-packages"
    folder.mkdir()
    (folder / "a_library.py").write_text(LIBRARY)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        patch.setenv("PYTHONPATH", str(folder), prepend=":")
        yield importlib.import_module("a_library")
        del sys.modules["a_library"]


@pytest.fixture(scope="module")
def session(library: Any) -> Iterator[em.Session]:
    with em.connect(slots=1) as made:
        yield made


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = str(tmp_path_factory.mktemp("registered") / "x.root")
    with uproot.recreate(path) as file:
        file.mktree("Events", dict.fromkeys(ONE, "float64"))
        file["Events"].extend({name: np.full(ENTRIES, value) for name, value in ONE.items()})
    return path


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> dict[Any, Any]:
    """`awkward.behavior`, as it was again after the test."""
    before = dict(ak.behavior)
    monkeypatch.setattr(ak, "behavior", before)
    return before


def of_main(thing: Any) -> Any:
    """As what a script defines, which has no module to be imported from."""
    thing.__module__ = "__main__"
    return thing


def test_what_a_library_registered_when_the_script_told_it_is_there_in_slots(
    session: em.Session, path: str, registry: dict[Any, Any], library: Any
) -> None:
    """The function mentions nothing of the library."""
    library.register()

    def energy(events: Any) -> float:
        particles = ak.zip({"pt": events.pt}, with_name="Particle")
        return float(ak.sum(particles.energy)) + float(ak.sum(abs(particles)))

    right = ENTRIES * (np.sqrt(900 + 16) + 30)
    assert session.process(path, of_main(energy)).result(SECONDS).value == pytest.approx(right)


def test_vectors_that_the_script_registered_have_their_mass(
    session: em.Session, path: str, registry: dict[Any, Any]
) -> None:
    vector = pytest.importorskip("vector")
    vector.register_awkward()

    def of_two(events: Any) -> float:
        p = ak.zip({name: events[name] for name in ("pt", "eta", "phi", "mass")}, with_name="Momentum4D")
        return float(ak.sum((p + p).mass))

    right = of_two(uproot.open(path)["Events"].arrays())
    assert right == pytest.approx(ENTRIES * MASS_OF_TWO, rel=1e-4)
    assert session.process(path, of_main(of_two)).result(SECONDS).value == pytest.approx(right, rel=1e-9)


def test_a_class_of_the_script_is_registered_for_its_query_and_no_other(
    session: em.Session, path: str, registry: dict[Any, Any]
) -> None:
    class Lepton(ak.Array):  # type: ignore[misc]
        @property
        def doubled(self) -> Any:
            return 2 * self.pt

    registry["*", "Lepton"] = of_main(Lepton)

    def doubled(events: Any) -> float:
        return float(ak.sum(ak.zip({"pt": events.pt}, with_name="Lepton").doubled))

    def registered(events: Any) -> set[str]:
        return {str(key) for key in ak.behavior}

    of_main(doubled), of_main(registered)
    assert session.process(path, doubled).result(SECONDS).value == 2 * ONE["pt"] * ENTRIES
    assert session.process(path, registered).result(SECONDS).value == {"('*', 'Lepton')"}
    registry.clear()
    assert session.process(path, registered).result(SECONDS).value == set()
    registry["*", "Lepton"] = Lepton
    assert session.process(path, doubled).result(SECONDS).value == 2 * ONE["pt"] * ENTRIES


def test_what_is_registered_is_content_of_an_analysis(registry: dict[Any, Any]) -> None:
    """What is learnt of one must not be taken for the other; kernels are compiled, and have no use for it."""

    def analysis(events: Any) -> int:
        return len(events)

    bare = pack(of_main(analysis)).digest
    registry[np.absolute, "Lepton"] = of_main(lambda lepton: 1)
    one = pack(analysis).digest
    registry[np.absolute, "Lepton"] = of_main(lambda lepton: 2)
    assert len({bare, one, pack(analysis).digest}) == 3


def test_tables_of_libraries_go_by_name_and_the_users_entries_by_content(
    library: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = of_main(lambda: 3)
    assert behaviors_of({**library.behavior, "C": mine}) == Behaviors([Table("a_library", "behavior")], {"C": mine})
    key = ("*", "Particle")
    part = behaviors_of({key: library.Particle})
    assert part.tables == [Table("a_library", "behavior", (key,))]
    assert part.find() == {key: library.Particle}
    monkeypatch.delitem(library.behavior, key)
    with pytest.raises(ImportError, match="install the same version of a_library where workers run"):
        part.find()


def test_a_library_that_the_worker_lacks_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, registry: dict[Any, Any]
) -> None:
    file = tmp_path / "site-packages" / "not_there.py"
    file.parent.mkdir()
    file.write_text("behavior = {'A': lambda: 1}\n")
    monkeypatch.syspath_prepend(file.parent)
    not_there = importlib.import_module("not_there")
    registry.update(not_there.behavior)
    blob = pack(of_main(lambda events: len(events))).blob
    monkeypatch.delitem(sys.modules, "not_there")
    file.unlink()
    importlib.invalidate_caches()
    with pytest.raises(AnalysisError, match=r"No module named 'not_there'.*install it where workers run"):
        unpack_with_behaviors(blob)


def test_what_cannot_travel_is_refused_and_named(registry: dict[Any, Any]) -> None:
    lock = threading.Lock()
    registry["Locked"] = of_main(lambda: lock)
    with pytest.raises(
        AnalysisError, match=r"awkward\.behavior\['Locked'\], registered in this session, cannot be pickled"
    ):
        pack(of_main(lambda events: len(events)))


def test_what_was_there_before_is_there_again(registry: dict[Any, Any]) -> None:
    """But for what the code of the query has put in its place: that is for others to judge."""
    registry.update(A=1, B=2)
    behaviors.use({"A": 10, "B": 2, "C": 30, "D": 40})
    assert registry == {"A": 10, "B": 2, "C": 30, "D": 40}
    registry["D"] = 41
    behaviors.use({"C": 300})
    assert registry == {"A": 1, "B": 2, "C": 300, "D": 41}
    behaviors.put_back()
    assert registry == {"A": 1, "B": 2, "D": 41}
