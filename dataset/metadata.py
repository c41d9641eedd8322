"""Metadata of files: what of it can travel with them, for analyses to read."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import msgspec

from ..protocol.errors import DatasetError
from ..protocol.messages import File
from ..protocol.values import Metadata, Scalar

DEEPEST = 16
"""Lists and dicts in metadata are nested so far at most."""


def split(metadata: Mapping[str, Any], names: Mapping[str, Any]) -> tuple[Metadata, dict[str, Metadata]]:
    """Metadata of all files, and by the name of a dataset.

    Raises:
        DatasetError: there is no dataset of a name that has a dict, or something cannot travel.
    """
    own = {name: plain(value) for name, value in metadata.items() if name in names and isinstance(value, Mapping)}
    for name, value in metadata.items():
        if isinstance(value, Mapping) and name not in own:
            raise DatasetError(f"metadata for {name!r}, but there is no dataset of that name")
    return plain({name: value for name, value in metadata.items() if name not in own}), own


def plain(metadata: Mapping[str, Any]) -> Metadata:
    """Metadata that can travel: words, numbers, flags, and lists and dicts of these. numpy's numbers become Python's.

    Raises:
        DatasetError: something else is in it.

    Example:
        >>> plain({"xsec": 831.8, "triggers": ("IsoMu24", "Mu50"), "sf": {"id": 0.98}})
        {'xsec': 831.8, 'triggers': ['IsoMu24', 'Mu50'], 'sf': {'id': 0.98}}
    """
    if not isinstance(metadata, Mapping):
        raise DatasetError(f"metadata are {metadata!r:.100}: they must be a dict")
    return {str(name): _plain(value, f"{name!r}", 0) for name, value in metadata.items()}


def own_metadata(file: File) -> File:
    """The file with metadata of its own, where a call could change what others see: lists and dicts are copied."""
    if not any(isinstance(value, list | dict) for value in file.metadata.values()):
        return file
    return msgspec.structs.replace(file, metadata=copy.deepcopy(file.metadata))


def _plain(given: Any, place: str, depth: int) -> Any:
    value = given.item() if getattr(given, "shape", None) == () else given
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise DatasetError(f"metadata {place} is {given!r}: whole numbers must fit into 64 bits")
    if isinstance(value, Scalar):
        return value
    if depth == DEEPEST:
        raise DatasetError(f"metadata {place} are nested deeper than {DEEPEST}")
    if isinstance(value, list | tuple):
        return [_plain(item, f"{place}[{index}]", depth + 1) for index, item in enumerate(value)]
    if isinstance(value, Mapping):
        return {_key(key, place): _plain(item, f"{place}[{key!r}]", depth + 1) for key, item in value.items()}
    raise DatasetError(
        f"metadata {place} is {given!r:.200}: words, numbers and flags can travel with a file, and lists and dicts of these"
    )


def _key(given: Any, place: str) -> Scalar:
    key = given.item() if getattr(given, "shape", None) == () else given
    if not isinstance(key, Scalar) or (isinstance(key, int) and not -(2**63) <= key < 2**63):
        raise DatasetError(f"metadata {place} has the key {given!r}: keys are words, numbers or flags")
    return key
