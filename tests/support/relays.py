"""Relays in processes of their own."""

from __future__ import annotations

from pathlib import Path

from processes import Running


def start_relay(target: str, port: int, state: Path) -> Running:
    """A relay to a master that listens at a port of this machine, or at any free one (0)."""
    relay = Running("relay", target, "--interface", "127.0.0.1", "--port", str(port), state=state)
    relay.wait_for("--through")
    return relay


def port_of(relay: Running) -> int:
    """Where it listens."""
    return int(relay.output.partition("--through 127.0.0.1:")[2].split()[0])
