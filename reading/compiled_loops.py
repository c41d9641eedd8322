"""Loops over bytes that numba compiles, once a machine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit


def compiled(function: Callable[..., Any], signature: Any) -> Any:
    """The function for arguments of this numba signature; it lets other threads run meanwhile.

    Example:
        >>> compiled(lambda i: i + 1, "int64(int64)")(1)                                             # doctest: +SKIP
        2
    """
    try:
        return njit(signature, cache=True, nogil=True)(function)
    except RuntimeError:  # no folder of this machine can be written to: each process compiles its own
        return njit(signature, nogil=True)(function)
