"""Whether columns are what ROOT reads: its answers are JSON, of each tree the values of each branch, entry by entry."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable
from typing import Any

import awkward as ak
from agreement import as_layout
from eventmill.protocol.errors import DatasetError
from eventmill.reading.reader import Reader
from property_tests import at_night

Range = tuple[int, int]
Events = Callable[[int, int], Any]
"""Of `Reader.events`, kept: to make one of hundreds of columns takes longer than to read a column of it."""


def differences(
    path: str,
    tree: str,
    answers: dict[str, list[Any]],
    known: Iterable[str] = (),
    at_every_cut: Callable[[str], bool] = lambda name: True,
) -> tuple[int, list[str]]:
    """How many columns are right, and what differs: in arrays, columns of events and those of kernels.

    Args:
        path, tree: what is read.
        answers: ROOT's.
        known: patterns for the names of what is not compared.
        at_every_cut: whether a column of this name is read in many pieces; if not, as a whole and a part of it.
    """
    reader = Reader(path, tree)
    events = functools.cache(reader.events)
    found, equal = [], 0
    for name in reader.names:
        right = None if any(re.fullmatch(pattern, name) for pattern in known) else _answer(name, answers)
        if right is None or _is_group(reader, name):
            continue
        assert len(right) == reader.entries
        problem = _difference(reader, events, name, right, _cuts(reader.entries, at_every_cut(name)))
        equal += problem == ""
        found += [f"{tree}, {name}: {problem}"] if problem else []
    reader.close()
    return equal, found


def _is_group(reader: Reader, name: str) -> bool:
    """Whether a branch of a TTree consists of others, which are compared themselves."""
    return not reader.stored.is_rntuple and (
        reader.stored.is_group(name) or bool(getattr(reader.names[name], "branches", ()))
    )


def _answer(name: str, answers: dict[str, list[Any]]) -> Any:
    """ROOT's of a branch, or of a member of an object; None where it has none of this name."""
    if name in answers:
        return plain(answers[name])
    top = max((it for it in answers if name.startswith(f"{it.rstrip('.')}.")), key=len, default="")
    if not top:
        return None
    try:
        return plain(
            _member(answers[top], [part.split("[")[0] for part in name[len(top.rstrip(".")) + 1 :].split(".")])
        )
    except (KeyError, TypeError):
        return None


def _member(value: Any, way: list[str]) -> Any:
    if not way:
        return value
    return [_member(item, way) for item in value] if isinstance(value, list) else _member(value[way[0]], way[1:])


def _difference(reader: Reader, events: Events, name: str, right: list[Any], cuts: list[Range]) -> str:
    """What differs first; nothing where a kind of reading refuses it in words."""
    for what in ("array", "events", "read"):
        for start, stop in cuts:
            try:
                got = _read(reader, events, what, name, start, stop)
            except DatasetError:
                break
            ours, theirs = plain(got), right[start:stop]
            if repr(ours) != repr(theirs):  # which tells True from 1, -0.0 from 0.0, and has one NaN equal another
                entry = next(i for i in range(stop - start) if repr(ours[i]) != repr(theirs[i]))
                return (
                    f"{what} of [{start}, {stop}) has in entry {start + entry} {str(ours[entry])[:200]}, "
                    f"ROOT {str(theirs[entry])[:200]}"
                )
    return ""


def _cuts(n: int, every: bool) -> list[Range]:
    """The whole and a part, which begins and ends within clusters, of n entries; or also the ends and all in steps."""
    cuts = [(0, n), (n // 3, n - n // 4)]
    if every:
        cuts += [(n // 2, n // 2 + 1), (n - 1, n), (0, 1), (n // 2, n // 2), *_steps(n, 17)]
        cuts += _steps(n, 7) if at_night() else []
    return [cut for cut in cuts if 0 <= cut[0] <= cut[1] <= n]


def _steps(n: int, size: int) -> list[Range]:
    return [(start, min(n, start + size)) for start in range(0, n, size)]


def _read(reader: Reader, events: Events, what: str, name: str, start: int, stop: int) -> Any:
    if what == "array":
        return reader.array(name, start, stop).tolist()
    if what == "read":
        return ak.Array(as_layout(reader.read([name], start, stop)[name])).tolist()
    columns = events(start, stop)
    if name not in columns.fields:
        raise DatasetError("no column of events")
    return ak.materialize(columns[name]).tolist()


def plain(value: Any) -> Any:
    """Values without what is no value: tuples for pairs, and records with the members of their bases."""
    if isinstance(value, dict):
        members: dict[str, Any] = {}
        for name, member in value.items():
            members |= plain(member) if name.startswith(":") else {name: plain(member)}
        numbered = [f"_{i}" for i in range(len(members))]
        if members and (list(members) == numbered or list(members) == ["first", "second"]):
            return tuple(members.values())
        return dict(sorted(members.items()))
    if isinstance(value, tuple):
        return tuple(plain(item) for item in value)
    return [plain(item) for item in value] if isinstance(value, list) else value
