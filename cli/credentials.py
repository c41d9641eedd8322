"""`eventmill credentials`: until when those of running queries are good, and others for them, from any shell."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..display.credentials import brief, ending
from ..protocol.credentials import Credentials, span
from ..protocol.errors import EventmillError
from ..protocol.messages import FINAL, QueryInfo
from ..session.connect import connect
from .options import of_master

_file = click.Path(path_type=Path, dir_okay=False)


@click.group()
def credentials() -> None:
    """Show and renew what running queries show to file servers.

    A session renews the credentials of its queries while it is there. For queries that go on without one, do it from any
    shell, by a cron job for example:

    \b
    eventmill credentials show                         until when they are good
    eventmill credentials renew                        with what this shell has (BEARER_TOKEN_FILE, X509_USER_PROXY, ...)
    eventmill credentials renew --refresh "htgettoken -i cms --minsecs 900"
    """


@credentials.command()
@of_master
def show(target: str) -> None:
    """Show until when the credentials of running queries are good, and what this shell has."""
    with connect(target) as session:
        found = _running(session.queries())
    table = Table("query", "name", "credentials", "", box=None)
    for info in found:
        table.add_row(info.query, Text(info.name), brief(info.credentials), Text(ending(info.credentials)))
    Console(soft_wrap=True).print(table if found else "no running query of yours has credentials")
    try:
        click.echo(f"here: {Credentials.from_environment()}")
    except EventmillError as error:
        click.echo(f"here: {error}")


@credentials.command()
@of_master
@click.option("--query", "queries", multiple=True, metavar="ID", help="Only of this query; may be repeated.")
@click.option("--token-file", type=_file, help="A file with a bearer token.")
@click.option("--proxy", type=_file, help="A file with an X.509 proxy and its key.")
@click.option("--sss", type=_file, help="A keytab of XRootD's simple shared secrets.")
@click.option(
    "--refresh", metavar="COMMAND", help="Makes new ones first: it renews the files, or prints a token or proxy."
)
def renew(
    target: str,
    queries: Sequence[str],
    token_file: Path | None,
    proxy: Path | None,
    sss: Path | None,
    refresh: str | None,
) -> None:
    """Give running queries of yours other credentials: by default what this shell has."""
    if token_file or proxy or sss:
        mine = Credentials(token_file=token_file, proxy=proxy, sss=sss, refresh=refresh)
    else:
        mine = Credentials.from_environment(refresh=refresh)
    with connect(target) as session:
        numbers = list(queries) or [info.query for info in _running(session.queries())]
        if not numbers:
            click.echo("no running query of yours has credentials")
            return
        brought = session.renew(mine, numbers)
    left = brought.left(time.time())
    until = "" if left is None else f", good for {span(left)}"
    click.echo(f"{', '.join(numbers)}: {'has' if len(numbers) == 1 else 'have'} others now{until}")


def _running(found: Sequence[QueryInfo]) -> list[QueryInfo]:
    """The queries that have credentials, of those that one may read."""
    return [info for info in found if info.credentials is not None and info.state not in FINAL]
