"""Models and corrections that are loaded once, in real slots and over several queries."""

from __future__ import annotations

import os
import textwrap
import uuid
from pathlib import Path
from typing import Any

import awkward as ak
import correctionlib
import correctionlib.schemav2 as cs
import eventmill as em
import numpy as np
import pytest
import uproot
from eventmill.analysis.once import once
from eventmill.protocol.errors import AnalysisError

SECONDS = 60
SIZE = 3000


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> em.Dataset:
    path = tmp_path_factory.mktemp("events") / "events.root"
    with uproot.recreate(path) as file:
        file["Events"] = {"pt": np.arange(SIZE) % 100 + 0.5}
    return em.Dataset(str(path), tree="Events")


def loads(folder: Path) -> int:
    return len(list(folder.iterdir()))


def write(path: Path, factor: float) -> None:
    """A correction: a factor below 50, and twice that above."""
    binning = cs.Binning(
        nodetype="binning", input="pt", edges=[0.0, 50.0, 100.0], content=[factor, 2 * factor], flow="error"
    )
    scale = cs.Correction(
        name="scale", version=1, inputs=[cs.Variable(name="pt", type="real")],
        output=cs.Variable(name="weight", type="real"), data=binning,
    )  # fmt: skip
    path.write_text(cs.CorrectionSet(schema_version=2, corrections=[scale]).model_dump_json())


def test_a_set_of_corrections_is_loaded_once_a_slot_and_again_when_its_file_has_changed(
    session: em.Session, data: em.Dataset, tmp_path: Path
) -> None:
    """Protects the weights after an update of the file in the same session, and the time of all queries before it."""
    path, calls = tmp_path / "scale.json", tmp_path / "calls"
    calls.mkdir()
    write(path, 0.5)

    @once
    def corrections(where: str) -> Any:
        (calls / f"{os.getpid()}-{uuid.uuid4().hex}").touch()
        return correctionlib.CorrectionSet.from_file(where)  # opened in C++

    def weighted(events: Any) -> dict[str, float]:
        weights = corrections(str(path))["scale"].evaluate(np.asarray(events.pt))
        return {"sum": float(weights.sum()), "n": len(events)}

    for _ in range(3):
        result = session.process(data, weighted, chunk=100).result(SECONDS)
        assert (result["sum"], result["n"]) == (SIZE * 0.75, SIZE)
    pids = {call.name.partition("-")[0] for call in calls.iterdir()}
    assert loads(calls) == len(pids), "once a process"
    write(path, 0.25)
    assert session.process(data, weighted, chunk=100).result(SECONDS)["sum"] == SIZE * 0.375


def test_slots_that_have_sent_large_results_keep_what_they_have_loaded(
    session: em.Session, data: em.Dataset, tmp_path: Path
) -> None:
    """They made room for fresh processes, taking the thread in which pyzmq sends large results for one of the user's."""

    @once
    def model() -> float:
        (tmp_path / f"{os.getpid()}-{uuid.uuid4().hex}").touch()
        return 0.5

    def scored(events: Any, times: int = 100) -> Any:
        return {"pid": {str(os.getpid()): 1}, "scores": ak.Array(np.repeat(np.asarray(events.pt), times) * model())}

    pids: set[str] = set()
    for times in (100, 101, 102):
        result = session.process(data, lambda events, times=times: scored(events, times)).result(SECONDS)
        assert len(result["scores"]) == times * SIZE
        pids |= result["pid"].keys()
    assert len(pids) <= 2, "the slots of the session"
    assert loads(tmp_path) == len(pids)


@pytest.mark.parametrize("on_error", ["fail", "skip", em.Skip(entries=0.5)])
def test_a_model_that_cannot_be_loaded_fails_its_query_at_once(
    session: em.Session, data: em.Dataset, tmp_path: Path, on_error: Any
) -> None:
    """Protects a night from a missing file: its error is told once, and it is not tried again for each event or packet."""

    @once
    def model() -> Any:
        (tmp_path / uuid.uuid4().hex).touch()
        raise FileNotFoundError(2, "there is no such model", "model.onnx")

    def scored(events: Any) -> float:
        return float(model().run(events))

    query = session.process(data, scored, on_error=on_error, chunk=10)
    with pytest.raises(FileNotFoundError, match="there is no such model") as caught:
        query.result(SECONDS)
    assert "model could not load" in "".join(caught.value.__notes__)
    assert query.state == "failed" and caught.value.result.account.processed == 0
    assert 1 <= loads(tmp_path) <= 2, "once a slot at most"
    errors = [line for line in query.logs() if "no such model" in line.text]
    assert 1 <= sum(line.count for line in errors) <= 2


