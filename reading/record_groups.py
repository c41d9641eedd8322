"""Which columns of a file a kernel's parameter stands for that is called like a group of them: `Muon`, `MET`."""

from __future__ import annotations

from .groups import Group
from .view import OpenFile


def record_group(file: OpenFile, name: str) -> Group | None:
    """The group of this name, as `events` has it: the columns `Muon_pt` and `Muon_eta`, or the members of a branch `Muon`
    of records; None where the name is that of a branch of numbers or of lists of them, or of nothing.

    Raises:
        DatasetError: the branch of this name cannot be read.

    Example:
        >>> record_group(reader, "Muon")                                                          # doctest: +SKIP
        Group(fields={'pt': 'Muon_pt', 'eta': 'Muon_eta'}, counter='nMuon', lists=())
    """
    if name in file.names:
        kind = file.types([name]).get(name, "")
        if "{" in kind or "[" in kind:
            return _of_members(file, name)
        if not any(other.startswith(f"{name}.") for other in file.names):
            return None
    field = file.lazy.fields.get(name)
    return field if isinstance(field, Group) else None


def _of_members(file: OpenFile, name: str) -> Group | None:
    """The group of the members of a branch of records."""
    form = file.lazy.form(name)
    is_list = bool(getattr(form, "is_list", False))
    inner = form.content if is_list else form
    if not inner.is_record or inner.is_tuple:
        return None
    fields = {field: f"{name}.{field}" for field in inner.fields if f"{name}.{field}" in file.names}
    return Group(dict(fields), lists=tuple(fields.values()) if is_list else ()) if fields else None
