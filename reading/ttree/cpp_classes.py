"""The C++ classes of one file, apart from those of all others.

A file describes the classes of its objects, and uproot makes Python classes of the descriptions. It keeps these by name
and version, for all files of the process: another production's `struct Pt`, with its members in another order and the
same version, would be read with the members of the first. Here each file has its own, which those files share that describe
all their classes by the same bytes, as files of one production do.
"""

from __future__ import annotations

import functools
import hashlib
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

import uproot
from uproot.model import DispatchByVersion, classname_regularize, never_from_streamers, unknown_class
from uproot.streamers import Model_TStreamerInfo

from ..codecs import decompressed
from ..rntuple.checked_pages import CheckedNtuple
from .packed_floats import coding

MOST_KEPT = 32
"""Descriptions of classes whose classes are kept; those unused for longest are dropped."""
_KEY_BYTES, _OBJECT_BYTES = slice(14, 16), slice(6, 10)
"""Where a key says how long it is, and its object once it is decompressed, https://root.cern/doc/master/classTKey.html."""


@dataclass(eq=False)
class Classes:
    """What uproot has made of a file's description of C++ classes.

    Attributes:
        models: its classes by their names, also those of its own.
        members: those of each class and version, as the file describes them; in several ways if it was merged of others.
        streamers: the description itself, once somebody has asked.
    """

    models: dict[str, Any]
    members: dict[tuple[str, int], set[tuple[Any, ...]]] = field(default_factory=dict)
    streamers: Any = None

    def are_ambiguous(self, name: str, version: int) -> bool:
        """Whether the file describes a version of a class in two ways."""
        return len(self.members.get((name, version), ())) > 1


class FileOfItsOwnClasses(uproot.ReadOnlyFile):  # type: ignore[misc]
    """As uproot's, but what it knows of a class is from this file, from uproot's own models or from the user's, never from
    another file, whoever has opened that.

    Example:
        >>> FileOfItsOwnClasses("run1.root").class_named("Pt")                                      # doctest: +SKIP
        <class 'uproot.dynamic.Pt'>
    """

    _reads_streamers = False

    def __init__(self, path: str, **options: Any) -> None:
        own = {**written_classes(), "TStreamerInfo": Description, "ROOT::RNTuple": CheckedNtuple}
        self.classes = Classes(own)
        self.programs: dict[Any, Any] = {}
        """How the bytes of records are gone through, by their class or member (`record_branches`)."""
        super().__init__(path, custom_classes=own, **options)

    @functools.cached_property
    def digest(self) -> str:
        """A name for how the file describes C++ classes, equal for files that do it by the same bytes."""
        return hashlib.sha256(class_descriptions(self)).hexdigest()

    def share_classes(self) -> None:
        """Take the classes that were made for another file with the same description of them, or let others take these.

        For who is going to read objects: uproot takes milliseconds to make a class.
        """
        if not are_uproots():
            return
        self.classes = _KEPT.setdefault(self.digest, self.classes)
        _KEPT.move_to_end(self.digest)
        while len(_KEPT) > MOST_KEPT:
            _KEPT.popitem(last=False)
        self._custom_classes = self.classes.models
        self._streamers = self.classes.streamers

    @property
    def streamers(self) -> Any:
        """As uproot's.

        Raises:
            ValueError: they are damaged: they have an object of a class that only they could describe. uproot would look it
                up in them, again and again.
        """
        if self._reads_streamers:
            raise ValueError("the file's description of its classes is damaged: it has an object of an unknown class")
        self._reads_streamers = True
        try:
            self.classes.streamers = super().streamers
        finally:
            self._reads_streamers = False
        return self.classes.streamers

    def class_named(self, classname: str, version: int | str | None = None) -> Any:
        """As uproot's, which asks all files' classes for one that this file does not describe."""
        known = None if classname in never_from_streamers else self.classes.models.get(classname)
        if known is not None:  # uproot goes to lengths over the name, thousands of times a tree
            if version is None or not issubclass(known, DispatchByVersion):
                return known
            if (of_version := known.class_of_version(version)) is not None:
                return of_version
        name = classname_regularize(classname)
        elsewhere = uproot.classes.get(name)
        is_foreign = name not in self.custom_classes and elsewhere is not None and _is_of_a_file(elsewhere)
        if is_foreign and not self.streamers_named(name):
            return unknown_class(name, version)
        return super().class_named(classname, version)


