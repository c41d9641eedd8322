"""Where what belongs to a query lies in the folder that it writes to.

skim/ttbar-0000.parquet           files, once the query is over
skim/.eventmill-2f4c...json       their list
skim/.eventmill-2f4c.../          pieces and joined files until then; what is left in it at the end counts nowhere

Outputs of one query in one folder, whose files have other names or another format, have a list and a hidden folder each.
"""

from __future__ import annotations

import re
import zlib

from ..analysis.writes import WriteSpec
from ..merge.rows import OutputFile
from .grouping import SUFFIX, stem
from .storage import base, join

_TOKEN = 16
"""Digits of a query's token in names: enough to tell all queries that ever write to a folder apart."""


def staging(spec: WriteSpec) -> str:
    """The folder of what has not got its name yet.

    Example:
        >>> from msgspec.structs import replace
        >>> from eventmill.analysis.writes import write
        >>> spec = replace(write({}, "/skim").spec, token="2f4c" * 8)
        >>> staging(spec), manifest(spec)
        ('/skim/.eventmill-2f4c2f4c2f4c2f4ceb5757f3', '/skim/.eventmill-2f4c2f4c2f4c2f4ceb5757f3.json')
    """
    output = zlib.crc32(f"{spec.name}{SUFFIX[spec.format]}".encode())
    return join(spec.target, f".eventmill-{spec.token[:_TOKEN]}{output:08x}")


def manifest(spec: WriteSpec) -> str:
    """The list of all files of an output, which is written when they have their names."""
    return f"{staging(spec)}.json"


def manifests(names: list[str]) -> list[str]:
    """Those of queries that have written to a folder, among the names in it."""
    return [name for name in names if re.fullmatch(r"\.eventmill-[0-9a-f]+\.json", name)]


def files_of(names: list[str], spec: WriteSpec, dataset: str) -> list[str]:
    """The files of a dataset that an output, this or an earlier one, has written to a folder, among the names in it.

    Example:
        >>> from eventmill.analysis.writes import write
        >>> files_of(["a-0000.root", "a-b-0000.root", "a-0000.parquet"], write({}, "f", format="root").spec, "a")
        ['a-0000.root']
    """
    pattern = re.compile(re.escape(stem(spec, dataset)) + r"-\d{4,}" + re.escape(SUFFIX[spec.format]))
    return [name for name in names if pattern.fullmatch(name)]


def is_of(file: OutputFile, spec: WriteSpec) -> bool:
    """Whether a file is one of an output."""
    name = base(file.path)
    return file.path == join(spec.target, name) and bool(files_of([name], spec, file.dataset))
