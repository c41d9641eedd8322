"""`em.coffea`: coffea's `Runner` on a session's workers.

    from coffea import processor

    runner = processor.Runner(executor=em.coffea.Executor(session), schema=NanoAODSchema, chunksize=100_000)
    output = runner(fileset, MyProcessor(), treename="Events")

The runner has all of its options, and its output is what coffea's own executors give.
"""

from __future__ import annotations

import functools
import inspect
import sys
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from ..dataset.generated import items as dataset_of
from ..merge.coffea_outputs import gathered
from ..protocol.errors import EventmillError
from ..worker.slot.coffea_chunks import CAUSE, ChunkWork
from .result import Result
from .session import Session

try:
    import cloudpickle
    import lz4.frame
    from coffea.processor.executor import ExecutorBase
except ImportError as error:
    raise EventmillError(
        f"em.coffea needs coffea ({error}): pip install 'eventmill[coffea]', also where workers run"
    ) from error

_OWN = frozenset({"dataset", "analysis", "on_error", "locate", "chunk", "schema"})
"""Options of `Session.process` that mean nothing for chunks."""
_OPTIONS = frozenset(inspect.signature(Session.process).parameters) - _OWN - {"self"}
_NAMED = 5


class Executor(ExecutorBase):  # type: ignore[misc]  # coffea has no types
    """Runs the chunks of a `coffea.processor.Runner` on the workers of a session, each counted once whatever dies.

    The chunks are those of coffea (`chunksize`, `maxchunks`, `align_clusters`), read and processed by its code in slots:
    schemas, formats, `uproot_options`, checkpointers, caches and metrics are as with coffea's executors. So is the output,
    which is added up by its rules in the order in which chunks come; but numbers and arrays are added up in 64 bits, and
    growing categories of histograms come back sorted. Progress, logs, and the histograms as they fill are those of a query.

    Args:
        session: of `em.connect`.
        status: show a progress line, in a terminal or notebook.
        retries: how often coffea tries a chunk again in its slot. Chunks of slots and workers that die are done anew anyway.
        recoverable: after a failure or Ctrl-C give coffea what is merged along with the exception, which the runner then
            raises with the output as its `partial_output`.
        options: of `Session.process`: `name`, `priority`, `timeout` (None here unless given), `credentials`, `modules`,
            `seed`, `share`, `most_readers`. The other arguments are coffea's, set by the runner.

    Raises:
        EventmillError: `session` is none, or an option is not known.

    Example:
        >>> from coffea import processor                                                              # doctest: +SKIP
        >>> runner = processor.Runner(executor=em.coffea.Executor(session), schema=BaseSchema)        # doctest: +SKIP
        >>> runner({"MC": ["events.root"]}, lambda events: {"n": len(events)}, treename="Events")     # doctest: +SKIP
        {'n': 10000}
    """

    def __init__(
        self,
        session: Session,
        *,
        status: bool = True,
        unit: str = "items",
        desc: str = "Processing",
        compression: int | None = None,
        function_name: str | None = None,
        retries: int = 3,
        recoverable: bool = False,
        **options: Any,
    ) -> None:
        if not isinstance(session, Session):
            raise EventmillError(f"Executor takes a session of em.connect(...), not {session!r:.100}")
        unknown = sorted(options.keys() - _OPTIONS)
        if unknown:
            raise EventmillError(
                f"Executor has no option {unknown[0]!r}; its options for queries are {', '.join(sorted(_OPTIONS))}"
            )
        super().__init__(status, unit, desc, compression, function_name)
        self.session = session
        self.retries = retries
        self.recoverable = recoverable
        self.options = options

    def copy(self, **changed: Any) -> Executor:
        """The same executor with other settings of coffea's; the runner makes one for each thing it does."""
        own = {name: value for name, value in vars(self).items() if name != "options"}
        return Executor(**{**own, **self.options, **changed})

    def __call__(
        self, items: Iterable[Any], function: Callable[[Any], Any], accumulator: Any
    ) -> tuple[Any, int | BaseException]:
        """Call the function on each of some things, in slots, and add up what it returns, beginning with `accumulator`.

        Returns:
            The sum, or None if there is none, and 0; with `recoverable` the exception that ended it early.
        """
        chunks = list(items)
        if not chunks:
            return accumulator, 0
        made, inner = _with_live_processor(function, _runners_processor())
        options = {"timeout": None, "name": self._name(inner), **self.options}
        query = self.session.process(dataset_of(enumerate(chunks)), ChunkWork(made, inner, str(Path.cwd())), **options)
        failure: BaseException | None = None
        try:
            result = query.result(progress=None if self.status else False)
        except Exception as error:
            failure = _with_causes(error)
            if not self.recoverable:
                raise
            result = _part(query, error)
        if result.state == "stopped":
            failure = KeyboardInterrupt("stopped before all chunks were processed")
        output = _output(result, chunks, accumulator)
        if failure is None:
            self._tell_skipped(result, chunks)
            return output, 0
        if not self.recoverable or output is None:
            raise failure
        return output, failure

    def _name(self, inner: Any) -> str:
        """What the query is called: what the runner does, or the processor's name."""
        return self.function_name or getattr(inner, "__name__", None) or type(inner).__name__

    def _tell_skipped(self, result: Result, chunks: list[Any]) -> None:
        done = _done(result)
        skipped = [chunk for index, chunk in enumerate(chunks) if index not in done]
        if skipped:
            files = list(dict.fromkeys(str(getattr(chunk, "filename", chunk)) for chunk in skipped))
            named = ", ".join(files[:_NAMED]) + (f" and {len(files) - _NAMED} more" if len(files) > _NAMED else "")
            warnings.warn(f"{len(skipped)} of {len(chunks)} {self.unit}s were skipped, of {named}", stacklevel=3)


