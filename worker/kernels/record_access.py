# mypy: allow-untyped-calls, allow-untyped-defs, allow-untyped-decorators
"""Records in compiled code: what a kernel sees of a collection (`Muon[i].pt`) and of a record an event (`MET.pt`).

A collection of an event is a range of positions in columns that all fields share; a record is one of them. Neither is ever
made in memory: `Muon[i].pt` is one load from the column, checked once, where the record is taken.

A type holds the fields that the kernel may touch. Which of them it does touch is noted as its code is typed, since only then
it is known what is a muon: these are the columns that are read.

Without annotations are the functions that numba compiles: their types are numba's business.
"""

from __future__ import annotations

import json
import operator
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numba import extending, types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.core.imputils import RefType, impl_ret_borrowed, iternext_impl
from numba.core.typing.templates import AttributeTemplate
from numba.extending import infer_getattr, lower_builtin, lower_getattr_generic, models, overload, register_model
from numba.np.arrayobj import load_item, make_array, populate_array
from numba.np.numpy_support import from_dtype

from ...protocol.errors import nearest
from .inputs import WIDE

intrinsic: Any = extending.intrinsic  # numba's annotation takes what it makes for a function of no arguments

touched: dict[str, set[str]] = {}
"""The fields that typed code has touched, by the tag of their record: what is compiled once is never typed again."""
others: dict[str, Mapping[str, str]] = {}
"""By the tag of a record, its fields that its type does not have, each with why it cannot be read; empty where it can."""
unknown: dict[str, Callable[[str], str]] = {}
"""By the tag of a record, what to say of a field that it does not have."""
offered: dict[str, set[str]] = {}
"""The fields with which code was typed in the end, by the tag of their record: it need not ask for them again."""
wanted: dict[str, set[str]] = {}
"""By the tag of a record, those of the `others` that can be read, and that code which did not compile has asked for."""


def missing(tag: str, name: str) -> str:
    """Why something has no such field, if that is known; one that it could have is wanted from now on."""
    why = others.get(tag, {}).get(name)
    if why == "":
        wanted.setdefault(tag, set()).add(name)
    return why or ""


class FieldsType(types.Type):
    """Some columns by the names of fields, each one number for each position.

    Args:
        tag: names the parameter of one kernel.
        name: as users know it.
        fields: their types where they are stored, as numpy writes them: `f4`.
    """

    def __init__(self, tag: str, name: str, fields: Mapping[str, str]) -> None:
        self.tag, self.title = tag, name
        self.fields: dict[str, types.Type] = {field: from_dtype(np.dtype(kind)) for field, kind in fields.items()}
        self._wide: dict[str, types.Type] = {
            field: from_dtype(np.dtype(WIDE.get(kind, kind))) for field, kind in fields.items()
        }
        super().__init__(name=f"{type(self).__name__}({name}, {json.dumps(fields)}, {tag})")

    def field(self, name: str) -> types.Type:
        """The type of a field in 64 bits; it is read from now on."""
        if name not in self.fields:
            known = [*self.fields, *others.get(self.tag, {})]
            why = missing(self.tag, name)
            raise TypingError(why or f"{self.title} has no field {name}{nearest(name, known)}")
        touched.setdefault(self.tag, set()).add(name)
        return self._wide[name]

    @property
    def pointers(self) -> list[tuple[str, types.Type]]:
        """Where its columns are."""
        return [(f"of_{field}", types.CPointer(kind)) for field, kind in self.fields.items()]


class CollectionType(FieldsType, types.IterableType):
    """The records of one event."""

    @property
    def iterator_type(self) -> CollectionIteratorType:
        """What `for` goes by."""
        return CollectionIteratorType(self)


class RecordType(types.Type):
    """One record of a collection, or that of an event."""

    def __init__(self, of: FieldsType) -> None:
        self.of = of
        super().__init__(f"Record({of})")


class CollectionIteratorType(types.IteratorType):
    """The place in a loop over a collection."""

    def __init__(self, over: Any) -> None:
        self.over = over
        super().__init__(f"iter({over})")

    @property
    def yield_type(self) -> types.Type:
        """What the loop has in turn."""
        return RecordType(self.over)


@register_model(FieldsType)
class _FieldsModel(models.StructModel):
    """Only where columns are; of one event nothing."""

    def __init__(self, manager: Any, kind: FieldsType) -> None:
        super().__init__(manager, kind, kind.pointers or [("nothing", types.int8)])


