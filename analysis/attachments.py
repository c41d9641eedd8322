"""Attachments: large arrays of an analysis, which travel beside it under names that their content gives them.

A query's analysis is sent to its workers each time; a lookup table of 200 MB in it would be, too. So what takes much room is
taken out of the pickles (buffers of protocol 5). It goes to a master that does not have it yet, from there once to each
worker, and all slots of a worker share one file of it: memory that cannot be written to.
"""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np

from ..protocol.codec import MAX_FRAME, Buffer
from ..protocol.errors import AnalysisError
from ..system.content_folder import ContentFolder, digest_of

LEAST = 2**20
"""Bytes of a buffer from which on it travels by itself."""
MOST_PRIVATE = 8 * 2**20
"""Bytes up to which a slot has a buffer to itself, as if it had come in the pickle: it may be written to."""
_MARK = b"eventmill: a pickle with attachments\n"


class Attachments:
    """The large buffers that are met while an analysis is packed; each is hashed once, however often it is met.

    Example:
        >>> attachments = Attachments()
        >>> attachments.digest(memoryview(bytes(LEAST))) == attachments.digest(memoryview(bytes(LEAST)))
        True
    """

    def __init__(self) -> None:
        self._met: dict[tuple[int, int], tuple[str, memoryview]] = {}

    def digest(self, memory: memoryview) -> str:
        """The name of a buffer, whose memory stays what it is for as long as this lives."""
        if memory.nbytes < LEAST:
            return digest_of(memory)
        address = np.frombuffer(memory, np.uint8).__array_interface__["data"][0]
        known = self._met.get((address, memory.nbytes))
        if known is None:
            known = self._met[address, memory.nbytes] = digest_of(memory), memory
        return known[0]

    def among(self, digests: set[str]) -> dict[str, memoryview]:
        """Those of these names.

        Raises:
            AnalysisError: one is too large to be sent.
        """
        found = {digest: memory for digest, memory in self._met.values() if digest in digests}
        for memory in found.values():
            if memory.nbytes > MAX_FRAME:
                raise AnalysisError(
                    f"an array of {memory.nbytes / 2**30:.1f} GiB is more than can be sent ({MAX_FRAME / 2**30:.0f} GiB): "
                    "put it into a file that workers can read, and open it in the analysis"
                )
        return found


def with_attachments(content: bytes, digests: list[str]) -> bytes:
    """A pickle whose buffers are elsewhere, with their names in the order in which it wants them."""
    return _MARK + pickle.dumps((digests, content), protocol=4)


def split(content: Buffer) -> tuple[list[str], Buffer]:
    """The names of the buffers of a pickle that are elsewhere, and the pickle itself."""
    if bytes(content[: len(_MARK)]) != _MARK:
        return [], content
    digests, inner = pickle.loads(content[len(_MARK) :])
    return digests, inner


_folder = ContentFolder(Path("attachments"))


def find_in(folder: Path) -> None:
    """From now on attachments are found in this folder; for slots."""
    global _folder
    _folder = ContentFolder(folder)


def path_of(digest: str) -> Path:
    """The file of an attachment, in a slot; it may not be there."""
    return _folder.path / digest


def found(digest: str) -> Buffer | bytearray:
    """An attachment, in a slot.

    Raises:
        AnalysisError: it is not there.
    """
    try:
        content = _folder.content(digest)
    except OSError as error:
        raise AnalysisError(
            f"an array of the analysis is not on this worker ({error}): its folder for temporary files had no room for it, "
            "or it did not arrive whole; the worker's log says more. TMPDIR names another folder"
        ) from error
    return bytearray(content) if content.nbytes <= MOST_PRIVATE else content
