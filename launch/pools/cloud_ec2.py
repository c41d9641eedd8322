"""What libcloud's driver of EC2 leaves out. Imported where a driver is made only: libcloud may not be there."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from libcloud.compute.drivers.ec2 import NAMESPACE, EC2NodeDriver
from libcloud.utils.xml import findtext

_FORM = {"Content-Type": "application/x-www-form-urlencoded"}


class Driver(EC2NodeDriver):  # type: ignore[misc]
    """It says why an instance ended, and has user-data go as the body of a request.

    libcloud puts all into the URL: user-data with a token in them would be too long for it, and be in the logs of every
    proxy on the way.
    """

    def __init__(self, *args: Any, path: str = "/", **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.path = path or "/"
        self._request = self.connection.request
        self.connection.request = self._posted

    def _posted(self, action: str, params: dict[str, Any] | None = None, **arguments: Any) -> Any:
        if not params or "UserData" not in params:
            return self._request(action, params=params, **arguments)
        form = urlencode(params | {"Version": self.connection.version})
        return self._request(action, data=form, headers=dict(_FORM), method="POST", **arguments)

    def _to_node(self, element: Any) -> Any:
        node = super()._to_node(element)
        node.extra["state_reason"] = findtext(element=element, xpath="stateReason/code", namespace=NAMESPACE) or ""
        return node
