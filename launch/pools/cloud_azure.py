"""What libcloud's driver of Azure leaves out. Imported where a driver is made only: libcloud may not be there."""

from __future__ import annotations

from typing import Any

from libcloud.compute.drivers.azure_arm import AzureNodeDriver


class Driver(AzureNodeDriver):  # type: ignore[misc]
    """It sends user-data: libcloud 3.9 makes base64 of them that its own JSON does not take."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._request = self.connection.request
        self.connection.request = self._sent

    def _sent(self, action: str, params: Any = None, data: Any = None, **arguments: Any) -> Any:
        profile = data.get("properties", {}).get("osProfile", {}) if isinstance(data, dict) else {}
        if isinstance(profile.get("customData"), bytes):
            profile["customData"] = profile["customData"].decode()
        return self._request(action, params=params, data=data, **arguments)
