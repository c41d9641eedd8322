"""What values of a class are made of, as the file itself describes its classes: for `record_programs`.

uproot has the descriptions (`TStreamerInfo`). Of a class, the members of its base classes come first; a member of its own
hides one of theirs of the same name, as in C++. Where two base classes have a member of one name neither is told from the
other, and the class is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np
import uproot

from .branch_kinds import MEMBERS
from .cpp_types import Class, CppType, Many, Number, Pair, String, parsed
from .packed_floats import Coding, coding

ARRAY_OF, WITH_COUNTER = uproot.const.kOffsetL, uproot.const.kOffsetP
"""What ROOT adds to the number of a type for arrays of fixed size, and for those with a counter."""
_BASE, _CHARS, _FLOATS = 0, 7, {9: "f8", 19: "f4"}
_OBJECT, _ANY, _TOBJECT, _TNAMED, _TSTRING = 61, 62, 66, 67, 65
_BITS = 15
_BASIC = {number: type_ for number, type_ in MEMBERS.items() if number != _BITS}
"""Numbers by the number of their type. `kBits` is of TObject alone."""
_STL = {300, 365, 500}
_KNOWN = {*_BASIC, *_FLOATS, _OBJECT, _ANY, _TSTRING, *_STL}
_BY_HAND = {"TObject", "TNamed", "TVector2", "TVector3", "TLorentzVector", "TRotation"}
"""Classes of which uproot has a model of its own, though their bytes are as the file says."""
_TIMES = {"TDatime": "fDatime"}
"""Classes whose objects are one number, without a header wherever they are."""
_ARRAYS = {"TArrayC": "i1", "TArrayS": ">i2", "TArrayI": ">i4", "TArrayL": ">i8", "TArrayL64": ">i8", "TArrayF": ">f4",
           "TArrayD": ">f8"}  # fmt: skip
"""Classes whose objects are lists of numbers, without a header wherever they are."""


class Unreadable(Exception):
    """Why values of a class cannot be read here."""


@dataclass(eq=False, slots=True)
class Numbers:
    """Numbers, or arrays of fixed size of them."""

    stored: np.dtype[Any]
    shape: tuple[int, ...] = ()
    coding: Coding | None = None
    native: str = ""


@dataclass(eq=False, slots=True)
class Counted:
    """A list of numbers whose length is another member's."""

    item: Numbers
    counter: Numbers


@dataclass(eq=False, slots=True)
class Text:
    """A text. `headed`: with a header before all of them, where it is a member; `is_long`: its length has four bytes."""

    headed: bool = False
    is_long: bool = False


@dataclass(eq=False, slots=True)
class Lists:
    """A collection of `item`; `kind` as in `cpp_types.Many`. `headed`: with a header, where it is a member."""

    item: Shape
    kind: str = ""
    headed: bool = True


@dataclass(eq=False, slots=True)
class Fixed:
    """An array of fixed size of what is no number. `headed`: with a header before all of them, where it is a member."""

    item: Shape
    shape: tuple[int, ...]
    headed: bool = False


@dataclass(eq=False, slots=True)
class TObject:
    """What classes have of ROOT's `TObject`, which is passed over."""


@dataclass(eq=False, slots=True)
class Records:
    """Objects of a class, or pairs.

    Attributes:
        name: of the class; empty for the pairs of a map, which have no header in a collection.
        members: with their names; base classes have none.
        version, checksum: of the class as it is described, -1 where that is not known.
        headed: each object has a header, unless all are written member by member.
    """

    name: str
    members: list[tuple[str, Shape]] = field(default_factory=list)
    version: int = -1
    checksum: int = -1
    headed: bool = True

    def named(self) -> dict[str, Shape]:
        """All members by name, those of base classes among them."""
        found: dict[str, Shape] = {}
        for name, member in self.members:
            if isinstance(member, Records) and not name:
                found |= member.named()
            elif name:
                found[name] = member
        return found


Shape: TypeAlias = Numbers | Counted | Text | Lists | Fixed | TObject | Records


