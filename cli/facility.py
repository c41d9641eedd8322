"""`eventmill facility`: a whole facility on a cloud, from nothing, and back to nothing."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..protocol.connection import KeyFolder, load_connection, make_keys, named, parse_address, set_address
from ..protocol.errors import ConnectionFailed, EventmillError
from ..system.private_folders import make_private

if TYPE_CHECKING:
    from ..launch.contexts.facility import Facility
    from ..session.session import Session

_LOOK_SECONDS = 2.0
"""Between two looks at a cloud, which tells nobody of what changes."""
_TRY_SECONDS = 10.0
"""For a master to answer, before the cloud is asked again what became of its machine."""

_MARK = "is-a-facility"
"""In the folder with the keys of a facility's master, which does not run here."""

_of_file = click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True), metavar="CLOUD.TOML")


@click.group()
def facility() -> None:
    """Bring up a facility on a cloud: master, page, pools, cache.

    \b
    A facility is a file, cloud.toml:
        name = "lab"
        [machine]                        # of its head: as a pool of system "cloud"
        driver = "openstack"             # or ec2, gce, azure, opennebula
        image = "debian-13"
        credentials = "~/openrc.sh"
        cores = 4
        [head]                           # its context, as in `eventmill context head`
        software = ["eventmill[cloud]==1.2"]
        [pools.work]                     # pools of workers, as in a pools.toml
        system = "cloud"
        ...
        [users]                          # and the groups that they are in
        alice = ["cms"]
    \b
    eventmill facility up cloud.toml     from nothing; again: goes on where it was
    eventmill facility status cloud.toml
    eventmill facility down cloud.toml   leaves nothing
    \b
    From Python:  session = eventmill.connect("lab")
    """


@facility.command()
@_of_file
@click.option("--wait", default=1200.0, show_default=True, help="Seconds for the head to come up.")
def up(file: Path, wait: float) -> None:
    """Bring the facility in CLOUD.TOML up.

    The keys of its master are made here, and go with the user-data of its head. One that was interrupted is continued: the
    head is found by its tags. Of the users' connection files, each is beside the master's keys, to be given to its user.
    """
    from ..launch.contexts.facility import load_facility

    found = load_facility(file)
    keys = named(found.name)
    _make_keys(keys, found)
    connection, late = load_connection(keys.client), time.monotonic() + wait
    machines = found.machines(connection)
    if machines:
        click.echo(f"there is a head: {machines[0]}")
    else:
        machines = [found.start(keys)]
        click.echo(f"the cloud makes the head: {machines[0]}")
    with _reached(found, keys, machines[0], late) as session:
        files = _add_users(found, keys, session)
        _wait(lambda: found.pools.keys() <= {it.pool for it in session.pools()}, late, "its pools are not there yet")
    address = load_connection(keys.client).address
    click.echo(f"facility {found.name} is up at {address}")
    click.echo(f"  sessions:  eventmill.connect({found.name!r})    here; elsewhere with {keys.client}")
    for name, path in files.items():
        click.echo(f"  {name}:  give {path} to this user, in private")
    if found.head.status_port is not None:
        page = found.head.status_port
        click.echo(
            f"  status:    eventmill.connect({found.name!r}).dashboard, or its page by ssh -L {page}:localhost:{page}"
        )
    click.echo(f"  pools:     {', '.join(found.pools) or 'none'}; `eventmill pool list --master {found.name}`")


@facility.command()
@_of_file
@click.option("--yes", is_flag=True, help="Do not ask first.")
@click.option("--wait", default=600.0, show_default=True, help="Seconds for all machines to be gone.")
def down(file: Path, yes: bool, wait: float) -> None:
    """Delete all machines of the facility in CLOUD.TOML, and its keys.

    Its head first, so that nothing starts more; then those of its pools, which are found by their tags. What the master has
    written down, as results, is gone with it.
    """
    from ..launch.contexts.facility import load_facility

    found = load_facility(file)
    keys = named(found.name)
    if not (keys.path / _MARK).exists() or not keys.client.exists():
        raise EventmillError(
            f"there are no keys of a facility {found.name} here, by which its machines would be known: bring it down where "
            "it was brought up"
        )
    if not yes:
        click.confirm(f"delete facility {found.name}, with all that its master has written down?", abort=True)
    connection, late = load_connection(keys.client), time.monotonic() + wait

    def heads_are_gone() -> bool:
        left = found.machines(connection)
        found.machine.stop(left)
        return not left

    def workers_are_gone() -> bool:
        left = found.workers(connection)
        for name, jobs in left.items():
            found.pools[name].stop(jobs)
        return not any(left.values())

    _wait(heads_are_gone, late, "the head is still there")
    _wait(workers_are_gone, late, "machines of its pools are still there")
    blind = [name for name, pool in found.pools.items() if not pool.has_tags]
    for file_of_keys in sorted(keys.path.iterdir()):
        if file_of_keys.is_file():
            file_of_keys.unlink()
    with contextlib.suppress(OSError):  # somebody has put more into it
        keys.path.rmdir()
    click.echo(f"facility {found.name} is gone: head, workers and keys")
    if blind:
        click.echo(f"workers of {', '.join(blind)} end by themselves, since their master is gone")