@register_model(CollectionType)
class _CollectionModel(models.StructModel):
    """From `start` to `stop`; those of the event begin at `base`, from where they are numbered."""

    def __init__(self, manager: Any, kind: CollectionType) -> None:
        places = [(name, types.intp) for name in ("base", "start", "stop")]
        super().__init__(manager, kind, [*places, *kind.pointers])


@register_model(RecordType)
class _RecordModel(models.StructModel):
    def __init__(self, manager: Any, kind: RecordType) -> None:
        super().__init__(manager, kind, [("at", types.intp), ("of", kind.of)])


@register_model(CollectionIteratorType)
class _IteratorModel(models.StructModel):
    def __init__(self, manager: Any, kind: CollectionIteratorType) -> None:
        super().__init__(manager, kind, [("at", types.EphemeralPointer(types.intp)), ("over", kind.over)])


# --- made by the loop -------------------------------------------------------------------------------------------------


def describe(tag: str, name: str, fields: Mapping[str, str]) -> str:
    """What `collection` and `record` make a type of."""
    return json.dumps([tag, name, dict(fields)])


def _with_pointers(context: Any, builder: Any, kind: Any, columns: Any, kinds: Any) -> Any:
    struct = cgutils.create_struct_proxy(kind)(context, builder)
    for number, field in enumerate(kind.fields):
        array = make_array(kinds[number])(context, builder, builder.extract_value(columns, number))
        setattr(struct, f"of_{field}", array.data)
    return struct


