"""The interfaces of clouds, and in what each differs from the others: one table, `QUIRKS`, and the functions in it.

"No two EC2 API implementations are the same": what one endpoint can is found by `eventmill pool check` (`cloud_check`); here
stands what an interface is meant to be. That of EC2 and OpenStack is tried against real services by the tests, of the
others only that libcloud's drivers take what they are given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from .cloud_credentials import Secrets
from .cloud_machines import CALL_TAG, Flavour, Machine

if TYPE_CHECKING:
    from .cloud import Cloud

DriverName = Literal["ec2", "openstack", "gce", "azure", "opennebula"]
Arguments = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Quirks:
    """One interface.

    Args:
        connect: makes libcloud's driver.
        variables: of the credentials: sets of names, of which all of one are needed.
        user_data: the arguments with it.
        limit: of user-data, in bytes as they are handed over, before base64.
        compresses: user-data may be compressed: machines get the bytes that were sent.
        tags: the arguments with tags, which the machine has from its first moment on; None: there are none.
        tags_of: those of a listed machine.
        lower: tags are in lower case.
        spot: the arguments of a machine that may be taken back; None: there are none.
        client_token: the argument by which a call that is made twice makes one machine; "" if there is none.
        ends_itself: the arguments with which a machine is deleted when it switches itself off. Without any it stays, and
            costs, until a launcher deletes it.
        network: the arguments of network and security groups.
        key: the argument with the name of an SSH key; "" if there is none.
        fixed: more arguments.
        filters: of `list_nodes`, for those of ours; empty: all are listed.
        image: finds an image by its name or id: arguments of `list_images`.
        flavour: what is to be known of one.
        more_flavours: there may be more than libcloud knows, so that one it does not know is asked for as it is.
        ended: who has ended a machine ("user", "itself", "provider", "") and why, of one that is over.
        console: what a machine has written there; None: it cannot be had.
        notice: how a machine is told that it will be taken back; "" if it is not.
        grace: seconds that its worker may take then to leave in good order.
        full: words in an error that speak of a quota or a lack of room.
        forbidden: words in an error of credentials that may not do this.
    """

    connect: Callable[[Cloud, Secrets], Any]
    variables: Sequence[Sequence[str]]
    user_data: Callable[[bytes], Arguments]
    limit: int
    compresses: bool = True
    tags: Callable[[dict[str, str]], Arguments] | None
    tags_of: Callable[[Any], Mapping[str, str]]
    lower: bool = False
    spot: Arguments | None = None
    client_token: str = ""
    ends_itself: Arguments = field(default_factory=dict)
    network: Callable[[str, Sequence[str]], Arguments]
    key: str = ""
    fixed: Arguments = field(default_factory=dict)
    filters: Arguments = field(default_factory=dict)
    image: Callable[[str], Arguments] = lambda _: {}
    flavour: Callable[[Any], Flavour]
    more_flavours: bool = False
    ended: Callable[[Any], tuple[str, str]]
    console: Callable[[Any, Any], str] | None = None
    notice: str = ""
    grace: float = 10.0
    full: Sequence[str] = ()
    forbidden: Sequence[str] = ("forbidden", "not authorized", "unauthorized", "permission")

    def machine(self, node: Any) -> Machine:
        """What libcloud has listed."""
        ended_by, why = self.ended(node)
        said = str(node.extra.get("status") or node.extra.get("vm_state") or node.state)
        state = {"shutting-down": "ending", "stopping": "ending"}.get(said, str(node.state).lower())
        host = next(iter([*node.private_ips, *node.public_ips]), "")
        return Machine(node.name, state, said, ended_by, why, host, dict(self.tags_of(node) or {}))


# --- EC2, and what speaks like it -------------------------------------------------------------------------------------


def _ec2(cloud: Cloud, secrets: Secrets) -> Any:
    from .cloud_ec2 import Driver

    at = urlsplit(cloud.endpoint)
    where: Arguments = (
        {"host": at.hostname, "port": at.port, "secure": at.scheme != "http", "path": at.path} if at.hostname else {}
    )
    return Driver(
        secrets["AWS_ACCESS_KEY_ID"], secrets["AWS_SECRET_ACCESS_KEY"], token=secrets.get("AWS_SESSION_TOKEN"),
        region=cloud.region or secrets.get("AWS_DEFAULT_REGION") or "us-east-1", signature_version="4",
        **{name: value for name, value in where.items() if value is not None},
    )  # fmt: skip


def _ec2_network(network: str, groups: Sequence[str]) -> Arguments:
    if not network:
        return {"ex_security_groups": list(groups)} if groups else {}
    return {"ex_subnet": SimpleNamespace(id=network)} | ({"ex_security_group_ids": list(groups)} if groups else {})


def _ec2_flavour(size: Any) -> Flavour:
    processor = size.extra.get("physicalProcessor", "").lower()
    kind = "" if not processor else "arm64" if "graviton" in processor or "arm" in processor.split() else "x86_64"
    return Flavour(size.id, size.id, int(size.extra.get("vcpu", 0)), size.ram << 20, 0, size.price, kind)


def _ec2_ended(node: Any) -> tuple[str, str]:
    if node.extra.get("status") not in ("terminated", "stopped"):
        return "", ""
    code, reason = node.extra.get("state_reason") or "", node.extra.get("reason") or ""
    why = code or reason
    if "Spot" in code or reason.startswith("Service initiated"):
        return "provider", why
    if "InstanceInitiatedShutdown" in code:
        return "itself", why
    return ("provider", why) if code.startswith("Server.") else ("user", why)


_EC2 = Quirks(
    connect=_ec2,
    variables=[["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"]],
    user_data=lambda data: {"ex_userdata": data},
    limit=16384,
    tags=lambda tags: {"ex_metadata": tags},
    tags_of=lambda node: node.extra.get("tags", {}),
    spot={"ex_spot": True},
    client_token="ex_clienttoken",
    ends_itself={"ex_terminate_on_shutdown": True},
    network=_ec2_network,
    key="ex_keyname",
    filters={"ex_filters": {"tag-key": CALL_TAG}},
    image=lambda name: (
        {"ex_image_ids": [name]} if name.startswith(("ami-", "emi-")) else {"ex_filters": {"name": name}}
    ),
    flavour=_ec2_flavour,
    more_flavours=True,
    ended=_ec2_ended,
    console=lambda driver, node: driver.ex_get_console_output(node)["output"] or "",
    notice="ec2",
    grace=100.0,  # of 120
    full=(
        "LimitExceeded",
        "InsufficientInstanceCapacity",
        "InsufficientCapacity",
        "SpotMaxPriceTooLow",
        "QuotaExceeded",
    ),
    forbidden=("UnauthorizedOperation", "AccessDenied", "OptInRequired", "PendingVerification"),
)


# --- OpenStack --------------------------------------------------------------------------------------------------------


def _openstack(cloud: Cloud, secrets: Secrets) -> Any:
    from .cloud_openstack import Driver

    url = urlsplit(cloud.endpoint or secrets.get("OS_AUTH_URL", ""))
    common: Arguments = {
        "ex_force_auth_url": f"{url.scheme}://{url.netloc}{url.path.rstrip('/').removesuffix('/v3')}",
        "ex_force_service_region": cloud.region or secrets.get("OS_REGION_NAME") or "RegionOne",
        "secure": url.scheme != "http",
    }
    if identity := secrets.get("OS_APPLICATION_CREDENTIAL_ID"):
        secret = secrets["OS_APPLICATION_CREDENTIAL_SECRET"]
        return Driver(identity, secret, ex_force_auth_version="3.x_appcred", **common)
    return Driver(
        secrets["OS_USERNAME"], secrets["OS_PASSWORD"], ex_force_auth_version="3.x_password",
        ex_tenant_name=secrets.get("OS_PROJECT_NAME") or secrets.get("OS_TENANT_NAME"),
        ex_domain_name=secrets.get("OS_USER_DOMAIN_NAME") or "Default",
        ex_tenant_domain_id=secrets.get("OS_PROJECT_DOMAIN_ID") or "default", **common,
    )  # fmt: skip


def _openstack_network(network: str, groups: Sequence[str]) -> Arguments:
    chosen = {"networks": [SimpleNamespace(id=network)]} if network else {}
    return chosen | ({"ex_security_groups": [SimpleNamespace(name=name) for name in groups]} if groups else {})


def _openstack_ended(node: Any) -> tuple[str, str]:
    why = str((node.extra.get("fault") or {}).get("message", ""))
    return ("itself", why) if node.state == "stopped" else ("", why)


_OPENSTACK = Quirks(
    connect=_openstack,
    variables=[
        ["OS_USERNAME", "OS_PASSWORD"],
        ["OS_APPLICATION_CREDENTIAL_ID", "OS_APPLICATION_CREDENTIAL_SECRET"],
    ],
    user_data=lambda data: {"ex_userdata": data},
    limit=49149,  # 65,535 characters of base64
    tags=lambda tags: {"ex_metadata": tags},
    tags_of=lambda node: node.extra.get("metadata", {}),
    network=_openstack_network,
    key="ex_keyname",
    flavour=lambda size: Flavour(size.name, size.id, size.vcpus or 0, size.ram << 20, size.disk, size.price or None),
    ended=_openstack_ended,
    console=lambda driver, node: str(driver.ex_get_console_output(node, length=200)["output"]),
    full=("Quota exceeded", "quota", "No valid host"),
    forbidden=("Policy doesn't allow", "403"),
)


# --- Google, Azure, OpenNebula: never tried against the services themselves -------------------------------------------


def _gce(cloud: Cloud, secrets: Secrets) -> Any:
    from libcloud.compute.drivers.gce import GCENodeDriver

    return GCENodeDriver(
        secrets["GOOGLE_CLIENT_EMAIL"], secrets["GOOGLE_APPLICATION_CREDENTIALS"], datacenter=cloud.region,
        project=secrets["GOOGLE_CLOUD_PROJECT"],
    )  # fmt: skip


def _gce_ended(node: Any) -> tuple[str, str]:
    if node.state != "stopped":
        return "", ""
    preemptible = (node.extra.get("scheduling") or {}).get("preemptible")
    return ("provider", "preempted") if preemptible else ("itself", "")


_GCE = Quirks(
    connect=_gce,
    variables=[["GOOGLE_CLIENT_EMAIL", "GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_CLOUD_PROJECT"]],
    user_data=lambda data: {"ex_metadata": {"items": [{"key": "user-data", "value": data.decode()}]}},
    limit=262144,
    compresses=False,
    tags=lambda tags: {"ex_labels": tags},
    tags_of=lambda node: node.extra.get("labels") or {},
    lower=True,
    spot={"ex_preemptible": True, "ex_automatic_restart": False, "ex_on_host_maintenance": "TERMINATE"},
    network=lambda network, groups: (
        ({"ex_network": network} if network else {}) | ({"ex_tags": list(groups)} if groups else {})
    ),
    flavour=lambda size: Flavour(
        size.name, size.name, int(size.extra["guestCpus"] or 0), int(size.ram or 0) << 20, 0, size.price or None,
        "arm64" if size.name.startswith(("t2a-", "c4a-")) else "x86_64",
    ),
    ended=_gce_ended,
    console=lambda driver, node: str(driver.ex_get_serial_output(node)),
    notice="gce",
    grace=20.0,  # of 30
    full=("QUOTA_EXCEEDED", "ZONE_RESOURCE_POOL_EXHAUSTED", "Quota"),
)  # fmt: skip


def _azure(cloud: Cloud, secrets: Secrets) -> Any:
    from .cloud_azure import Driver

    return Driver(
        secrets["AZURE_TENANT_ID"], secrets["AZURE_SUBSCRIPTION_ID"], secrets["AZURE_CLIENT_ID"],
        secrets["AZURE_CLIENT_SECRET"], region=cloud.region,
    )  # fmt: skip


_AZURE = Quirks(
    connect=_azure,
    variables=[["AZURE_TENANT_ID", "AZURE_SUBSCRIPTION_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET"]],
    user_data=lambda data: {"ex_customdata": data},
    limit=65535,
    tags=lambda tags: {"ex_tags": tags},
    tags_of=lambda node: node.extra.get("tags") or {},
    network=lambda network, groups: {"ex_network": network} if network else {},
    fixed={"auth": None, "ex_use_managed_disks": True, "ex_os_disk_delete": True},
    flavour=lambda size: Flavour(
        size.name, size.id, int(size.extra.get("numberOfCores", 0)), size.ram << 20, 0, size.price or None,
        "arm64" if "p" in size.name.split("_")[1].lstrip("BDEFLM0123456789")[:2] else "x86_64",
    ),
    ended=lambda node: ("itself", "") if node.state == "stopped" else ("", ""),
    full=("QuotaExceeded", "SkuNotAvailable", "AllocationFailed", "OperationNotAllowed"),
    forbidden=("AuthorizationFailed",),
)  # fmt: skip


def _opennebula(cloud: Cloud, secrets: Secrets) -> Any:
    from libcloud.compute.drivers.opennebula import OpenNebulaNodeDriver

    at = urlsplit(cloud.endpoint)
    return OpenNebulaNodeDriver(
        secrets["ONE_USERNAME"], secrets["ONE_PASSWORD"], host=at.hostname, port=at.port, secure=at.scheme != "http",
        api_version="3.8",
    )  # fmt: skip


_OPENNEBULA = Quirks(
    connect=_opennebula,
    variables=[["ONE_USERNAME", "ONE_PASSWORD"]],
    user_data=lambda data: {"context": {"USER_DATA": data.decode()}},
    limit=65536,
    compresses=False,
    tags=None,
    tags_of=lambda node: {},
    network=lambda network, groups: {"networks": [SimpleNamespace(id=network, address=None)]} if network else {},
    flavour=lambda size: Flavour(
        size.name,
        size.id,
        int(getattr(size, "vcpu", None) or getattr(size, "cpu", None) or 0),
        int(size.ram or 0) << 20,
    ),
    ended=lambda node: ("", ""),
)


QUIRKS: Mapping[DriverName, Quirks] = {
    "ec2": _EC2, "openstack": _OPENSTACK, "gce": _GCE, "azure": _AZURE, "opennebula": _OPENNEBULA,
}  # fmt: skip
