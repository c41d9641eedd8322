"""What to say where an analysis asks the events for what they do not have: a field of that name, a list of records."""

from __future__ import annotations

import re
import traceback
from typing import TYPE_CHECKING, Any

import awkward as ak

from ..protocol.errors import DatasetError, nearest
from .groups import groups_of

if TYPE_CHECKING:
    from .source import Source

_NO_FIELD = re.compile(r"no field (?:named )?'([^']+)'")
"""How awkward says so."""
_MOST_NAMED = 12
"""Fields that are named all; of more, those that are most like it."""
_MOST_SHOWN = 3


def missing_field(error: Exception, events: ak.Array) -> Exception | None:
    """The error of an analysis of some events that awkward raised for a field, or method, that is not there: with the
    names that are. None for all others.

    What concerns the events themselves has the attribute `missing_column`, as `DatasetError` has.
    """
    said = _NO_FIELD.search(str(error))
    array = _asked(error)
    if said is None or array is None or said[1] in array.fields:
        return None
    name, fields = said[1], array.fields
    told: Any = type(error)(_text(name, array, events))
    if fields == events.fields and not hasattr(ak, name):
        told.missing_column = name
    found: Exception = told
    return found


def note_of_group(error: Exception, events: ak.Array) -> str:
    """What to say of an error of awkward's where an analysis takes the columns of a name for a list of records, as
    `events.Muon` of NanoAOD is, and they have no counter that would tell; empty for all others.
    """
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    if not frames or not str(frames[-1].f_globals.get("__name__")).startswith("awkward"):
        return ""
    groups = {group for name in events.fields for group in groups_of(name)}
    for frame in frames:
        for array in (frame.f_locals.get("self"), frame.f_locals.get("array")):
            if not isinstance(array, ak.Array) or not array.layout.is_record or array.fields == events.fields:
                continue
            for name in groups.intersection(events.fields):
                if events[name].layout.is_record and events[name].fields == array.fields:
                    shown = [f"{name}.{field}" for field in array.fields[:_MOST_SHOWN]]
                    return (
                        f"events.{name} is one record an event, whose fields are columns ({', '.join(shown)}...), and not a "
                        "list of records: few of its columns are lists, and no counter says that these belong together. "
                        f"Use its columns: events.{name}.x[events.{name}.y > 20], ak.num(events.{name}.x), or make records "
                        "of lists that belong together with ak.zip"
                    )
    return ""


def check_readable(source: Source, error: Exception, entry: int) -> None:
    """Raise the `DatasetError` that says why a column cannot be read, if that is why the events have no field of its name.

    Args:
        source: what the events came from.
        error: as `missing_field` returns it, or any other.
        entry: one of the events.
    """
    name = getattr(error, "missing_column", "")
    # To ask for one that is not there would count as a column that the analysis needs.
    if not name or source.file is None or name not in source.file.names:
        return
    try:
        source.array(name, entry, entry)
    except DatasetError as reason:
        if not reason.missing_column:
            raise reason from None


def _text(name: str, array: ak.Array, events: ak.Array) -> str:
    if hasattr(ak, name):
        return f"awkward arrays have no method {name}: write ak.{name}(...)"
    if not array.fields:
        return f"an array of {ak.type(array).content} has no {name}"
    if array.fields == events.fields:
        return f"the events have no {name}{nearest(name, events.fields)}"
    return f"{_group(array.fields, events.fields)} has no {name}{nearest(name, array.fields, few=_MOST_NAMED)}"


def _group(fields: list[str], names: list[str]) -> str:
    """What the events call records with these fields. Nothing is made for it: in a search for bad events this is often."""
    known = set(names)
    groups = (name for name in names if all({f"{name}_{field}", f"{name}.{field}"} & known for field in fields))
    return next(groups, "the record")


def _asked(error: BaseException) -> ak.Array | None:
    """The array that was asked for something when the error was raised, the innermost one; None if there was none."""
    found = None
    for frame, _ in traceback.walk_tb(error.__traceback__):
        array = frame.f_locals.get("self")
        found = array if isinstance(array, ak.Array | ak.Record) else found
    return found
