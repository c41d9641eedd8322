"""Python code as a tree, for any thread.

Until 3.11.4, Python counts the depth of the tree that it builds once for all threads: when rubbish is collected in the
middle of one, another thread may go on and parse meanwhile, and a SystemError comes out
(https://github.com/python/cpython/issues/106905). Nothing else lets another thread go on, so nothing is collected here.
"""

from __future__ import annotations

import ast
import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_one_at_a_time = threading.Lock()


def parsed_expression(text: str) -> ast.Expression:
    """The tree of one expression. Raises what `ast.parse` raises."""
    with _undisturbed():
        return ast.parse(text, mode="eval")


def parsed_module(source: bytes) -> ast.Module:
    """The tree of a module. Raises what `ast.parse` raises."""
    with _undisturbed():
        return ast.parse(source)


@contextmanager
def _undisturbed() -> Iterator[None]:
    with _one_at_a_time:
        collects = gc.isenabled()
        gc.disable()
        try:
            yield
        finally:
            if collects:
                gc.enable()
