"""What libcloud's driver of OpenStack leaves out. Imported where a driver is made only: libcloud may not be there."""

from __future__ import annotations

from typing import Any

from libcloud.compute.drivers.openstack import OpenStack_2_NodeDriver


class Driver(OpenStack_2_NodeDriver):  # type: ignore[misc]
    """It says for which architecture an image is."""

    def _to_image(self, api_image: dict[str, Any]) -> Any:
        image = super()._to_image(api_image)
        image.extra["architecture"] = api_image.get("hw_architecture") or api_image.get("architecture") or ""
        return image
