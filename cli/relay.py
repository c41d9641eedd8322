"""`eventmill relay`: a way to the master for workers whose own machines have none."""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable
from pathlib import Path

import click

from ..protocol.connection import DEFAULT_PORT, find_file, load_connection, parse_address
from ..protocol.tokens import find_token
from .options import begin_log


@click.command()
@click.argument("target", default="default", metavar="[MASTER]")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=DEFAULT_PORT,
    show_default=True,
    help="Where to listen; 0: a free port.",
)
@click.option("--interface", default="*", show_default=True, help="Address of the network interface to listen at.")
@click.option("--host", default="", help="Name or address of this machine for its workers.  [default: its host name]")
def relay(target: str, port: int, interface: str, host: str) -> None:
    """Pass workers on to a master that is out of their reach.

    To be run on a machine that sees both, such as the login node of a site whose compute nodes have no way out. MASTER is
    the master's address (tcp://host:8786), worker.json, file with a token, or name. A worker.json is looked at anew for each
    connection, so that a master may move; only the address in it is used. A relay needs no keys, and what it passes on is
    encrypted from end to end. It may be ended and started again at any time: workers wait for it.
    """
    from ..launch.relay import Relay

    begin_log(verbose=False)
    master = _address_of(target)
    running = Relay(master, interface, port)
    name = host or ("127.0.0.1" if interface == "127.0.0.1" else platform.node())
    click.echo(f"relay at tcp://{name}:{running.port} to the master at {master()}")
    click.echo(f"  workers:   eventmill worker worker.json --through {name}:{running.port}")
    click.echo(f'  pools:     through = "{name}:{running.port}"')
    sys.stdout.flush()
    running.run()


def _address_of(target: str) -> Callable[[], str]:
    """What says where the master is now."""
    try:
        address = parse_address(target) if ":" in target else ""
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="MASTER") from None
    if address:
        return lambda: address
    if (token := find_token(target, {})) is not None:
        return lambda: token.address
    file: Path = find_file(target, "worker")
    return lambda: load_connection(file).address