class Shapes:
    """Finds out what the values of a file's types are made of.

    Args:
        file: as uproot has it.

    Example:
        >>> Shapes(file).of(parsed("vector<TLorentzVector>"))                                     # doctest: +SKIP
    """

    def __init__(self, file: Any) -> None:
        self._file = file
        self._within: list[str] = []

    def of(self, kind: CppType | None) -> Shape:
        """The shape of a type.

        Raises:
            Unreadable: some part of it cannot be read.
        """
        if kind is None:
            raise Unreadable("it has pointers")
        if isinstance(kind, Number):
            how = None if not kind.native else coding("", is_half=False)
            return Numbers(kind.stored, (), how, kind.native)
        if isinstance(kind, String):
            return Text(kind.is_std)
        if isinstance(kind, Many):
            return Lists(self.of(kind.item), kind.kind)
        if isinstance(kind, Pair):
            names = ("first", "second") if kind.name else ("0", "1")
            return Records(
                uproot.model.classname_regularize(kind.name),
                list(zip(names, (self.of(kind.first), self.of(kind.second)), strict=True)),
                headed=bool(kind.name),
            )
        if kind.name in _ARRAYS:
            return Lists(Numbers(np.dtype(_ARRAYS[kind.name])), headed=False)
        return self.of_class(kind.name)

    def of_class(self, name: str) -> Records:
        """The shape of a class. Raises as `of`."""
        if name in _TIMES:
            return Records(name, [(_TIMES[name], Numbers(np.dtype(">u4")))], headed=False)
        versions = self._file.streamers_named(name)
        own_model = uproot.classes.get(name)
        if own_model is not None and own_model.__module__ != "uproot.dynamic" and name not in _BY_HAND:
            raise Unreadable(f"{name} has bytes of its own kind")
        if len(versions) != 1:
            raise Unreadable(
                f"the file describes {len(versions)} versions of {name}" if versions else f"no description of {name}"
            )
        if name in self._within:
            raise Unreadable(f"{name} may hold others of itself")
        (info,) = versions
        self._check_once(info)
        self._within.append(name)
        try:
            made = Records(info.name, [], info.class_version, info.member("fCheckSum") & 0xFFFFFFFF)
            for element in info.elements:
                title = str(element.title)
                if title.startswith("!"):
                    continue
                made.members.append(self._element(element, title, made.named()))
        finally:
            self._within.pop()
        _check_names(made)
        return made

    def _check_once(self, info: Any) -> None:
        if self._file.classes.are_ambiguous(info.name, info.class_version):
            raise Unreadable(f"the file describes its class {info.name} in two ways: it was merged of unlike files")

    def element(self, element: Any) -> Shape:
        """The shape of a member by itself. Raises as `of`."""
        return self._element(element, str(element.title), {})[1]

    def _element(self, element: Any, title: str, before: Mapping[str, Shape]) -> tuple[str, Shape]:
        name, number = str(element.name), int(element.member("fType"))
        if number == _TOBJECT or (number == _BASE and name == "TObject"):
            return "", TObject()
        if number == _TNAMED:
            return "", Records("TNamed", [("", TObject()), ("fName", Text()), ("fTitle", Text())])
        if number == _BASE:
            return "", self.of_class(name)
        if WITH_COUNTER < number < WITH_COUNTER + ARRAY_OF:
            counter = before.get(str(element.member("fCountName")))
            if number - WITH_COUNTER not in _BASIC or not isinstance(counter, Numbers) or counter.shape:
                raise Unreadable(f"its member {name} is a pointer")
            return name, Counted(_numbers(number - WITH_COUNTER, "", ()), counter)
        length = int(element.member("fArrayLength"))
        shape = tuple(int(size) for size in element.member("fMaxIndex") if size > 0) if length else ()
        if length and int(np.prod(shape)) != length:
            raise Unreadable(f"its member {name} is an array of an odd size")
        if number not in _KNOWN and number - ARRAY_OF in _KNOWN:
            number -= ARRAY_OF
        if number in _FLOATS or number in _BASIC:
            return name, _numbers(number, title, shape)
        return name, self._structured(element, number, shape)

    def _structured(self, element: Any, inner: int, shape: tuple[int, ...]) -> Shape:
        """The shape of a member that is no number."""
        typename = str(element.typename)
        if inner == _CHARS and not shape:
            return Text(is_long=True)
        if inner == _TSTRING:
            item: Shape = Text()
        elif inner in (_OBJECT, _ANY):
            kind = parsed(typename)
            if not isinstance(kind, Pair | Class):
                raise Unreadable(f"its member {element.name} is of type {typename}")
            item = self.of(kind)
        elif inner in _STL:
            item = self._enumerated(parsed(typename), element) or self.of(parsed(typename))
        else:
            raise Unreadable(f"its member {element.name} is of type {typename}")
        if shape and isinstance(item, Text):
            return Fixed(replace(item, headed=False), shape, headed=True)
        return Fixed(item, shape) if shape else item

    def _enumerated(self, kind: CppType | None, element: Any) -> Lists | None:
        """The shape of a collection of enumerators, which only its member says to be numbers; None for others."""
        number = element.member("fCtype", none_if_missing=True)
        if not isinstance(kind, Many) or not isinstance(kind.item, Class) or number not in _BASIC:
            return None
        return Lists(_numbers(number, "", ()), kind.kind) if not self._file.streamers_named(kind.item.name) else None


def _check_names(records: Records) -> None:
    """Check that no two base classes have a member of one name, which would be one member."""
    of_bases: set[str] = set()
    for name, member in records.members:
        if not name and isinstance(member, Records):
            inner = member.named().keys()
            if twice := (inner & of_bases) - {name for name, _ in records.members}:
                raise Unreadable(f"{records.name} has the member {min(twice)} of two base classes")
            of_bases |= inner


def _numbers(number: int, title: str, shape: tuple[int, ...]) -> Numbers:
    if number in _FLOATS:
        how = coding(title, number != 9)
        return Numbers(how.stored, shape, how, _FLOATS[number])
    stored = np.dtype(_BASIC[number])
    return Numbers(stored if stored.itemsize == 1 else stored.newbyteorder(">"), shape)