@pytest.mark.parametrize("on_error", ["fail", "skip"])
def test_a_large_value_that_the_analysis_changes_fails_its_query(
    session: em.Session, data: em.Dataset, on_error: Any
) -> None:
    """Protects results from what came before: with 20,000 items, calls that count in a dict saw each other's counts, in this
    query and in later ones. The next query gets it as it is loaded."""

    @once
    def factors() -> dict[Any, float]:
        return dict.fromkeys(range(20_000), 1.0)

    def counting(events: Any) -> float:
        factors()["calls"] = factors().get("calls", 0.0) + 1
        return float(factors()["calls"])

    def using(events: Any) -> dict[str, float]:
        kept = factors()
        return {"sum": sum(kept[int(pt)] for pt in events.pt), "changed": float("calls" in kept)}

    assert session.process(data, using).result(SECONDS)["sum"] == SIZE
    query = session.process(data, counting, on_error=on_error, chunk=100)
    with pytest.raises(AnalysisError, match=r"what .*factors has loaded was changed by the analysis") as caught:
        query.result(SECONDS)
    assert "copy what is to be changed" in str(caught.value)
    result = session.process(data, using).result(SECONDS)
    assert (result["sum"], result["changed"]) == (SIZE, 0.0)


def test_functools_cache_works_within_a_query(session: em.Session, data: em.Dataset) -> None:
    import functools

    @functools.cache
    def factor(year: int) -> int:
        return 2 * (year - 2000)

    assert session.process(data, lambda events: factor(2018) * len(events)).result(SECONDS).value == 36 * SIZE


SETTINGS = "SCALE = 1\n"
MODEL = """
    import eventmill as em
    import settings
    import uuid
    from pathlib import Path

    def note():
        Path({calls!r}, uuid.uuid4().hex).touch()

    @em.once
    def weight():
        note()
        return settings.SCALE * int((Path(__file__).parent / "weight.txt").read_text())

    @em.once
    def late():
        import settings
        return settings.SCALE

    def other():
        return 0
"""


@pytest.mark.filterwarnings("ignore:.*was changed after this session imported it")
def test_a_function_of_a_module_is_loaded_again_when_its_data_or_settings_are_others(
    session: em.Session, beside: Path
) -> None:
    """Protects the value after each kind of change that there is in a day's work, and that no other change costs a load."""
    calls = beside / "calls"
    calls.mkdir()
    text = textwrap.dedent(MODEL).format(calls=str(calls))
    (beside / "settings.py").write_text(SETTINGS)
    (beside / "model.py").write_text(text)
    (beside / "weight.txt").write_text("10")
    import model  # type: ignore[import-not-found]
    import settings  # type: ignore[import-not-found]

    def analysis(item: int) -> dict[str, int]:
        return {"sum": model.weight(), "late": model.late(), "other": model.other()}

    def sums() -> tuple[int, int, int]:
        result = session.process(em.items([1, 2, 3]), analysis).result(SECONDS)
        return result["sum"], result["late"], result["other"]

    assert sums() == (30, 3, 0)
    (beside / "weight.txt").write_text("20")
    assert sums() == (60, 3, 0)
    settings.SCALE = 2
    assert sums() == (120, 6, 0)
    before = loads(calls)
    (beside / "model.py").write_text(text.replace("return 0", "return 1"))
    assert sums() == (120, 6, 3)
    assert loads(calls) <= before + 1, "in a slot that had none yet"
    (beside / "model.py").write_text(text.replace("read_text())", "read_text()) + 1"))
    assert sums() == (123, 6, 0)
