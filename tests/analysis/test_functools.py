"""Functions and methods under decorators of functools travel as others do."""

from __future__ import annotations

import functools
import threading
from typing import Any

import numpy as np
import pytest
from eventmill.analysis.analysis import pack, unpack
from eventmill.analysis.fingerprint import fingerprint
from eventmill.protocol.errors import AnalysisError


def define(source: str, name: str = "f", **variables: Any) -> Any:
    """What a user's script would define, in a main program of its own."""
    namespace = {"__name__": "__main__", "functools": functools, "np": np, **variables}
    exec(source, namespace)
    return namespace[name]


@pytest.mark.parametrize(
    ("source", "right"),
    [
        ("@functools.lru_cache\ndef factor(year): return 2 * (year - 2000)\nf = lambda events: factor(2018)", 36),
        ("@functools.lru_cache(maxsize=3, typed=True)\ndef g(x): return x\nf = lambda e: g.cache_parameters()",
         {"maxsize": 3, "typed": True}),
        ("@functools.cache\ndef fib(n): return n if n < 2 else fib(n - 1) + fib(n - 2)\nf = lambda e: fib(80)",
         23416728348467685),
        ("class A:\n  @functools.cached_property\n  def x(self): return 7\nf = lambda e: A().x + A.x.func(None)", 14),
        ("class A:\n  @functools.lru_cache\n  def x(self): return 7\nf = lambda e: A().x()", 7),
        (("@functools.singledispatch\ndef g(x): return 'other'\n@g.register\ndef _(x: int): return 'int'\n"
         "f = lambda e: (g(1), g('a'), g(True))"), ("int", "other", "int")),
        (("class A:\n  @functools.singledispatchmethod\n  def g(self, x): return 1\n  @g.register\n"
         "  def _(self, x: str): return 2\nf = lambda e: (A().g(1), A().g(''))"), (1, 2)),
        ("def g(a, b): return a - b\nf = functools.partial(lambda e, g: g(10), g=functools.partial(g, 1))", -9),
    ],
)  # fmt: skip
def test_functions_of_a_script_under_decorators_travel(source: str, right: object) -> None:
    assert unpack(pack(define(source)).blob)(None) == right


def test_an_analysis_that_is_a_cached_function_travels() -> None:
    assert unpack(pack(define("@functools.cache\ndef f(events): return events + 1")).blob)(2) == 3


def test_a_cached_function_that_cannot_be_sent_is_named() -> None:
    lock = threading.Lock()
    source = "@functools.cache\ndef g(): return lock\nf = lambda e: g()"
    with pytest.raises(AnalysisError, match=r"the variable g \(.*lru_cache_wrapper\), which <lambda> uses"):
        pack(define(source, lock=lock))


def test_the_content_of_a_cached_function_is_part_of_a_fingerprint() -> None:
    one, other = (define(f"@functools.cache\ndef f(x): return {number}") for number in (1, 2))
    assert fingerprint(one) != fingerprint(other)
