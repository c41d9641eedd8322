"""`eventmill datasets`: the dataset catalogue of a master, in a terminal or for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, get_args

import click
import msgspec
from rich.console import Console
from rich.table import Table

from ..dataset.catalogue.lists import Format
from ..dataset.dataset import Dataset
from ..display.dataset_table import DATASETS, WORDS_OF_DATASETS, Verification, dataset_cells, size_words
from ..session.connect import connect
from .options import of_master

if TYPE_CHECKING:
    from ..protocol.messages import DatasetInfo
    from ..session.catalogue import CatalogueEntry

_as_json = click.option("--json", "as_json", is_flag=True, help="A JSON object a line, for programs.")


@click.group()
def datasets() -> None:
    """Keep datasets by name on a master.

    Everybody who uses the master finds them: analyses say session.process("ttbar_2018", ...), without a list of files.

    \b
    eventmill datasets register ttbar_2018 'root://host//store/ttbar/*.root' --tree Events -m cross_section=831.76
    eventmill datasets register ttbar_2018 das.json --read --prefix root://xrootd-cms.infn.it/ --tree Events
    eventmill datasets list
    eventmill datasets verify ttbar_2018            are all files there, and the same as ever?
    eventmill datasets refresh ttbar_2018           take the files that there are now
    """


@datasets.command("list")
@of_master
@click.option("--grep", metavar="REGEX", help="Only those in whose names it is found.")
@_as_json
def list_datasets(target: str, grep: str | None, as_json: bool) -> None:
    """List the datasets: files, entries, bytes, metadata, and whose they are."""
    with connect(target) as session:
        found = session.datasets.list(grep)
    _show(found, as_json)


@datasets.command()
@click.argument("name")
@of_master
@click.option("--files", "with_files", is_flag=True, help="All its files, too.")
@_as_json
def show(name: str, target: str, with_files: bool, as_json: bool) -> None:
    """Show dataset NAME, and its files."""
    with connect(target) as session:
        entry = session.datasets[name]
    _show([entry.info], as_json)
    if with_files:
        _show_files(entry, as_json)


@datasets.command()
@click.argument("name")
@click.argument("files", nargs=-1, required=True)
@of_master
@click.option("--tree", help="The tree that analyses mean, as Events.")
@click.option(
    "-m", "--metadata", "metadata", multiple=True, metavar="KEY=VALUE", help="A number or word for analyses to read."
)
@click.option("--read", "is_list", is_flag=True, help="FILES is one list of files, as another catalogue writes it.")
@click.option(
    "--format", "written", type=click.Choice(get_args(Format)), default="auto", show_default=True,
    help="Of that list: text, a coffea fileset, or what rucio, dasgoclient or CERN Open Data say.",
)  # fmt: skip
@click.option("--prefix", default="", help="Put before paths of a list that are no URLs, as root://xrootd-cms.infn.it/")
@click.option("--replace", is_flag=True, help="Take the place of a dataset of this name.")
@click.option("--no-scan", is_flag=True, help="Do not have workers look at the files: register them unseen.")
@_as_json
def register(
    name: str,
    files: Sequence[str],
    target: str,
    tree: str | None,
    metadata: Sequence[str],
    is_list: bool,
    written: Format,
    prefix: str,
    replace: bool,
    no_scan: bool,
    as_json: bool,
) -> None:
    """Keep FILES as dataset NAME: paths, URLs and patterns (in quotes), or a list of files (--read).

    Workers open each file once, so that its length is known and a change of it is noticed. It is an error if a file is
    missing, or lacks the tree; all such files are named.
    """
    if is_list and len(files) > 1:
        raise click.UsageError("--read takes one list of files")
    about = dict(map(_key_and_value, metadata))
    given: Any = Dataset.read(files[0], tree, kind=written, prefix=prefix) if is_list else list(files)
    with connect(target) as session:
        entry = session.datasets.register(name, given, tree=tree, metadata=about, replace=replace, scan=not no_scan)
    _show([entry.info], as_json)


@datasets.command()
@click.argument("name")
@of_master
@click.option("--checksum", is_flag=True, help="Read all bytes, and compare with the checksums that were registered.")
@_as_json
def verify(name: str, target: str, checksum: bool, as_json: bool) -> None:
    """Have workers look at all files of dataset NAME.

    Files that are missing, cannot be reached, are others than were registered or have other lengths are listed; the exit
    code is 1 then.
    """
    with connect(target) as session:
        found = session.datasets.verify(name, checksum=checksum)
    if as_json:
        for it in found:
            click.echo(json.dumps({"path": it.path, "what": it.what, "why": it.why}))
    else:
        _tell(found)
    sys.exit(0 if found.ok else 1)


@datasets.command()
@click.argument("name")
@of_master
@_as_json
def refresh(name: str, target: str, as_json: bool) -> None:
    """Take the files of dataset NAME as they are now: those that its patterns stand for, with their lengths."""
    with connect(target) as session:
        entry = session.datasets.refresh(name)
    _show([entry.info], as_json)


@datasets.command()
@click.argument("name")
@of_master
def remove(name: str, target: str) -> None:
    """Forget dataset NAME. Its files stay where they are."""
    with connect(target) as session:
        session.datasets.remove(name)
    click.echo(f"dataset {name} is in the catalogue no more; its files are where they were")


def _key_and_value(text: str) -> tuple[str, Any]:
    """A metadatum as people write it: numbers and flags are such, all else is a word."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise click.BadParameter(f"{text!r}: write KEY=VALUE, as cross_section=831.76", param_hint="--metadata")
    try:
        told = json.loads(value)
    except ValueError:
        told = value
    return name, told if isinstance(told, str | int | float | bool) else value


def _show(infos: Sequence[DatasetInfo], as_json: bool) -> None:
    if as_json:
        for info in infos:
            click.echo(msgspec.json.encode(info).decode())
        return
    table = Table(box=None)
    for at, heading in enumerate(DATASETS):
        table.add_column(heading, justify="left" if at < WORDS_OF_DATASETS else "right")
    for info in infos:
        table.add_row(*dataset_cells(info))
    Console().print(table if infos else "no datasets: `eventmill datasets register --help`")


def _show_files(entry: CatalogueEntry, as_json: bool) -> None:
    for it in entry.files:
        file = it.file
        if as_json:
            told = {
                "path": file.path, "replicas": file.replicas, "tree": file.tree, "dataset": file.dataset,
                "entries": file.entries, "size": it.size, "checksum": it.checksum, "identity": file.identity,
            }  # fmt: skip
            click.echo(json.dumps(told))
        else:
            entries = "?" if file.entries is None else f"{file.entries:,}"
            click.echo(f"{file.path}  {entries} entries  {size_words(it.size)}")
            for path in file.replicas:
                click.echo(f"  or {path}")


def _tell(found: Verification) -> None:
    click.echo(repr(found))
