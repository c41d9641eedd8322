"""What the commands of the command line share."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, TypeVar

import click

_Value = TypeVar("_Value")
_FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"


def parsed_by(parse: Callable[[str], _Value]) -> Callable[[click.Context, click.Parameter, str | None], _Value | None]:
    """The callback of an option whose value is written as people write it."""

    def callback(_context: click.Context, _parameter: click.Parameter, text: str | None) -> _Value | None:
        try:
            return None if text is None else parse(text)
        except ValueError as error:
            raise click.BadParameter(str(error)) from None

    return callback


def watched(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options of a command that lists something."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="A JSON object a line, for programs."),
        click.option(
            "--watch", type=click.FloatRange(0.2), metavar="SECONDS", help="Again every so many seconds, until Ctrl-C."
        ),
    ):
        function = option(function)
    return function


of_master = click.option(
    "--master", "target", default="default", show_default=True, help="Name, client.json or address."
)


def begin_log(verbose: bool) -> None:
    """Write the log to standard error."""
    logging.basicConfig(level=logging.DEBUG if verbose else logging.INFO, format=_FORMAT)
