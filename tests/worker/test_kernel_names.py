# mypy: allow-untyped-defs, allow-untyped-decorators
"""What kernels cannot use is said when they are submitted, with what to write instead."""

from __future__ import annotations

from typing import Any

import eventmill as em
import numba
import numpy as np
import pytest
from eventmill.analysis.analysis import Kernel, kernel, pack
from eventmill.analysis.by_tree import ByTree
from eventmill.protocol.errors import AnalysisError
from numba import njit, objmode

FACTORS = {1: 2.0}


def looked_up(number):
    return FACTORS[int(number)]


def helper(x):
    with objmode(y="float64"):
        y = looked_up(x)
    return y  # noqa: RET504


@njit
def compiled_helper(x):
    with numba.objmode(y="float64"):
        y = np.float64(x)
    return y  # noqa: RET504


@em.once
def model():
    return {}


def loading(x):
    return len(model())


def calls_a_function() -> Kernel:
    @kernel(h=np.zeros(1))
    def calling(h, x):
        with numba.objmode(y="float64"):
            y = looked_up(x)
        h[0] += y

    return calling


def uses_a_variable_of_the_function_around() -> Kernel:
    """It took its slot down, again and again."""
    factors = {1: 2.0}

    @kernel(h=np.zeros(1))
    def closing(h, x):
        with objmode(y="float64"):
            y = factors[int(x)]
        h[0] += y

    return closing


def with_the_helper(function: Any) -> Any:
    def made() -> Kernel:
        @kernel(h=np.zeros(1))
        def helped(h, x):
            h[0] += function(x)

        return helped

    return made


REFUSED = {
    "a function": (calls_a_function, r"calling cannot use looked_up under numba\.objmode: .*em\.constant"),
    "a closure": (uses_a_variable_of_the_function_around, r"closing cannot use factors under numba\.objmode"),
    "a helper": (with_the_helper(helper), r"helped cannot use looked_up under numba\.objmode, in helper"),
    "a compiled helper": (with_the_helper(compiled_helper), r"helped cannot use np under .*, in compiled_helper"),
    "once in a helper": (with_the_helper(loading), r"loading cannot use model: what is loaded once"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_compiled_code_cannot_use_is_said_at_once(what: str) -> None:
    """Protects from a NameError of each slot, or from a slot that is killed at the first event."""
    made, words = REFUSED[what]
    thing = made()
    for analysis in (thing, {"Events": thing}):
        with pytest.raises(AnalysisError, match=words) as caught:
            pack(ByTree(analysis) if isinstance(analysis, dict) else analysis)
        assert "\n" not in str(caught.value)


def test_what_needs_nothing_of_outside_may_run_in_python() -> None:
    @kernel(h=np.zeros(1))
    def telling(h, x):
        with objmode():
            print(x)
        h[0] += x

    assert pack(telling).kind == "kernel"
