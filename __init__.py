"""eventmill: interactive, fault-tolerant parallel analysis of particle-physics data.

    import eventmill as em

    session = em.connect()
    query = session.process(em.Dataset("events/*.root", tree="Events"), analysis)
    result = query.result()

Names are imported when they are first used: `import eventmill` itself costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .analysis.analysis import Kernel, kernel
    from .analysis.corrections import correction
    from .analysis.cutflow import Cutflow
    from .analysis.kernel_functions import argmax, argmin, argsort, concat, delta_phi, delta_r, p4
    from .analysis.kernel_parameters import constant, here
    from .analysis.once import once
    from .analysis.row_output import Output
    from .analysis.sent_files import file
    from .analysis.variations import vary
    from .analysis.writes import write
    from .dataset.dataset import Dataset
    from .dataset.friends import Friend
    from .dataset.generated import cycles, items
    from .launch.pools.cloud import Cloud
    from .launch.pools.condor import Condor
    from .launch.pools.dask import Dask
    from .launch.pools.gridengine import GridEngine
    from .launch.pools.kubernetes import Kubernetes
    from .launch.pools.local_processes import Local
    from .launch.pools.pbs import PBS
    from .launch.pools.slurm import Slurm
    from .launch.pools.ssh import SSH
    from .protocol import errors
    from .protocol.credentials import Credentials
    from .protocol.skipping import Skip
    from .protocol.version import __version__
    from .reading.aux_files import aux_file
    from .reading.branch_list import branches
    from .reading.conditions import conditions
    from .reading.links import follow, ranges
    from .session import coffea_executor as coffea  # noqa: F401  # in no __all__, since it needs coffea
    from .session.connect import connect
    from .session.peek import peek
    from .session.query import Query
    from .session.result import Result, Snapshot
    from .session.session import Session
    from .session.variation_axis import variation_axis

_HOMES = {
    "Cloud": "launch.pools.cloud",
    "Condor": "launch.pools.condor",
    "Credentials": "protocol.credentials",
    "Cutflow": "analysis.cutflow",
    "Dask": "launch.pools.dask",
    "Dataset": "dataset.dataset",
    "Friend": "dataset.friends",
    "GridEngine": "launch.pools.gridengine",
    "Kernel": "analysis.analysis",
    "Kubernetes": "launch.pools.kubernetes",
    "Local": "launch.pools.local_processes",
    "Output": "analysis.row_output",
    "PBS": "launch.pools.pbs",
    "Query": "session.query",
    "Result": "session.result",
    "SSH": "launch.pools.ssh",
    "Session": "session.session",
    "Skip": "protocol.skipping",
    "Slurm": "launch.pools.slurm",
    "Snapshot": "session.result",
    "__version__": "protocol.version",
    "argmax": "analysis.kernel_functions",
    "argmin": "analysis.kernel_functions",
    "argsort": "analysis.kernel_functions",
    "aux_file": "reading.aux_files",
    "branches": "reading.branch_list",
    "concat": "analysis.kernel_functions",
    "conditions": "reading.conditions",
    "connect": "session.connect",
    "constant": "analysis.kernel_parameters",
    "correction": "analysis.corrections",
    "cycles": "dataset.generated",
    "delta_phi": "analysis.kernel_functions",
    "delta_r": "analysis.kernel_functions",
    "file": "analysis.sent_files",
    "follow": "reading.links",
    "here": "analysis.kernel_parameters",
    "items": "dataset.generated",
    "kernel": "analysis.analysis",
    "p4": "analysis.kernel_functions",
    "once": "analysis.once",
    "peek": "session.peek",
    "ranges": "reading.links",
    "variation_axis": "session.variation_axis",
    "vary": "analysis.variations",
    "write": "analysis.writes",
}
_MODULES = {"coffea": "session.coffea_executor", "errors": "protocol.errors"}

__all__ = [
    "PBS",
    "SSH",
    "Cloud",
    "Condor",
    "Credentials",
    "Cutflow",
    "Dask",
    "Dataset",
    "Friend",
    "GridEngine",
    "Kernel",
    "Kubernetes",
    "Local",
    "Output",
    "Query",
    "Result",
    "Session",
    "Skip",
    "Slurm",
    "Snapshot",
    "__version__",
    "argmax",
    "argmin",
    "argsort",
    "aux_file",
    "branches",
    "concat",
    "conditions",
    "connect",
    "constant",
    "correction",
    "cycles",
    "delta_phi",
    "delta_r",
    "errors",
    "file",
    "follow",
    "here",
    "items",
    "kernel",
    "once",
    "p4",
    "peek",
    "ranges",
    "variation_axis",
    "vary",
    "write",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f".{_MODULES[name]}", __name__)
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "coffea"])
