"""`eventmill context`: what new machines read when they boot, so that they become workers or a whole facility."""

from __future__ import annotations

import secrets
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..launch.config import load
from ..protocol.connection import DEFAULT_PORT, find_file, make_keys, named, write_private_text
from ..protocol.errors import ConnectionFailed, EventmillError
from ..system.quantities import parse_seconds
from .options import of_master, parsed_by

if TYPE_CHECKING:
    from ..launch.contexts.worker import WorkerContext

_of_context = click.option(
    "--context",
    "settings",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="File with the context's settings, as TOML.",
)
_of_pools = click.option(
    "--pools",
    "pools_file",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="The file with the pools' settings.",
)
_to_file = click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where they go (mode 0600).  [default: NAME.user-data]",
)
_shown = click.option("--show", is_flag=True, help="Print them without what is secret, and make nothing.")
_of_limit = click.option(
    "--limit",
    type=click.IntRange(1),
    default=16384,
    show_default=True,
    help="Bytes that the provider takes, before base64: 16384 of EC2 is the least of all.",
)
_packed = click.option(
    "--gzip", "compress", is_flag=True, help="Compress them if they do not fit otherwise; cloud-init unpacks them."
)
SECRET = "(secret)"  # noqa: S105 - what stands in the place of one


@click.group(invoke_without_command=True)
@click.option("--web", is_flag=True, help="Make a context by form: a page for a browser on this machine, until Ctrl-C.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Of that page.  [default: a free one]")
@click.option(
    "--pool", default="workers", show_default=True, help="What the workers are called whose context it makes."
)
@of_master
@click.option("--limit", type=click.IntRange(1), default=16384, show_default=True, help="Bytes of user-data at most.")
@click.pass_context
def context(ctx: click.Context, web: bool, port: int, pool: str, target: str, limit: int) -> None:
    """Write what a new machine reads when it boots.

    User-data for cloud-init, which all images of clouds have: a machine that is given them becomes a worker, or the head of
    a whole facility, without anybody logging in. They have a secret in them, so they are written into a file of mode 0600.

    \b
    eventmill context worker --pool night                    a worker, by a token that is good for one machine and 12 hours
    eventmill context worker --pool night --show             look at it; without the secret
    eventmill context --web --pool night                     by a form, in a browser
    eventmill context head lab --context head.toml --pools pools.toml     master, status page, cache, pools
    \b
    A context is a file, as TOML (docs/contexts.md has all settings):
        software = ["eventmill==1.2"]      # by pip; or container = "docker://...", or what python has
        cvmfs = ["cms.cern.ch"]
        cvmfs_proxy = "http://squid.site:3128;DIRECT"
        packages = ["nfs-common"]
        mounts = [["nas.site:/data", "/data", "nfs", "ro"]]
        proxy_prefix = "root://cache.site:1094//"
    """
    if web:
        _serve(port, pool, target, limit)
    elif ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def _serve(port: int, pool: str, target: str, limit: int) -> None:
    """The page; it makes user-data with tokens if the master is there."""
    from .context_form import ContextForm, serve

    def token() -> str:
        return _new_token(target, pool, "", 1, 43200.0)[1]

    try:
        find_file(target)
        made = token
    except ConnectionFailed as error:
        made = None
        click.echo(f"no user-data can be made here, but contexts: {error}", err=True)
    serve(ContextForm(pool, limit, False, made), port, click.echo)


def _new_token(target: str, pool: str, owner: str, uses: int, valid: float) -> tuple[str, str]:
    """Ask a master for a token for workers of a pool: its name, and the token."""
    from ..session.connect import connect

    with connect(target) as session:
        name = f"context-{pool}-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(2)}"
        return name, session.access.make_token(name, owner=owner, pool=pool, uses=uses, valid=valid)


