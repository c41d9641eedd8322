"""The forms of those branches of a tree of which uproot has to be asked: once for all files that are made alike.

For the hundreds of branches of split objects that an ATLAS or Delphes file has, uproot takes seconds to say what their
arrays are made of, though most files of a dataset say the same of their branches and classes. What it said is kept for
these, and told to other slots.
"""

from __future__ import annotations

import functools
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import awkward as ak
import msgspec

from .cpp_classes import FileOfItsOwnClasses

MOST_KINDS = 32
"""Of files, whose forms are kept; those unused for longest are dropped."""


class OddForms(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What uproot says of some branches of a tree.

    Attributes:
        numbers: by the branch's name which of `texts` is its form.
        texts: forms as awkward writes them; "" for a branch that has none.
        counters: by the branch's name that of the branch with the lengths of its lists.

    Example:
        >>> OddForms.of({"x": ak.forms.NumpyForm("int32"), "y": None}, {}).forms()
        {'x': NumpyForm('int32'), 'y': None}
    """

    numbers: dict[str, int] = {}  # msgspec copies it
    texts: list[str] = []
    counters: dict[str, str] = {}

    @classmethod
    def of(cls, forms: Mapping[str, Any], counters: Mapping[str, str]) -> OddForms:
        """What there is to tell of these branches."""
        texts = {name: "" if form is None else str(form.to_json()) for name, form in forms.items()}
        places = {text: place for place, text in enumerate(dict.fromkeys(texts.values()))}
        numbers = {name: places[text] for name, text in texts.items()}
        return cls(numbers, list(places), dict(counters))

    def forms(self) -> dict[str, Any]:
        """The forms by name; None for a branch that has none.

        Raises:
            ValueError: they are none; they may have come from anywhere.
        """
        try:
            forms = [_form(text) for text in self.texts]
            return {name: forms[place] for name, place in self.numbers.items()}
        except Exception as error:  # whatever awkward's parser raises
            raise ValueError(f"a layout with forms that are none: {error!r}") from error


@functools.lru_cache(maxsize=1000)
def _form(text: str) -> Any:
    """A form by its text: files of one production have the same few, and are looked at when they are told and when they
    are used."""
    return ak.forms.from_json(text) if text else None


class KnownForms:
    """What uproot has said of branches in files of this process, by the kind of file (`kind_of`)."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, OddForms] = OrderedDict()

    def get(self, kind: str) -> OddForms | None:
        """What is known of files of this kind."""
        if kind in self._known:
            self._known.move_to_end(kind)
        return self._known.get(kind)

    def add(self, kind: str, forms: OddForms) -> None:
        """Keep what was said of a file."""
        self._known[kind] = forms
        while len(self._known) > MOST_KINDS:
            self._known.popitem(last=False)


KNOWN = KnownForms()


def kind_of(file: FileOfItsOwnClasses, structure: str) -> str:
    """A name that files have in common of which uproot says the same, since their classes and branches are the same.

    Args:
        file: as uproot has it open.
        structure: of the tree's branches, as `branch_kinds.structure`.
    """
    return f"{file.digest}:{structure}"
