"""What the names of columns tell of what belongs together: `Muon_pt` and `Muon_eta` are the fields of a group, Muon.

A group is

- a list of records for each event, where a counter says so: `nMuon` of NanoAOD. Lists with another counter, or without one,
  are no fields of it;
- a list of records, too, where most of its columns are lists, and no counter is shared: vectors of ATLAS and FCC, what
  uproot writes. That their lengths are the same, only the data tell: see `record_lists`;
- one record for each event elsewhere, as `MET` is.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Group:
    """A record of columns: one record an event, as many as the column `counter` says, or as the `lists` have elements.

    Attributes:
        fields: what is in it, by name.
        counter: the column with the numbers of records.
        lists: the columns whose lists have an element for each record, groups in this one included. Other fields are there
            once for each event, and are in no record.
    """

    fields: dict[str, Field]
    counter: str = ""
    lists: tuple[str, ...] = ()

    @property
    def elements(self) -> dict[str, Field]:
        """The fields of its records, if it is a list of them."""
        if self.counter:
            return self.fields
        has = {*self.lists}
        fields = self.fields.items()
        return {name: it for name, it in fields if (it.lists if isinstance(it, Group) else it in has)}

    @property
    def own_lists(self) -> list[str]:
        """The lists that are its own fields, and not those of what is another collection beside it, `X_1.y` and `X_0`
        of X.y; all where there are no others.
        """
        own = {name: it for name, it in self.elements.items() if isinstance(it, str) and "." not in name}
        dotted = [it for name, it in own.items() if it.endswith("." + name)]
        return dotted or list(own.values()) or list(self.lists)

    def only(self, names: Sequence[str]) -> Group:
        """The group of some of its fields; one record an event unless all of these are lists."""
        fields = {name: self.fields[name] for name in names}
        if self.counter or all(name in self.elements for name in names):
            return Group(fields, self.counter, tuple(name for name in self.lists if name in _columns(*fields.values())))
        return Group(fields)


Field: TypeAlias = str | Group
"""What a name stands for: the column of that name, or a group of columns."""


def nested(names: Sequence[str], counters: Mapping[str, str], lists: Collection[str] = ()) -> dict[str, Group]:
    """The groups that the names of columns tell of: those of `X_y` and `X.y`, called X, unless a column is called X.

    Of several counters, one called X or nX is taken. A column X that counts the lists of `X.y` (a TClonesArray, as `Jet` in
    Delphes) is what stands for them in the file, and makes room for the group.

    Args:
        names: of all columns.
        counters: the counter of each column that has lists with one.
        lists: the columns that are lists.

    Example:
        >>> groups = nested(["nMuon", "Muon_pt", "Muon_eta", "MET_pt"], {"Muon_pt": "nMuon", "Muon_eta": "nMuon"})
        >>> groups["Muon"]
        Group(fields={'pt': 'Muon_pt', 'eta': 'Muon_eta'}, counter='nMuon', lists=())
        >>> groups["MET"].fields
        {'pt': 'MET_pt'}
        >>> nested(["lep_n", "lep_pt", "lep_eta"], {}, {"lep_pt", "lep_eta"})["lep"].lists
        ('lep_pt', 'lep_eta')
    """
    members: dict[str, dict[str, str]] = {}
    for name in names:
        for prefix in groups_of(name):
            members.setdefault(prefix, {}).setdefault(name[len(prefix) + 1 :], name)
    plain = set(names) - {counter for name, counter in counters.items() if name.startswith(f"{counter}.")}
    return {
        prefix: _group(prefix, fields, counters, lists) for prefix, fields in members.items() if prefix not in plain
    }


def fields_of(names: Sequence[str], counters: Mapping[str, str], lists: Collection[str] = ()) -> dict[str, Field]:
    """What all names of the events' fields stand for: the columns, those with a size in their names also without it, and
    groups; as `nested` has them.

    Example:
        >>> fields_of(["run", "cov[10]"], {})
        {'run': 'run', 'cov[10]': 'cov[10]', 'cov': 'cov[10]'}
    """
    plain: dict[str, Field] = {name: name for name in names}
    return {**plain, **_without_sizes(plain), **nested(names, counters, lists)}


def without_size(name: str) -> str:
    """The name of a member in C++, of that of its branch, which ends with its size.

    Example:
        >>> without_size("Tracks.fP[5]")
        'Tracks.fP'
    """
    return name.partition("[")[0]


def group_of(name: str) -> str:
    """The group that a column's name tells of, the larger one of two; empty if it tells of none.

    Example:
        >>> group_of("Muon_pt"), group_of("Muon.pt"), group_of("nMuon")
        ('Muon', 'Muon', '')
    """
    return next(iter(groups_of(name)), "")


def groups_of(name: str) -> list[str]:
    """The groups that a column's name tells of: what is before its first underscore, and before its first dot.

    Example:
        >>> groups_of("mc_trks.E"), groups_of("Muon#0.index"), groups_of("trks.E"), groups_of("run")
        (['mc', 'mc_trks'], ['Muon#0'], ['trks'], [])
    """
    dot, underscore = name.find("."), name.find("_")
    ends = [underscore] if underscore > 0 and name[:underscore].isidentifier() else []
    if dot > 0 and not {*"/["}.intersection(name[:dot]):
        ends = [end for end in ends if end < dot] + [dot]
    return [name[:end] for end in ends if end < len(name) - 1]


def prefixed(group: Group, prefix: str) -> Group:
    """The group with this before the names of its columns."""
    fields = {
        name: prefixed(field, prefix) if isinstance(field, Group) else prefix + field
        for name, field in group.fields.items()
    }
    counter = prefix + group.counter if group.counter else ""
    return Group(fields, counter, tuple(prefix + name for name in group.lists))


def _group(prefix: str, columns: dict[str, str], counters: Mapping[str, str], lists: Collection[str]) -> Group:
    """The group of these columns, each by the rest of its name."""
    found = {counters[name]: None for name in columns.values() if name in counters}
    likely = [counter for counter in (prefix, f"n{prefix}") if counter in found]
    counter = next(iter(found)) if len(found) == 1 else likely[0] if likely else ""
    if counter:
        return Group(_fields({rest: name for rest, name in columns.items() if counters.get(name) == counter}), counter)
    return _without_counter(columns, lists)


def _without_counter(columns: Mapping[str, str], lists: Collection[str]) -> Group:
    fields = _fields(columns, lists)
    its = tuple(name for name in columns.values() if name in lists)
    if 2 * len(its) <= len(columns):
        return Group(fields)
    return Group(fields, lists=its)


def _fields(columns: Mapping[str, str], lists: Collection[str] = ()) -> dict[str, Field]:
    """The fields of a group: its columns, and what their dotted names tell of; `momentum.x` is in a record `momentum`."""
    inner: dict[str, dict[str, str]] = {}
    for rest, name in columns.items():
        first, _, last = rest.partition(".")
        if last:
            inner.setdefault(first, {})[last] = name
    own: dict[str, Field] = {**columns, **_without_sizes(columns)}
    return {**{first: _without_counter(some, lists) for first, some in inner.items()}, **own}


def _without_sizes(columns: Mapping[str, Field]) -> dict[str, Field]:
    """Those of the columns with a size in their names, by what is before it; none where two would have the same name."""
    found: dict[str, list[Field]] = {}
    for name, column in columns.items():
        found.setdefault(without_size(name), []).append(column)
    return {name: them[0] for name, them in found.items() if name and name not in columns and len(them) == 1}


def _columns(*fields: Field) -> set[str]:
    """The columns of some fields, those of groups among them."""
    found = {field for field in fields if isinstance(field, str)}
    for field in fields:
        if isinstance(field, Group):
            found |= _columns(*field.fields.values())
    return found