@context.command()
@click.option(
    "--pool", required=True, help="What its workers are called, and whose settings are used, if --pools has it."
)
@of_master
@_of_context
@_of_pools
@click.option(
    "--owner", default="", help="Whose queries its workers serve.  [default: the pool's owner, else everybody]"
)
@click.option("--uses", type=click.IntRange(1, 10**6), default=1, show_default=True, help="Machines that it is for.")
@click.option(
    "--valid", callback=parsed_by(parse_seconds), default="12h", show_default=True, metavar="TIME",
    help="How long the token is good, and so its workers.",
)  # fmt: skip
@_of_limit
@_packed
@_to_file
@_shown
def worker(
    pool: str,
    target: str,
    settings: Path | None,
    pools_file: Path | None,
    owner: str,
    uses: int,
    valid: float,
    limit: int,
    compress: bool,
    output: Path | None,
    show: bool,
) -> None:
    """Write user-data with which a machine becomes a worker.

    Its token is made by asking the master; it lets so many machines in, for so long, and no key of the master is in the
    user-data. The machine switches itself off when its worker ends, or cannot begin; the last line on its console says why.
    """
    from ..launch.contexts.cloud_config import fitted
    from ..launch.contexts.worker import worker_user_data

    found, script, owner_of_pool = _worker(pool, settings, pools_file)
    now = time.time()

    def text(token: str) -> str:
        return worker_user_data(found, token, script, asked=now)

    if show:
        click.echo(text(SECRET), nl=False)
        return
    fitted(text("s" * 200), limit, compress)  # before there is a token for nothing
    name, token = _new_token(target, pool, owner or owner_of_pool, uses, valid)
    file = output or Path(f"{pool}.user-data")
    size = _write(file, fitted(text(token), limit, compress))
    click.echo(f"{file} ({size} bytes): user-data for {uses} machine{'s' * (uses > 1)} of pool {pool}")
    click.echo(f"it holds a secret; `eventmill token revoke {name}` makes it worthless")


@context.command()
@click.argument("name", metavar="MASTER")
@_of_context
@_of_pools
@_of_limit
@_packed
@_to_file
@_shown
def head(
    name: str,
    settings: Path | None,
    pools_file: Path | None,
    limit: int,
    compress: bool,
    output: Path | None,
    show: bool,
) -> None:
    """Write user-data with which a machine becomes the head of a facility: a master called MASTER, and what belongs to it.

    Its keys are those of the master MASTER on this machine (`eventmill keys MASTER`), and are made if there are none. So
    who has made the user-data can connect at once when the machine is there: `eventmill keys MASTER --address
    tcp://HEAD:8786` once says where it is.
    """
    from ..launch.contexts.cloud_config import fitted
    from ..launch.contexts.files import load_context, taken_along
    from ..launch.contexts.head import HeadContext, head_user_data

    found = load_context(settings, HeadContext)
    pools, files = taken_along(load(pools_file) if pools_file is not None else {})
    folder = named(name)
    if show:
        keys = dict.fromkeys((it.name for it in (folder.master, folder.client, folder.worker)), SECRET)
        hidden = dict.fromkeys(files, SECRET)
        click.echo(head_user_data(found, name, keys, pools, hidden, asked=time.time()), nl=False)
        return
    if not folder.master.exists():
        make_keys(folder.path, f"tcp://localhost:{DEFAULT_PORT}")
    keys = {it.name: it.read_text() for it in (folder.master, folder.client, folder.worker)}
    data = fitted(head_user_data(found, name, keys, pools, files, asked=time.time()), limit, compress)
    file = output or Path(f"{name}.user-data")
    click.echo(f"{file} ({_write(file, data)} bytes): user-data for the head of facility {name}")
    click.echo("it holds the keys of the master: who reads it can do everything there")


def _worker(pool: str, settings: Path | None, pools_file: Path | None) -> tuple[WorkerContext, str, str]:
    """The context of a worker, the script that becomes it, and its owner: by the pool's own settings, if it has some."""
    from ..launch.contexts.files import load_context
    from ..launch.contexts.worker import WorkerContext, lone_script, worker_script
    from ..launch.pools.pool import Assignment

    known = load(pools_file) if pools_file is not None else {}
    if pools_file is not None and pool not in known:
        raise EventmillError(f"{pools_file} has no pool {pool}; it has {', '.join(known)}")
    there = known.get(pool)
    own = getattr(there, "context", None)
    found = own if settings is None and isinstance(own, WorkerContext) else load_context(settings, WorkerContext)
    if there is None:
        return found, lone_script(found, pool), ""
    return found, worker_script(found, there, Assignment(pool, Path(), Path())), there.owner


def _write(file: Path, data: bytes) -> int:
    """Write user-data where nobody else can read them; how many bytes."""
    if data[:2] == b"\x1f\x8b":
        file.unlink(missing_ok=True)
        file.touch(mode=0o600)
        file.write_bytes(data)
    else:
        write_private_text(file, data.decode())
    return len(data)
