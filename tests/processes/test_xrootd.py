"""Reading from real XRootD servers: those that are well, far away, many, or dead."""

from __future__ import annotations

import os
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue

import eventmill as em
import fsspec
import numpy as np
import pytest
import uproot
from eventmill.protocol.connection import PROXY_PREFIX
from eventmill.protocol.errors import DatasetError
from eventmill.protocol.messages import File
from eventmill.reading.reader import Reader
from eventmill.reading.reader_cache import ReaderCache
from eventmill.reading.storage import xrootd
from eventmill.reading.storage.redirector import located
from eventmill.reading.storage.sources import source_class
from eventmill.worker.slot.prefetch import MOST_OPENING, Openings, Place
from hypothesis import given
from hypothesis import strategies as st
from skhep_testdata import data_path
from xrootd_requests import between
from xrootd_server import Cluster, XRootDServer, serving, serving_cluster

from benchmarks.delay_proxy import far_away

HZZ = "uproot-HZZ.root"
EVENTS = 2421
FORWARDING = "ofs.osslib libXrdPss.so\npss.origin =\nall.export /root:/\nall.export /xroot:/"
"""What makes a server a proxy that gets any file from where its address says."""


@pytest.fixture(scope="module")
def big(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with baskets beyond the ends that are read on opening."""
    path = tmp_path_factory.mktemp("big") / "big.root"
    rng = np.random.default_rng(1)
    with uproot.recreate(path, compression=None) as file:
        tree = file.mktree("events", {"x": "f8"})
        for _ in range(20):
            tree.extend({"x": rng.normal(size=20_000)})
    return path


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with serving_cluster() as cluster:
        yield cluster


# --- requests ---------------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(1, 50)), st.integers(1, 5), st.integers(1, 100))
def test_requests_hold_all_pieces_in_order_and_are_within_the_limits(sizes: list[int], most: int, largest: int) -> None:
    stops = np.cumsum(sizes, dtype=int).tolist()
    pieces = [(stop - size, stop) for size, stop in zip(sizes, stops, strict=True)]
    cut = list(xrootd.requests(pieces, most, largest))
    assert [piece for request in cut for piece in request] == pieces
    for request in cut:
        assert 0 < len(request) <= most
        assert len(request) == 1 or sum(stop - start for start, stop in request) <= largest


def test_ranges_beyond_the_limits_of_a_server_arrive_whole(
    xrootd_server: XRootDServer, big: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(big, xrootd_server.folder / "limits.root")
    data = big.read_bytes()
    with xrootd.XRootDSource(f"{xrootd_server.url}/limits.root") as source:
        most, largest = source.known.limits()
        assert most > 1 and largest > 1000, "what the server told"
        monkeypatch.setattr(source.known, "limits", lambda: (3, 1000))
        ranges = [(0, 2500), (2500, 2500), (200_000, 203_001), (17, 18)]
        before = source.num_requests
        chunks = source.chunks(ranges, SimpleQueue())
        assert source.num_requests - before == 3, "8 pieces, 3 in a request"
        assert [bytes(chunk.raw_data) for chunk in chunks] == [data[start:stop] for start, stop in ranges]


def test_a_source_counts_what_it_cost_to_read(xrootd_server: XRootDServer, big: Path) -> None:
    """Reports tell these figures; the packets that follow are read ahead by them."""
    shutil.copy(big, xrootd_server.folder / "counted.root")
    began = time.monotonic()
    with far_away(xrootd_server.port, delay=0.05) as port:
        far = Reader(f"root://127.0.0.1:{port}//counted.root", "events", timeout=10)
        near = Reader(str(big), "events")
        for reader in (far, near):
            before = reader.stored.source.requests, reader.stored.source.bytes_read, reader.stored.source.waited
            reader.read(["x"], 0, 200_000)
            assert 1 <= reader.stored.source.requests - before[0] <= (1 if reader is far else 2)
            assert reader.stored.source.bytes_read - before[1] == pytest.approx(200_000 * 8, rel=0.01)
            assert reader.stored.source.waited > before[2]
            reader.close()
        assert 0.05 <= far.stored.source.latency < time.monotonic() - began and near.stored.source.latency == 0.0
        assert far.stored.source.waited > 0.05


def test_what_is_in_a_far_file_is_found_in_its_metadata(xrootd_server: XRootDServer, big: Path) -> None:
    far = em.peek(xrootd_server.take_in(big)).file
    assert far.trees == em.peek(big).file.trees and far.path.startswith("root://") and far.trees[0].entries


def test_a_far_file_is_opened_in_few_round_trips(xrootd_server: XRootDServer) -> None:
    """After those for the connection: one to open, one for both ends and the server's limits, which a later file knows."""
    for name in ("first.root", "second.root"):
        shutil.copy(data_path(HZZ), xrootd_server.folder / name)
    with between(xrootd_server.port) as line:
        line.hold(1, 1, 1, 2)
        first = Reader(f"root://127.0.0.1:{line.port}//first.root", "events", timeout=300)
        assert line.requests == 5 and not line.held_too_long, "one waited for an answer that it need not know"
        line.hold(1, 1)
        second = Reader(f"root://127.0.0.1:{line.port}//second.root", "events", timeout=300)
        assert line.requests == 7
        line.hold()
        first.close()
        second.close()
        assert not line.held_too_long, "nobody waits until it is closed"


def test_whether_an_open_file_is_still_the_same_is_asked_ahead(xrootd_server: XRootDServer) -> None:
    """A later query asks once for each file; a slot does so for packets that wait, and has the answer when it gets there."""
    shutil.copy(data_path(HZZ), xrootd_server.folder / "asked.root")
    with between(xrootd_server.port) as line:
        cache, openings, place = (
            ReaderCache(),
            Openings(),
            (f"root://127.0.0.1:{line.port}//asked.root", "events", None),
        )
        reader = cache.get(*place[:2])
        asked, since = line.requests, time.monotonic()
        openings.begin(cache, [place], since)
        openings.hand_over(cache, [place])
        assert line.requests > asked, "ahead"
        asked = line.requests
        assert cache.get(*place[:2], since) is reader
        assert line.requests == asked, "and not again"
        cache.close()


def test_files_are_opened_side_by_side(xrootd_server: XRootDServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A slot that has to begin many far files waits for the round trips of all of them at once."""
    names = [f"beside{number}.root" for number in range(MOST_OPENING)]
    for name in names:
        shutil.copy(data_path(HZZ), xrootd_server.folder / name)
    together, opened = threading.Barrier(MOST_OPENING, timeout=10), xrootd.XRootDSource._open

    def open_with_others(source: xrootd.XRootDSource) -> None:
        together.wait()
        opened(source)

    monkeypatch.setattr(xrootd.XRootDSource, "_open", open_with_others)
    places: list[Place] = [(f"{xrootd_server.url}/{name}", "events", None) for name in names]
    cache, openings = ReaderCache(), Openings()
    openings.begin(cache, places)
    openings.hand_over(cache, places)
    assert all(cache.peek(*place) is not None for place in places)
    cache.close()


def test_that_a_file_could_not_be_opened_is_forgotten_with_its_packet(xrootd_server: XRootDServer) -> None:
    """The packet went to another slot, and the file is there by now: a later packet of it is tried, not failed."""
    cache, openings, place = ReaderCache(), Openings(), (f"{xrootd_server.url}/later.root", "events", None)
    openings.begin(cache, [place])
    assert isinstance(openings._opening[place].exception(timeout=10), DatasetError)
    openings.keep([])
    shutil.copy(data_path(HZZ), xrootd_server.folder / "later.root")
    openings.hand_over(cache, [place])
    assert cache.get(*place[:2]).entries == 2421
    cache.close()


# --- servers that fail ------------------------------------------------------------------------------------------------


def test_a_server_that_never_answers_is_given_up_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(DatasetError, match=rf"the server does not answer \(127.0.0.1:{port}") as caught:
            Reader(f"root://127.0.0.1:{port}//a.root", "events", timeout=1)
    assert caught.value.transient


def test_a_server_that_dies_in_the_middle_and_comes_back(big: Path) -> None:
    """What was to be read fails soon, as something that may pass; and when it has passed, nothing remembers it."""
    with serving() as server:
        shutil.copy(big, server.folder / "a.root")
        reader = Reader(f"{server.url}/a.root", "events", timeout=10)
        reader.read(["x"], 0, 1000)
        server.kill()
        with pytest.raises(DatasetError, match=rf"a\.root cannot be read: .*{server.port}") as caught:
            reader.read(["x"], 200_000, 300_000)
        assert caught.value.transient
        with pytest.raises(DatasetError, match="cannot be reached") as caught:
            Reader(f"{server.url}/a.root", "events", timeout=10)
        assert caught.value.transient
        server.start()
        again = Reader(f"{server.url}/a.root", "events", timeout=10)
        assert len(again.read(["x"], 200_000, 300_000)["x"].values) == 100_000  # type: ignore[union-attr]


def test_a_server_that_has_less_than_it_said(xrootd_server: XRootDServer, big: Path) -> None:
    path = xrootd_server.folder / "shrinking.root"
    shutil.copy(big, path)
    reader = Reader(f"{xrootd_server.url}/shrinking.root", "events", timeout=10)
    os.truncate(path, 1_000_000)
    with pytest.raises(DatasetError, match=r"shrinking\.root cannot be read: ") as caught:
        reader.read(["x"], 0, 400_000)
    assert caught.value.transient, "another replica may have all of it"


def test_an_answer_with_fewer_bytes_than_were_asked_for(xrootd_server: XRootDServer, big: Path) -> None:
    shutil.copy(big, xrootd_server.folder / "short.root")
    with xrootd.XRootDSource(f"{xrootd_server.url}/short.root") as source:
        read = xrootd.VectorRead(source, [(0, 100), (500, 600)])
        read.wait()
        read.response.chunks[1].buffer = bytes(60)
        assert len(read.take(0)) == 100
        with pytest.raises(xrootd.ServerError, match=r"sent 60 bytes .* for bytes 500 to 600") as caught:
            read.take(1)
    assert caught.value.transient


# --- clusters and proxies ---------------------------------------------------------------------------------------------


@pytest.mark.long("a cluster of XRootD answers ten seconds after it has started")
def test_a_redirector_leads_to_the_server_that_has_the_file(cluster: Cluster) -> None:
    one, two = cluster.servers
    shutil.copy(data_path(HZZ), one.folder / "one.root")
    shutil.copy(data_path(HZZ), two.folder / "two.root")
    for name, server in (("one", one), ("two", two)):
        reader = Reader(f"{cluster.url}/{name}.root", "events", timeout=30)
        assert len(reader.read(["MET_px"], 0, EVENTS)["MET_px"].values) == EVENTS  # type: ignore[union-attr]
        assert reader.stored.source.server.endswith(f":{server.port}"), "where it is, for whoever works on that host"
        reader.close()
    with pytest.raises(DatasetError, match=r"there is no file root://.*/none\.root"):
        Reader(f"{cluster.url}/none.root", "events", timeout=30)


@pytest.mark.long("of the same cluster, which has answered above")
def test_the_data_servers_of_a_redirector_become_replicas(cluster: Cluster, xrootd_server: XRootDServer) -> None:
    """So that those who share a host with one of them read there."""
    shutil.copy(data_path(HZZ), xrootd_server.folder / "alone.root")
    for index, server in enumerate(cluster.servers):
        shutil.copy(data_path(HZZ), server.folder / "both.root")
        shutil.copy(data_path(HZZ), server.folder / f"only{index}.root")
    ports = [server.port for server in cluster.servers]
    paths = [f"{cluster.url}/{name}.root" for name in ("both", "only0", "only1", "nowhere")]
    found = located([*map(File, paths), File(f"{xrootd_server.url}/alone.root"), File("/data/a.root")])
    assert [file.path for file in found[:4]] == paths
    where = [{int(url.split(":")[2].partition("/")[0]) for url in file.replicas} for file in found]
    assert where == [set(ports), {ports[0]}, {ports[1]}, set(), set(), set()]
    reader = Reader(found[0].replicas[0], "events", timeout=10)
    assert reader.entries == EVENTS
    reader.close()


def test_files_are_read_through_the_proxy_of_a_site(
    xrootd_server: XRootDServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(data_path(HZZ), xrootd_server.folder / "proxied.root")
    with serving(FORWARDING) as proxy:
        monkeypatch.setenv(PROXY_PREFIX, f"{proxy.url}/")
        reader = Reader(f"{xrootd_server.url}/proxied.root", "events", timeout=10)
        assert reader.path == f"{xrootd_server.url}/proxied.root"
        assert reader.stored.source.server == f"127.0.0.1:{proxy.port}"
        assert len(reader.read(["MET_px"], 0, EVENTS)["MET_px"].values) == EVENTS  # type: ignore[union-attr]
        reader.close()
        both = rf"127\.0\.0\.1:{xrootd_server.port}//none\.root cannot be opened: .*the proxy 127\.0\.0\.1:{proxy.port}"
        with pytest.raises(DatasetError, match=both) as caught:
            Reader(f"{xrootd_server.url}/none.root", "events", timeout=10)
        assert not caught.value.transient
    with pytest.raises(DatasetError, match=rf"the proxy 127\.0\.0\.1:{proxy.port} .* cannot be reached") as caught:
        Reader(f"{xrootd_server.url}/proxied.root", "events", timeout=10)
    assert caught.value.transient


# --- other protocols --------------------------------------------------------------------------------------------------


def test_what_fsspec_knows_can_be_read() -> None:
    files = fsspec.filesystem("memory")
    files.pipe("/shelf/hzz.root", Path(data_path(HZZ)).read_bytes())
    reader = Reader("memory://shelf/hzz.root", "events", timeout=10)
    reader.ahead(["MET_px"], 0, EVENTS)
    assert len(reader.read(["MET_px"], 0, EVENTS)["MET_px"].values) == EVENTS  # type: ignore[union-attr]
    assert reader.stored.source.requests > 0 and reader.stored.source.bytes_read > 0
    reader.close()
    with pytest.raises(DatasetError, match=r"there is no file memory://shelf/none\.root"):
        Reader("memory://shelf/none.root", "events")


def test_what_nobody_knows_is_said_so() -> None:
    with pytest.raises(DatasetError, match=r"nope://host/a\.root cannot be opened: .*nope") as caught:
        Reader("nope://host/a.root", "events")
    assert not caught.value.transient


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/data/a.root", "LocalSource"),
        ("root://host//a", "XRootDAhead"),
        ("roots://host//a", "XRootDAhead"),
        ("XROOT://host//a", "XRootDAhead"),
        ("https://host/a", "HTTPAhead"),
        ("s3://bucket/a", "FSSpecAhead"),
    ],
)
def test_the_scheme_of_an_address_says_how_it_is_read(path: str, name: str) -> None:
    assert source_class(path).__name__ == name
