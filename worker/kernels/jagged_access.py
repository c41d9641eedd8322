# mypy: allow-untyped-calls, allow-untyped-defs, allow-untyped-decorators
"""One event's part of a column in compiled code: windows on arrays, and arrays of arrays.

Windows have no owner and count no references: whoever calls the compiled loop keeps the columns alive. Without
annotations are the functions that numba compiles: their types are numba's business.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from numba import extending, njit, types
from numba.core import cgutils
from numba.core.imputils import RefType, impl_ret_borrowed, iternext_impl
from numba.extending import lower_builtin, models, overload, register_model
from numba.np.arrayobj import make_array, populate_array

# Called by compiled code only: a door from Python or C would take a fifth of the time to compile.
_NO_DOORS: dict[str, Any] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
_inner = njit(**_NO_DOORS)

intrinsic: Any = extending.intrinsic  # numba's annotation takes what it makes for a function of no arguments


def borrow(context: Any, builder: Any, array_type: Any, value: Any, start: Any = None, stop: Any = None) -> Any:
    """The array, or its part [start, stop), as an array without an owner: it costs no reference counting."""
    source = make_array(array_type)(context, builder, value)
    shape, strides = cgutils.unpack_tuple(builder, source.shape), cgutils.unpack_tuple(builder, source.strides)
    data = source.data
    if start is not None:
        data = cgutils.pointer_add(builder, data, builder.mul(start, strides[0]), data.type)
        shape = [builder.sub(stop, start), *shape[1:]]
    result = make_array(array_type)(context, builder)
    populate_array(result, data=data, shape=shape, strides=strides, itemsize=source.itemsize, meminfo=None)
    return result._getvalue()


@intrinsic
def window(_typing: Any, array: Any, _start: Any, _stop: Any) -> Any:
    """`array[start:stop]`, along its first dimension, unchecked and without an owner."""

    def make(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
        return borrow(context, builder, sig.args[0], *arguments)

    return array(array, types.intp, types.intp), make


@intrinsic
def _numbered(_typing: Any, array: Any, _start: Any, _stop: Any) -> Any:
    """The array, to be read only, with its elements numbered from `start` to `stop` instead of from 0."""

    def make(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
        value, start, stop = arguments
        return borrow(context, builder, sig.args[0], value, builder.neg(start), builder.sub(stop, start))

    return array.copy(readonly=True)(array, types.intp, types.intp), make


@intrinsic
def _in_a_row(_typing: Any, array: Any) -> Any:
    """All elements of a contiguous array in one dimension. (numba's `ravel` compiles a whole `reshape`, in 0.3 s a type.)"""
    row = array.copy(ndim=1)

    def make(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
        source = make_array(sig.args[0])(context, builder, arguments[0])
        result = make_array(row)(context, builder)
        size, step = source.nitems, source.itemsize
        populate_array(result, data=source.data, shape=[size], strides=[step], itemsize=step, meminfo=None)
        return result._getvalue()

    return row(array), make


@_inner
def widened(values, room, start, stop):
    """`values` from `start` to `stop` in the wider type of `room`, into which they are copied; numbered as they were.

    Without room they are not copied, and nobody looks at them.
    """
    if len(room) == 0:
        return _numbered(room, start, stop)
    narrow, wide = _in_a_row(values), _in_a_row(room)
    each = wide.size // len(room)
    for place in range((stop - start) * each):
        wide[place] = narrow[start * each + place]
    return _numbered(room, start, stop)


class NestedType(types.IterableType):
    """An array of arrays of different lengths: what an event holds of a vector of vectors."""

    def __init__(self, offsets: types.Array, content: types.Type) -> None:
        self.offsets, self.content = offsets, content
        super().__init__(name=f"Nested({offsets}, {content})")

    @property
    def iterator_type(self) -> NestedIteratorType:
        """What `for` goes by."""
        return NestedIteratorType(self)


class NestedIteratorType(types.IteratorType):
    """The place in a loop over such an array."""

    def __init__(self, over: NestedType) -> None:
        self.over = over
        super().__init__(f"iter({over})")

    @property
    def yield_type(self) -> types.Type:
        """An array in it is of the type of all its content."""
        return self.over.content


@register_model(NestedType)
class _NestedModel(models.StructModel):
    def __init__(self, manager: Any, kind: NestedType) -> None:
        super().__init__(manager, kind, [("offsets", kind.offsets), ("content", kind.content)])


@register_model(NestedIteratorType)
class _IteratorModel(models.StructModel):
    def __init__(self, manager: Any, kind: NestedIteratorType) -> None:
        super().__init__(manager, kind, [("at", types.EphemeralPointer(types.intp)), ("over", kind.over)])


@intrinsic
def nested(_typing: Any, offsets: Any, content: Any) -> Any:
    """The arrays between neighbouring offsets in the content; the content may be nested itself."""
    kind = NestedType(offsets, content)

    def make(context: Any, builder: Any, _sig: Any, arguments: Any) -> Any:
        struct = cgutils.create_struct_proxy(kind)(context, builder)
        struct.offsets, struct.content = arguments
        return impl_ret_borrowed(context, builder, kind, struct._getvalue())

    return kind(offsets, content), make


def _member(name: str) -> Any:
    @intrinsic
    def member(_typing: Any, value: Any) -> Any:
        def get(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
            struct = cgutils.create_struct_proxy(sig.args[0])(context, builder, value=arguments[0])
            return impl_ret_borrowed(context, builder, sig.return_type, getattr(struct, name))

        return getattr(value, name)(value), get

    return member


_offsets, _content = _member("offsets"), _member("content")


@overload(len)
def _nested_len(value):
    if isinstance(value, NestedType):
        return lambda value: len(_offsets(value)) - 1
    return None


@overload(operator.getitem)
def _nested_getitem(value, index):
    if not isinstance(value, NestedType) or not isinstance(index, types.Integer):
        return None

    def get_array(value, index):
        at = _checked(index, len(value))
        return window(_content(value), _offsets(value)[at], _offsets(value)[at + 1])

    def get_nested(value, index):
        at, inner = _checked(index, len(value)), _content(value)
        return nested(window(_offsets(inner), _offsets(value)[at], _offsets(value)[at + 1] + 1), _content(inner))

    return get_nested if isinstance(value.content, NestedType) else get_array


def _size(value):
    return len(value)


def _element(value, index):
    return value[index]


@lower_builtin("getiter", NestedType)
def _begin(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
    iterator = context.make_helper(builder, sig.return_type)
    iterator.over = arguments[0]
    iterator.at = cgutils.alloca_once_value(builder, context.get_constant(types.intp, 0))
    return impl_ret_borrowed(context, builder, sig.return_type, iterator._getvalue())


@lower_builtin("iternext", NestedIteratorType)
@iternext_impl(RefType.BORROWED)
def _next(context: Any, builder: Any, sig: Any, arguments: Any, result: Any) -> None:
    kind = sig.args[0]
    iterator = context.make_helper(builder, kind, value=arguments[0])
    at = builder.load(iterator.at)
    size = context.compile_internal(builder, _size, types.intp(kind.over), [iterator.over])
    is_valid = builder.icmp_signed("<", at, size)
    result.set_valid(is_valid)
    with builder.if_then(is_valid):
        one = context.compile_internal(builder, _element, kind.yield_type(kind.over, types.intp), [iterator.over, at])
        result.yield_(one)
        builder.store(builder.add(at, context.get_constant(types.intp, 1)), iterator.at)


@_inner
def _checked(index, length):
    at = index + length if index < 0 else index
    if at < 0 or at >= length:
        raise IndexError("index is out of bounds")
    return at


def call(context: Any, builder: Any, function: Callable[..., Any], kinds: tuple[types.Type, ...], values: Any) -> Any:
    """Calls a compiled function of ours; once compiled it is compiled for the whole process."""
    callee = context.typing_context.resolve_value_type(function)
    sig = callee.get_call_type(context.typing_context, kinds, {})
    return context.get_function(callee, sig)(builder, values)
