"""Who has to go when there are too many connections, and that nobody does who has shown a key."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from eventmill.master import reception
from eventmill.master.door import _peer_of
from eventmill.master.reception import Reception, network_of, room_of

STRANGER, SITE = "198.51.100.1", "192.0.2.1"


def crowd(made: Reception, first: int, count: int, host: str = STRANGER, now: float = 0.0) -> range:
    """So many callers, who say nothing."""
    for descriptor in (callers := range(first, first + count)):
        made.accepted(descriptor, (host, descriptor), now)
    return callers


def test_nobody_goes_while_there_is_room() -> None:
    made = Reception()
    crowd(made, 0, room_of(1024))
    assert not made.too_many(1024, now=100.0)
    crowd(made, 2000, 1)
    assert len(made.too_many(1024, now=100.0)) == 1


def test_those_that_are_known_stay_however_many_strangers_come() -> None:
    """Also when peers alone are more than there is room for: they are let go by nobody."""
    made = Reception()
    for descriptor in crowd(made, 0, 1000, SITE):
        made.heard(descriptor, b"%d" % descriptor)
    crowd(made, 1000, 50)
    assert {it.descriptor for it in made.too_many(1024, now=100.0)} == set(range(1000, 1050))
    assert made.ended(7) == b"7" and made.ended(7) is None and made.ended(1001) is None
    assert made.count == 999 + 49


def test_the_address_with_the_most_of_them_gives_way_to_a_site_that_comes_back() -> None:
    made = Reception()
    crowd(made, 0, 700)
    site = crowd(made, 700, 200, SITE)
    assert not {it.descriptor for it in made.too_many(1024, now=1.0)} & set(site)


def test_of_one_address_the_old_ones_go_and_else_the_newest() -> None:
    """Peers need less than two seconds; of a crowd that comes at once, those that came first are nearly through."""
    made = Reception()
    crowd(made, 0, 800)
    crowd(made, 1000, 84, now=100.0)
    assert [it.descriptor for it in made.too_many(1024, now=100.5)] == list(range(100))
    late = Reception()
    crowd(late, 0, 884)
    assert [it.descriptor for it in late.too_many(1024, now=0.5)] == list(range(883, 783, -1))


def test_so_many_may_wait_however_many_descriptors_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reception, "MOST_WAITING", 50)
    made = Reception()
    crowd(made, 0, 60)
    assert len(made.too_many(2**20, now=1.0)) == 10


def test_a_peer_that_was_heard_before_its_call_was_told_of_is_known() -> None:
    """Messages and calls come by different ways."""
    made = Reception()
    made.heard(5, b"early")
    made.accepted(5, (SITE, 1), now=0.0)
    crowd(made, 10, 1000)
    assert 5 not in {it.descriptor for it in made.too_many(256, now=100.0)}


def test_a_descriptor_may_be_something_elses_by_now(tmp_path: Path) -> None:
    """Of a connection that ended at once: the master took it for a socket with a port, and began anew."""
    one, other = socket.socketpair()
    with (tmp_path / "file").open("w") as file, one, other:
        assert _peer_of(file.fileno()) is None and _peer_of(one.fileno()) is None and _peer_of(10**6) is None
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as caller:
        assert _peer_of(caller.fileno()) == server.getsockname() and _peer_of(server.fileno()) is None


def test_networks_of_ipv6_count_as_one_address() -> None:
    assert network_of("2001:db8::1") == network_of("2001:db8::ffff:2") != network_of("2001:db8:0:1::1")
    assert network_of("::ffff:192.0.2.1") == "192.0.2.1"
    assert network_of("fe80::1%eth0") == "fe80::/64"
