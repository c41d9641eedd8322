"""Connections to Dask's schedulers: by their addresses, or through Dask Gateway."""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from .pool import PoolError

if TYPE_CHECKING:
    from distributed import Client

CONNECT_SECONDS = 10.0
KEYS = {"tls_ca_file": "ca_file", "tls_cert": "client_cert", "tls_key": "client_key"}
"""Settings, and what Dask calls them."""
_SHELTERED = ("tls", "wss", "gateway", "inproc")


@contextlib.contextmanager
def connected(scheduler: str, gateway: str, keys: Mapping[str, str]) -> Iterator[Client]:
    """A client of a scheduler, while it is used.

    Args:
        scheduler: its address or file; "" is what Dask's configuration says.
        gateway: address of Dask Gateway, if it is behind one; "" is what its configuration says.
        keys: files with certificates and keys, as `KEYS` calls them; none: those of Dask's configuration.

    Raises:
        PoolError: there is no way to it, or the connection breaks.
    """
    try:
        import dask

        address = scheduler or dask.config.get("scheduler-address", None)
        if not address:
            raise PoolError("which Dask cluster? Set scheduler to its address, as tls://host:8786", "refused")
        behind = address.startswith("gateway://")
        client = _through_gateway(address, gateway) if behind else _direct(address, keys)
    except ImportError as error:
        raise PoolError(
            f'{error.name} is not installed here: pip install "eventmill[dask]", in the version of the cluster',
            "refused",
        ) from None
    except PoolError:
        raise
    except Exception as error:  # a ValueError, an OSError or one of many others, as the reason may be
        raise PoolError(f"there is no way to the Dask scheduler {address}: {error}") from error
    try:
        yield client
    except OSError as error:
        raise PoolError(f"the connection to the Dask scheduler {address} broke: {error}") from error
    finally:
        client.close()


def _direct(address: str, keys: Mapping[str, str]) -> Client:
    from distributed import Security

    place = {"scheduler_file": address} if address.endswith(".json") else {"address": address}
    files = {f"tls_{name}": file for name, file in keys.items()}
    return _client(security=Security(require_encryption=True, **files) if files else None, **place)


def _through_gateway(address: str, gateway: str) -> Client:
    """The cluster's keys come from the gateway, which knows the user as its configuration says."""
    from dask_gateway import Gateway

    parts = urlsplit(address)
    client = Gateway(gateway or None, proxy_address=f"gateway://{parts.netloc}")
    try:
        cluster = client.get_cluster(parts.path.strip("/"))
    finally:
        client.close()  # who collects garbage would leave its connection open,
        client._asynchronous = True  # or close it once more, which fails: its loop is gone
    if cluster.security is None:
        raise PoolError(
            f"the cluster {address} of Dask Gateway is {cluster.status.name.lower()}: get another one", "refused"
        )
    return _client(security=cluster.security, address=cluster.scheduler_address)


def _client(**settings: Any) -> Client:
    from distributed import Client

    return Client(timeout=CONNECT_SECONDS, set_as_default=False, name="eventmill", **settings)


def sheltered(address: str) -> bool:
    """Whether what goes to an address of Dask is encrypted, or never leaves a machine.

    Example:
        >>> sheltered("tls://dask.site:8786"), sheltered("tcp://dask.site:8786"), sheltered("tcp://127.0.0.1:8786")
        (True, False, True)
    """
    parts = urlsplit(address)
    with contextlib.suppress(ValueError):
        if ipaddress.ip_address(parts.hostname or "").is_loopback:
            return True
    return parts.scheme in _SHELTERED or parts.hostname == "localhost"
