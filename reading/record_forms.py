"""Columns of records by their members: which buffer of an awkward array comes from which member's column.

To touch `events.Particles.energy` is to read the energies, and where the list of each entry ends: neither the other members
nor the names of the particles. So the form of such a column is taken apart: each member of numbers, strings or lists of them
is a part, which is a column of its own to the reader (`Particles.energy`); so are the lengths of each list of records
(`Particles.#`), which all members share.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import awkward as ak

from .columns import Column, Flat, Jagged, offsets_of, tight
from .rntuple.members import SIZES


@dataclass(frozen=True, slots=True)
class Part:
    """What some buffers of a column come from.

    Attributes:
        column: name of the column to the reader.
        depth: how many lists lie around it; its buffers are of what all of these hold, one behind the other.
        is_plain: a kernel could read the column: the reader gives it by `read`, else by `array`.
        is_sizes: it has the lengths of lists of records.
    """

    column: str
    depth: int = 0
    is_plain: bool = False
    is_sizes: bool = False


@dataclass(slots=True)
class SplitForm:
    """A form whose buffers come from several columns.

    Attributes:
        form: with keys.
        parts: by form key.
        forms: of the columns of the parts.
    """

    form: Any
    parts: dict[str, Part] = field(default_factory=dict)
    forms: dict[str, Any] = field(default_factory=dict)

    def take(self, other: SplitForm) -> None:
        """Take the parts of another one, too."""
        self.parts |= other.parts
        self.forms |= other.forms


def split(form: Any, name: str, has: Callable[[str], bool]) -> SplitForm | None:
    """Take the form of a column apart.

    Args:
        form: the column's.
        name: its name.
        has: whether the reader has a member, or lengths, of this name.

    Returns:
        None if it holds no records that can be read by their members.
    """
    if not _holds_records(form):
        return None
    made = SplitForm(None)
    made.form = _records(made, form, name, (), has)
    return None if made.form is None else made


def _holds_records(form: Any) -> bool:
    while form.is_list and form.parameter("__array__") is None:
        form = form.content
    return bool(form.is_record and not form.is_tuple and form.fields)


def _records(made: SplitForm, form: Any, name: str, around: tuple[int, ...], has: Callable[[str], bool]) -> Any:
    """The form with keys, or None if it cannot be read by parts. `around`: sizes of lists around it, 0 if they differ."""
    if form.is_record:
        contents = [_member(made, form.content(member), f"{name}.{member}", around, has) for member in form.fields]
        return None if None in contents else form.copy(contents=contents, form_key=f"{name}/{{}}")
    key = f"{name}/[{len(around)}]"
    content = _records(made, form.content, name, (*around, form.size if form.is_regular else 0), has)
    if content is None or form.is_regular:
        return None if content is None else form.copy(content=content, form_key=key)
    sizes = name + SIZES
    if not has(sizes):
        return None
    made.parts[key] = Part(sizes, len(around), is_sizes=True)
    made.forms.setdefault(sizes, _within(ak.forms.NumpyForm("int64"), around))  # the innermost lists come first
    return ak.forms.ListOffsetForm("i64", content, parameters=form.parameters, form_key=key)


def _member(made: SplitForm, form: Any, name: str, around: tuple[int, ...], has: Callable[[str], bool]) -> Any:
    if _holds_records(form):
        inner = SplitForm(None)
        inner.form = _records(inner, form, name, around, has)
        if inner.form is not None:
            made.take(inner)
            return inner.form
    if not has(name):
        return None
    found = keyed(form, name)
    made.parts |= dict.fromkeys(_form_keys(found), Part(name, len(around), _is_plain(form)))
    made.forms[name] = _within(form, around)
    return found


def _within(form: Any, around: tuple[int, ...]) -> Any:
    for size in reversed(around):
        form = ak.forms.RegularForm(form, size) if size else ak.forms.ListOffsetForm("i64", form)
    return form


def _form_keys(form: Any) -> list[str]:
    inner = getattr(form, "contents", None) or (
        [form.content] if hasattr(form, "content") and not form.is_record else []
    )
    return [form.form_key, *(key for content in inner for key in _form_keys(content))]


def _is_plain(form: Any) -> bool:
    """Numbers, strings, and lists and arrays of them."""
    while form.is_list:
        form = form.content
    return bool(form.is_numpy)


# --- buffers ----------------------------------------------------------------------------------------------------------


def sizes_of(column: Column, depth: int) -> Any:
    """The offsets of the lists in a column of lengths that lie in so many lists."""
    for _ in range(depth):
        if isinstance(column, Flat):  # lists of a fixed length
            column = Flat(column.values.reshape(-1, *column.values.shape[2:]))
        else:
            assert isinstance(column, Jagged)
            column = tight(column).content
    if isinstance(column, Flat):
        return offsets_of(column.values)
    return column.offsets - column.offsets[0]


def buffers_of(array: ak.Array, name: str, depth: int = 0) -> dict[str, Any]:
    """The buffers of what lies in so many lists of a column."""
    layout = all_regular(array).layout
    if not depth and layout.is_list and not layout.is_regular:
        # The elements of its lists are also put together with those of other columns: all of them, and no others.
        layout = layout.to_ListOffsetArray64(True)
        layout = layout.copy(content=layout.content[: layout.offsets[-1]])
    for _ in range(depth):
        if layout.is_regular:
            layout = layout.content[: len(layout) * layout.size]
        else:
            layout = layout.to_ListOffsetArray64(True)
            layout = layout.content[: layout.offsets[-1]]
    _, _, buffers = ak.to_buffers(layout, form_key=keys(name), buffer_key="{form_key}-{attribute}")
    return dict(buffers)


def buffers_of_column(column: Column, name: str, depth: int = 0) -> dict[str, Any]:
    """As `buffers_of`, of what a kernel could read."""
    for _ in range(depth):
        column = _content(column)
    buffers: dict[str, Any] = {}
    node = 0
    while not isinstance(column, Flat):
        buffers[f"{name}/{node}-offsets"] = column.offsets - column.offsets[0]
        column, node = _content(column), node + 1
    buffers[f"{name}/{node + column.values.ndim - 1}-data"] = column.values.reshape(-1)
    return buffers


def _content(column: Column) -> Column:
    """What is in the lists, or arrays, of a column, one behind the other."""
    if isinstance(column, Flat):
        return Flat(column.values.reshape(-1, *column.values.shape[2:]))
    inner = tight(column)
    return inner.content if isinstance(inner, Jagged) else Flat(inner.characters)


def keyed(form: Any, name: str) -> Any:
    """The form with keys that tell its nodes from those of other columns."""
    if _is_plain(form) and (found := _keyed_lists(form, name, 0)) is not None:
        return found
    keyed, _, _ = ak.to_buffers(all_regular(form.length_zero_array()), form_key=keys(name))
    return keyed


def _keyed_lists(form: Any, name: str, node: int) -> Any:
    """As `keyed`, of numbers in lists; a tenth of the time. None where awkward has to make other nodes of them."""
    key = f"{name}/{node}"
    if form.is_numpy:
        return None if form.inner_shape else form.copy(form_key=key)
    if not (form.is_regular or (isinstance(form, ak.forms.ListOffsetForm) and form.offsets == "i64")):
        return None
    content = _keyed_lists(form.content, name, node + 1)
    return None if content is None else form.copy(content=content, form_key=key)


def all_regular(array: ak.Array) -> ak.Array:
    """The array with every dimension of fixed size a node of its own: awkward cannot give numbers of more than one a shape
    whose number is not known before they are read.
    """
    return ak.transform(lambda _, **__: None, array, numpy_to_regular=True)


def keys(name: str) -> str:
    """The form key of each node of a column that goes through buffers."""
    return name + "/{id}"
