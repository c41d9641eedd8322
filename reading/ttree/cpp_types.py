"""What the text of a C++ type says: numbers, texts, collections, pairs, and classes by name.

Example:
    >>> parsed("set<Link>"), parsed("Double32_t")
    (Many(item=Class(name='Link'), kind='set'), Number(stored=dtype('>f4'), native='f8'))
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

NUMBERS = {
    "bool": "?", "Bool_t": "?", "char": "i1", "signed char": "i1", "Char_t": "i1", "int8_t": "i1", "unsigned char": "u1",
    "UChar_t": "u1", "uint8_t": "u1", "short": "i2", "Short_t": "i2", "int16_t": "i2", "unsigned short": "u2",
    "UShort_t": "u2", "uint16_t": "u2", "int": "i4", "Int_t": "i4", "int32_t": "i4", "unsigned int": "u4", "unsigned": "u4",
    "UInt_t": "u4", "uint32_t": "u4", "long": "i8", "Long_t": "i8", "Long64_t": "i8", "long long": "i8", "int64_t": "i8",
    "unsigned long": "u8", "ULong_t": "u8", "ULong64_t": "u8", "unsigned long long": "u8", "uint64_t": "u8", "size_t": "u8",
    "float": "f4", "Float_t": "f4", "double": "f8", "Double_t": "f8",
}  # fmt: skip
"""The types of numbers as they are in files."""
_DOUBLE32 = "Double32_t"
_LISTS = {"vector": "", "list": "", "deque": "", "forward_list": "", "ROOT::VecOps::RVec": "", "RVec": ""}
_SETS = dict.fromkeys(("set", "multiset", "unordered_set", "unordered_multiset"), "set")
_MAPS = dict.fromkeys(("map", "multimap", "unordered_map", "unordered_multimap"), "map")
_COLLECTIONS = _LISTS | _SETS | _MAPS
_MOST_NESTED = 30


@dataclass(frozen=True, slots=True)
class Number:
    """A number of the type `stored` in the file; what is read is of the type `native`, if that is another."""

    stored: np.dtype[Any]
    native: str = ""


@dataclass(frozen=True, slots=True)
class String:
    """A text: a `std::string`, or a `TString`, which has no header where it is a member."""

    is_std: bool


@dataclass(frozen=True, slots=True)
class Many:
    """A collection; its `kind` is "set", "map" (of pairs), "bitset", or empty for lists."""

    item: CppType
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Pair:
    """A `std::pair`, with its `name`; without one it is what a map has."""

    first: CppType
    second: CppType
    name: str = ""


@dataclass(frozen=True, slots=True)
class Class:
    """A class, by its name."""

    name: str


CppType: TypeAlias = Number | String | Many | Pair | Class


def parsed(text: str, depth: int = 0) -> CppType | None:
    """What a type is; None for pointers, and what is nested too deep.

    Example:
        >>> parsed("vector<podio::ObjectID>"), parsed("float*")
        (Many(item=Class(name='podio::ObjectID'), kind=''), None)
    """
    text = text.strip().removeprefix("const ").strip().removeprefix("std::")
    if text.endswith("*") or depth > _MOST_NESTED:
        return None
    if text in NUMBERS:
        stored = np.dtype(NUMBERS[text])
        return Number(stored if stored.itemsize == 1 else stored.newbyteorder(">"))
    if text == _DOUBLE32:  # in a collection, where it has no range
        return Number(np.dtype(">f4"), "f8")
    if text in ("string", "TString"):
        return String(text == "string")
    name, _, rest = text.partition("<")
    arguments = _arguments(rest.rpartition(">")[0])
    if name == "bitset":
        return Many(Number(np.dtype("?")), "bitset")
    if name not in _COLLECTIONS and name != "pair":
        return Class(text)
    inner = [parsed(argument, depth + 1) for argument in arguments[: 1 + (name in _MAPS or name == "pair")]]
    first = inner[0]
    if first is None or inner[-1] is None:
        return None
    if name == "pair" or name in _MAPS:
        if len(inner) != 2:
            return None
        return Pair(first, inner[-1], text) if name == "pair" else Many(Pair(first, inner[-1]), "map")
    return Many(first, _COLLECTIONS[name])


def _arguments(text: str) -> list[str]:
    """The arguments of a template."""
    found, depth = [""], 0
    for sign in text:
        depth += (sign in "<(") - (sign in ">)")
        if sign == "," and not depth:
            found.append("")
        else:
            found[-1] += sign
    return found
