"""The C++ classes of one file, apart from those of all others.

A file describes the classes of its objects, and uproot makes Python classes of the descriptions. It keeps these by name
and version, for all files of the process: another production's `struct Pt`, with its members in another order and the
same version, would be read with the members of the first. Here each file has its own.
"""

from __future__ import annotations

from typing import Any

import uproot
from uproot.model import DispatchByVersion, classname_regularize, unknown_class
from uproot.streamers import Model_TStreamerInfo

from ..rntuple.checked_pages import CheckedNtuple
from .packed_floats import coding


class FileOfItsOwnClasses(uproot.ReadOnlyFile):  # type: ignore[misc]
    """As uproot's, but what it knows of a class is from this file, from uproot's own models or from the user's, never from
    another file, whoever has opened that.

    Example:
        >>> FileOfItsOwnClasses("run1.root").class_named("Pt")                                      # doctest: +SKIP
        <class 'uproot.dynamic.Pt'>
    """

    def __init__(self, path: str, **options: Any) -> None:
        self.descriptions: dict[tuple[str, int], set[tuple[Any, ...]]] = {}
        """The members of each class and version, as the file describes them; in several ways if it was merged of others."""
        classes = {**written_classes(), "TStreamerInfo": Description, "ROOT::RNTuple": CheckedNtuple}
        super().__init__(path, custom_classes=classes, **options)

    def class_named(self, classname: str, version: int | str | None = None) -> Any:
        """As uproot's, which asks all files' classes for one that this file does not describe."""
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
        file.descriptions.setdefault((self.name, self.class_version), set()).add(members)
        return super().postprocess(chunk, cursor, context, file)

    def new_class(self, file: Any) -> Any:
        """As uproot's.

        Raises:
            NotImplementedError: objects of the class have members that uproot cannot read, or the file describes it in two
                ways.
        """
        if len(file.descriptions[self.name, self.class_version]) > 1:
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


def written_classes() -> dict[str, Any]:
    """uproot's models of classes that somebody has written, without those that were made of files' descriptions."""
    return {name: _apart(model) for name, model in uproot.classes.items() if not _is_of_a_file(model)}


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
