"""The attachments of analyses, large arrays: a session sends each once, and each worker gets it once.

The master looks into none of them. Those of running queries are kept, and of others the last ones, so that the next query
with the same array sends nothing.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping

import msgspec

from ..protocol import messages
from ..protocol.codec import Buffer, Frames
from ..protocol.messages import Submit
from .calls import SendMessage
from .peers import Worker

MOST_UNUSED = 2**30
"""Bytes of attachments that no running query has, and that are kept for one that may come."""


class Attachments:
    """What sessions have sent, and which workers have it.

    Args:
        send: sends a message with frames to a peer, `send(identity, message, frames, now=now)`.
    """

    def __init__(self, send: SendMessage) -> None:
        self._send = send
        self._contents: OrderedDict[str, Buffer] = OrderedDict()

    def take(self, submit: Submit, frames: Frames) -> tuple[Submit, Frames]:
        """Keep what a submission carries; returns the rest of it.

        Raises:
            ValueError: it has not all the frames that it should have.
        """
        if not submit.carried:
            return submit, frames
        rest, carried = frames[: -len(submit.carried)], frames[-len(submit.carried) :]
        if not rest or len(carried) < len(submit.carried):
            raise ValueError(f"{len(frames)} frames, of which {len(submit.carried)} should be attachments")
        self.keep(dict(zip(submit.carried, carried, strict=True)))
        return msgspec.structs.replace(submit, carried=[]), rest

    def keep(self, contents: Mapping[str, Buffer]) -> None:
        """Keep these, by their digests."""
        for digest, content in contents.items():
            self._contents.setdefault(digest, content)

    def lacking(self, submit: Submit) -> list[str]:
        """Those of a query that are not here."""
        return [digest for digest in submit.attachments if digest not in self._contents]

    def of(self, submit: Submit) -> dict[str, Buffer]:
        """Those of a query, by their digests."""
        for digest in submit.attachments:
            self._contents.move_to_end(digest)
        return {digest: self._contents[digest] for digest in submit.attachments}

    def give(self, worker: Worker, submit: Submit, now: float) -> None:
        """Send a worker those of a query that it does not have."""
        for digest, content in self.of(submit).items():
            if digest not in worker.attachments:
                worker.attachments.add(digest)
                self._send(worker.identity, messages.Attachment(digest), [content], now=now)

    def trim(self, running: Iterable[Submit], workers: Iterable[Worker], now: float) -> None:
        """Forget those that were last used before others, and that none of the `running` queries has; workers do, too."""
        used = {digest for submit in running for digest in submit.attachments}
        unused = [digest for digest in self._contents if digest not in used]
        size = sum(len(self._contents[digest]) for digest in unused)
        for digest in unused:
            if size <= MOST_UNUSED:
                return
            size -= len(self._contents.pop(digest))
            for worker in workers:
                if digest in worker.attachments:
                    worker.attachments.discard(digest)
                    self._send(worker.identity, messages.Detach(digest), now=now)
