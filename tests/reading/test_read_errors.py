"""Where data cannot be read, a `DatasetError` says so: nothing that uproot, awkward or coffea raise leaves a call of the
user's code as if that had raised it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import skhep_testdata
import uproot
from eventmill.analysis.analysis import pack
from eventmill.protocol.errors import DatasetError
from eventmill.protocol.messages import File, Setup
from eventmill.reading.lazy_events import LazyEvents
from eventmill.reading.missing_fields import note_of_group
from eventmill.reading.read_errors import raised, read_errors_within
from eventmill.reading.reader import Reader
from eventmill.reading.reader_cache import ReaderCache
from eventmill.worker.slot.tasks import load

NTUPLES = Path(__file__).parents[1] / "data" / "rntuples.root"
ENTRIES = 4000


def test_lists_of_arrays_of_an_ntuple_can_be_touched() -> None:
    """Awkward raised `TypeError: cannot compare unknown lengths`; here in the user's first line."""
    reader = Reader(str(NTUPLES), "zstd")
    points = reader.events(0, reader.entries).points
    expected = uproot.open(NTUPLES)["zstd"]["points"].array()
    assert str(points.type) == f"{reader.entries} * var * 3 * float32"
    assert ak.to_list(points) == ak.to_list(expected)
    assert int(ak.sum(ak.num(points))) == 101, "as ROOT reads it"
    assert float(ak.sum(ak.values_astype(points, np.float64))) == 15369.314969152212, "as ROOT reads it"


