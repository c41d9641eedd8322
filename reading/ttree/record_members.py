"""The members of records in unsplit branches by name, as kernels write them: `Jets_fP_fX` of the branch `Jets`.

A member is called by the way to it, as in RNTuples (`rntuple.members`): `Jets.fP.fX`, or with underscores for dots. What
lists and arrays are around it, and base classes, are no part of its name. Of pairs in maps the key is `0` and the value `1`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Member:
    """A member of the records of a branch; `path` are the names on the way to it."""

    branch: str
    path: tuple[str, ...]

    def of(self, array: Any) -> Any:
        """It, of an array of the branch."""
        for name in self.path:
            array = array[name]
        return array

    def form(self, form: Any) -> Any:
        """Its form, of that of the branch."""
        return _form(form, self.path)


def _form(form: Any, path: tuple[str, ...]) -> Any:
    if not path:
        return form
    if form.is_record:
        return _form(form.content(path[0]), path[1:])
    return form.copy(content=_form(form.content, path), parameters={})


class RecordMembers:
    """Finds members of records by name.

    Args:
        form: the form of a branch of this name, as it may be written; None where it has no members, or there is none.

    Example:
        >>> import awkward as ak
        >>> jets = ak.Array([[{"fP": {"fX": 1.0}, "fE": 2.0}]]).layout.form
        >>> RecordMembers({"Jets": jets}.get).find("Jets_fP_fX")
        Member(branch='Jets', path=('fP', 'fX'))
    """

    def __init__(self, form: Callable[[str], Any]) -> None:
        self._form = form
        self._found: dict[str, Member | None] = {}

    def find(self, name: str) -> Member | None:
        """The member of this name; None where nothing, or more than one thing, is called so."""
        if name not in self._found:
            exact = list(self._members(name, "."))
            found = exact or list(self._members(name, "._"))
            self._found[name] = found[0] if len(found) == 1 else None
        return self._found[name]

    def _members(self, name: str, signs: str) -> Iterator[Member]:
        for at, sign in enumerate(name):
            if at and sign in signs and (form := self._form(name[:at])) is not None:
                yield from (Member(name[:at], path) for path in _paths(form, name[at:], signs))


def _paths(form: Any, rest: str, signs: str) -> Iterator[tuple[str, ...]]:
    """The ways from a form to what `rest`, which begins with a sign, says."""
    while form.is_list and form.parameter("__array__") != "string":
        form = form.content
    if not form.is_record:
        return
    for field in form.fields:
        if rest[1:] == field:
            yield (field,)
        elif rest.startswith(field, 1) and rest[len(field) + 1 :][:1] in tuple(signs):
            for path in _paths(form.content(field), rest[len(field) + 1 :], signs):
                yield (field, *path)
