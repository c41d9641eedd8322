"""A context by form: its fields, what is made of what somebody has written into them, and the file that comes of it."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Mapping
from typing import Any, Literal

import msgspec
import yaml  # type: ignore[import-untyped]

from .cloud_config import ContextError
from .files import parse_context
from .machine import MachineContext
from .worker import WorkerContext

Kind = Literal["text", "lines", "table", "yes", "number", "yaml"]
FIELDS: dict[str, Kind] = {
    "software": "lines",
    "pip": "lines",
    "container": "text",
    "python": "text",
    "cvmfs": "lines",
    "cvmfs_proxy": "text",
    "proxy_prefix": "text",
    "site": "text",
    "packages": "lines",
    "commands": "lines",
    "mounts": "table",
    "ssh_keys": "lines",
    "user": "text",
    "boot_limit": "text",
    "clock_wait": "number",
    "stays": "yes",
    "cloud_config": "yaml",
}
"""The settings of a worker's context in the order of the form, and how each is written there: "lines" is one thing a line,
"table" a line each, whose fields are separated by spaces."""


def fields() -> list[dict[str, str]]:
    """The fields as a page needs them: name, kind, what it is for, and what is usual.

    Example:
        >>> fields()[0]["name"], fields()[0]["kind"]
        ('software', 'lines')
    """
    said = {**_told(MachineContext), **_told(WorkerContext)}
    usual = msgspec.to_builtins(WorkerContext())
    shown = {name: usual[name] if isinstance(usual[name], str | int) else "" for name in FIELDS}
    return [
        {"name": name, "kind": kind, "help": said.get(name, ""), "usual": "" if kind == "yes" else str(shown[name])}
        for name, kind in FIELDS.items()
    ]


def context_of(entries: Mapping[str, str]) -> WorkerContext:
    """The context that somebody means.

    Args:
        entries: what is in the fields, by their names; those that are empty say nothing.

    Raises:
        ContextError: something is wrong; the text says where.

    Example:
        >>> context_of({"software": "eventmill==1.2\\n", "clock_wait": "60", "site": " "}).software
        ['eventmill==1.2']
    """
    table = {name: _value(name, text) for name, text in entries.items() if text.strip()}
    return parse_context(table, WorkerContext, "the form")


def as_toml(context: WorkerContext) -> str:
    """A context as a file for `eventmill context worker --context`, or the table `context` of a pool: what is not usual.

    Example:
        >>> print(as_toml(WorkerContext(software=["eventmill==1.2"], stays=True)))
        software = ["eventmill==1.2"]
        stays = true
    """
    said, usual = msgspec.to_builtins(context), msgspec.to_builtins(WorkerContext())
    return "\n".join(f"{name} = {_toml(said[name])}" for name in FIELDS if said[name] != usual[name])


def _value(name: str, text: str) -> Any:
    """What a field says."""
    match FIELDS.get(name, "text"):
        case "lines":
            return [line for line in map(str.rstrip, text.splitlines()) if line]
        case "table":
            return [line.split() for line in text.splitlines() if line.strip()]
        case "number":
            return int(text) if text.strip().isdecimal() else text
        case "yes":
            return True
        case "yaml":
            try:
                return yaml.safe_load(text)
            except yaml.YAMLError as error:
                raise ContextError(f"the form: {name} is no YAML: {' '.join(str(error).split())}") from None
    return text.strip()


def _toml(value: Any) -> str:
    """A value as TOML has it, in one line. Its strings are written as JSON's are, but for one character."""
    match value:
        case bool():
            return str(value).lower()
        case str():
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case dict():
            return "{" + ", ".join(f"{_toml(str(key))} = {_toml(of)}" for key, of in value.items()) + "}"
        case list():
            return "[" + ", ".join(map(_toml, value)) + "]"
        case int() | float():
            return repr(value)
    raise ContextError(f"TOML has no {value!r}: leave it out of cloud_config")


def _told(kind: type) -> dict[str, str]:
    """What a class says of its settings in its docstring."""
    text = inspect.getdoc(kind) or ""
    _, _, listed = text.partition("Args:\n")
    found, name = dict[str, str](), ""
    for line in listed.partition("\n\n")[0].splitlines():
        match = re.match(r" {4}(\w+): (.*)", line)
        if match is not None:
            name = match[1]
        found[name] = f"{found.get(name, '')} {match[2] if match else line.strip()}".strip()
    return found
