"""Analyses of eventmill's own that have one of the user's inside."""

from __future__ import annotations

from typing import Any


class Wrapper:
    """A callable or processor around the user's, whose name and source lines it shows.

    Attributes:
        inner: the user's function or processor.
    """

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    @property
    def __name__(self) -> str:
        return getattr(self.inner, "__name__", None) or type(self.inner).__name__
