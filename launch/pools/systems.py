"""Which class a system's pools are of. A new system is a module here and a row."""

from __future__ import annotations

from importlib import import_module

from .pool import Pool

SYSTEMS = {
    "local": "local_processes.Local",
    "slurm": "slurm.Slurm",
    "condor": "condor.Condor",
    "gridengine": "gridengine.GridEngine",
    "pbs": "pbs.PBS",
    "ssh": "ssh.SSH",
    "dask": "dask.Dask",
    "kubernetes": "kubernetes.Kubernetes",
    "cloud": "cloud.Cloud",
}
"""The class of each `system`, in which module."""


def pool_class(system: str) -> type[Pool]:
    """The class of a system's pools; `KeyError` if there is none.

    Example:
        >>> pool_class("local").__name__
        'Local'
    """
    module, _, name = SYSTEMS[system].partition(".")
    found: type[Pool] = getattr(import_module(f".{module}", __package__), name)
    return found