class _Broken:
    """Columns of which awkward or uproot raise whatever they like."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def read(self, branches: Any, start: int, stop: int) -> Any:
        raise self.error

    array = read


@pytest.mark.parametrize("error", [IndexError, TypeError, KeyError, AttributeError, OSError])
@pytest.mark.parametrize("name", ["number", "list", "text"])
def test_whatever_is_raised_while_a_touched_column_is_read_names_the_file_and_the_column(
    name: str, error: type[Exception]
) -> None:
    array = ak.Array({"number": [1.0], "list": [[1.0]], "text": ["a"]})
    lazy = LazyEvents({field: array[field].layout.form for field in array.fields}, {}, path="run1.root")
    with pytest.raises(DatasetError, match=rf"run1.root cannot be read in its branch {name}: (\w+: )?'?x"):
        ak.to_list(lazy.array(_Broken(error("x")), 0, 1)[name])


def test_a_form_that_awkward_cannot_make_is_the_columns_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    array = ak.Array({"text": ["a"]})
    lazy = LazyEvents({"text": array.text.layout.form}, {}, path="run1.root")

    def cannot(*_: object, **__: object) -> None:
        raise TypeError("cannot compare unknown lengths against known values")

    monkeypatch.setattr(ak, "from_buffers", cannot)
    with pytest.raises(AttributeError) as caught:
        lazy.array(_Broken(ValueError()), 0, 1).text  # noqa: B018 - awkward makes an AttributeError of all that this raises
    assert isinstance(raised(caught.value), DatasetError)
    assert "run1.root cannot be read in its branch text: TypeError: cannot compare" in str(raised(caught.value))


def _damaged(path: Path) -> Path:
    """A file whose branch `x` has four baskets, of which the third is damaged."""
    with uproot.recreate(path, compression=uproot.ZLIB(1)) as file:
        file.mktree("Events", {"x": np.float64, "y": np.float64})
        for start in range(0, ENTRIES, ENTRIES // 4):
            values = np.random.default_rng(start).random(ENTRIES // 4)
            file["Events"].extend({"x": values, "y": values})
    with uproot.open(path) as file:
        branch = file["Events/x"]
        start, size = branch.member("fBasketSeek")[2], branch.member("fBasketBytes")[2]
    content = bytearray(path.read_bytes())
    content[start + 90 : start + size - 10] = bytes(size - 100)
    path.write_bytes(content)
    return path


def test_what_a_processor_cannot_read_is_an_error_of_the_data(tmp_path: Path) -> None:
    """It raised `zlib.error` as if the processor had: that no other replica was tried for, and no server was asked again."""
    processor = pytest.importorskip("coffea.processor")
    from coffea.nanoevents import BaseSchema  # type: ignore[import-not-found,unused-ignore]

    class Sum(processor.ProcessorABC):  # type: ignore[misc]
        schema = BaseSchema

        def process(self, events: Any) -> dict[str, float]:
            return {"x": float(ak.sum(events.x)), "entries": len(events)}

        def postprocess(self, accumulator: Any) -> Any:
            return accumulator

    path = str(_damaged(tmp_path / "damaged.root"))
    analysis = pack(Sum())
    setup = Setup("q1", analysis.kind, analysis.digest, "sum", analysis.branches, "fail", 0.0, 0, None, "me")
    task = load(setup, analysis.blob, tmp_path)
    file, reader = File(path, "Events"), ReaderCache().get(path, "Events")
    task.run(reader, file, 0, 1000)
    with pytest.raises(DatasetError, match=r"damaged.root cannot be read: .*damaged") as caught:
        task.run(reader, file, 2000, 3000)
    assert "process" in [frame.name for frame in caught.traceback], "the line that asked for the column is shown, too"


def test_damage_in_the_description_of_classes_is_told_as_any_other(tmp_path: Path) -> None:
    """Why a branch cannot be read was to be told with its type, which stands in what is damaged: that raised anew."""
    content = bytearray(Path(skhep_testdata.data_path("uproot-small-evnt-tree-nosplit.root")).read_bytes())
    with uproot.open(skhep_testdata.data_path("uproot-small-evnt-tree-nosplit.root")) as file:
        content[file.file.fSeekInfo + 200] ^= 0xFF
    path = tmp_path / "damaged.root"
    path.write_bytes(content)
    reader = Reader(str(path), "tree")
    said = []
    for name in reader.names:
        for call in (lambda name=name: reader.array(name, 0, 5), lambda name=name: reader.weight([name])):
            try:
                call()
            except DatasetError as error:
                said.append(str(error))
    assert said and all("damaged.root cannot be read" in words for words in said)


def test_what_the_users_code_raises_stays_as_it_is() -> None:
    with pytest.raises(ValueError, match="mine"), read_errors_within("uproot", "run1.root", "cannot be read"):
        raise ValueError("mine")


def _columns() -> ak.Array:
    """As of a file whose lists have no counter, and of whose columns few are lists: `lep` is no list of records."""
    lists = ak.Array([[30.0, 10.0], [], [50.0]])
    array = {
        "lep_n": ak.Array([2, 0, 1]),
        "lep_ht": ak.Array([40.0, 0.0, 50.0]),
        "lep_pt": lists,
        "lep_eta": lists / 10,
    }
    forms = {name: values.layout.form for name, values in array.items()}

    class Columns:
        def read(self, branches: Any, start: int, stop: int) -> Any:
            from eventmill.reading.columns import column_of

            return {name: column_of(array[name].layout, name) for name in branches}

        def array(self, name: str, start: int, stop: int) -> Any:
            return array[name]

    return LazyEvents(forms, {}).array(Columns(), 0, 3)


def test_a_group_that_is_no_list_of_records_is_explained() -> None:
    """Awkward says `too many jagged slice dimensions` of the natural `events.lep[events.lep.pt > 20]`."""
    events = _columns()
    assert ak.to_list(events.lep.eta[events.lep.pt > 20]) == [[3.0], [], [5.0]]
    with pytest.raises(IndexError) as caught:
        events.lep[events.lep.pt > 20]
    said = note_of_group(caught.value, events)
    assert "events.lep is one record an event" in said
    assert "lep.n, lep.ht, lep.pt" in said
    with pytest.raises(TypeError) as counted:
        ak.sum(ak.num(events.lep[["pt", "eta"]]))
    assert note_of_group(counted.value, events) == "", "of records that the user has made, nothing is known"
    with pytest.raises(IndexError) as own:
        events.lep.pt[17]
    assert note_of_group(own.value, events) == ""
