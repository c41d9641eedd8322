"""What a slot has to do: the queries that it has been told of, the leases that wait, and the one at work.

Messages change it, which the slot looks at between chunks.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator

import msgspec

from ...protocol import messages
from ...protocol.codec import Buffer
from ...protocol.messages import Message
from ...reading.reader_cache import ReaderCache
from .agent_link import AgentLink
from .packets import Compaction, Packet, Todo, is_of
from .query_state import Running

log = logging.getLogger(__name__)


class WorkQueue:
    """The work of one slot.

    Args:
        link: to the agent.
        readers: told of the layouts that come with leases.

    Attributes:
        queries: by their numbers, until they are released.
        todo: what waits, in the order in which it came.
        at_work: the packet in hand.
    """

    def __init__(self, link: AgentLink, readers: ReaderCache) -> None:
        self._link = link
        self._readers = readers
        self.queries: dict[str, Running] = {}
        self.todo: deque[Todo] = deque()
        self.at_work: Packet | None = None

    def next(self) -> Todo | None:
        """What is to be done now: waits for it. None when what was to do has been taken back meanwhile."""
        self.listen(wait=not self.todo)
        return self.todo.popleft() if self.todo else None

    def leases(self) -> Iterator[messages.Lease]:
        """The leases that wait, of files."""
        return (it for it in self.todo if isinstance(it, messages.Lease) and it.file.kind == "tree")

    def listen(self, wait: bool = False) -> None:
        """Take in all messages that are there; with `wait`, at least one."""
        for message, frames in self._link.heard(wait):
            self._take(message, frames)

    def _take(self, message: Message, frames: list[Buffer]) -> None:
        match message:
            case messages.Lease():
                for layout in frames:
                    self._readers.offer(message.file.path, message.file.tree, bytes(layout))
                self.todo.append(message)
            case messages.Setup():
                self.queries[message.query] = Running(message, *frames)
            case messages.Credentials():
                if message.query in self.queries:
                    self.queries[message.query].renew(*frames)
            case messages.Truncate():
                self._truncate(message)
            case messages.Revoke():
                self._revoke(message)
            case messages.Release():
                self._release(message)
            case messages.Columns():
                self.queries[message.query].schema_check.correct(message.types)
            case messages.Compact():
                self.todo.append(Compaction(message.query, frames))
            case _:
                log.warning("the agent said %s, which is not for a slot", type(message).__name__)

    def _truncate(self, message: messages.Truncate) -> None:
        """Give up the end of a lease: at once for one that waits, from the next chunk on for the one at work."""
        if self.at_work is not None and self.at_work.is_of(message):
            stop = self.at_work.truncate(message.stop)
            self._link.send(messages.Truncated(message.query, message.lease, stop))
            return
        for position, lease in enumerate(self.todo):
            if is_of(lease, message):
                stop = max(lease.start, min(lease.stop, message.stop))
                if stop > lease.start:
                    self.todo[position] = msgspec.structs.replace(lease, stop=stop)
                else:
                    del self.todo[position]
                self._link.send(messages.Truncated(message.query, message.lease, stop))
                return

    def _revoke(self, message: messages.Revoke) -> None:
        """Drop a lease whose entries another slot has committed."""
        if self.at_work is not None and self.at_work.is_of(message):
            self.at_work.revoked = True
        self.todo = deque(thing for thing in self.todo if not is_of(thing, message))
        self._link.send(message)

    def _release(self, message: messages.Release) -> None:
        """Drop all there is of a query; the packet at work is dropped after its chunk."""
        running = self.queries.pop(message.query, None)
        if running is not None and message.aborted:
            running.drop_rows()
        self.todo = deque(
            thing
            for thing in self.todo
            if thing.query != message.query or (message.merging and isinstance(thing, Compaction))
        )
        self._link.send(message)