def _runners_processor() -> Any:
    """The processor in the runner that calls the executor, or None if somebody else does.

    The runner hands it over pickled, where functions have lost the names of their files: no traceback would show the user's
    lines.
    """
    frame = sys._getframe(2)
    is_runner = frame.f_globals.get("__name__") == ExecutorBase.__module__
    return frame.f_locals.get("processor_instance") if is_runner else None


def _with_live_processor(function: Any, live: Any) -> tuple[Callable[[Any], Any], Any]:
    """The function with the user's processor as an object, which coffea has pickled and compressed; and the processor.

    What is pickled here finds the modules that a processor needs, and sends them along.
    """
    if not isinstance(function, functools.partial):
        return function, function
    named, arguments, found = dict(function.keywords), list(function.args), None
    if "processor_instance" in named:
        found = named["processor_instance"]
        if isinstance(found, bytes):
            found = live if live is not None else cloudpickle.loads(lz4.frame.decompress(found))
        named["processor_instance"] = found
    for position, argument in enumerate(arguments):
        if found is None and isinstance(argument, functools.partial):
            arguments[position], inner = _with_live_processor(argument, live)
            found = None if inner is arguments[position] else inner
    made = functools.partial(function.func, *arguments, **named)
    return made, made if found is None else found


def _with_causes(error: BaseException) -> BaseException:
    """An exception with the causes that it had in its slot, by which coffea tells whether it may be skipped."""
    link = error
    while isinstance(cause := getattr(link, CAUSE, None), BaseException):
        delattr(link, CAUSE)
        link.__cause__ = cause
        link = cause
    return error


def _part(query: Any, error: BaseException) -> Result:
    """What a query merged before it failed; raises its error if that is nothing."""
    try:
        part: Result = query.partial()
    except EventmillError:
        raise error from error.__cause__
    return part


def _done(result: Result) -> set[int]:
    """The chunks that are in a result, by number."""
    done: set[int] = set() if result.value is None else result.value["done"]
    return done


def _output(result: Result, chunks: list[Any], accumulator: Any) -> Any:
    """The sum of the outputs, as coffea has it."""
    from coffea.processor.accumulator import accumulate

    if result.value is None:
        return accumulator
    output = gathered(result.value["output"], result.value["kinds"])
    if result.value["processed"] is not None:
        output["processed"] = {chunks[index] for index in result.value["processed"]} | output.get("processed", set())
    return output if accumulator is None else accumulate([output], accumulator)
