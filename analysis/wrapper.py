"""Analyses of eventmill's own that have one of the user's inside."""

from __future__ import annotations

from typing import Any

from ..protocol.errors import AnalysisError


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


class WithSchema(Wrapper):
    """A coffea processor, or a function of NanoEvents, over events as a schema of coffea's makes them.

    Args:
        inner: an object with `process` and `postprocess`, or a function of events.
        schema: a class of `coffea.nanoevents`, or derived from one.

    Raises:
        AnalysisError: one of them is something else.
    """

    def __init__(self, inner: Any, schema: type) -> None:
        if not isinstance(schema, type) or not any(base.__module__.startswith(_SCHEMAS) for base in schema.__mro__):
            raise AnalysisError(
                f"schema is {schema!r:.100}: it must be a class of coffea.nanoevents, such as NanoAODSchema or BaseSchema"
            )
        if isinstance(inner, type) or not callable(getattr(inner, "process", inner)):
            raise AnalysisError(f"{inner!r:.100} is no function of events and no processor, which is what has a schema")
        super().__init__(inner)
        self.schema = schema

    def process(self, events: Any) -> Any:
        """What the function or processor makes of some events."""
        return getattr(self.inner, "process", self.inner)(events)

    def postprocess(self, accumulator: Any) -> Any:
        """The result as it is: what a processor does at the end is its user's to call."""
        return accumulator


_SCHEMAS = "coffea.nanoevents.schemas"
