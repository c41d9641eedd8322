# mypy: allow-untyped-calls, allow-untyped-defs, allow-untyped-decorators
"""Rows for files in compiled code: `skim.append(MET_pt, Muon_pt)`, each column into a buffer that grows as it has to.

Buffers are memory of C's `realloc`, since compiled code cannot make arrays that Python keeps; where they are, how many
elements they hold and have is in one array of numbers (`state`), behind the number of rows. A row counts when all of its
columns are in their buffers. A column of lists has two of them: how many numbers each row has, and these.

Functions without annotations are those that numba compiles: their types are numba's business.
"""

from __future__ import annotations

import ctypes
import functools
import json
from collections.abc import Sequence
from inspect import Parameter, Signature
from typing import Any

import awkward as ak
import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.core.imputils import lower_builtin
from numba.core.typing.templates import AttributeTemplate, infer_getattr, signature
from numba.extending import models, register_model
from numba.np.arrayobj import make_array
from numba.np.numpy_support import from_dtype
from numpy.typing import NDArray

from ...analysis.row_output import Column, Output
from ...protocol.errors import AnalysisError
from .histogram_fill import bound_method
from .jagged_access import NestedType, borrow, call, intrinsic

_STATE = types.Array(types.int64, 1, "C")
_ADDRESS, _CAPACITY, _SIZE = range(3)
"""What the state has of a buffer, in elements but for the address."""
_BUFFER = 3
_ROWS = 1
"""What is in front of the buffers."""
_LEAST = 1024
"""Elements that a buffer is made for."""
_NO_DOORS: dict[str, Any] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}  # only compiled code calls it
_inner = njit(**_NO_DOORS)
_free = ctypes.CDLL(None).free
_free.argtypes, _free.restype = [ctypes.c_void_p], None


