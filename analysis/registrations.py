"""What a session has registered in `awkward.behavior`: a process that starts anew has nothing there, so it travels.

`vector.register_awkward()`, `@ak.mixin_class(ak.behavior)` and `ak.behavior["Lepton"] = Lepton` at the top of a script
decide what the arrays of an analysis can do, though no line of the analysis mentions them. Libraries keep what they register
in a table of a module, such as `vector.backends.awkward.behavior`: of these entries only the name of the table travels, and
what the library on the worker has there is taken. All else goes as the rest of the analysis does, in one pickle with it.

Example:
    >>> class Lepton: ...
    >>> behaviors_of({"Lepton": Lepton}).entries == {"Lepton": Lepton}
    True
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .modules import top
from .ownership import is_users


@dataclass(frozen=True)
class Table:
    """A dict of an installed module, or those `keys` of it that are registered; None stands for all."""

    module: str
    name: str
    keys: tuple[Any, ...] | None = None

    def find(self) -> dict[Any, Any]:
        """What is in it here. Raises ImportError where the module, or what should be in it, is missing."""
        try:
            table: dict[Any, Any] = getattr(importlib.import_module(self.module), self.name)
            return dict(table) if self.keys is None else {key: table[key] for key in self.keys}
        except (AttributeError, KeyError) as error:
            raise ImportError(
                f"the session's awkward.behavior has what {self.module}.{self.name} lacks here ({error}); install the "
                f"same version of {top(self.module)} where workers run"
            ) from error


@dataclass(frozen=True)
class Behaviors:
    """What is registered, as it travels: tables of libraries by name, and `entries` of the user's own."""

    tables: list[Table] = field(default_factory=list)
    entries: dict[Any, Any] = field(default_factory=dict)

    def find(self) -> dict[Any, Any]:
        """All that is registered. Raises ImportError where a library is missing, or another version."""
        found: dict[Any, Any] = {}
        for table in self.tables:
            found |= table.find()
        return found | self.entries

    def content(self) -> tuple[object, ...]:
        """What a fingerprint has to tell of it: nothing where nothing is registered."""
        if not self.tables and not self.entries:
            return ()
        versions = [str(getattr(sys.modules.get(top(table.module)), "__version__", "")) for table in self.tables]
        tables = [(table.module, table.name, table.keys) for table in self.tables]
        return ("registered", tables, versions, self.entries)


def registered() -> Behaviors:
    """What this process has in `awkward.behavior`."""
    awkward = sys.modules.get("awkward")
    return behaviors_of(awkward.behavior) if awkward is not None else Behaviors()


def behaviors_of(registry: Mapping[Any, Any]) -> Behaviors:
    """What is in a registry, sorted by how it travels."""
    tables: dict[tuple[str, str], list[Any]] = {}
    entries: dict[Any, Any] = {}
    for key, value in list(registry.items()):
        module = getattr(value, "__module__", None)
        if isinstance(module, str) and top(module) == "awkward":
            continue  # its own, there in every process
        name = None if not isinstance(module, str) or is_users(module) else _table_with(module, key, value, registry)
        if name is None:
            entries[key] = value
        else:
            tables.setdefault((str(module), name), []).append(key)
    return Behaviors(
        [
            Table(module, name, None if len(keys) == len(getattr(sys.modules[module], name)) else tuple(keys))
            for (module, name), keys in tables.items()
        ],
        entries,
    )


def _table_with(module: str, key: Any, value: Any, registry: Mapping[Any, Any]) -> str | None:
    """The name of the dict in a module that has this entry."""
    for name, table in vars(sys.modules[module]).copy().items():
        if isinstance(table, dict) and table is not registry and table.get(key, table) is value:
            return name
    return None