class Description(Model_TStreamerInfo):  # type: ignore[misc]
    """What a file says of a class; uproot's, but a class that it would read wrongly is refused."""

    def postprocess(self, chunk: Any, cursor: Any, context: Any, file: Any) -> Any:
        """Keep the description beside those of other classes."""
        members = tuple((member.name, member.typename, str(member.title)) for member in self.elements)
        file.classes.members.setdefault((self.name, self.class_version), set()).add(members)
        return super().postprocess(chunk, cursor, context, file)

    def new_class(self, file: Any) -> Any:
        """As uproot's.

        Raises:
            NotImplementedError: objects of the class have members that uproot cannot read, or the file describes it in two
                ways.
        """
        if file.classes.are_ambiguous(self.name, self.class_version):
            raise NotImplementedError(
                f"the file describes its class {self.name} in two ways: it was merged of unlike files"
            )
        for member in self.elements:
            if member.typename in ("Float16_t", "Double32_t"):
                how = coding(str(member.title), member.typename == "Float16_t")
                if how != coding("", member.typename == "Float16_t") or getattr(member, "array_length", None):
                    raise NotImplementedError(
                        f"objects of class {self.name} have a member {member.name} of type {member.typename} "
                        f"{str(member.title)!r}: it can be read where the branch is split only"
                    )
        return super().new_class(file)


Description.__name__ = Model_TStreamerInfo.__name__  # uproot goes by it


_KEPT: OrderedDict[str, Classes] = OrderedDict()


def class_descriptions(file: Any) -> bytes:
    """How a file describes C++ classes, as it is written; nothing if it describes none.

    Args:
        file: as uproot has it open.
    """
    if not file.fSeekInfo or not file.fNbytesInfo:
        return b""
    key = _descriptions_key(file)
    return key[int.from_bytes(key[_KEY_BYTES], "big") :]  # what is before has the time of writing in it


def streamed_descriptions(file: Any) -> tuple[bytes, int] | None:
    """The list of a file's descriptions of C++ classes as it is written, and the length of its key; None if it has none.

    Raises:
        ValueError: it is damaged.
    """
    if not file.fSeekInfo or not file.fNbytesInfo:
        return None
    key = _descriptions_key(file)
    size, length = int.from_bytes(key[_OBJECT_BYTES], "big"), int.from_bytes(key[_KEY_BYTES], "big")
    return bytes(decompressed(memoryview(key)[length:], size)), length


def _descriptions_key(file: Any) -> bytes:
    """What lies where a file's descriptions of classes are: a key, and they themselves."""
    return bytes(file.chunk(file.fSeekInfo, file.fSeekInfo + file.fNbytesInfo).raw_data)


def written_classes() -> dict[str, Any]:
    """uproot's models of classes that somebody has written, without those that were made of files' descriptions."""
    return {name: _apart(model) for name, model in _all_written().items()}


def are_uproots() -> bool:
    """Whether nobody has told uproot of a class of her own: all processes read a file alike then."""
    return _all_written() == _UPROOTS


def _all_written() -> dict[str, Any]:
    return {name: model for name, model in uproot.classes.items() if not _is_of_a_file(model)}


def _apart(model: Any) -> Any:
    """The model, without versions from files, and so that new ones are not kept for all."""
    if not issubclass(model, DispatchByVersion):
        return model
    versions = {number: version for number, version in model.known_versions.items() if not _is_of_a_file(version)}
    return type(model.__name__, (model,), {"known_versions": versions, "__module__": model.__module__})


def _is_of_a_file(model: Any) -> bool:
    """Whether uproot has made the class of a file's description."""
    return bool(model.__module__ == "uproot.dynamic")


_UPROOTS = _all_written()