class RowBuffers:
    """The buffers of the rows of an output.

    Args:
        output: whose columns.

    Attributes:
        state: what compiled code knows of them.
    """

    def __init__(self, output: Output) -> None:
        self.columns = output.columns
        self.state = np.zeros(_ROWS + _BUFFER * sum(1 + column.is_list for column in self.columns), np.int64)

    def __del__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget all rows."""
        buffers = self.state[_ROWS:].reshape(-1, _BUFFER)
        for address in buffers[:, _ADDRESS]:
            _free(int(address))
        self.state[:] = 0

    def mark(self) -> NDArray[np.int64]:
        """How full they are."""
        return self.state.copy()

    def put_back(self, mark: NDArray[np.int64]) -> None:
        """Forget the rows since `mark` was taken. They stay where they are, wherever they have been moved to."""
        self.state[0] = mark[0]
        sizes = slice(_ROWS + _SIZE, None, _BUFFER)
        self.state[sizes] = mark[sizes]

    def taken(self) -> ak.Array:
        """All rows, of which they hold none any more. Those of an event that has raised are not whole: `clear` them."""
        rows, contents, buffer = int(self.state[0]), [], 0
        for column in self.columns:
            if column.is_list:
                offsets = np.concatenate([[0], np.cumsum(self._values(buffer, np.dtype(np.int64), rows))])
                inner = ak.contents.NumpyArray(self._values(buffer + 1, np.dtype(column.kind), int(offsets[-1])))
                contents.append(ak.contents.ListOffsetArray(ak.index.Index64(offsets), inner))
            else:
                contents.append(ak.contents.NumpyArray(self._values(buffer, np.dtype(column.kind), rows)))
            buffer += 1 + column.is_list
        self.clear()
        return ak.Array(ak.contents.RecordArray(contents, [column.name for column in self.columns], rows))

    def _values(self, buffer: int, dtype: np.dtype[Any], size: int) -> NDArray[Any]:
        if not size:
            return np.empty(0, dtype)
        address = int(self.state[_ROWS + _BUFFER * buffer + _ADDRESS])
        return np.frombuffer(ctypes.string_at(address, size * dtype.itemsize), dtype)


def describe(output: Output) -> str:
    """What `AppendableType` is made from."""
    return json.dumps(output.columns)


class AppendableType(types.Type):
    """Rows in compiled code: the names and kinds of their columns."""

    def __init__(self, description: str) -> None:
        self.columns = [Column(*told) for told in json.loads(description)]
        super().__init__(name=f"Rows({description})")


@register_model(AppendableType)
class _AppendableModel(models.StructModel):
    def __init__(self, manager: Any, appendable: AppendableType) -> None:
        super().__init__(manager, appendable, [("state", _STATE)])


@intrinsic(prefer_literal=True)
def appendable(_typing: Any, description: Any, state: Any) -> Any:
    """The rows of these columns in these buffers."""
    rows = AppendableType(description.literal_value)

    def make(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
        struct = cgutils.create_struct_proxy(rows)(context, builder)
        struct.state = borrow(context, builder, sig.args[1], arguments[1])
        return struct._getvalue()

    return rows(description, state), make


# --- the types of a call ------------------------------------------------------------------------------------------------


@infer_getattr
class _AppendableMethods(AttributeTemplate):
    key = AppendableType

    def resolve_append(self, rows: AppendableType) -> types.BoundFunction:
        return bound_method("Output.append", rows, _append_signature)


def _append_signature(rows: AppendableType, values: Sequence[types.Type], named: dict[str, types.Type]) -> Any:
    output = Output("rows", {column.name: column.type for column in rows.columns})
    try:
        given = output.given(values, named)
    except AnalysisError as error:
        raise TypingError(str(error)) from None
    kinds = [_checked(column, types.unliteral(given[column.name])) for column in rows.columns]
    beyond = "_" * (1 + max(len(column.name) for column in rows.columns))  # begins names that no column has
    places = [Parameter(f"{beyond}{number}", Parameter.POSITIONAL_ONLY) for number in range(len(values))]
    others = [Parameter(column.name, Parameter.POSITIONAL_OR_KEYWORD) for column in rows.columns[len(values) :]]
    return signature(types.none, *kinds, recvr=rows).replace(pysig=Signature([*places, *others]))


def _checked(column: Column, kind: types.Type) -> types.Type:
    """The type of what is given for a column, if its numbers can be in it."""
    number = kind
    if column.is_list:
        if (isinstance(kind, types.Array) and kind.ndim == 1) or isinstance(kind, types.List | types.ListType):
            number = kind.dtype
        else:
            hint = (
                ": a list of lists is not written by kernels, but by em.write" if isinstance(kind, NestedType) else ""
            )
            raise TypingError(f"append(): the column {column.name} takes a list of numbers, not {kind}{hint}")
    elif isinstance(kind, types.Array | types.List | types.ListType):
        raise TypingError(
            f"append(): the column {column.name} takes a number, not {kind}: declare it 'var * {column.kind}'"
        )
    if not isinstance(number, types.Integer | types.Float | types.Boolean):
        raise TypingError(f"append(): the column {column.name} is {column.kind}, and cannot hold {number}")
    if column.kind == "bool" and not isinstance(number, types.Boolean):
        raise TypingError(f"append(): the column {column.name} is bool, and gets {number}: compare it with something")
    if "int" in column.kind and isinstance(number, types.Float):
        raise TypingError(
            f"append(): the column {column.name} is {column.kind}, and gets {number}: convert with int(...) or round(...)"
        )
    return kind


# --- what a call does ---------------------------------------------------------------------------------------------------


@lower_builtin("Output.append", AppendableType, types.VarArg(types.Any))
def _append(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
    """Puts each value into its buffer; then the row counts."""
    rows, *kinds = sig.args
    struct = cgutils.create_struct_proxy(rows)(context, builder, value=arguments[0])
    integer = ir.IntType(64)
    numbers, place = make_array(_STATE)(context, builder, struct.state).data, _ROWS
    for column, kind, value in zip(rows.columns, kinds, arguments[1:], strict=True):
        wanted, at = from_dtype(np.dtype(column.kind)), ir.Constant(integer, place)
        if column.is_list:
            put = _putting_lists(column.kind)
            fits = call(context, builder, put, (_STATE, types.int64, kind), (struct.state, at, value))
        else:
            room = (struct.state, at, ir.Constant(integer, 1), ir.Constant(integer, np.dtype(column.kind).itemsize))
            size = call(context, builder, _room, (_STATE, types.int64, types.int64, types.int64), room)
            address = builder.load(builder.gep(numbers, [ir.Constant(integer, place + _ADDRESS)]))
            fits = _store(context, builder, wanted, kind, value, address, size)
            builder.store(
                builder.add(size, ir.Constant(integer, 1)), builder.gep(numbers, [ir.Constant(integer, place + _SIZE)])
            )
        with builder.if_then(builder.not_(cgutils.as_bool_bit(builder, fits)), likely=False):
            context.call_conv.return_user_exc(builder, ValueError, (column.misfit,))
        place += _BUFFER * (1 + column.is_list)
    builder.store(builder.add(builder.load(numbers), ir.Constant(integer, 1)), numbers)
    return context.get_dummy_value()


def _store(
    context: Any, builder: Any, wanted: types.Type, kind: types.Type, value: Any, address: Any, index: Any
) -> Any:
    """Put a number into a buffer of another kind of numbers; whether it is there as it was, if both are whole ones."""
    converted = context.cast(builder, value, kind, wanted)
    data = builder.inttoptr(address, context.get_data_type(wanted).as_pointer())
    context.pack_value(builder, wanted, converted, builder.gep(data, [index]))
    if not isinstance(wanted, types.Integer) or not isinstance(kind, types.Integer):
        return cgutils.true_bit
    same = builder.icmp_signed("==", context.cast(builder, converted, wanted, kind), value)
    of_given, of_wanted = _is_signed(kind), _is_signed(wanted)
    if of_given == of_wanted:
        return same
    signed = value if of_given else converted
    return builder.and_(same, builder.icmp_signed(">=", signed, ir.Constant(signed.type, 0)))


def _is_signed(kind: Any) -> bool:
    return bool(kind.signed)


@intrinsic
def _reallocated(_typing: Any, _address: Any, _size: Any) -> Any:
    """The address of so many bytes that begin with what was at an address; 0 if there is no memory for them."""

    def make(_context: Any, builder: Any, _sig: Any, arguments: Any) -> Any:
        integer, pointer = ir.IntType(64), ir.IntType(8).as_pointer()
        realloc = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(pointer, [pointer, integer]), "realloc"
        )
        moved = builder.call(realloc, [builder.inttoptr(arguments[0], pointer), arguments[1]])
        return builder.ptrtoint(moved, integer)

    return types.int64(types.int64, types.int64), make


@_inner
def _room(state, buffer, more, itemsize):
    """Have room for more elements; how many there are."""
    needed = state[buffer + _SIZE] + more
    if needed > state[buffer + _CAPACITY]:
        capacity = max(needed, 2 * state[buffer + _CAPACITY], _LEAST)
        address = _reallocated(state[buffer + _ADDRESS], capacity * itemsize)
        if address == 0:
            raise MemoryError("no memory for the rows of a kernel")
        state[buffer + _ADDRESS] = address
        state[buffer + _CAPACITY] = capacity
    return state[buffer + _SIZE]


def _storing(wanted: types.Type) -> Any:
    """What puts a number into a buffer of this kind of numbers, in compiled code; see `_store`."""

    @intrinsic
    def stored(_typing: Any, _address: Any, _index: Any, value: Any) -> Any:
        def make(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
            address, index, number = arguments
            return _store(context, builder, wanted, sig.args[2], number, address, index)

        return types.boolean(types.int64, types.int64, value), make

    return stored


_store_length = _storing(types.int64)


@functools.cache
def _putting_lists(kind: str) -> Any:
    """What puts a list of numbers into the two buffers of a column of this kind; false if one of them does not fit."""
    store, itemsize = _storing(from_dtype(np.dtype(kind))), np.dtype(kind).itemsize

    @_inner
    def put(state, buffer, values):
        size, inside = len(values), buffer + _BUFFER
        at, start = _room(state, buffer, 1, 8), _room(state, inside, size, itemsize)
        fit = True
        for index in range(size):
            fit &= store(state[inside + _ADDRESS], start + index, values[index])
        state[inside + _SIZE] = start + size
        _store_length(state[buffer + _ADDRESS], at, size)
        state[buffer + _SIZE] = at + 1
        return fit

    return put
