"""The control groups (cgroups) that this process is in, of either version: each may limit what all in it use together.

A batch system limits a job's group, a container runtime a container's; the process is in a group of its own somewhere
below. So every group up to the root has its say, and the least limit holds.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

CGROUPS = Path("/sys/fs/cgroup")
PROC = Path("/proc")


def groups(controller: str, cgroups: Path = CGROUPS, proc: Path = PROC) -> Iterator[Path]:
    """The folders of the groups that limit this process, its own first, then those around it, up to the root.

    In a container the path that the kernel tells may be one outside it: what is not there is left out by whoever reads it.

    Args:
        controller: what is limited, as version 1 calls it: `cpu`, `memory`.
        cgroups: where their file systems are.
        proc: where that of processes is.
    """
    try:
        lines = (proc / "self/cgroup").read_text().splitlines()
    except OSError:
        lines = []
    places = {(root, "/"): None for root in (*_roots_of_2(cgroups), *_roots_of_1(controller, controller, cgroups))}
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            places |= {(root, path): None for root in _roots_of_2(cgroups)}
        elif controller in controllers.split(","):
            places |= {(root, path): None for root in _roots_of_1(controller, controllers, cgroups)}
    found = {root / group: None for root, path in places for group in _up_to_the_root(path)}
    yield from sorted(found, key=lambda folder: -len(folder.parts))


def _roots_of_2(cgroups: Path) -> list[Path]:
    """Where version 2 is mounted: alone, or beside version 1."""
    return [cgroups, cgroups / "unified"]


def _roots_of_1(controller: str, controllers: str, cgroups: Path) -> list[Path]:
    """Where version 1 is mounted: by the controller's name, or by those of all that are mounted together."""
    return [cgroups / controller, cgroups / controllers]


def _up_to_the_root(path: str) -> Iterator[PurePosixPath]:
    """A group and those around it; nothing that lies outside of what is mounted here (`/../..`)."""
    inside = PurePosixPath(path).relative_to("/")
    for group in (inside, *inside.parents):
        if ".." not in group.parts:
            yield group
