"""The command line: `eventmill --help` teaches it."""

from __future__ import annotations

import contextlib
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

from ..display.listings import STATES
from ..protocol.connection import (
    DEFAULT_PORT,
    KeyFolder,
    load_connection,
    make_keys,
    named,
)
from ..protocol.errors import EventmillError
from ..protocol.messages import FINAL, State
from ..protocol.version import shown_version
from ..system.lifeline import Owner
from .logs import expression, show
from .options import begin_log, of_master, watched

if TYPE_CHECKING:
    from ..session.session import Session


_ELSEWHERE = {
    **{
        name: name for name in ("context", "credentials", "datasets", "facility", "pool", "relay", "simulate", "worker")
    },
    "token": "access",
    "users": "access",
}
"""In which modules other commands are. A worker or master does not import what lists of datasets are read with."""


class _Group(click.Group):
    """A group that shows our errors as one line, without a traceback, and imports the command that it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), *_ELSEWHERE])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _ELSEWHERE:
            return super().get_command(ctx, cmd_name)
        command: click.Command = getattr(import_module(f".{_ELSEWHERE[cmd_name]}", __package__), cmd_name)
        return command

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except EventmillError as error:
            raise click.ClickException(str(error)) from None


def _writable(_context: click.Context, _parameter: click.Parameter, path: Path) -> Path:
    """Refuse a file that cannot be written before anything else is done."""
    folder = path.absolute().parent
    if not folder.is_dir():
        raise click.BadParameter(f"there is no folder {folder}")
    if path.is_dir() or not os.access(path if path.exists() else folder, os.W_OK):
        raise click.BadParameter(f"{path} cannot be written")
    return path


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(shown_version(), prog_name="eventmill")
def main() -> None:
    """Interactive parallel analysis of ROOT data: a master splits datasets into packets, workers pull them.

    \b
    Try it on this machine:  eventmill demo
    A standing master:       eventmill master  (says how to reach it)
    Workers for it:          eventmill worker  (in other terminals or machines)
    From Python:             session = eventmill.connect("default")
    """


@main.command()
@click.argument("name", default="default")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    help=f"The one TCP port for sessions and workers; 0: a free one.  [default: as before, or {DEFAULT_PORT}]",
)
@click.option(
    "--host", default="", help="Name or address under which others reach this machine.  [default: its host name]"
)
@click.option("--interface", default="*", show_default=True, help="Address of the network interface to listen at.")
@click.option("--keys", "folder", type=click.Path(path_type=Path), help="Folder with its keys.  [default: by NAME]")
@click.option(
    "--journal",
    "file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where queries are written down, so that they outlive the master.  [default: journal.sqlite beside its keys]",
)
@click.option("--no-journal", is_flag=True, help="Write nothing down: queries and results end with the master.")
@click.option(
    "--keep-days", type=click.FloatRange(0.0), default=30.0, show_default=True, help="Age of results to keep."
)
@click.option(
    "--keep-size",
    type=click.FloatRange(0.0),
    default=10.0,
    show_default=True,
    help="Results to keep, in GB; the oldest go first.",
)
@click.option(
    "--status-port",
    type=click.IntRange(0, 65535),
    help="Have a status page, a web server at this port; 0: a free one.  [default: none]",
)
@click.option(
    "--status-interface",
    default="127.0.0.1",
    show_default=True,
    help="Address of the network interface for the page, * for all; with others than loopback, use TLS.",
)
@click.option(
    "--status-certificate",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Certificate of the page for TLS (PEM), with those between it and a root.",
)
@click.option(
    "--status-key", type=click.Path(path_type=Path, dir_okay=False, exists=True), help="Key of the certificate (PEM)."
)
@click.option(
    "--pools",
    "pools_file",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Have workers started in the pools of this file (`eventmill pool --help`).  [default: none]",
)
@click.option("-v", "--verbose", is_flag=True, help="Log refused messages and more.")
def master(
    name: str,
    port: int | None,
    host: str,
    interface: str,
    folder: Path | None,
    file: Path | None,
    no_journal: bool,
    keep_days: float,
    keep_size: float,
    status_port: int | None,
    status_interface: str,
    status_certificate: Path | None,
    status_key: Path | None,
    pools_file: Path | None,
    verbose: bool,
) -> None:
    """Run a standing master called NAME.

    Keys are made at the first start. Sessions on this machine connect by NAME; copy client.json to other machines for
    sessions and worker.json for workers, and keep both private.

    However it ends, start it again in the same way, and its queries go on where they were: workers and sessions wait for it.
    Ctrl-C, as `eventmill stop --shutdown`, ends its workers too.

    With --status-port, a browser shows what goes on. Its address has a token in it: who has it may stop queries. One for who
    may only look is in status.json beside the keys.
    """
    from ..system.garbage import look_for_garbage_seldom, nothing_is_garbage

    with nothing_is_garbage():
        from ..master.journal import Journal
        from ..master.serve import Binding, Master
    from .page import StatusPage
    from .pool_launcher import PoolLauncher

    begin_log(verbose)
    if no_journal and file is not None:
        raise click.UsageError("either --journal or --no-journal")
    if (status_certificate is None) != (status_key is None):
        raise click.UsageError("--status-certificate and --status-key go together")
    keys = KeyFolder(folder) if folder else named(name)
    if not keys.master.exists():
        make_keys(keys.path, f"tcp://localhost:{DEFAULT_PORT}")
    if port is None:
        port = urlsplit(load_connection(keys.client).address).port or DEFAULT_PORT
    page = None
    if status_port is not None:
        page = StatusPage(keys, status_port, status_interface, host, status_certificate, status_key)
    launcher = None if pools_file is None else PoolLauncher(keys, pools_file)
    journal = None
    if not no_journal:
        journal = Journal(file or keys.journal, round(keep_size * 1e9), keep_days * 86400)
    running = Master(keys, Binding(interface, port, host), journal=journal)

    def say(address: str) -> None:
        click.echo(f"master {name!r} at {address}")
        owner = Owner.this_process()
        click.echo(f"  sessions:  eventmill.connect({str(keys.client)!r})")
        if page is not None:
            page.start(owner)
            click.echo(f"  status:    {page.url}")
        if launcher is not None:
            launcher.start(owner)
            click.echo(f"  pools:     {', '.join(launcher.pools)}")
        click.echo(f"  workers:   eventmill worker {keys.worker}")
        sys.stdout.flush()

    look_for_garbage_seldom()
    try:
        running.run(on_ready=say)
    finally:
        if launcher is not None:
            launcher.close(workers_stay=running.comes_back)
        if page is not None:
            page.close()


@main.command()
@click.argument("file")
@click.option("--tree", default=None, help="The tree; behind a colon in FILE, too. By default the only one.")
def branches(file: str, tree: str | None) -> None:
    """List the branches of FILE and their types.

    With the name of each in kernels, and why some cannot be read. A tree may follow a colon: run1.root:Events.
    """
    from ..reading.branch_list import branches as listed

    click.echo(repr(listed(file, tree)))


@main.command()
@click.argument("file")
@click.option(
    "--tree", default=None, help="Look into this tree only; behind a colon in FILE, too. It may be a pattern."
)
@click.option(
    "--grep", metavar="RE", callback=expression, help="Only branches whose name, type or title it is found in."
)
def peek(file: str, tree: str | None, grep: str | None) -> None:
    """Show the trees and branches in FILE.

    With types, titles and sizes. Only its metadata are read, so it may be far away. Branches whose names begin alike are in
    one line where there are many.
    """
    from ..session.peek import peek as look

    click.echo(repr(look(file, tree, grep=grep)))


@main.command()
@click.argument("target", default="default", metavar="[NAME]")
@watched
def status(target: str, as_json: bool, watch: float | None) -> None:
    """Show the workers and queries of a master. NAME is its name, client.json or address.

    The keys of --json are in the guide ("For programs"); first comes an object of the master itself.
    """
    from . import listings

    with _connect(target) as session, contextlib.suppress(KeyboardInterrupt):
        feed = session.cluster_feed()
        listings.show(lambda: listings.status(session, feed), as_json, watch)


@main.command()
@click.argument("target", default="default", metavar="[NAME]")
@click.option("--state", multiple=True, type=click.Choice(STATES), help="Only those in this state; may be repeated.")
@click.option("--owner", help='Only those of this user; "me" is you.')
@click.option("--grep", metavar="RE", callback=expression, help="Only those with this regular expression in the name.")
@click.option("--last", type=click.IntRange(0), help="Only so many, those that began last.")
@watched
def queries(
    target: str,
    state: tuple[State, ...],
    owner: str | None,
    grep: str | None,
    last: int | None,
    as_json: bool,
    watch: float | None,
) -> None:
    """Show the queries of a master, and when they began.

    NAME is the master's name, client.json or address.
    """
    from . import listings

    with _connect(target) as session, contextlib.suppress(KeyboardInterrupt):
        feed, chosen = session.cluster_feed(), {"state": state or None, "owner": owner, "grep": grep, "last": last}
        listings.show(lambda: listings.queries(session, feed, **chosen), as_json, watch)


@main.command()
@click.argument("target", default="default", metavar="[NAME]")
@watched
def workers(target: str, as_json: bool, watch: float | None) -> None:
    """Show the workers of a master. NAME is its name, client.json or address."""
    from . import listings

    with _connect(target) as session, contextlib.suppress(KeyboardInterrupt):
        listings.show(lambda: listings.workers(session), as_json, watch)


@main.command()
@click.argument("target", default="default", metavar="[NAME]")
def top(target: str) -> None:
    """Watch a master full-screen in a terminal.

    Queries and a histogram that grows, workers and slots, file servers, what is said. Arrows and Enter choose, s stops a
    query, a aborts it, q quits. NAME is the master's name, client.json or address.
    """
    from .top import run

    run(lambda: _connect(target))


@main.command()
@click.argument("target", default="default", metavar="[NAME]")
@click.option("--query", default="", metavar="ID", help="Only of this query.")
@click.option("--worker", help="Only what workers have said whose names begin like this.")
@click.option("--grep", metavar="RE", callback=expression, help="Only lines in which this regular expression is found.")
@click.option("--tail", type=click.IntRange(0), help="Only so many lines, those that were said last.")
@click.option("--follow", "-f", is_flag=True, help="Go on with what comes, until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="A JSON object a line, for programs.")
def logs(
    target: str, query: str, worker: str | None, grep: str | None, tail: int | None, follow: bool, as_json: bool
) -> None:
    """Show what analyses and workers say.

    Prints, warnings, log records and errors, with the time, the worker and its slot. What is said again is there once, with
    a count; with --follow it is shown again when it is said again. NAME is the master's name, client.json or address.
    """
    with _connect(target) as session, contextlib.suppress(KeyboardInterrupt):
        show(session, query, worker, grep, tail, follow, as_json)


@main.command()
@click.argument("query", required=False)
@of_master
@click.option("--abort", is_flag=True, help="Drop what is merged.")
@click.option("--shutdown", is_flag=True, help="End the master itself, and its workers.")
def stop(query: str | None, target: str, abort: bool, shutdown: bool) -> None:
    """Stop QUERY and keep what is done, or end a master.

    `eventmill status` has the numbers of queries; --shutdown ends the master itself, and its workers.
    """
    if (query is None) != shutdown:
        raise click.UsageError("name a query to stop, or give --shutdown to end the master")
    with _connect(target) as session:
        if query is not None:
            click.echo(_stop(session, query, keep=not abort))
        else:
            workers = len(session.workers())
            session.shutdown()
            counted = f"{workers} worker{'' if workers == 1 else 's'}"
            click.echo(f"told the master at {session.address} and its {counted} to end")


@main.command()
@click.argument("query")
@of_master
def remove(query: str, target: str) -> None:
    """Have the master forget QUERY and its result.

    It must be over; `eventmill status` has its number.
    """
    with _connect(target) as session:
        session.remove(query)
        click.echo(f"removed query {query} and its result")


@main.command()
@click.argument("worker")
@of_master
def drain(worker: str, target: str) -> None:
    """Let WORKER leave in good order.

    It hands on what it has not done, commits and goes; `eventmill status` has its name.
    """
    with _connect(target) as session:
        session.drain(worker)
        click.echo(f"told {worker} to drain and leave")


@main.command()
@click.argument("name", default="default")
@click.option("--new", is_flag=True, help="Make new keys: peers with the old ones are refused from the next start on.")
@click.option(
    "--address", default=f"tcp://localhost:{DEFAULT_PORT}", show_default=True, help="Where the master will be."
)
def keys(name: str, new: bool, address: str) -> None:
    """Make or show the keys of the master called NAME."""
    folder = named(name)
    if new or not folder.master.exists():
        make_keys(folder.path, address)
        click.echo(f"made new keys for master {name!r}")
    click.echo(f"master at {load_connection(folder.client).address}")
    click.echo(f"  for sessions:  {folder.client}")
    click.echo(f"  for workers:   {folder.worker}")


@main.command()
@click.option("--events", default=2_000_000, show_default=True, help="Events in the sample.")
@click.option("--slots", type=click.IntRange(1, 1024), help="Worker slots.  [default: one a core]")
@click.option(
    "--folder", type=click.Path(path_type=Path), help="Where the sample is written.  [default: the user's cache]"
)
@click.option(
    "--png",
    type=click.Path(path_type=Path),
    default=Path("dimuon.png"),
    show_default=True,
    callback=_writable,
    help="Plot to save.",
)
def demo(events: int, slots: int | None, folder: Path | None, png: Path) -> None:
    """Write a sample of events and watch a dimuon spectrum fill."""
    from .demo import run

    run(events, slots, folder, png)


def _stop(session: Session, query: str, keep: bool) -> str:
    """Stop a query and say in words what that did."""
    from ..display.account_text import describe_account

    known = {info.query: info for info in session.queries()}
    session.stop(query, keep=keep)
    if known[query].state in FINAL:
        return f"query {query} was over already: {known[query].state}, {describe_account(known[query].account)}"
    if not keep:
        return f"aborted query {query} and dropped what was merged"
    stopped = {info.query: info for info in session.queries()}.get(query, known[query])
    return f"stopped query {query}, which keeps what is done; so far: {describe_account(stopped.account)}"


def _connect(target: str) -> Session:
    from ..session.connect import connect

    return connect(target)


if __name__ == "__main__":
    main()