@intrinsic(prefer_literal=True)
def collection(_typing: Any, description: Any, _start: Any, _stop: Any, columns: Any) -> Any:
    """The records from one position to before another of these columns."""
    kind = CollectionType(*json.loads(description.literal_value))

    def make(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
        struct = _with_pointers(context, builder, kind, arguments[3], sig.args[3])
        struct.base = struct.start = arguments[1]
        struct.stop = arguments[2]
        return struct._getvalue()

    return kind(description, types.intp, types.intp, columns), make


@intrinsic(prefer_literal=True)
def record(_typing: Any, description: Any, _at: Any, columns: Any) -> Any:
    """The record at a position of these columns."""
    kind = RecordType(FieldsType(*json.loads(description.literal_value)))

    def make(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
        fields = _with_pointers(context, builder, kind.of, arguments[2], sig.args[2])
        return _record(context, builder, kind, arguments[1], fields._getvalue())

    return kind(description, types.intp, columns), make


def _record(context: Any, builder: Any, kind: RecordType, at: Any, of: Any) -> Any:
    struct = cgutils.create_struct_proxy(kind)(context, builder)
    struct.at, struct.of = at, of
    return struct._getvalue()


# --- fields -----------------------------------------------------------------------------------------------------------


@infer_getattr
class _RecordFields(AttributeTemplate):
    key = RecordType

    def generic_resolve(self, value: RecordType, name: str) -> Any:  # type: ignore[override]
        if name == "index" and isinstance(value.of, CollectionType) and not has_field(value.of, name):
            return types.intp
        return value.of.field(name)


@infer_getattr
class _CollectionFields(AttributeTemplate):
    key = CollectionType

    def generic_resolve(self, value: CollectionType, name: str) -> Any:  # type: ignore[override]
        return types.Array(value.field(name), 1, "C", readonly=True)


def has_field(kind: FieldsType, name: str) -> bool:
    """Whether records of this type have a field of this name, which may have to be asked for."""
    return name in kind.fields or name in others.get(kind.tag, {})


def load(context: Any, builder: Any, kind: FieldsType, of: Any, at: Any, name: str) -> Any:
    """The value of a field at a position."""
    struct = cgutils.create_struct_proxy(kind)(context, builder, value=of)
    place = builder.gep(getattr(struct, f"of_{name}"), [at])
    stored = load_item(context, builder, types.Array(kind.fields[name], 1, "C"), place)
    return context.cast(builder, stored, kind.fields[name], kind.field(name))


@lower_getattr_generic(RecordType)
def _field_of_record(context: Any, builder: Any, kind: RecordType, value: Any, name: str) -> Any:
    struct = cgutils.create_struct_proxy(kind)(context, builder, value=value)
    if name == "index" and isinstance(kind.of, CollectionType) and not has_field(kind.of, name):
        over = cgutils.create_struct_proxy(kind.of)(context, builder, value=struct.of)
        return builder.sub(struct.at, over.base)
    return load(context, builder, kind.of, struct.of, struct.at, name)


@lower_getattr_generic(CollectionType)
def _field_of_all(context: Any, builder: Any, kind: CollectionType, value: Any, name: str) -> Any:
    array = types.Array(kind.fields[name], 1, "C", readonly=True)
    struct = cgutils.create_struct_proxy(kind)(context, builder, value=value)
    result = make_array(array)(context, builder)
    size = context.get_abi_sizeof(context.get_data_type(array.dtype))
    step = context.get_constant(types.intp, size)
    data = builder.gep(getattr(struct, f"of_{name}"), [struct.start])
    length = builder.sub(struct.stop, struct.start)
    populate_array(result, data=data, shape=[length], strides=[step], itemsize=step, meminfo=None)
    return result._getvalue()


# --- which records there are ------------------------------------------------------------------------------------------


def _place(name: str) -> Any:
    @intrinsic
    def place(_typing: Any, value: Any) -> Any:
        def get(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
            struct = cgutils.create_struct_proxy(sig.args[0])(context, builder, value=arguments[0])
            return getattr(struct, name)

        return types.intp(value), get

    return place


_start, _stop, _at = _place("start"), _place("stop"), _place("at")


@intrinsic
def _taken(_typing: Any, value: Any, _at: Any) -> Any:
    """The record at a position."""
    kind = RecordType(value)

    def make(context: Any, builder: Any, _sig: Any, arguments: Any) -> Any:
        return _record(context, builder, kind, arguments[1], arguments[0])

    return kind(value, types.intp), make


@intrinsic
def _part(_typing: Any, value: Any, _start: Any, _stop: Any) -> Any:
    """The records from one position to before another."""

    def make(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
        struct = cgutils.create_struct_proxy(sig.return_type)(context, builder, value=arguments[0])
        struct.start, struct.stop = arguments[1:]
        return struct._getvalue()

    return value(value, types.intp, types.intp), make


@overload(len)
def _length(value):
    if isinstance(value, CollectionType):
        return lambda value: _stop(value) - _start(value)
    return None


@overload(operator.getitem, prefer_literal=True)
def _getitem(value, index):
    if not isinstance(value, CollectionType):
        return None
    name = value.title
    below = (
        f"{name}[i] with i below 0: an index of -1 often says that there is none; {name}[len({name}) - 1] is the last"
    )
    beyond = f"{name}[i] with i too large: there are len({name})"

    def get(value, index):
        if index < 0:
            raise IndexError(below)
        at = _start(value) + index
        if at >= _stop(value):
            raise IndexError(beyond)
        return _taken(value, at)

    def get_last(value, index):
        at = _stop(value) + index
        if at < _start(value):
            raise IndexError(beyond)
        return _taken(value, at)

    def get_part(value, index):
        first, last, _ = index.indices(_stop(value) - _start(value))
        return _part(value, _start(value) + first, _start(value) + max(first, last))

    if isinstance(index, types.SliceType):
        return None if index.has_step else get_part
    if isinstance(index, types.IntegerLiteral) and index.literal_value < 0:
        return get_last
    return get if isinstance(types.unliteral(index), types.Integer) else None


@lower_builtin("getiter", CollectionType)
def _begin(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
    over = cgutils.create_struct_proxy(sig.args[0])(context, builder, value=arguments[0])
    iterator = context.make_helper(builder, sig.return_type)
    iterator.over = arguments[0]
    iterator.at = cgutils.alloca_once_value(builder, over.start)
    return impl_ret_borrowed(context, builder, sig.return_type, iterator._getvalue())


@lower_builtin("iternext", CollectionIteratorType)
@iternext_impl(RefType.BORROWED)
def _next(context: Any, builder: Any, sig: Any, arguments: Any, result: Any) -> None:
    kind = sig.args[0]
    iterator = context.make_helper(builder, kind, value=arguments[0])
    over = cgutils.create_struct_proxy(kind.over)(context, builder, value=iterator.over)
    at = builder.load(iterator.at)
    is_valid = builder.icmp_signed("<", at, over.stop)
    result.set_valid(is_valid)
    with builder.if_then(is_valid):
        result.yield_(_record(context, builder, kind.yield_type, at, iterator.over))
        builder.store(builder.add(at, context.get_constant(types.intp, 1)), iterator.at)


@overload(operator.eq)
def _equal(one, other):
    if not (isinstance(one, RecordType) and isinstance(other, RecordType)):
        return None
    if one.of.tag == other.of.tag:
        return lambda one, other: _at(one) == _at(other)
    return lambda one, other: False  # noqa: ARG005


@overload(operator.ne)
def _unequal(one, other):
    if not (isinstance(one, RecordType) and isinstance(other, RecordType)):
        return None
    if one.of.tag == other.of.tag:
        return lambda one, other: _at(one) != _at(other)
    return lambda one, other: True  # noqa: ARG005
