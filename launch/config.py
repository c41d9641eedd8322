"""`pools.toml`: pools by name, each a table with its `system` and settings.

    [night]
    system = "slurm"
    partition = "short"
    cores = 8
    memory = "16G"
    walltime = "2h"
    most = 50

Whatever is wrong in it is told with the file, the pool and the key: a setting that was not taken is noticed at once,
not when the workers have been waiting for an hour.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from ..protocol.errors import EventmillError, nearest
from .pools.pool import Pool
from .pools.systems import SYSTEMS, pool_class

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,39}")
"""Of a pool: it becomes part of the names of jobs and folders."""
_PLACE = re.compile(r"^(?P<what>.*?)(?: - at `\$\.?(?P<key>[^`]*)`)?$", re.DOTALL)


def load(path: Path) -> dict[str, Pool]:
    """The pools of a file, TOML or JSON.

    Raises:
        EventmillError: it cannot be read, or something in it is wrong.
    """
    return parse(load_tables(path, "pools"), str(path))


def load_tables(path: Path, what: str) -> dict[str, Any]:
    """The tables of a file, TOML or JSON, with `what` in it. Raises `EventmillError` when it cannot be read."""
    try:
        text = path.read_text()
        tables: dict[str, Any] = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except OSError as error:
        raise EventmillError(f"cannot read the {what} in {path}: {error.strerror}") from None
    except ValueError as error:
        raise EventmillError(f"{path} is not written as TOML is: {error}") from None
    return tables


def parse(tables: Mapping[str, Any], where: str) -> dict[str, Pool]:
    """The pools of what such a file has.

    Raises:
        EventmillError: something in it is wrong; the text says where.

    Example:
        >>> parse({"here": {"system": "local", "walltim": "2h"}}, "pools.toml")
        Traceback (most recent call last):
        eventmill.protocol.errors.EventmillError: pools.toml: pool here: no setting 'walltim'; the nearest names are walltime
    """
    if not tables:
        raise EventmillError(
            f'{where} has no pools: each is a table with its settings, as [night] and system = "slurm"'
        )
    return {name: _pool(name, table, f"{where}: pool {name}") for name, table in tables.items()}


def save(pools: Mapping[str, Pool], path: Path) -> None:
    """Write pools into a new JSON file that nobody else can read."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(msgspec.json.encode(dict(pools)))


def check_name(name: str, where: str) -> None:
    """Raise `EventmillError` if this is no name for a pool."""
    if not NAME.fullmatch(name):
        raise EventmillError(
            f"{where}: a pool's name begins with a letter and has at most 40 letters, digits, - and _: {name!r} has not"
        )


def _pool(name: str, table: Any, where: str) -> Pool:
    check_name(name, where)
    if not isinstance(table, dict):
        raise EventmillError(f"{where} is no table of settings: begin it with [{name}]")
    system = table.get("system")
    if not isinstance(system, str) or system not in SYSTEMS:
        what = "has no system" if system is None else f"has the unknown system {system!r}"
        raise EventmillError(f"{where} {what}: it is one of {', '.join(SYSTEMS)}")
    kind = pool_class(system)
    known = [field.encode_name for field in msgspec.structs.fields(kind)]
    for key in table:
        if key != "system" and key not in known:
            raise EventmillError(f"{where}: no setting {key!r}{nearest(key, known)}")
    try:
        return msgspec.convert(table, kind)
    except msgspec.ValidationError as error:
        raise EventmillError(f"{where}: {in_words(str(error), table)}") from None


def in_words(error: str, table: Mapping[str, Any]) -> str:
    """What msgspec says of a value, with the key in front."""
    match = _PLACE.match(error)
    what, key = (match["what"], match["key"] or "") if match else (error, "")
    value = table.get(key.partition("[")[0].partition(".")[0])
    return f"{key} = {value!r}: {what}" if key else what
