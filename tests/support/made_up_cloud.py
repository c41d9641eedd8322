"""A cloud that is no more than a few lists, in the place of libcloud's driver, which does as a test wants."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from libcloud.common.exceptions import BaseHTTPError
from libcloud.compute.base import Node, NodeImage, NodeSize


class MadeUpCloud:
    """It speaks as libcloud's driver of EC2.

    Attributes:
        quota: machines at most.
        fails: an error for each of the next calls of `create_node`, or None.
        answers: whether what it makes is told.
        made: the arguments of each machine, in their order.
    """

    def __init__(self) -> None:
        self.quota, self.fails, self.answers = 100, [], True
        self.made: list[dict[str, Any]] = []
        self.nodes: list[Node] = []
        self.console = "booting\n[ 2.0] eventmill: its software could not be brought; switching off\n[ 3.0] reboot: bye"
        self.images = [
            NodeImage(f"ami-{name}", name, self, {"architecture": name}) for name in ("x86_64", "arm64")
        ]  # fmt: skip

    def connect(self, *_: Any) -> MadeUpCloud:
        """In the place of `Quirks.connect`."""
        return self

    def list_images(self, **_: Any) -> list[NodeImage]:
        return self.images

    def list_sizes(self) -> list[NodeSize]:
        kinds = {
            "t.small": (1, 2048, 0.02, "Intel"), "m.large": (2, 8192, 0.1, "Intel"), "m.giant": (16, 65536, 0.8, "Intel"),
            "a.large": (2, 8192, 0.05, "AWS Graviton2"),
        }  # fmt: skip
        return [
            NodeSize(name, name, memory, 0, 0, price, self, {"vcpu": str(cores), "physicalProcessor": processor})
            for name, (cores, memory, price, processor) in kinds.items()
        ]

    def list_nodes(self, **_: Any) -> list[Node]:
        return list(self.nodes)

    def create_node(self, **arguments: Any) -> Node:
        error = self.fails.pop(0) if self.fails else None
        if error is not None and self.answers:
            raise error
        if len(self.nodes) >= self.quota:
            raise BaseHTTPError(400, "VcpuLimitExceeded: You have requested more vCPU capacity than your limit of 4")
        self.made.append(arguments)
        tags = {"Name": arguments["name"]} | arguments["ex_metadata"]
        node = Node(f"i-{len(self.made)}", arguments["name"], "pending", [], ["10.0.0.7"], self, extra={"tags": tags})
        self.nodes.append(node)
        if error is not None:
            raise error
        return node

    def destroy_node(self, node: Node) -> bool:
        self.nodes.remove(node)
        return True

    def ex_get_console_output(self, node: Node) -> dict[str, str]:
        return {"output": self.console}

    def now(self, name: str, state: str, **extra: str) -> None:
        """A machine is in this state."""
        (node,) = (node for node in self.nodes if node.name == name)
        node.state, node.extra = state, node.extra | extra


def no_connection(url: str) -> OSError:
    """As requests says it, with the URL of what was asked for."""
    reason = SimpleNamespace(reason=ConnectionRefusedError(111, "Connection refused"))
    error = OSError(f"Max retries exceeded with url: {url}")
    error.args = (error.args[0], reason)
    error.__cause__ = ConnectionRefusedError(111, "Connection refused")
    return error
