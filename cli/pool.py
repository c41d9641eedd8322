"""`eventmill pool`: workers where batch systems, other clusters and machines start them."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..display.wishes import wish_line
from ..protocol.connection import find_file, load_connection, named
from ..protocol.errors import EventmillError, nearest
from . import listings
from .options import begin_log, of_master, watched

if TYPE_CHECKING:
    from ..launch.pools.pool import Pool
    from ..session.session import Session

_of_file = click.option(
    "--pools",
    "file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The file with the pools' settings.  [default: pools.toml beside the master's keys]",
)
_dry = click.option("--dry-run", is_flag=True, help="Print what the pool's system would get, and do nothing.")


@click.group()
def pool() -> None:
    """Have workers started where there is room for them.

    In a batch system, another cluster, or idle machines.

    \b
    A pool is a table in a file, pools.toml:
        [night]
        system = "slurm"        # or condor, dask, ssh, kubernetes, local
        partition = "short"
        cores = 8
        memory = "16G"
        walltime = "2h"
        most = 50               # workers
    \b
    What runs the pools:     eventmill master --pools pools.toml     where the master is
                             eventmill pool agent pools.toml         where jobs can be submitted
    Does it work there?      eventmill pool check night --pools pools.toml
    Have 20 workers:         eventmill pool scale night 20
    As many as there is work for:   eventmill pool auto --finish-in 20min
    How far are they?        eventmill pool list
    Have none:               eventmill pool stop night
    """


@pool.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--with", "more", multiple=True, metavar="NAME", help="This package, too, with what it needs; may be repeated."
)
def pack(file: Path, more: tuple[str, ...]) -> None:
    """Write eventmill and all that it needs into FILE, for jobs on machines that have Python and nothing else.

    It is what is installed here, and fits the same version of Python. In a pool, name it as the interpreter: python =
    "/shared/eventmill.pyz". It unpacks itself where it runs, once, in $TMPDIR or the user's cache.
    """
    from ..launch.packed import pack as write

    packed = write(file, ("eventmill", *more))
    click.echo(f"{file} ({file.stat().st_size / 1e6:.0f} MB) has {len(packed)} packages: {', '.join(packed)}")


@pool.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@of_master
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="For its record, scripts and logs of jobs; jobs must see it.  [default: beside FILE, with .launcher]",
)
@click.option(
    "--patience", default=600.0, show_default=True, help="Seconds to try to reach the master, also when it is gone."
)
@click.option("-v", "--verbose", is_flag=True, help="Log more.")
def agent(file: Path, target: str, folder: Path | None, patience: float, verbose: bool) -> None:
    """Run the pools in FILE for a master elsewhere, from where jobs can be submitted.

    It connects outward to the master's one port, with a client.json, and may be ended and started again at any time: it
    writes down what it does before it does it, and finds its jobs. Ctrl-C ends them, too; a SIGTERM leaves them.
    """
    from ..launch.config import load
    from ..launch.serve import Ending, Launcher

    begin_log(verbose)
    pools, connection = load(file), find_file(target)
    running = Launcher(
        load_connection(connection),
        pools,
        folder or file.absolute().with_suffix(".launcher"),
        Ending(patience=patience),
        connection,
    )
    click.echo(f"pools {', '.join(pools)} for the master at {load_connection(connection).address}")
    sys.stdout.flush()
    running.run()


@pool.command("list")
@click.argument("name", required=False, metavar="[POOL]")
@of_master
@watched
def list_pools(name: str | None, target: str, as_json: bool, watch: float | None) -> None:
    """Show the pools that a master has, and how far their workers are. With POOL, only that one."""
    with _connect(target) as session, contextlib.suppress(KeyboardInterrupt):
        listings.show(lambda: listings.pools([_info(session, name)] if name else session.pools()), as_json, watch)


@pool.command()
@click.argument("name", metavar="POOL")
@click.argument("workers", type=click.IntRange(0))
@of_master
@_of_file
@_dry
def scale(name: str, workers: int, target: str, file: Path | None, dry_run: bool) -> None:
    """Have so many WORKERS in POOL, no more and no fewer.

    They come as the pool can; `eventmill pool list` says how far they are. Those that end before their time are replaced;
    those that have had nothing to do for a while leave, and are wanted no more.
    """
    if dry_run:
        _preview(name, workers, target, file)
        return
    with _connect(target) as session:
        session.scale(workers, name)
        click.echo(
            f"{workers} {_workers(workers)} wanted in {name}; `eventmill pool list {name}` says how far they are"
        )


@pool.command()
@click.argument("names", nargs=-1, metavar="[POOL]...")
@of_master
@click.option(
    "--finish-in", metavar="TIME", help="Each query is to be finished so long after its submission: 20min, 2h."
)
@click.option("--deadline", metavar="TIME", help="All that there is to do is to be finished by then: 18:30.")
@click.option("--max-workers", type=click.IntRange(1), help="Workers at most, all pools together.")
@click.option("--max-cost", type=click.FloatRange(0), help="What may be spent, in the currency of the pools' prices.")
@click.option("--off", is_flag=True, help="Let pools follow your work no more: their workers go.")
def auto(
    names: tuple[str, ...],
    target: str,
    finish_in: str | None,
    deadline: str | None,
    max_workers: int | None,
    max_cost: float | None,
    off: bool,
) -> None:
    """Have POOLs follow the work: all that serve you, if none is named.

    Workers are started when queries have work for them, where they cost least, and let go when they are not needed.

    \b
        eventmill pool auto
        eventmill pool auto night cloud --finish-in 20min --max-cost 12
        eventmill pool auto --off
    """
    with _connect(target) as session:
        if off:
            session.scale("off")
            click.echo("no pool follows the work any more")
            return
        try:
            wish = session.scale(
                "auto", names, finish_in=finish_in, deadline=deadline, max_workers=max_workers, max_cost=max_cost
            )
        except ValueError as error:
            raise EventmillError(str(error)) from None
        info = wish.info
        click.echo("" if info is None else wish_line(info))


@pool.command()
@click.argument("name", metavar="POOL")
@click.argument("workers", type=click.IntRange(1), default=1)
@of_master
@_of_file
@_dry
def start(name: str, workers: int, target: str, file: Path | None, dry_run: bool) -> None:
    """Have so many more WORKERS in POOL than now: one by default."""
    if dry_run:
        _preview(name, workers, target, file)
        return
    with _connect(target) as session:
        wanted = _info(session, name).wanted + workers
        session.scale(wanted, name)
        click.echo(f"{wanted} {_workers(wanted)} wanted in {name} now")


@pool.command()
@click.argument("name", metavar="POOL")
@click.argument("jobs", nargs=-1)
@of_master
def stop(name: str, jobs: tuple[str, ...], target: str) -> None:
    """Have no workers in POOL, or let these JOBS of it go.

    Workers that have joined hand on what they have not done, commit and leave. `eventmill pool list` has the jobs.
    """
    with _connect(target) as session:
        if not jobs:
            session.scale(0, name)
            click.echo(f"no workers wanted in {name} now")
            return
        known = [launch.job for launch in _info(session, name).launches]
        for job in jobs:
            if job not in known:
                raise EventmillError(f"pool {name} has no job {job}{nearest(job, known, few=8)}")
        session.stop_launches(name, jobs)
        click.echo(f"told {', '.join(jobs)} to leave; {len(jobs)} fewer wanted in {name}")


@pool.command()
@click.argument("name", metavar="POOL")
@of_master
@_of_file
@_dry
@click.option("--reach", multiple=True, metavar="URL", help="A file server that workers should reach; may be repeated.")
@click.option("--wait", default=600.0, show_default=True, help="Seconds to wait for the worker.")
def check(name: str, target: str, file: Path | None, dry_run: bool, reach: tuple[str, ...], wait: float) -> None:
    """Start one worker in POOL, and say stage by stage what works.

    From the submission to the first thing that a worker is ready for; with what the batch system and the job have said if
    it does not come so far. With versions, cores, scratch space, the clock, and whether the master's port and file servers
    are reached from there. The worker is stopped then.

    Of a cloud it says first, line by line, what its endpoint can and cannot: a machine that does nothing is started, and
    deleted.
    """
    from .pool_check import run

    if dry_run:
        _preview(name, 1, target, file)
        return
    settings = _settings(name, target, file)
    if not run(name, settings, find_file(target), wait, reach):
        raise SystemExit(1)


def _settings(name: str, target: str, file: Path | None) -> Pool:
    """A pool of the file that a user means."""
    from ..launch.config import load

    path = file or named(target).path / "pools.toml"
    pools = load(path)
    if name not in pools:
        raise EventmillError(f"{path} has no pool {name}{nearest(name, pools, few=8)}")
    return pools[name]


def _preview(name: str, workers: int, target: str, file: Path | None) -> None:
    from ..launch.pool_thread import TOKEN_FILE
    from ..launch.pools.pool import Assignment

    folder = Path("LAUNCHER_FOLDER") / name
    assignment = Assignment(name, folder / TOKEN_FILE, folder, f"eventmill-{name}")
    click.echo(_settings(name, target, file).preview(workers, assignment))


def _info(session: Session, name: str) -> Any:
    found = session.pools()
    for info in found:
        if info.pool == name:
            return info
    raise EventmillError(
        f"no launcher of this master has a pool {name}{nearest(name, [it.pool for it in found], few=8)}"
    )


def _workers(count: int) -> str:
    return "worker" if count == 1 else "workers"


def _connect(target: str) -> Session:
    from ..session.connect import connect

    return connect(target)
