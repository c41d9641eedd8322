# mypy: allow-untyped-calls, allow-untyped-defs, allow-untyped-decorators
"""Collections one after the other in compiled code: `em.concat(Muon, Electron)`.

A record of them says which collection it is of, and where it is in its columns; a field is loaded from there.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
from numba import types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.core.imputils import RefType, impl_ret_borrowed, iternext_impl
from numba.core.typing.templates import AttributeTemplate
from numba.extending import infer_getattr, lower_builtin, lower_getattr_generic, models, overload, register_model

from .record_access import CollectionType, intrinsic, load


class UnionType(types.IterableType):
    """Some collections of one event."""

    def __init__(self, parts: tuple[CollectionType, ...]) -> None:
        self.parts = parts
        self.title = f"em.concat({', '.join(part.title for part in parts)})"
        super().__init__(name=f"Union({', '.join(map(str, parts))})")

    @property
    def iterator_type(self) -> UnionIteratorType:
        """What `for` goes by."""
        return UnionIteratorType(self)


class UnionRecordType(types.Type):
    """A record of one of them."""

    def __init__(self, of: UnionType) -> None:
        self.of = of
        super().__init__(f"Record({of})")


class UnionIteratorType(types.IteratorType):
    """The place in a loop over them."""

    def __init__(self, over: UnionType) -> None:
        self.over = over
        super().__init__(f"iter({over})")

    @property
    def yield_type(self) -> types.Type:
        """What the loop has in turn."""
        return UnionRecordType(self.over)


@register_model(UnionType)
class _UnionModel(models.StructModel):
    def __init__(self, manager: Any, kind: UnionType) -> None:
        super().__init__(manager, kind, [(f"part{number}", part) for number, part in enumerate(kind.parts)])


@register_model(UnionRecordType)
class _RecordModel(models.StructModel):
    def __init__(self, manager: Any, kind: UnionRecordType) -> None:
        super().__init__(manager, kind, [("which", types.intp), ("at", types.intp), ("of", kind.of)])


@register_model(UnionIteratorType)
class _IteratorModel(models.StructModel):
    def __init__(self, manager: Any, kind: UnionIteratorType) -> None:
        super().__init__(manager, kind, [("index", types.EphemeralPointer(types.intp)), ("over", kind.over)])


@intrinsic
def union(_typing: Any, collections: Any) -> Any:
    """The collections of a tuple."""
    kind = UnionType(tuple(collections))

    def make(context: Any, builder: Any, _sig: Any, arguments: Any) -> Any:
        struct = cgutils.create_struct_proxy(kind)(context, builder)
        for number in range(len(kind.parts)):
            setattr(struct, f"part{number}", builder.extract_value(arguments[0], number))
        return struct._getvalue()

    return kind(collections), make


def _parts(context: Any, builder: Any, kind: UnionType, value: Any) -> list[Any]:
    """Each of the collections, to have its places."""
    struct = cgutils.create_struct_proxy(kind)(context, builder, value=value)
    return [
        cgutils.create_struct_proxy(part)(context, builder, value=getattr(struct, f"part{number}"))
        for number, part in enumerate(kind.parts)
    ]


def _sum(builder: Any, context: Any, parts: list[Any]) -> Any:
    total = context.get_constant(types.intp, 0)
    for part in parts:
        total = builder.add(total, builder.sub(part.stop, part.start))
    return total


@intrinsic
def _size(_typing: Any, value: Any) -> Any:
    def make(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
        return _sum(builder, context, _parts(context, builder, sig.args[0], arguments[0]))

    return types.intp(value), make


@overload(len)
def _length(value):
    if isinstance(value, UnionType):
        return lambda value: _size(value)
    return None


def _record(context: Any, builder: Any, kind: UnionType, value: Any, index: Any) -> Any:
    """The record of an index, which is not checked."""
    record = cgutils.create_struct_proxy(UnionRecordType(kind))(context, builder)
    which, at = (context.get_constant(types.intp, 0) for _ in range(2))
    before = context.get_constant(types.intp, 0)
    for number, part in enumerate(_parts(context, builder, kind, value)):
        is_in = builder.icmp_signed(">=", index, before)
        which = builder.select(is_in, context.get_constant(types.intp, number), which)
        at = builder.select(is_in, builder.add(part.start, builder.sub(index, before)), at)
        before = builder.add(before, builder.sub(part.stop, part.start))
    record.which, record.at, record.of = which, at, value
    return record._getvalue()


@intrinsic
def _taken(_typing: Any, value: Any, _index: Any) -> Any:
    def make(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
        return _record(context, builder, sig.args[0], *arguments)

    return UnionRecordType(value)(value, types.intp), make


@overload(operator.getitem)
def _getitem(value, index):
    if not isinstance(value, UnionType) or not isinstance(types.unliteral(index), types.Integer):
        return None
    wrong = f"an index of {value.title} below 0 or too large"

    def get(value, index):
        if index < 0 or index >= len(value):
            raise IndexError(wrong)
        return _taken(value, index)

    return get


@lower_builtin("getiter", UnionType)
def _begin(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
    iterator = context.make_helper(builder, sig.return_type)
    iterator.over = arguments[0]
    iterator.index = cgutils.alloca_once_value(builder, context.get_constant(types.intp, 0))
    return impl_ret_borrowed(context, builder, sig.return_type, iterator._getvalue())


@lower_builtin("iternext", UnionIteratorType)
@iternext_impl(RefType.BORROWED)
def _next(context: Any, builder: Any, sig: Any, arguments: Any, result: Any) -> None:
    kind = sig.args[0]
    iterator = context.make_helper(builder, kind, value=arguments[0])
    index = builder.load(iterator.index)
    size = _sum(builder, context, _parts(context, builder, kind.over, iterator.over))
    is_valid = builder.icmp_signed("<", index, size)
    result.set_valid(is_valid)
    with builder.if_then(is_valid):
        result.yield_(_record(context, builder, kind.over, iterator.over, index))
        builder.store(builder.add(index, context.get_constant(types.intp, 1)), iterator.index)


# --- fields -----------------------------------------------------------------------------------------------------------


def _unified(context: Any, kind: UnionType, name: str) -> Any:
    """The type of a field that all of the collections have; it is read of all of them."""
    found = context.unify_types(*(part.field(name) for part in kind.parts))
    if found is None:
        raise TypingError(f"the collections of {kind.title} have the field {name} in types that do not go together")
    return found


@infer_getattr
class _RecordFields(AttributeTemplate):
    key = UnionRecordType

    def generic_resolve(self, value: UnionRecordType, name: str) -> Any:  # type: ignore[override]
        return types.intp if name in ("which", "index") else _unified(self.context, value.of, name)


@infer_getattr
class _UnionFields(AttributeTemplate):
    key = UnionType

    def generic_resolve(self, value: UnionType, name: str) -> Any:  # type: ignore[override]
        return types.Array(_unified(self.context, value, name), 1, "C")


@lower_getattr_generic(UnionRecordType)
def _field_of_record(context: Any, builder: Any, kind: UnionRecordType, value: Any, name: str) -> Any:
    record = cgutils.create_struct_proxy(kind)(context, builder, value=value)
    if name == "which":
        return record.which
    union = cgutils.create_struct_proxy(kind.of)(context, builder, value=record.of)
    wanted = types.intp if name == "index" else _unified(context.typing_context, kind.of, name)
    result = cgutils.alloca_once(builder, context.get_value_type(wanted))
    for number, part in enumerate(kind.of.parts):
        with builder.if_then(builder.icmp_signed("==", record.which, context.get_constant(types.intp, number))):
            of = getattr(union, f"part{number}")
            if name == "index":
                base = cgutils.create_struct_proxy(part)(context, builder, value=of).base
                builder.store(builder.sub(record.at, base), result)
            else:
                loaded = load(context, builder, part, of, record.at, name)
                builder.store(context.cast(builder, loaded, part.field(name), wanted), result)
    return builder.load(result)


@lower_getattr_generic(UnionType)
def _field_of_all(context: Any, builder: Any, kind: UnionType, value: Any, name: str) -> Any:
    array = types.Array(_unified(context.typing_context, kind, name), 1, "C")
    dtype = array.dtype
    names: dict[str, Any] = {"empty": np.empty, "dtype": dtype, "taken": _taken}
    lines = ["found = empty(len(value), dtype)", "for i in range(len(found)):"]
    lines += [f"    found[i] = taken(value, i).{name}", "return found"]
    text = "def field(value):\n" + "".join(f"    {line}\n" for line in lines)
    exec(compile(text, "<a field of em.concat>", "exec"), names)  # noqa: S102  (written above; the name is an attribute)
    return context.compile_internal(builder, names["field"], array(kind), [value])


@overload(operator.eq)
def _equal(one, other):
    if not (isinstance(one, UnionRecordType) and isinstance(other, UnionRecordType)):
        return None
    if one.of == other.of:
        return lambda one, other: one.which == other.which and one.index == other.index
    raise TypingError(f"records of {one.of.title} and of {other.of.title} cannot be compared")


@overload(operator.ne)
def _unequal(one, other):
    if isinstance(one, UnionRecordType) and isinstance(other, UnionRecordType):
        return lambda one, other: one.which != other.which or one.index != other.index
    return None
