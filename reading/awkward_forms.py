"""The awkward forms of branches and fields as uproot has them: what their arrays are made of, before anything is read."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import awkward as ak
import numpy as np
from uproot.interpretation.jagged import AsJagged
from uproot.interpretation.numerical import AsDtype
from uproot.interpretation.objects import AsStridedObjects


@functools.cache
def plain_form(native: np.dtype[Any], shape: tuple[int, ...], is_list: bool, header: int, depth: int = 1) -> Any:
    """The awkward form that uproot gives branches of these values."""
    kind = AsDtype(np.dtype((native, shape)))
    form = (AsJagged(kind, header) if is_list else kind).awkward_form(None)
    for _ in range(depth - 1):
        form = ak.forms.ListOffsetForm("i64", form)
    return form


def field_forms(ntuple: Any, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The awkward forms of fields of an RNTuple: uproot's `to_akform` takes seconds for as many as NanoAOD has."""
    paths: dict[str, list[str]] = {}
    for path in (field.path for field in ntuple.all_fields):
        if path is not None:
            paths.setdefault(path.partition(".")[0], []).append(path)
    forms: dict[str, Any] = {}
    for name, field in fields.items():
        try:
            form = ntuple.field_form(field.field_id, paths[name])
            form.length_zero_array()  # a form of what awkward cannot hold says so only here
            forms[name] = form
        except (
            Exception
        ):  # uproot's and awkward's ways to say no; `Reader.array` says it to whoever asks for this field
            forms[name] = None
    return forms


def type_text(form: Any) -> str:
    """The type of a form's values in an event as awkward writes it, members of records in alphabetical order: the same class
    has them in another order in the files of another production.

    Example:
        >>> type_text(ak.forms.RecordForm([ak.forms.NumpyForm("int32"), ak.forms.NumpyForm("bool")], ["b", "a"]))
        '{a: bool, b: int32}'
    """
    return str(_ordered(form).type)


def _ordered(form: Any) -> Any:
    if form.is_union or (form.is_record and form.is_tuple):
        return form.copy(contents=[_ordered(content) for content in form.contents])
    if form.is_record:
        names = sorted(form.fields)
        return form.copy(contents=[_ordered(form.content(name)) for name in names], fields=names)
    return form.copy(content=_ordered(form.content)) if hasattr(form, "content") and not form.is_numpy else form


def branch_form(tbranch: Any, kind: Any = None) -> Any:
    """The awkward form of a branch of a TTree, read by an interpretation or by its own; None if it has none."""
    kind = tbranch.interpretation if kind is None else kind
    is_strided = isinstance(kind.content if isinstance(kind, AsJagged) else kind, AsStridedObjects)
    try:
        form = kind.awkward_form(tbranch.file)
        return _without_hidden(form) if is_strided else form
    except AssertionError:  # uproot has arrays, but no forms, of structures with arrays in them
        empty = np.empty(0, kind.to_dtype) if type(kind) is AsDtype else None
        return None if empty is None else ak.from_numpy(empty, regulararray=True, highlevel=False).form
    except Exception:  # uproot's parsers raise anything; `Reader.array` says what, to whoever asks for this branch
        return None


def _without_hidden(form: Any) -> Any:
    """The form without the members that uproot's arrays do not have, though its forms do."""
    if form.is_list:
        return form.copy(content=_without_hidden(form.content))
    if not form.is_record:
        return form
    shown = {name: form.content(name) for name in form.fields if not name.startswith("@")}
    return form.copy(contents=[_without_hidden(content) for content in shown.values()], fields=list(shown))
