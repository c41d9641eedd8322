"""`eventmill users` and `eventmill token`: who may use a master, and which workers may come."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.table import Table

from ..protocol.messages import TokenInfo
from ..protocol.tokens import VARIABLE, write_token
from ..session.connect import connect
from ..system.quantities import parse_seconds
from .options import of_master, parsed_by

_as_json = click.option("--json", "as_json", is_flag=True, help="A JSON object a line, for programs.")


@click.group()
def users() -> None:
    """Let users in with keys of their own.

    A master that one person uses needs none. With users, queries are whose key asked for them: others see that they are
    there and how far they are, and neither their results nor their logs, unless they are shared.

    \b
    eventmill users add alice         writes alice.json, to be given to her (and kept by nobody else)
    eventmill.connect("alice.json")   is what she does with it
    """


@users.command()
@click.argument("name")
@of_master
@click.option(
    "--group", "groups", multiple=True, help="To which she belongs; may be repeated. Workers may serve a group."
)
@click.option("--operator", is_flag=True, help="May stop all queries and send all workers away.")
@click.option(
    "--file", type=click.Path(path_type=Path, dir_okay=False), help="Where her file goes.  [default: NAME.json]"
)
def add(name: str, target: str, groups: tuple[str, ...], operator: bool, file: Path | None) -> None:
    """Let user NAME in, with a key of her own.

    Her connection file is written here: bring it to her in private, and keep no copy.
    """
    _write_user(target, name, groups, operator, file, new=True)


@users.command()
@click.argument("name")
@of_master
@click.option(
    "--file", type=click.Path(path_type=Path, dir_okay=False), help="Where her file goes.  [default: NAME.json]"
)
def rotate(name: str, target: str, file: Path | None) -> None:
    """Give user NAME another key; who has the earlier one is let in no more."""
    _write_user(target, name, (), False, file, new=False)


def _write_user(target: str, name: str, groups: Sequence[str], operator: bool, file: Path | None, new: bool) -> None:
    with connect(target) as session:
        known = {user.name: user for user in session.access.users()}
        if new == (name in known):
            words = f"there is a user {name} already: `eventmill users rotate {name}` gives her another key"
            raise click.UsageError(words if new else f"this master has no user {name}")
        if not new:
            groups, operator = known[name].groups, known[name].operator
        file = file or Path(f"{name}.json")
        if new and file.exists():
            raise click.UsageError(f"{file} is there already: name another --file")
        session.access.add_user(name, file, groups=groups, operator=operator)
    click.echo(f"{name} connects with {file}: eventmill.connect({str(file)!r})")


@users.command("list")
@of_master
@_as_json
def list_users(target: str, as_json: bool) -> None:
    """List the users of a master."""
    with connect(target) as session:
        found = session.access.users()
    if as_json:
        for user in found:
            click.echo(json.dumps({"name": user.name, "groups": user.groups, "operator": user.operator}))
        return
    table = Table("user", "groups", "", box=None)
    for user in found:
        table.add_row(user.name, ", ".join(user.groups), "operator" if user.operator else "")
    Console().print(table if found else "no users: this master is its owner's alone")


@users.command()
@click.argument("name")
@of_master
def remove(name: str, target: str) -> None:
    """Let user NAME in no more.

    Her queries stop and keep what is done; her sessions and workers are sent away.
    """
    with connect(target) as session:
        session.access.remove_user(name)
    click.echo(f"user {name} is let in no more")


@click.group()
def token() -> None:
    """Let workers enrol with a master.

    A token is one line of text. A worker starts with it, makes a key of its own and comes back with that; the token is
    good for so many workers, for so long.

    \b
    eventmill token create --uses 100 --valid 12h --file token.txt
    eventmill worker token.txt                      on the machines of the workers
    """


@token.command()
@of_master
@click.option("--name", default="", help="By which it is listed and revoked.  [default: token-N]")
@click.option(
    "--owner", default="", help="Whose queries its workers serve: a user's, a \"@group\"'s.  [default: everybody's]"
)
@click.option("--pool", default="", help="The pool whose workers it is for.  [default: any]")
@click.option(
    "--slots", type=click.IntRange(1, 4096), default=4096, show_default=True, help="Slots of a worker at most."
)
@click.option(
    "--uses", type=click.IntRange(1, 10**6), default=1, show_default=True, help="Workers that may come with it."
)
@click.option(
    "--valid", callback=parsed_by(parse_seconds), default="12h", show_default=True, metavar="TIME",
    help="How long it is good, and so its workers.",
)  # fmt: skip
@click.option(
    "--file", type=click.Path(path_type=Path, dir_okay=False), help="Write it there (mode 0600), and do not show it."
)
def create(
    target: str, name: str, owner: str, pool: str, slots: int, uses: int, valid: float, file: Path | None
) -> None:
    """Make a token and show it, once.

    It is a secret. Workers read it from a file of mode 0600 or from the environment variable EVENTMILL_TOKEN, never from
    their command line.
    """
    with connect(target) as session:
        known = {info.terms.name for info in session.access.tokens()}
        name = name or next(name for number in range(1, len(known) + 2) if (name := f"token-{number}") not in known)
        text = session.access.make_token(name, owner=owner, pool=pool, uses=uses, slots=slots, valid=valid)
    if file is not None:
        write_token(file, text)
        click.echo(f"token {name!r} is in {file}: eventmill worker {file}")
    else:
        click.echo(text)
        click.echo(f"token {name!r}; keep it in a file of mode 0600, or in {VARIABLE}", err=True)
    sys.stdout.flush()


@token.command("list")
@of_master
@_as_json
def list_tokens(target: str, as_json: bool) -> None:
    """List the tokens of a master, without what is secret in them."""
    with connect(target) as session:
        found = session.access.tokens()
    if as_json:
        for info in found:
            line = msgspec.structs.asdict(info.terms) | msgspec.structs.asdict(info)
            del line["terms"]
            click.echo(json.dumps(line))
        return
    table = Table("token", "owner", "pool", "used", "workers", "left", box=None)
    for info in found:
        terms = info.terms
        table.add_row(
            terms.name, terms.owner or "everybody", terms.pool or "any", f"{info.used} of {terms.uses}",
            str(info.workers), _left(info),
        )  # fmt: skip
    Console().print(table if found else "no tokens")


def _left(info: TokenInfo) -> str:
    """How long a token is good still."""
    if info.revoked:
        return "revoked"
    return f"{info.left / 3600:.1f} h" if info.left else "over"


@token.command()
@click.argument("name")
@of_master
def revoke(name: str, target: str) -> None:
    """Let nobody enrol with token NAME any more, and send its workers away."""
    with connect(target) as session:
        session.access.revoke_token(name)
    click.echo(f"token {name!r} is good no more")
