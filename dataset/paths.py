"""Paths of files, as datasets name them. None of them is looked at here."""

from __future__ import annotations

import os
import re

from ..protocol.addresses import shown
from ..protocol.messages import File

_BEHIND_ROOT = re.compile(r"(.*\.root(?:\.\d+)?):(.+)", re.DOTALL)
_BEHIND_PATTERN = re.compile(r"(.*\*):(.+)", re.DOTALL)


def split_tree(path: str) -> tuple[str, str]:
    """Split `path:Tree` as uproot does; a colon counts only behind `.root`, `.root.1` and the like (as ATLAS's grid names
    files), or a pattern, of the last path component.

    Example:
        >>> split_tree("root://host:1094//a.root:dir/Events"), split_tree("a.root"), split_tree("x/*.root:Events")
        (('root://host:1094//a.root', 'dir/Events'), ('a.root', ''), ('x/*.root', 'Events'))
    """
    for found in (_BEHIND_ROOT.fullmatch(path), _BEHIND_PATTERN.fullmatch(path)):
        if found is not None and not found[2].startswith("/") and ".root" not in found[2]:
            return found[1], found[2]
    return path, ""


def is_parquet(path: str) -> bool:
    """Whether a path is that of a Parquet file, or a pattern of such, by its ending.

    Example:
        >>> is_parquet("skim/*.parquet"), is_parquet("https://host/a.parquet?authz=secret"), is_parquet("a.root")
        (True, True, False)
    """
    return shown(path).lower().endswith((".parquet", ".parq", ".pq"))


def has_pattern(path: str) -> bool:
    """Whether a path may be a pattern: it has `*`, `?` or `[`. What follows the `?` of a URL does not count.

    Only who can look knows it: a folder that is called `run[1]` is meant by this name.
    """
    return any(sign in shown(path) for sign in "*[?")


def names_several(path: str) -> bool:
    """Whether a path that is to be of one file has `*` or `?`; `[` may well be in its name."""
    return any(sign in shown(path) for sign in "*?")


def is_one_file(path: str) -> bool:
    """Whether a path is surely that of a file, not a pattern or folder."""
    return (".root" in path.rpartition("/")[2] or is_parquet(path)) and not has_pattern(path)


def key(path: str) -> str:
    """One text for all ways to write a path."""
    return path if "://" in path else os.path.abspath(os.path.expanduser(path))  # noqa: PTH100, PTH111


def names(file: File) -> list[str]:
    """What a file of a dataset may be called where something is said of it."""
    paths = [key(path) for path in (file.path, *file.replicas)]
    return paths + [f"{path}:{file.tree}" for path in paths if file.tree]