@facility.command()
@_of_file
def status(file: Path) -> None:
    """Show how far the facility in CLOUD.TOML is: its head, its workers' machines, and what its master says."""
    from ..launch.contexts.facility import load_facility
    from . import listings

    found = load_facility(file)
    keys = named(found.name)
    if not keys.client.exists():
        click.echo(f"facility {found.name} was not brought up from here: there are no keys of it")
        return
    connection = load_connection(keys.client)
    for machine in found.machines(connection):
        state = found.state(machine)
        click.echo(f"head {machine}: {state.state} {state.host} {state.reason}".rstrip())
    for name, machines in found.workers(connection).items():
        click.echo(
            f"pool {name}: {len(machines)} machine{'' if len(machines) == 1 else 's'} {', '.join(machines)}".rstrip()
        )
    try:
        with _connect(keys.client, _TRY_SECONDS) as session:
            listings.show(lambda: listings.status(session, session.cluster_feed()), False, None)
    except ConnectionFailed as error:
        click.echo(f"its master does not answer: {error}")


@contextlib.contextmanager
def _reached(found: Facility, keys: KeyFolder, machine: str, late: float) -> Iterator[Session]:
    """A session of the head's master, as soon as it answers."""
    said, seen = "", False  # a cloud may not list at once what it has just made
    while True:
        state = found.state(machine)
        seen = seen or state.state != "gone"
        if state.state in ("failed", "ending", "reclaimed") or (state.state == "gone" and seen):
            raise EventmillError(
                f"the head {machine} is {state.state}: {state.reason or 'the cloud does not say why'}; "
                "`eventmill facility up` makes another one"
            )
        now = f"the head is {state.state} {state.reason}".rstrip()
        if now != said:
            click.echo(said := now)
        address = found.address or found.machine.address(machine)
        if state.state == "started" and address:
            set_address(keys, parse_address(f"{address}:{found.head.port}"))
            try:
                session = _connect(keys.client, _TRY_SECONDS)
            except ConnectionFailed as error:
                trouble = str(error)
            else:
                with session:
                    yield session
                return
        else:
            trouble = "the cloud has not started it yet"
            time.sleep(_LOOK_SECONDS)
        if time.monotonic() > late:
            raise EventmillError(
                f"the head {machine} does not come up: {trouble}. Its console may say why: `eventmill facility status`; "
                "`eventmill facility up` waits again, `eventmill facility down` undoes all"
            )


def _make_keys(keys: KeyFolder, found: Facility) -> None:
    """Make the keys of a facility, unless an earlier try has; and never take over those of a master that runs here."""
    mark = keys.path / _MARK
    if keys.master.exists() and not mark.exists():
        raise EventmillError(
            f"there is a master {found.name} on this machine, whose keys are in {keys.path}: give the facility another name"
        )
    if not mark.exists():
        make_private(keys.path)
        mark.touch()
    if not keys.worker.exists():  # it is written last
        make_keys(keys.path, f"tcp://127.0.0.1:{found.head.port}")


def _add_users(found: Facility, keys: KeyFolder, session: Session) -> dict[str, Path]:
    """Let those in whom the master does not know yet; their connection files."""
    known = {user.name for user in session.access.users()}
    files = {}
    for name, groups in found.users.items():
        if name not in known:
            files[name] = keys.path / f"{name}.user.json"
            session.access.add_user(name, files[name], groups=groups)
    return files


def _wait(done: Callable[[], bool], late: float, words: str) -> None:
    """Until something holds, asked again and again: a cloud tells nobody of what changes."""
    while not done():
        if time.monotonic() > late:
            raise EventmillError(f"{words}: the same command goes on")
        time.sleep(_LOOK_SECONDS)


def _connect(file: Path, timeout: float) -> Session:
    from ..session.connect import connect

    return connect(file, timeout=timeout)
