"""A session: the user's line to a master. `session.connect` has `connect`, which makes it."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from ..analysis.analysis import pack
from ..analysis.by_tree import ByTree
from ..analysis.modules import Named, listed
from ..analysis.sent_files import Name
from ..analysis.wrapper import WithSchema
from ..dataset.dataset import Dataset
from ..dataset.generated import MOST_SEED, check_analysis
from ..launch.local import Embedded
from ..launch.own import OwnLauncher
from ..packetizer.call_costs import chunk_of
from ..protocol import messages
from ..protocol.addresses import has_secret
from ..protocol.codec import Buffer
from ..protocol.connection import find_connection, find_file
from ..protocol.credentials import Credentials
from ..protocol.errors import ConnectionFailed, DatasetError
from ..protocol.file_blocks import encode_files
from ..protocol.messages import File
from ..protocol.skipping import Skip
from ..reading.aux_files import noting
from ..reading.storage.list_files import list_files
from ..reading.storage.redirector import located
from .access import SessionAccess
from .bookkeeping import Bookkeeping
from .connect import PATIENCE
from .delegation import Delegation
from .link import Link
from .output_files import Outputs, as_dataset
from .owner import clipped, owner, working_folder
from .pools import Scaling
from .query import Query
from .quick_looks import QuickLooks
from .renewer import Renewer
from .steering import Steering
from .submission import Submission
from .watch import Watch

if TYPE_CHECKING:
    from ..status.dashboard import Dashboard

LONGEST_TIMEOUT = 1e9
"""Seconds, some thirty years: the most that a message can say."""
Data = Dataset | Outputs | str | os.PathLike[str] | list[str] | dict[str, Any]


class Session(Steering, QuickLooks, Bookkeeping, Scaling):
    """A connection to a master; `connect` makes it. Usable as a context manager, and by several threads.

    Example:
        >>> def missing_energy(events):
        ...     return {"met": Hist.new.Reg(50, 0, 200).Double().fill(events.MET_pt)}
        >>> query = session.process("events.root", missing_energy)
        >>> query.result().account.processed
        10000
    """

    def __init__(
        self,
        master: Embedded | str,
        timeout: float,
        patience: float = PATIENCE,
        credentials: Credentials | None = None,
        modules: Iterable[Named] = (),
    ) -> None:
        self._embedded = master if isinstance(master, Embedded) else None
        file = None if isinstance(master, Embedded) else find_file(master)
        connection = master.connection if isinstance(master, Embedded) else find_connection(master)
        try:
            self._modules = listed(modules)
            watch = Watch(connection, timeout, partial(_check_processes, self._embedded), file, patience)
        except BaseException:
            if self._embedded is not None:
                self._embedded.close()
            raise
        if credentials is not None:
            watch.delegation = Delegation(credentials)
            watch.renewer.wake()
        Steering.__init__(self, watch)
        used = master.keys.client if isinstance(master, Embedded) else find_file(master)
        is_private = isinstance(master, Embedded) and master.is_private
        Scaling.__init__(self, watch, used, isinstance(master, Embedded), is_private)
        self._link = watch.link
        self._dashboards: list[Dashboard] = []
        self._end = weakref.finalize(
            self, _end, self._link, watch.renewer, self._embedded, self._dashboards, self._launchers
        )

    def process(
        self,
        dataset: Data,
        analysis: Callable[..., Any] | Any,
        *,
        name: str | None = None,
        on_error: Literal["fail", "skip"] | Skip = "fail",
        priority: int = 0,
        most_readers: int | None = None,
        timeout: float | None = 600.0,
        credentials: Credentials | None = None,
        modules: Iterable[Named] = (),
        files: Name | Iterable[Name] = (),
        locate: bool = False,
        seed: int = 0,
        chunk: int | tuple[int, int] | None = None,
        share: Literal["all"] | Iterable[str] = (),
        schema: type | None = None,
    ) -> Query:
        """Start an analysis over a dataset; returns at once.

        Args:
            dataset: a `Dataset`, `em.cycles` or `em.items`; or what makes a dataset: a path, glob, list, or dict of lists.
            analysis: a kernel (`em.kernel`), a function of an array of events (of some cycles, of one item), or a coffea
                processor; or a dict of these by the trees that they are of, `{"Events": selection, "Runs": sums}`: the
                result is a dict by tree, and the account counts the entries of all.
            name: what the query is called in displays; the analysis' name by default.
            on_error: "fail" ends the query at the first error; "skip" goes on and lists what is lost in the account;
                `em.Skip(entries=0.01, files=10)` does so until more is lost than that.
            priority: of your own queries, those of higher priority are served first (-1000 to 1000).
            most_readers: slots that may read from one file server at a time; any number by default.
            timeout: seconds that a slot may be at work on the same few events before it is taken to be in an endless loop,
                and ended; None: for ever.
            credentials: what workers show to file servers; by default the session's.
            modules: of your own, to travel with the analysis: import names, paths of files or of packages' folders, or
                modules; packages with all data in their folders. Those beside your script that the analysis refers to, and
                those that they import, go along by themselves. Files are read now: what is edited later counts for later
                queries.
            files: data files that the analysis opens by `em.file(name)`, folders with all that is in them, or patterns. They
                are read now, sent to the master and to each worker once as long as they are the same, and have up to 2 GB.
            locate: ask XRootD redirectors which data servers have the files: workers read from their own host then if it
                is one of them, and from the servers with the fewest readers.
            seed: of random numbers that the analysis draws from numpy's, Python's or torch's own generators, or from one
                that it brings along (0 to 2**62); see the guide for what is the same when it runs again.
            chunk: entries that one call of the analysis gets: a number, or the least and the most; by default as many as it
                takes for what a call costs anyway not to count (that of the dataset, if it has one). The rest of a file is
                smaller, and so are chunks where memory is short.
            share: users of the master who may see the result and the logs, too, or "all" of them; by default nobody.
            schema: of coffea's: the function gets NanoEvents of it, and a processor's own schema does not count.

        Raises:
            DatasetError: there are no such files; with "skip", what is named without a pattern need not be there.
            AnalysisError: the analysis cannot travel to a worker, or is not for what the dataset is made of.
            ConnectionFailed: the master is out of reach, or got out of reach meanwhile.
            QueryFailed: the master refuses it, or another thread has changed a large array of the analysis meanwhile.
            ValueError: a number is not within its bounds.

        Example:
            >>> session.process("events.root", lambda events: {"n": len(events)}, on_error="skip").result()["n"]
            10000
        """
        dataset = self.datasets.resolve(as_dataset(dataset))
        if isinstance(analysis, Mapping):
            by_tree = ByTree(analysis)
            dataset, analysis = dataset.of_trees(by_tree.trees), by_tree
        _check_options(priority, most_readers, on_error, timeout, seed)
        bounds = dataset.chunk if chunk is None else chunk_of(chunk, ValueError)
        if schema is not None:
            analysis = WithSchema(analysis, schema)
        with noting() as inputs:
            packed = pack(analysis, [*self._modules, *listed(modules)], dataset.shared_inputs, files)
        check_analysis(dataset, packed.kind, packed.name, packed.branches)
        # A file that is not there is an error of the data like any other: with "skip" its slot lists it as lost.
        expanded = dataset.expanded(partial(list_files, keep_missing=on_error != "fail"))
        listing = _encode_files(located(expanded.files) if locate else expanded.files)
        shown = clipped(name or packed.name)
        delegation = self._watch.delegated(credentials)
        secrets = [] if delegation is None else [delegation.ready().pack()]
        content = [packed.blob, listing, *expanded.shared_inputs]
        submission = Submission.new(
            messages.Submit(
                0,
                name=shown,
                kind=packed.kind,
                digest=packed.digest,
                owner=owner(),
                branches=None if packed.branches is None else list(packed.branches),
                on_error="fail" if on_error == "fail" else "skip",
                tolerance=on_error if isinstance(on_error, Skip) else None,
                limit=expanded.max_entries,
                limits=dict(expanded.limits),
                priority=priority,
                most_readers=most_readers,
                timeout=LONGEST_TIMEOUT if timeout is None else timeout,
                credentials=delegation is not None,
                chunk=bounds,
                seed=seed,
                share=[share] if isinstance(share, str) else list(share),
                folder=working_folder(),
                inputs=[f"{url} (sha256 {checksum})" for url, checksum in inputs.items()],
                unwritten=has_secret(listing) or any(map(has_secret, inputs)),
            ),
            [*content, *secrets],
            packed.attachments,
        )
        return self._watch.submit(submission, delegation, partial(Query, self))

    @property
    def access(self) -> SessionAccess:
        """The users and tokens of the master: who may use it, and which workers may come."""
        return SessionAccess(self._watch)

    def attach(self, query: str) -> Query:
        """Watch a query that was started earlier, by this session or another; any number of sessions may watch it.

        If its credentials are missing, or nobody is there to renew them, it gets this session's, if that has some.

        Args:
            query: its number, or its name if no other query has it.

        Raises:
            QueryFailed: the master knows no such query, or several of this name; the text lists what there is.

        Example:
            >>> session.attach(query.id).result()["met"].sum()
            10000.0
        """
        info = self.queries().named(clipped(query))
        attach = partial(messages.Attach, query=info.query)
        attached = self._watch.begin(attach, partial(Query, self, name=info.name))
        if info.credentials is not None and (info.credentials.missing or info.credentials.away):
            self._watch.look_after(attached)
        return attached

    def _remove_what_is_left(self, info: messages.QueryInfo) -> None:
        """Rows that a query which has failed had written, and that are in no files."""
        if info.state == "failed" and info.account.processed:
            from .leftovers import remove_pieces

            remove_pieces(self, info)

    def renew(self, credentials: Credentials, queries: Iterable[str] = ()) -> Credentials:
        """Show other credentials to file servers from now on: for the queries that this session watches, and new ones.

        A running query reads the files that it opens from then on with them. A master that was started again has none:
        a session that is there all the time brings them by itself, one that attaches later does it with this.

        Args:
            credentials: from now on; how they are renewed, too.
            queries: numbers of others of yours, which this session does not watch: they get these once, now.

        Returns:
            These, or those that were made in their place, since they are renewed by a command.

        Raises:
            EventmillError: they are over.
            QueryFailed: a query does not run, or is somebody else's.

        Example:
            >>> session.renew(em.Credentials(token="not.a.token"))
            <Credentials: a token>
        """
        delegation = Delegation(credentials)
        packed = delegation.ready().pack()
        self._watch.renew(delegation)
        for query in queries:
            bring = partial(messages.Credentials, query, delegation.info())
            self._watch.request(bring, messages.Done, [packed])
        return delegation.current

    @property
    def dashboard(self) -> Dashboard:
        """The status page of the master, in a browser: what goes on, histograms as they grow, logs, buttons to stop.

        It is started by the first look at this, on this machine only, and ends with the session. In a notebook it is shown
        as a link.

        Raises:
            ConnectionFailed: the session is closed.

        Example:
            >>> session.dashboard.url.startswith("http://127.0.0.1:")
            True
        """
        from ..status.dashboard import Dashboard

        self._link.check_not_forked()
        if self._link.closed:
            raise ConnectionFailed("this session is closed; connect() makes a new one")
        if not self._dashboards:
            self._dashboards.append(Dashboard(self))
        return self._dashboards[0]

    def close(self) -> None:
        """Leave. A master of this session's own ends; queries on a standing master go on and can be attached to."""
        self._end()

    @property
    def address(self) -> str:
        """Where the master is."""
        return self._link.connection.address

    @property
    def starts_workers(self) -> bool:
        """Whether it has a worker of its own, which starts by itself and leaves with it."""
        return self._embedded is not None and self._embedded.has_worker

    @property
    def log(self) -> Path | None:
        """The log file of a master and worker of this session's own. What analyses print is in `logs`, and here as well."""
        return self._embedded.log if self._embedded is not None else None

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        where = "an embedded master" if self._embedded is not None else f"the master at {self.address}"
        state = _state_of(self._link, self._embedded)
        return f"<Session of {where}{f', {state}' if state else ''}>"

    # --- inside ---------------------------------------------------------------------------------------------------

    def _check(self) -> None:
        """Raise when the master is known to be gone: a wait for it would never end."""
        self._watch.check()

    def _check_not_forked(self) -> None:
        """Raise `EventmillError` in a fork of the session's process: nobody hears the master there."""
        self._link.check_not_forked()


