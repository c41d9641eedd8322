"""A query in a slot: the user's code, and what has been accumulated for it."""

from __future__ import annotations

import functools
import logging
import time
from pathlib import Path

from ...analysis.once import loading_failed
from ...dataset.masks import Mask
from ...dataset.shared_inputs import SharedInputs
from ...merge import Partial, Total
from ...protocol import messages
from ...protocol.codec import Buffer
from ...protocol.errors import DatasetError, EventmillError, OutputError
from ...protocol.messages import File, Part
from ...reading.prefetched_range import Names, Touched
from ...reading.schema_check import SchemaCheck
from ...reading.source import Source
from ...reading.storage.credentials import CredentialSet, credential_set_of, turn_to
from ...reading.view import Views
from ...writing.slot_rows import SlotRows
from .chunks import LARGEST_CHUNK, UNMEASURED, ChunkSizes
from .tasks import Task, source_without_file

log = logging.getLogger(__name__)


class Running:
    """A query in this slot: the user's code, and what has been accumulated for it and not handed over.

    Attributes:
        number: the query's.
        passes_over: it has passed over an error: results of chunks are put aside one by one.
        told: the agent has been told of the first error passed over.
        touched: what a columnar function is expected to read.
        pause: seconds that what is handed over has to be apart, for what that takes.
        rows: what becomes of its rows that are written to files; `held` bytes of them are in no file yet.
        grown: bytes of these rows, and of awkward arrays, which are longer the more is accumulated.
        credentials: what came with the query to be shown to file servers; empty where nothing did.
    """

    def __init__(self, setup: messages.Setup, blob: Buffer, shared_inputs: Buffer = b"") -> None:
        self.setup = setup
        self.number = setup.query
        self.blob = blob
        self.shared_inputs = shared_inputs
        self.credentials: Buffer = b""
        self.task: Task | None = None
        self._source: Source | None = None
        self.began = time.monotonic()
        self.prepared = False
        most = UNMEASURED if setup.kind == "processor" else LARGEST_CHUNK  # of others it is known before the first call
        self.chunks = ChunkSizes(bounds=setup.chunk, most=most)
        self.schema_check = SchemaCheck()
        self.total = Total()
        self.parts: list[Part] = []
        self.since = 0.0
        self.handed_over = False
        self.pause = 0.0
        self.passes_over = False
        self.told = False
        self.touched = Touched()
        self.rows = SlotRows(setup.token, setup.folder)
        self.held = self.grown = 0

    def made(self, file: File, cache: Path) -> Source:
        """What makes the cycles of a dataset, or has its items: one for all packets. Compiled code goes into `cache`."""
        if self._source is None:
            self._source = source = source_without_file(file, self.shared_inputs, cache)
            self.chunks = ChunkSizes(source.first_chunk, self.setup.chunk)
        return self._source

    def add(self, part: Part, partial: Partial, began: float) -> None:
        """The result of a packet that began then (`time.monotonic()`), to be handed over."""
        self.total.add(partial)
        self.held += self.rows.size(partial)
        self.grown += self.rows.grown(partial)
        if not self.parts:
            self.since = began
        self.parts.append(part)

    def taken(self) -> tuple[list[Part], Total]:
        """What has been accumulated, which is the caller's to hand over from now on."""
        parts, total = self.parts, self.total
        self.parts, self.total, self.handed_over = [], Total(), True
        self.held = self.grown = 0
        return parts, total

    def drop_rows(self) -> None:
        """The query was aborted: remove what was written for it."""
        turn_to(self.credential_set)
        try:
            self.rows.drop()
        except OutputError as error:
            log.warning("query %s: %s", self.number, error)

    def names(self, source: Source) -> Names:
        """The columns that a chunk reads of this source, as far as they are known."""
        if self.task is None or self.task.reads_by_itself or source.file is None:
            return Names()
        if self.task.branches is not None:
            return Names(tuple(self.task.branches))
        return self.touched.names.among(source.file.names)

    def may_skip(self, lease: messages.Lease, error: BaseException) -> bool:
        """Whether an error in a chunk is skipped here and now: not what concerns the analysis as a whole, as when it does
        not compile, and not data that others are still to try to read.
        """
        if self.setup.on_error != "skip" or loading_failed(error):
            return False
        if isinstance(error, DatasetError):
            if error.denied:  # the master knows whether there will be other credentials
                return False
            return lease.last_try or not (error.transient or lease.other_replicas)
        return not isinstance(error, EventmillError)

    def renew(self, credentials: Buffer) -> None:
        """Show these to file servers from now on, for files that are open already, too."""
        earlier, self.credentials = self.credential_set, credentials
        if earlier is not None and self.credential_set is not None:
            self.credential_set.take_over(earlier)

    @property
    def credential_set(self) -> CredentialSet | None:
        """What to show to file servers; None: what this process finds in its environment."""
        return credential_set_of(self.credentials) if self.credentials else None

    @functools.cached_property
    def of_files(self) -> SharedInputs:
        """What is to be known of the query's files: for queries over files."""
        return SharedInputs.unpack(self.shared_inputs) if self.shared_inputs else SharedInputs()

    @functools.cached_property
    def mask(self) -> Mask | None:
        """What of the query's files is used, if not all: for queries over files."""
        return Mask.unpack(self.of_files.mask) if self.of_files.mask else None

    @functools.cached_property
    def views(self) -> Views:
        """The query's files as the analysis sees them; a coffea processor reads them by itself."""
        return Views(self.of_files, plain=self.setup.kind == "processor")
