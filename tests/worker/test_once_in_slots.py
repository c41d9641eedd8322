"""What is loaded once, as far as calls could change it."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
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


def test_what_is_no_container_is_left_alone() -> None:
    assert guarded(object()) is None
    assert guarded(7) is None
    looped: list[Any] = []
    looped.append(looped)
    assert guarded(looped) is not None


def large() -> dict[Any, Any]:
    """More than is put back before each call, of every kind."""
    numbers: dict[Any, Any] = {number: float(number) for number in range(MOST_ITEMS)}
    more = {"list": [[1]], "set": {1}, "tuple": ([2],), "empty": {}, "nan": float("nan"), "bytes": bytearray(b"ab")}
    kinds = {"deque": deque([3]), "default": defaultdict(int), "array": np.zeros(2), "object": object()}
    return numbers | more | kinds


CHANGES: dict[str, Callable[[Any], object]] = {
    "another value": lambda kept: kept.update({7: -1.0}),
    "another type": lambda kept: kept.update({7: 7}),
    "a new key": lambda kept: kept.update(new=1),
    "one key less": lambda kept: kept.pop(7),
    "one key for another": lambda kept: kept.update({-7: kept.pop(7)}),
    "a list in a list": lambda kept: kept["list"][0].append(1),
    "a list in a tuple": lambda kept: kept["tuple"][0].clear(),
    "a set": lambda kept: kept["set"].add(2),
    "a deque": lambda kept: kept["deque"].rotate() or kept["deque"].append(1),
    "an empty dict": lambda kept: kept["empty"].update(n=1),
    "a look into a defaultdict": lambda kept: kept["default"]["n"],
    "bytes": lambda kept: kept["bytes"].extend(b"c"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_of_a_large_value_is_found(change: str) -> None:
    value = large()
    kept = guarded(value)
    assert kept is not None and kept.is_unchanged()
    value[7] = float("7")  # another object of the same content
    assert kept.is_unchanged()
    CHANGES[change](value)
    kept.put_back()
    assert not kept.is_unchanged()


def test_arrays_in_a_large_value_are_read_only() -> None:
    value = large()
    guarded(value)
    with pytest.raises(ValueError, match="read-only"):
        value["array"] += 1
