"""The chunks of coffea's `Runner`, each an item of a query: coffea's own function of a chunk runs in a slot.

An executor of coffea is given things (descriptions of files, chunks of them) and a function of one of them, whose outputs it
adds up. `session.coffea_executor` makes a query of that, and this is what its slots call.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle

from ...analysis.wrapper import Wrapper
from ...merge.coffea_outputs import spread

CAUSE = "caused_by"
"""The attribute by which an exception takes its cause along, which pickling drops."""


class ChunkWork(Wrapper):
    """Coffea's function of one chunk, for items `(index, chunk)`.

    Args:
        function: what an executor is to call, with one chunk.
        inner: the user's processor in it, or the function itself.
        folder: where the session is. Where there is such a folder, it is called in it, for paths that begin there.

    It returns, for an item, a dict with the output as it is merged and the indices of the chunks in it, or None where
    coffea's function returned None, since the chunk was skipped. `session.coffea_executor` makes a result of coffea's of it.
    """

    def __init__(self, function: Callable[[Any], Any], inner: Any, folder: str) -> None:
        super().__init__(inner)
        self.function = function
        self.folder = folder

    def __call__(self, item: tuple[int, Any]) -> dict[str, Any] | None:
        index, chunk = item
        try:
            with contextlib.chdir(self.folder) if Path(self.folder).is_dir() else contextlib.nullcontext():
                output = self.function(chunk)
        except Exception as error:
            _keep_causes(error)
            raise
        if output is None:
            return None
        has_itself = isinstance(output, dict) and _is_only(output.get("processed"), chunk)
        if has_itself:  # thousands of chunks are told by their numbers
            output = {key: value for key, value in output.items() if key != "processed"}
        form, kinds = spread(output)
        return {"output": form, "kinds": kinds, "done": {index}, "processed": {index} if has_itself else None}


def _is_only(processed: Any, chunk: Any) -> bool:
    return type(processed) is set and processed == {chunk}


def _keep_causes(error: BaseException) -> None:
    """Note what led to an error, as far as it can be pickled: coffea tells errors apart by their causes."""
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is None:
        return
    _keep_causes(cause)
    with contextlib.suppress(
        Exception
    ):  # whatever keeps a user's exception from being pickled, or from having attributes
        cloudpickle.loads(cloudpickle.dumps(cause))
        setattr(error, CAUSE, cause)
