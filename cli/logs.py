"""`eventmill logs`: what analyses and workers say, once or as it comes."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from ..display.logs import LogLine, compiled

if TYPE_CHECKING:
    from ..session.session import Session

FOLLOW_SECONDS = 1.0
"""How often a follower asks."""


def expression(_context: click.Context, _parameter: click.Parameter, text: str | None) -> str | None:
    """The callback of an option that is a regular expression: refuses what is none before anything else is done."""
    if text is not None:
        try:
            compiled(text)
        except ValueError as error:
            raise click.BadParameter(str(error)) from None
    return text


def show(
    session: Session, query: str, worker: str | None, grep: str | None, tail: int | None, follow: bool, as_json: bool
) -> None:
    """Write lines; with `follow`, go on until the user or the session's master ends it."""
    say: Callable[[LogLine], None] = _say_json if as_json else _say
    logs = session.logs_since("", query)
    chosen = logs.selected(worker, grep, tail)
    for line in chosen:
        say(line)
    if not as_json and (logs.unkept.lines or logs.unkept.size):
        click.echo(f"({logs.too_much})", err=True)
    pause = threading.Event()
    while follow:
        pause.wait(FOLLOW_SECONDS)
        logs = session.logs_since(logs.cursor, query)
        for line in logs.selected(worker, grep):
            say(line)


def _say(line: LogLine) -> None:
    click.echo(str(line))


def _say_json(line: LogLine) -> None:
    click.echo(json.dumps(line.as_json()))
