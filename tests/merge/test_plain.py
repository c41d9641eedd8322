"""Results of others are looked at without running their code: histograms are the same as those that their owners see."""

from __future__ import annotations

import os
from typing import Any

import boost_histogram as bh
import numpy as np
import pytest
from eventmill.display.drawings import drawings, items
from eventmill.merge import Opaque, Partial, decode, encode, plain

kinds = bh.axis
UNPICKLED = "EVENTMILL_TEST_UNPICKLED"
AXES = [
    kinds.Regular(3, 0, 1),
    kinds.Regular(3, 0, 1, underflow=False),
    kinds.Regular(3, 0, 1, underflow=False, overflow=False),
    kinds.Regular(3, 0, 1, circular=True),
    kinds.Regular(3, 0, 1, growth=True),
    kinds.Regular(3, 1, 10, transform=kinds.transform.log),
    kinds.Regular(3, 1, 10, transform=kinds.transform.sqrt),
    kinds.Regular(3, 1, 10, transform=kinds.transform.Pow(0.3)),
    kinds.Variable([0, 1, 3]),
    kinds.Variable([0, 1, 3], circular=True),
    kinds.Variable([0, 1, 3], growth=True),
    kinds.Integer(0, 4),
    kinds.Integer(0, 4, growth=True),
    kinds.Integer(0, 4, circular=True),
    kinds.Boolean(),
    kinds.StrCategory(["b", "a"]),
    kinds.StrCategory(["b", "a"], growth=True),
    kinds.StrCategory([], growth=True),
    kinds.IntCategory([2, 1], growth=True),
    kinds.IntCategory([2, 1]),
]
STORAGES = [
    bh.storage.Double(), bh.storage.Int64(), bh.storage.AtomicInt64(), bh.storage.Unlimited(), bh.storage.Weight(),
    bh.storage.Mean(), bh.storage.WeightedMean(),
]  # fmt: skip


def travelled(value: Any) -> Partial:
    """What a page gets of a value."""
    return Partial.from_frames([bytes(frame) for frame in encode(value, 1).to_frames()])


def filled(*axes: Any, storage: Any) -> Any:
    made = bh.Histogram(*axes, storage=storage)
    made.axes[0].__dict__.update(name="m", label="m [GeV]")
    cells = np.asarray(made.view(flow=True))
    numbers = np.random.default_rng(5).integers(1, 100, (*cells.shape, len(cells.dtype.names or (1,))))
    if storage.__class__ is bh.storage.Unlimited:
        made[...] = numbers[..., 0]
    elif cells.dtype.names is None:
        cells[...] = numbers[..., 0]
    else:
        for at, name in enumerate(cells.dtype.names):
            cells[name] = numbers[..., at]
    return made


@pytest.mark.parametrize("axis", AXES)
def test_each_axis_is_drawn_as_its_owner_sees_it(axis: Any) -> None:
    compare(filled(axis, kinds.Regular(2, 0, 2), storage=bh.storage.Double()))
    compare(filled(axis, storage=bh.storage.Double()))


@pytest.mark.parametrize("storage", STORAGES)
def test_each_storage_is_drawn_as_its_owner_sees_it(storage: Any) -> None:
    compare(filled(kinds.Regular(3, 0, 1), kinds.StrCategory(["x", "y"]), storage=storage))


def compare(histogram: Any) -> None:
    partial = travelled({"h": histogram})
    theirs: Any = decode(partial)
    mine: Any = plain(partial)
    assert list(items(mine)) == list(items(theirs))
    for one, other in zip(drawings("h", mine["h"]), drawings("h", theirs["h"]), strict=True):
        assert one.description() == other.description()
        assert [array.tolist() for array in one.arrays] == [array.tolist() for array in other.arrays]


def test_nothing_is_unpickled() -> None:
    """An object that says what is to be called when it is unpickled, as somebody may whose query a page shows."""

    class Mine:
        def __init__(self) -> None:
            self.n = 1

        def __add__(self, other: Any) -> Any:
            return self

        def __reduce__(self) -> Any:
            return (exec, (f"import os; os.environ[{UNPICKLED!r}] = 'yes'",))

    axis = kinds.Regular(3, 0, 1)
    axis.__dict__["metadata"] = Mine()
    partial = travelled({"mine": Mine(), "h": bh.Histogram(axis), "n": 3, "list": [1.5, {"a": 2}]})
    found: Any = plain(partial)
    assert isinstance(found["mine"], Opaque) and "Mine" in str(found["mine"])
    assert [(item.name, item.kind) for item in items(found)] == [
        ("mine", "row"), ("h", "histogram"), ("n", "row"), ("list", "row"),
    ]  # fmt: skip
    assert found["h"].axes[0].size == 3 and UNPICKLED not in os.environ
    decode(partial)
    assert os.environ.pop(UNPICKLED), "the object is what it is taken for"
