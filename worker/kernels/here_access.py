# mypy: allow-untyped-calls, allow-untyped-defs, allow-untyped-decorators
"""Where the event is, in compiled code: `here.dataset`, `here.entry`, `here.metadata["cross_section"]`.

All of it comes as arguments of the loop, so that one code serves all datasets; words as their numbers (`words`). A type has
those of the metadata that the kernel may touch, as that of records has fields.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numba import types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.core.typing.templates import AbstractTemplate, AttributeTemplate, signature
from numba.extending import infer, infer_getattr, lower_builtin, lower_getattr_generic, models, register_model
from numba.np.numpy_support import from_dtype

from .record_access import intrinsic, missing, touched, unknown
from .words import WORD

WORDS = ("dataset", "path", "tree")
"""What every place has, as words."""
A_WORD = "word"
"""Stands for the type of a word, where numbers have their numpy types."""


class HereType(types.Type):
    """A place in the data.

    Args:
        tag: names the parameter of one kernel.
        metadata: the types of the metadata, as numpy writes them.
    """

    def __init__(self, tag: str, metadata: Mapping[str, str]) -> None:
        self.tag = tag
        self.metadata: dict[str, types.Type] = {
            name: WORD if kind == A_WORD else from_dtype(np.dtype(kind)) for name, kind in metadata.items()
        }
        super().__init__(name=f"Here({json.dumps(dict(metadata))}, {tag})")


class MetadataType(types.Type):
    """The metadata of its dataset."""

    def __init__(self, of: HereType) -> None:
        self.of = of
        super().__init__(name=f"Metadata({of})")


@register_model(HereType)
class _HereModel(models.StructModel):
    def __init__(self, manager: Any, kind: HereType) -> None:
        values = [(f"metadata{number}", it) for number, it in enumerate(kind.metadata.values())]
        super().__init__(manager, kind, [("entry", types.int64), *((name, WORD) for name in WORDS), *values])


@register_model(MetadataType)
class _MetadataModel(models.StructModel):
    def __init__(self, manager: Any, kind: MetadataType) -> None:
        super().__init__(manager, kind, [("of", kind.of)])


@intrinsic(prefer_literal=True)
def place(_typing: Any, description: Any, values: Any) -> Any:
    """The place of these values: the entry, the codes of `WORDS`, and the metadata."""
    kind = HereType(*json.loads(description.literal_value))

    def make(context: Any, builder: Any, _sig: Any, arguments: Any) -> Any:
        struct = cgutils.create_struct_proxy(kind)(context, builder)
        names = ["entry", *WORDS, *(f"metadata{number}" for number in range(len(kind.metadata)))]
        for number, name in enumerate(names):
            setattr(struct, name, builder.extract_value(arguments[1], number))
        return struct._getvalue()

    return kind(description, values), make


@infer_getattr
class _HereFields(AttributeTemplate):
    key = HereType

    def generic_resolve(self, value: HereType, name: str) -> Any:  # type: ignore[override]
        if name == "metadata":
            return MetadataType(value)
        if name == "entry":
            return types.int64
        if name in WORDS:
            return WORD
        raise TypingError(f"here has no {name}: it has dataset, path, tree, entry, and metadata[...]")


@lower_getattr_generic(HereType)
def _field(context: Any, builder: Any, kind: HereType, value: Any, name: str) -> Any:
    if name == "metadata":
        struct = cgutils.create_struct_proxy(MetadataType(kind))(context, builder)
        struct.of = value
        return struct._getvalue()
    return getattr(cgutils.create_struct_proxy(kind)(context, builder, value=value), name)


@infer
class _MetadataItem(AbstractTemplate):
    key = "static_getitem"

    def generic(self, args: Any, kws: Any) -> Any:
        value, name = args
        if not isinstance(value, MetadataType):
            return None
        of = value.of
        if name not in of.metadata:
            raise TypingError(missing(of.tag, str(name)) or unknown[of.tag](str(name)))
        touched.setdefault(of.tag, set()).add(name)
        return signature(of.metadata[name], value, types.literal(name))


@lower_builtin("static_getitem", MetadataType, types.StringLiteral)
def _item(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
    kind = sig.args[0]
    struct = cgutils.create_struct_proxy(kind)(context, builder, value=arguments[0])
    place = cgutils.create_struct_proxy(kind.of)(context, builder, value=struct.of)
    return getattr(place, f"metadata{list(kind.of.metadata).index(sig.args[1].literal_value)}")
