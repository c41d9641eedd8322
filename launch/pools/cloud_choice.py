"""Which image and which flavour a pool's machines have: two that go together, of those that a cloud has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ...system.quantities import parse_size
from .cloud_machines import Flavour, architecture_of, cheapest, check_architecture
from .pool import PoolError

if TYPE_CHECKING:
    from .cloud import Cloud

MEMORY_A_SLOT = 2 * 2**30
"""Bytes that a flavour must have for each slot, where the pool says nothing."""


def chosen(cloud: Cloud, driver: Any) -> tuple[Any, Any, Flavour]:
    """Image and size as libcloud has them, and what the size is.

    Raises:
        PoolError: the cloud has none that will do, or they do not go together.
    """
    image = _image(cloud, driver)
    of_image = architecture_of(image.extra.get("architecture") or "")
    if cloud.architecture and of_image and of_image != cloud.architecture:
        raise PoolError(
            f"the image {cloud.image} is for {of_image}, and architecture = {cloud.architecture!r}", "refused"
        )
    architecture = of_image or cloud.architecture
    flavour, size = _size(cloud, driver, architecture)
    check_architecture(cloud.image, architecture, flavour)
    return image, size, flavour


def _image(cloud: Cloud, driver: Any) -> Any:
    found = driver.list_images(**cloud.quirks.image(cloud.image))
    for image in found:
        if cloud.image in (image.id, image.name):
            return image
    raise PoolError(f"the cloud has no image {cloud.image}{_few([image.name for image in found])}", "refused")


def _size(cloud: Cloud, driver: Any, architecture: str) -> tuple[Flavour, Any]:
    sizes = [(cloud.quirks.flavour(size), size) for size in driver.list_sizes()]
    if not cloud.flavour:
        memory = parse_size(cloud.memory) if cloud.memory else cloud.cores * MEMORY_A_SLOT
        best = cheapest([flavour for flavour, _ in sizes], cloud.cores, memory, cloud.disk, architecture)
        return next(it for it in sizes if it[0] is best)
    for flavour, size in sizes:
        if cloud.flavour in (flavour.name, flavour.id):
            return flavour, size
    if cloud.quirks.more_flavours:
        from libcloud.compute.base import NodeSize

        size = NodeSize(cloud.flavour, cloud.flavour, 0, 0, None, None, driver)
        return Flavour(cloud.flavour, cloud.flavour, 0, 0), size
    names = [flavour.name for flavour, _ in sizes]
    raise PoolError(f"the cloud has no flavour {cloud.flavour}{_few(names)}", "refused")


def _few(names: Sequence[str]) -> str:
    shown = sorted(filter(None, names))[:8]
    return f"; it has {', '.join(shown)}{' and more' if len(names) > len(shown) else ''}" if shown else ""
