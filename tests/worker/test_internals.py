"""What is used of the inside of other libraries is tried out at import: a release that changed it is named at once, not by
wrong numbers in somebody's analysis."""

from __future__ import annotations

from types import CodeType
from typing import Any

import awkward as ak
import cloudpickle
import numpy as np
import pytest
from eventmill.analysis import pickles
from eventmill.reading import virtual_arrays
from eventmill.worker.kernels import numba_internals


def test_an_awkward_that_loads_too_early_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Arrays that load whatever is near would read whole files, with the right values."""
    virtual_arrays._try_out()

    def eager(shape: Any, dtype: str, load: Any, shape_of: Any = None) -> Any:
        return load()

    monkeypatch.setattr(virtual_arrays, "virtual", eager)
    with pytest.raises(ImportError, match=f"awkward {ak.__version__} makes arrays .* install another one"):
        virtual_arrays._try_out()


def test_a_numba_that_numbers_functions_otherwise_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Machine code of one kernel would run in the place of another one's."""
    numba_internals._try_out()
    monkeypatch.setattr(numba_internals, "number_functions_apart", lambda: None)
    same = numba_internals._identity(numba_internals._try_out)
    monkeypatch.setattr(numba_internals, "_identity", lambda function: same)
    with pytest.raises(ImportError, match="numbers functions in a way that eventmill does not know"):
        numba_internals._try_out()


def test_a_numba_that_keeps_random_numbers_otherwise_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slots would draw the same numbers, or what is behind the state would be written over; the state is left as it was."""
    before = [state.copy() for state in numba_internals.generator_states()]
    numba_internals._try_out()
    for state, kept in zip(numba_internals.generator_states(), before, strict=True):
        np.testing.assert_array_equal(state, kept)
    shifted = numba_internals._state_at
    monkeypatch.setattr(numba_internals, "_state_at", lambda address: np.roll(shifted(address), 1))
    with pytest.raises(ImportError, match="keeps the state of its random numbers in a way"):
        numba_internals._try_out()


def test_a_cloudpickle_that_reduces_code_otherwise_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Errors would show no line of the user's."""
    pickles._try_out()
    table = {**cloudpickle.Pickler.dispatch_table, CodeType: lambda code: (compile, ("1", "x.py", "eval"))}
    monkeypatch.setattr(pickles._Pickler, "dispatch_table", table, raising=False)
    with pytest.raises(ImportError, match=r"takes code objects apart in a way .* comes back as another one"):
        pickles._try_out()
