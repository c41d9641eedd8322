"""What is loaded once, as far as calls could change it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from eventmill.analysis.analysis import pack
from eventmill.analysis.items import pack_items
from eventmill.analysis.once import once
from eventmill.merge import decode
from eventmill.protocol.messages import File, Setup
from eventmill.worker.slot.items import ItemSource
from eventmill.worker.slot.kept_values import MOST_ITEMS, guarded
from eventmill.worker.slot.tasks import load

FILE = File("items", kind="items")


def added(analysis: Any, cache: Path, calls: int = 3) -> Any:
    """The sum of what an analysis returns for some items, as it arrives in this slot."""
    packed = pack(analysis)
    task = load(Setup("q", packed.kind, packed.digest), packed.blob, cache, "items")
    task.run(ItemSource(pack_items(list(range(calls)))), FILE, 0, calls)
    return decode(task.take())


def test_what_a_call_changes_in_a_small_value_is_put_back(tmp_path: Path) -> None:
    """Protects results from what came before: 3 calls that count in a dict gave 6."""

    @once
    def counts() -> dict[str, Any]:
        return {"n": 0, "list": [0], "array": np.zeros(2), "object": object()}

    def analysis(item: int) -> int:
        kept = counts()
        kept["n"] += 1
        kept["list"].append(0)
        kept["array"] += 1
        kept[item] = 1
        return int(kept["n"] + len(kept["list"]) + kept["array"][0] + len(kept))

    assert added(analysis, tmp_path) == 3 * (1 + 2 + 1 + 5)


def test_what_is_large_or_no_container_is_left_alone() -> None:
    assert guarded({"n": list(range(MOST_ITEMS))}) is None
    assert guarded(object()) is None
    assert guarded(7) is None
    looped: list[Any] = []
    looped.append(looped)
    assert guarded(looped) is not None
