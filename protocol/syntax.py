"""Python code as a tree, for any thread.

Until 3.11.4, Python counts the depth of the tree that it builds once for all threads: when rubbish is collected in the
middle of one and another thread parses meanwhile, a SystemError comes out
(https://github.com/python/cpython/issues/106905).
"""

from __future__ import annotations

import ast
import threading

_one_at_a_time = threading.RLock()  # collecting rubbish may run anything, in the same thread too


def parsed_expression(text: str) -> ast.Expression:
    """The tree of one expression. Raises what `ast.parse` raises."""
    with _one_at_a_time:
        return ast.parse(text, mode="eval")


def parsed_module(source: bytes) -> ast.Module:
    """The tree of a module. Raises what `ast.parse` raises."""
    with _one_at_a_time:
        return ast.parse(source)
