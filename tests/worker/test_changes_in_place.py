"""A chunk that raises is analysed again, part by part: whatever a call has changed of its events, the next finds them as
they are in the file. Arrays cannot be written to, or are read anew."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot
from bench import Bench, only
from eventmill.analysis.items import pack_items
from eventmill.protocol import messages as m

ENTRIES, BAD = 60, 13


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Numbers, arrays of three, and lists of one or two."""
    path = str(tmp_path_factory.mktemp("data") / "data.root")
    lists = ak.unflatten(np.arange(90.0), [1, 2] * 30)
    with uproot.recreate(path) as file:
        tree = file.mktree("Events", {"x": "f8", "k": "i8", "v": ("f8", (3,)), "list": "var * float64"})
        numbers = np.arange(ENTRIES)
        tree.extend({"x": numbers * 1.0, "k": numbers, "v": np.ones((ENTRIES, 3)), "list": lists})
    return path


def shift(array: Any) -> None:
    array += 1000


@pytest.mark.parametrize(
    "change",
    [
        lambda events: shift(np.asarray(events.x)),
        lambda events: shift(ak.to_numpy(events[["x"]]["x"])),
        lambda events: shift(np.asarray(events.v)),
        lambda events: shift(np.asarray(ak.flatten(events.list))),
        lambda events: shift(np.asarray(events.list.layout.content.data)),
        lambda events: shift(np.asarray(events.x[events.k >= 0][1:])),
    ],
    ids=["numbers", "record", "arrays", "lists", "content", "part"],
)
def test_what_a_function_of_events_is_given_cannot_be_written_to(path: str, change: Callable[[Any], None]) -> None:
    """Or what it writes to is a copy, of this call only."""

    def changes(events: Any) -> float:
        change(events)
        if (np.asarray(events.k) == BAD).any():
            raise KeyError("no")
        return float(np.sum(np.asarray(events.x)) + np.sum(np.asarray(events.v)) + ak.sum(events.list))

    bench = Bench(on_error="skip", q=changes)
    said = bench.work(m.Lease(1, "q", 0, m.File(path, "Events"), 0, ENTRIES, 60.0))
    refused = [message for message in said if isinstance(message, m.Skipped)]
    assert all("read-only" in message.failure.message or "no" in message.failure.message for message in refused)
    of_lists = np.bincount(np.repeat(np.arange(ENTRIES), [1, 2] * 30), weights=np.arange(90.0))
    each = np.arange(ENTRIES) + 3 + of_lists
    found = bench.results().get("q")
    assert found in (None, each.sum() - each[BAD]), "nothing, where each call raises; else what the file has"


def test_a_processor_of_coffea_gets_fresh_arrays(path: str) -> None:
    """It may change them, as with coffea's own executors."""
    processor = pytest.importorskip("coffea.processor")
    from coffea.nanoevents import BaseSchema  # type: ignore[import-not-found,unused-ignore]

    class Shifting(processor.ProcessorABC):  # type: ignore[misc]
        schema = BaseSchema

        def process(self, events: Any) -> dict[str, float]:
            shift(np.asarray(events.x))
            shift(np.asarray(events.list.layout.content.data))
            if (np.asarray(events.k) == BAD).any():
                raise KeyError("no")
            return {"x": float(np.asarray(events.x).sum()), "list": float(ak.sum(events.list))}

        def postprocess(self, accumulator: Any) -> Any:
            return accumulator

    bench = Bench(on_error="skip", q=Shifting())
    bench.work(m.Lease(1, "q", 0, m.File(path, "Events"), 0, ENTRIES, 60.0))
    of_bad = float(np.arange(90.0)[3 * (BAD // 2) + 1 :][:2].sum())
    assert bench.results()["q"] == {
        "x": sum(1000.0 + x for x in range(ENTRIES) if x != BAD),
        "list": np.arange(90.0).sum() - of_bad + 1000.0 * 88,
    }


@pytest.mark.parametrize("size", [1, 100_000], ids=["small", "large"])
def test_an_item_is_made_again_for_each_call(size: int) -> None:
    def changes(item: Any) -> float:
        shift(item)
        if item[0] == 1000 + BAD:
            raise KeyError("no")
        return float(item[0])

    items = pack_items([np.full(size, float(i)) for i in range(20)])
    bench = Bench(on_error="skip", shared_inputs=[items], q=changes)
    said = bench.work(m.Lease(1, "q", 0, m.File("items", kind="items"), 0, 20, 60.0))
    assert only(m.Skipped, said).failure.message == "'no'"
    assert bench.results()["q"] == sum(1000 + i for i in range(20) if i != BAD)
