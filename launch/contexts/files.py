"""Contexts as they stand in files: what is wrong in one is said with its file and key."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from ...protocol.connection import read_private_text
from ...protocol.errors import ConnectionFailed, nearest
from ..config import in_words, load_tables
from ..pools.pool import Pool
from .boot_script import HOME
from .cloud_config import ContextError

_Context = TypeVar("_Context", bound=msgspec.Struct)


def load_context(file: Path | None, kind: type[_Context]) -> _Context:
    """The context in a TOML file; without one, what is usual.

    Raises:
        EventmillError: it cannot be read, or something in it is wrong.
    """
    if file is None:
        return kind()
    return parse_context(load_tables(file, "context"), kind, str(file))


def parse_context(table: Mapping[str, Any], kind: type[_Context], where: str) -> _Context:
    """The context in a table.

    Raises:
        ContextError: something in it is wrong; the text says where.

    Example:
        >>> from .worker import WorkerContext
        >>> parse_context({"users": "alice"}, WorkerContext, "x.toml")
        Traceback (most recent call last):
        eventmill.launch.contexts.cloud_config.ContextError: x.toml: no setting 'users'; the nearest names are user
    """
    known = [field.encode_name for field in msgspec.structs.fields(kind)]
    for key in table:
        if key not in known:
            raise ContextError(f"{where}: no setting {key!r}{nearest(key, known)}")
    try:
        return msgspec.convert(table, kind)
    except msgspec.ValidationError as error:
        raise ContextError(f"{where}: {in_words(str(error), table)}") from None


def taken_along(pools: Mapping[str, Pool]) -> tuple[dict[str, Pool], dict[str, str]]:
    """Pools as a head has them, which sees no file of this machine; and the files that it needs for that, by their names in
    its home: the credentials of clouds.

    Raises:
        ContextError: a pool needs something of this machine that cannot be taken along.
    """
    there, files = {}, {}
    for name, pool in pools.items():
        if pool.template is not None:
            raise ContextError(f"pool {name}: a head sees no template of this machine: write its lines into setup")
        there[name] = pool
        if not hasattr(pool, "credentials"):
            continue
        if not pool.credentials:
            raise ContextError(
                f"pool {name}: a head has none of the credentials in this environment: name a file with credentials = ..."
            )
        source, target = Path(pool.credentials).expanduser(), f"credentials-{name}"
        try:
            files[target] = read_private_text(source)
        except ConnectionFailed as error:
            raise ContextError(f"pool {name}: {error}") from None
        there[name] = msgspec.structs.replace(pool, credentials=f"{HOME}/{target}")
    return there, files
