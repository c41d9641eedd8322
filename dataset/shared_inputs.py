"""What every slot needs to know of a dataset beside its files: a mask, aliases, and values for what is missing."""

from __future__ import annotations

import graphlib
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np

from ..analysis.expressions import Expression
from ..analysis.pickles import pickling
from ..protocol.codec import Buffer
from ..protocol.errors import AnalysisError, DatasetError
from ..protocol.values import Word, Words
from .friends import check_name

MOST = 10_000
"""Aliases, and values for missing branches, that a dataset can have."""


class Default(msgspec.Struct, frozen=True, array_like=True):
    """What a branch holds in files that do not have it, and numpy's name of its type."""

    value: bool | int | float
    kind: Word


class SharedInputs(msgspec.Struct, frozen=True):
    """What travels with a query over files, if there is anything of it.

    Attributes:
        mask: as `Mask.pack` packs it; empty for none.
        aliases: names for expressions of columns.
        defaults: what the branches that some files do not have hold there.
        interpretations: how branches are to be read, pickled: uproot's interpretations, by name.

    Example:
        >>> packed = SharedInputs(aliases=aliases_of({"ht": "ak.sum(Jet_pt, axis=1)"})).packed()
        >>> SharedInputs.unpack(packed[0]).aliases["ht"]
        'ak.sum(Jet_pt, axis=1)'
        >>> SharedInputs().packed()
        ()
    """

    mask: bytes = b""
    aliases: dict[Word, Words] = {}
    defaults: dict[Word, Default] = {}
    interpretations: dict[Word, bytes] = {}

    @classmethod
    def unpack(cls, packed: Buffer) -> SharedInputs:
        """What `packed` has packed. Raises `msgspec.MsgspecError` for anything else."""
        return _decoder.decode(packed)

    def packed(self) -> tuple[bytes, ...]:
        """The frames in which it travels: one, or none if there is nothing in it."""
        return (msgspec.msgpack.encode(self),) if self.mask or self.is_about_columns else ()

    @property
    def is_about_columns(self) -> bool:
        """Whether it makes columns that the files do not have, or not so."""
        return bool(self.aliases or self.defaults or self.interpretations)


_decoder = msgspec.msgpack.Decoder(SharedInputs)


def aliases_of(aliases: Any) -> dict[str, str]:
    """Aliases as they travel.

    Raises:
        DatasetError: a name cannot be used, an expression cannot be read, or aliases name each other in a circle.
    """
    names = _named(aliases, "aliases", '{"ht": "ak.sum(Jet_pt, axis=1)"}')
    used: dict[str, tuple[str, ...]] = {}
    for name, text in names.items():
        check_name(name, "an alias")
        if not isinstance(text, str):
            raise DatasetError(
                f"the alias {name} is {text!r}: it must be an expression, such as 'ak.sum(Jet_pt, axis=1)'"
            )
        try:
            used[name] = Expression(text).names
        except AnalysisError as error:
            raise DatasetError(f"the alias {name}: {error}") from None
    try:
        list(graphlib.TopologicalSorter(used).static_order())
    except graphlib.CycleError as error:
        circle = " -> ".join(reversed(error.args[1]))
        raise DatasetError(f"aliases name each other in a circle: {circle}") from None
    return names


def defaults_of(defaults: Any) -> dict[str, Default]:
    """Values for branches that some files do not have, as they travel.

    Raises:
        DatasetError: one of them is no number or flag.
    """
    names = _named(defaults, "defaults", '{"Jet_btag": 0.0}')
    return {name: _default(name, value) for name, value in names.items()}


def interpretations_of(interpretations: Any) -> dict[str, bytes]:
    """How branches are to be read, as it travels.

    Raises:
        DatasetError: one of them is no interpretation, or cannot be pickled.
    """
    names = _named(
        interpretations, "interpretations", '{"hits": uproot.AsJagged(uproot.AsDtype(">f4"), header_bytes=10)}'
    )
    packed: dict[str, bytes] = {}
    with pickling() as pickled:
        for name, kind in names.items():
            if not all(hasattr(kind, part) for part in ("basket_array", "final_array")):
                raise DatasetError(
                    f"the interpretation of {name} is {kind!r:.200}: it must be one of uproot's, as "
                    "uproot.AsJagged(...), or a class that makes one for a branch (uproot's CustomInterpretation)"
                )
            try:
                packed[name] = pickled(kind)
            except Exception as error:  # whatever an object raises that cannot be pickled
                raise DatasetError(
                    f"the interpretation of {name} cannot be sent to the workers: {error}; if it is one that a branch has, "
                    "made with its file, make it anew: uproot.AsJagged(uproot.AsDtype(...), header_bytes=10)"
                ) from error
    return packed


def _named(given: Any, what: str, example: str) -> dict[str, Any]:
    if given is None:
        return {}
    if not isinstance(given, Mapping) or not all(isinstance(name, str) and name for name in given):
        raise DatasetError(f"{what} is {given!r:.200}: it must be a dict of names, as in {what}={example}")
    if len(given) > MOST:
        raise DatasetError(f"{len(given)} {what} are more than {MOST}")
    return dict(given)


def _default(name: str, value: Any) -> Default:
    array = np.asarray(value)
    if array.shape or array.dtype.kind not in "biuf" or array.dtype.itemsize > 8 or array.dtype == np.float16:
        raise DatasetError(f"the default of {name} is {value!r}: it must be a number or a flag, such as np.float32(0)")
    return Default(array.item(), array.dtype.name)
