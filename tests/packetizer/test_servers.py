"""The order of file servers: that of a plain sort, whatever has happened, and found by looking at a few of them."""

from __future__ import annotations

from collections import OrderedDict

import pytest
from eventmill.packetizer.leases import Gap
from eventmill.packetizer.ledger import Ledger
from eventmill.packetizer.packetizer import Packetizer
from eventmill.packetizer.servers import Server, Servers
from hypothesis import given
from hypothesis import strategies as st
from operations import lines_run

NAMES = ["", "n1.cern.ch", "eos1.cern.ch", "eos2.cern.ch", "se.roma1.infn.it", "se.fnal.gov", "storage"]
PLACES: list[tuple[str, tuple[str, ...]]] = [
    ("n1.cern.ch", (".cern.ch",)), ("job7", (".infn.it",)), ("eos2.cern.ch", (".T0", ".cern.ch")),
    ("", ()), ("storage", (".T2",)),
]  # fmt: skip
EVENTS = st.tuples(
    st.integers(0, len(NAMES) - 1),
    st.sampled_from(["unopened", "opened", "ready", "exhausted", "read", "left", "look"]),
    st.integers(0, len(PLACES) - 1),
)


def plainly(
    servers: list[Server],
    ready: dict[int, None],
    most: int | None,
    host: str,
    near: tuple[str, ...],
    own: Server | None,
) -> list:  # type: ignore[type-arg]
    """All servers looked at, and sorted: how it was done before."""

    def distance(name: str) -> int:
        if not name or name == host:
            return 0
        return 1 if any(name.endswith(end) for end in near) else 2

    found = []
    for server in servers:
        full = most is not None and server.readers - (server is own) >= most
        if (server.unopened or any(file in ready for file in server.ready)) and not full:
            found.append((distance(server.name), not server.unopened, server.readers, server.number, server))
    return [it[-1] for it in sorted(found)]


@given(st.lists(EVENTS, max_size=60), st.sampled_from([None, 1, 3]), st.booleans())
def test_servers_come_in_the_order_of_a_plain_sort(
    events: list[tuple[int, str, int]], most: int | None, crowded: bool
) -> None:
    ready: OrderedDict[int, None] = OrderedDict()
    servers = Servers(ready, most)
    every = [servers[name] for name in (NAMES * 1 if not crowded else [*NAMES, *(f"s{n}.infn.it" for n in range(30))])]
    files = 0
    for which, what, place in events:
        server, (host, near) = every[which], PLACES[place]
        match what:
            case "unopened":
                server.unopened.add(files)
                files += 1
            case "opened" if server.unopened:
                server.unopened.remove(next(iter(server.unopened)))
            case "ready":
                server.ready[files] = ready[files] = None
                files += 1
            case "exhausted" if server.ready:
                ready.pop(next(reversed(server.ready)), None)  # the server does not hear of it
                continue
            case "read" if most is None or server.readers < most:
                server.readers += 1
            case "left" if server.readers:
                server.readers -= 1
        servers.changed(server)
        own = server if server.readers else None
        looked = servers.by_distance(host, near, own)
        if what == "look":
            next(looked, None)  # the others stay where they are
            looked.close()  # type: ignore[attr-defined]
            looked = servers.by_distance(host, near, own)
        assert list(looked) == plainly(every, ready, most, host, near, own)


def test_a_ranking_keeps_no_more_than_it_has_servers() -> None:
    """A server that moves a million times leaves no million entries."""
    servers = Servers({})
    server = servers["eos.cern.ch"]
    server.unopened.add(0)
    servers.changed(server)
    assert list(servers.by_distance("", ())) == [server]
    for readers in range(1000):
        server.readers = readers
        servers.changed(server)
    assert len(server.rankings[0]._entries) < 100 and list(servers.by_distance("", ())) == [server]


def one_decision(servers: int) -> int:
    """Lines that a packet costs when its files are on so many servers."""
    paths = [[f"root://eos{index}.cern.ch//{index}.root"] for index in range(servers)]
    packetizer = Packetizer(Ledger([None] * servers), paths, most_readers=5)
    for slot in range(8):
        packetizer.join(slot, f"n{slot}.cern.ch", "cern.ch" if slot % 2 else "infn.it")
        packetizer.next(slot, 0.0)
    return lines_run(lambda: packetizer.next(0, 0.1))


def test_a_decision_does_not_look_at_every_file_server() -> None:
    assert one_decision(1000) <= one_decision(20) + 20


@pytest.mark.parametrize("times", [2, 16])
def test_what_a_commit_costs_grows_with_its_parts_and_gaps_and_not_with_their_product(times: int) -> None:
    def cost(parts: int) -> int:
        ledger = Ledger([100] * parts)
        leases = [ledger.lease_opening(file, 100, "slot") for file in range(parts)]
        for lease in leases:
            ledger.opened(lease.number, 100, 100)
        spans = [(lease.number, 0, 100) for lease in leases]
        gaps = [Gap(lease.number, at, at + 1, "") for lease in leases for at in range(0, 100, 20)]
        return lines_run(lambda: ledger.commit(spans, gaps))

    assert cost(4 * times) <= times * cost(4)