def _check_options(priority: int, most_readers: int | None, on_error: object, timeout: float | None, seed: int) -> None:
    """Raise `ValueError` for an option of `Session.process` that is not within its bounds."""
    if not isinstance(priority, int) or not -1000 <= priority <= 1000:
        raise ValueError(f"priority={priority!r}: it must be a whole number from -1000 to 1000")
    if most_readers is not None and (not isinstance(most_readers, int) or most_readers < 1):
        raise ValueError(f"most_readers={most_readers!r}: it must be a whole number from 1 on")
    if not (isinstance(on_error, Skip) or on_error in ("fail", "skip")):
        raise ValueError(f"on_error={on_error!r}: it must be 'fail', 'skip', or as em.Skip(entries=0.01, files=10)")
    if timeout is not None and not 0 < timeout <= LONGEST_TIMEOUT:
        raise ValueError(f"timeout={timeout}: it must be more than 0 and at most {LONGEST_TIMEOUT:g} s, or None")
    if not isinstance(seed, int) or not 0 <= seed <= MOST_SEED:
        raise ValueError(f"seed={seed!r}: it must be a whole number from 0 to 2**62")


def _check_processes(embedded: Embedded | None) -> None:
    """Raise `ConnectionFailed` when a process of a session's own has ended."""
    if embedded is not None and not embedded.closed:
        embedded.check()


def _state_of(link: Link, embedded: Embedded | None) -> str:
    """What keeps a session from being used; nothing if it can be."""
    if link.forked:
        return "of another process"
    if link.closed:
        return "closed"
    ended = embedded.ended() if embedded is not None else ""
    return f"its {ended} process has ended" if ended else ""


def _end(
    link: Link,
    renewer: Renewer,
    embedded: Embedded | None,
    dashboards: list[Dashboard],
    launchers: dict[str, OwnLauncher],
) -> None:
    """End what a session holds. It must not refer to the session: it is called when that is gone."""
    renewer.close()
    for dashboard in dashboards:
        dashboard.close()
    for launcher in launchers.values():
        launcher.close()
    link.close()
    if embedded is not None:
        embedded.close()


def _encode_files(files: Sequence[File]) -> Buffer:
    """The files as they travel.

    Raises:
        DatasetError: one of them cannot; the text says which, and why.
    """
    try:
        return encode_files(files)
    except (msgspec.ValidationError, UnicodeEncodeError, OverflowError) as error:
        if len(files) > 1:
            for file in files:
                _encode_files([file])
        name = clipped(files[0].path)
        raise DatasetError(f"the file {name!r} cannot be named to the master: {error}") from None
