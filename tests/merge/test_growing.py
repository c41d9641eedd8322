"""Arrays that grow while others read what they were: nothing that was given changes, and nothing is copied for nobody."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from eventmill.merge import growing
from eventmill.merge.cells import add_cells
from eventmill.merge.growing import Growing
from eventmill.merge.nodes import CELLS
from eventmill.merge.sparse import Sparse
from hypothesis import given
from hypothesis import strategies as st

SIZE = 7
KINDS = [np.dtype(float), np.dtype(np.int64), np.dtype(bool), CELLS["Weight"], CELLS["Mean"], CELLS["WeightedMean"]]
STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["add", "sparse"]), st.integers(0, SIZE), st.integers(0, SIZE)),
        st.tuples(st.just("give"), st.integers(0, 2), st.just(0)),
        st.tuples(st.just("drop"), st.integers(0, 2), st.just(0)),
    ),
    max_size=20,
)


@given(st.sampled_from(KINDS), STEPS, st.integers(0, 2**32), st.booleans())
def test_it_is_the_sum_and_what_was_given_stays(
    kind: np.dtype[Any], steps: Any, seed: int, begins_sparse: bool
) -> None:
    """Whoever holds what was given and for how long, and whichever parts are added: so that a snapshot on its way to a
    session, or a total on its way to the disk, is that of its entries and no others."""
    rng = np.random.default_rng(seed)

    def some(size: int) -> Any:
        cells = np.zeros(size, kind)
        for name in kind.names or [None]:
            cells[name or ...] = rng.integers(0, 5, size)
        return cells

    first = some(SIZE)
    expected, at_first = first.copy(), first.copy()
    first.flags.writeable = False
    every = np.arange(SIZE, dtype=np.uint32)
    with pytest.MonkeyPatch.context() as patch, np.errstate(all="ignore"):
        patch.setattr(growing, "BLOCK", 3 * kind.itemsize)
        total = Growing(Sparse(every, first, SIZE) if begins_sparse else first)
        held: dict[int, tuple[Any, Any]] = {}
        for what, one, other in steps:
            low, high = sorted((one, other))
            if what == "give":
                frame = total.lend()
                assert frame.readonly
                held[one] = (np.frombuffer(frame, kind)[1:] if one == 1 else frame), expected.copy()
            elif what == "drop":
                held.pop(one, None)
            else:
                cells = some(high - low)
                add_cells(expected[low:high], cells)
                if what == "add":
                    total.add(low, cells)
                else:
                    Sparse(every[: high - low] + np.uint32(low), cells, SIZE).add_to(total.own(), 0)
            assert total.cells.tobytes() == expected.tobytes()
            for number, (frame, was) in held.items():
                assert bytes(frame) == was.tobytes()[kind.itemsize * (number == 1) :], "what was given has changed"
        assert first.tobytes() == at_first.tobytes(), "what came has changed"


def test_it_grows_in_place_when_nobody_reads_it_and_in_two_arrays_at_most_when_one_does() -> None:
    """Protects merging from fresh memory, which costs thirty times what an addition does."""
    total = Growing(np.ones(9))
    total.add(0, np.ones(9))
    here = total.cells
    frame: Any = total.lend()
    del frame
    total.add(0, np.ones(9))
    assert total.cells is here, "copied for nobody"
    frame = total.lend()
    total.add(0, np.ones(9))
    there = total.cells
    assert there is not here
    frame = total.lend()
    total.add(0, np.ones(9))
    assert total.cells is here and np.frombuffer(frame).tolist() == [4.0] * 9 and here.tolist() == [5.0] * 9
