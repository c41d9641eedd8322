"""`eventmill simulate`: with these workers, when do I have it? With these pools, what does it cost?"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from math import inf
from pathlib import Path

import click
import msgspec
from rich.console import Console

from ..protocol.errors import DatasetError
from ..system.quantities import parse_seconds
from .options import parsed_by

_seconds = parsed_by(parse_seconds)
_OF_POOLS = ("work", "report", "parallel", "finish_in", "max_workers", "max_cost")
_PICTURES = (".png", ".pdf", ".svg")


@click.command()
@click.argument("profile", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--seed", default=0, show_default=True, help="Of all that is drawn at random.")
@click.option("--plot", "--png", "plot", type=click.Path(path_type=Path), help="Draw it into this .png, .svg or .pdf.")
@click.option("--json", "as_json", is_flag=True, help="Of pools: a JSON object, for programs.")
@click.option("--work", callback=_seconds, help="Of pools: what there is to do, as time of one slot (20h).")
@click.option(
    "--report",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Of pools: what a finished query has taken, by the JSON of its report.",
)
@click.option("--parallel", type=click.IntRange(1), help="Of pools: slots that can work on it at the same time.")
@click.option("--finish-in", callback=_seconds, help="Of pools: the wish, as 20m.")
@click.option("--max-workers", type=click.IntRange(0), help="Of pools: workers at most, all pools together.")
@click.option("--max-cost", type=click.FloatRange(0.0), help="Of pools: what may be spent.")
def simulate(
    profile: Path,
    seed: int,
    plot: Path | None,
    as_json: bool,
    work: float | None,
    report: Path | None,
    parallel: int | None,
    finish_in: float | None,
    max_workers: int | None,
    max_cost: float | None,
) -> None:
    """Say when a query would be done, and what it would cost.

    \b
    PROFILE is one of
      a YAML file of workers and data (docs/simulator.md has examples)
      the JSON of a finished query's report: its workers, once more
      pools.toml: what would be started when for --work or --report, with
                  a wish as of session.scale("auto", ...), and what it costs
    """
    if plot is not None and (not plot.parent.is_dir() or plot.suffix not in _PICTURES):
        raise click.BadParameter(
            f"{plot} is no {', '.join(_PICTURES)} file in a folder that exists", param_hint="--plot"
        )
    if profile.suffix == ".toml":
        bounds = (finish_in, max_workers, max_cost)
        _pools(profile, seed, plot, as_json, work, report, parallel, bounds)
        return
    given = click.get_current_context().params
    wrong = [f"--{name.replace('_', '-')}" for name in (*_OF_POOLS, "as_json") if given[name] not in (None, False)]
    if wrong:
        raise click.UsageError(f"{wrong[0].replace('--as-', '--')} is for pools: PROFILE is no .toml file")
    _workers(profile, seed, plot)


def _workers(profile: Path, seed: int, plot: Path | None) -> None:
    """One query on the workers of a profile."""
    from ..simulation import profiles, simulator

    with _quiet():
        outcome = simulator.simulate(profiles.load(profile), seed)
    Console().print(outcome.table())
    if plot is not None:
        outcome.draw(plot)
    if not outcome.complete:
        raise SystemExit(1)


def _pools(
    file: Path,
    seed: int,
    plot: Path | None,
    as_json: bool,
    work: float | None,
    report: Path | None,
    parallel: int | None,
    bounds: tuple[float | None, int | None, float | None],
) -> None:
    """What would be started when; ends with 1 if the wish would not come true."""
    from ..elastic.demand import Wish
    from ..launch.config import load
    from ..simulation.what_if import of_report, what_if

    if (work is None) == (report is None):
        raise click.UsageError("say what there is to do: by --work or by --report")
    if report is not None:
        work, packets = of_report(_report(report))
        parallel = parallel or packets
    assert work is not None
    finish_in, max_workers, max_cost = bounds
    wish = Wish(
        "you", (), inf if finish_in is None else finish_in, inf, max_workers, inf if max_cost is None else max_cost
    )
    with _quiet():
        found = what_if(load(file), work, wish, parallel=parallel, seed=seed)
    if as_json:
        click.echo(msgspec.json.encode(found.facts()).decode())
    else:
        Console().print(found.table())
        click.echo("\n".join(found.summary()))
    if plot is not None:
        found.draw(plot)
    if found.late > 0:
        raise SystemExit(1)


def _report(path: Path) -> list:  # type: ignore[type-arg]  # of WorkerInfo, which is imported when it is needed
    from ..protocol.usage import WorkerInfo

    try:
        return msgspec.json.decode(path.read_bytes(), type=list[WorkerInfo])
    except msgspec.MsgspecError as error:
        raise DatasetError(
            f"{path} is no report: that is what `msgspec.json.encode(query.report())` makes ({error})"
        ) from None


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """What happens to simulated workers is no news."""
    log = logging.getLogger("eventmill")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(before)
