"""What a user may read: tokens, proxies and keytabs, of the worker's environment or brought by a session."""

from __future__ import annotations

import os
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any, Literal

import eventmill as em
import msgspec
import pytest
from eventmill.dataset.catalogue.verification import FileFacts
from eventmill.master.core import MasterCore
from eventmill.master.effects import SaveSubmission, Send
from eventmill.master.saved import Saved
from eventmill.protocol import messages as m
from eventmill.protocol.credentials import Credentials, tag_of
from eventmill.protocol.errors import DatasetError, EventmillError
from eventmill.reading.file_check import check_item
from eventmill.reading.storage.credentials import CredentialSet, _Wearer, credential_set_of, fits, shown, wearing
from eventmill.session.delegation import Delegation
from eventmill.worker.agent.core import AgentCore
from eventmill.worker.agent.effects import ToSlot
from grid import Grid
from skhep_testdata import data_path
from xrootd_server import XRootDServer, serving_tokens, serving_users

HZZ = "uproot-HZZ.root"
EVENTS = 2421
VARIABLES = ("BEARER_TOKEN", "BEARER_TOKEN_FILE", "XDG_RUNTIME_DIR", "X509_USER_PROXY", "XrdSecSSSKT", "XrdSecPROTOCOL")

pytestmark = pytest.mark.long("servers that want tokens, proxies and keytabs start, and sessions that have them")


@pytest.fixture(scope="module")
def trusted(grid: Grid, tmp_path_factory: pytest.TempPathFactory) -> Iterator[pytest.MonkeyPatch]:
    """An environment that trusts the grid's authority and has nothing to show; it can be given something."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("X509_CERT_DIR", str(grid.certificates))
        environment.setenv("SSL_CERT_DIR", str(grid.certificates))
        environment.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        for name in VARIABLES:
            environment.delenv(name, raising=False)
        yield environment


@pytest.fixture(scope="module")
def tokens(grid: Grid) -> Iterator[XRootDServer]:
    with serving_tokens(grid) as server:
        for folder in (server.folder, server.folder / "sub"):
            folder.mkdir(exist_ok=True)
            shutil.copy(data_path(HZZ), folder / "hzz.root")
        yield server


@pytest.fixture(scope="module")
def session(trusted: pytest.MonkeyPatch) -> Iterator[em.Session]:
    """A session whose worker has nothing to show."""
    with em.connect(slots=1) as session:
        yield session


def count(events: object) -> dict[str, int]:
    return {"events": len(events.MET_px)}  # type: ignore[attr-defined]


def read(session: em.Session, url: str, credentials: em.Credentials | None = None) -> int:
    """How many events a query has read."""
    return int(session.process(url, count, credentials=credentials).result(60)["events"])


def refused(session: em.Session, url: str, credentials: em.Credentials | None = None) -> str:
    """What a query says that is not let in, at once."""
    with pytest.raises(DatasetError) as caught:
        read(session, url, credentials)
    assert not caught.value.transient, "nobody tries that again"
    return str(caught.value)


# --- tokens -----------------------------------------------------------------------------------------------------------


def test_a_token_of_the_session_opens_what_it_is_for(session: em.Session, tokens: XRootDServer, grid: Grid) -> None:
    everything, part = em.Credentials(token=grid.token()), em.Credentials(token=grid.token("storage.read:/sub"))
    assert read(session, f"{tokens.url}/hzz.root", everything) == EVENTS
    assert read(session, f"{tokens.url.replace('root', 'roots')}/hzz.root", everything) == EVENTS
    assert read(session, f"{tokens.url}/sub/hzz.root", part) == EVENTS
    said = refused(session, f"{tokens.url}/hzz.root", part)
    assert f"localhost:{tokens.port} does not let the query's credentials" in said
    assert "for storage.read:/sub at https://xrootd.test that ends in" in said and part.token not in said
    elsewhere = em.Credentials(token=grid.token(audience="https://elsewhere.test"))
    assert "for storage.read:/ at https://elsewhere.test that ends in" in refused(
        session, f"{tokens.url}/hzz.root", elsewhere
    )


@pytest.fixture
def wrong_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A session that takes nothing to be over: what servers say of such things is to be seen."""
    monkeypatch.setattr(Delegation, "good", True)


def test_what_is_over_is_refused_when_a_query_is_submitted(session: em.Session, grid: Grid, tmp_path: Path) -> None:
    """Before anything travels, with what it is and what to do; a clock that is wrong can be seen."""
    token = em.Credentials(token=grid.token(seconds=-600))
    for credentials in (token, em.Credentials(proxy=grid.proxy("alice", tmp_path / "over", hours=-1))):
        with pytest.raises(
            EventmillError, match=r"are over: .* that ended .* ago, by the clock .* UTC\). Make new"
        ) as caught:
            session.process("root://nowhere//a.root", count, credentials=credentials)
        assert token.token not in str(caught.value)


def test_a_token_that_is_over_is_said_to_be(
    session: em.Session, tokens: XRootDServer, grid: Grid, wrong_clock: None
) -> None:
    credentials = em.Credentials(token=grid.token(seconds=-600))
    said = refused(session, f"{tokens.url}/hzz.root", credentials)
    assert f"localhost:{tokens.port} does not accept the query's credentials" in said
    assert "that ended 10 min ago" in said and credentials.token not in said


def test_a_query_without_credentials_does_not_read_with_those_of_another(
    session: em.Session, tokens: XRootDServer, grid: Grid
) -> None:
    """Neither its open files nor its connections."""
    assert read(session, f"{tokens.url}/hzz.root", em.Credentials(token=grid.token())) == EVENTS
    said = refused(session, f"{tokens.url}/hzz.root")
    assert "does not accept a worker without a token, a proxy or a keytab" in said


def test_files_of_a_catalogue_are_looked_at_with_the_credentials_of_the_query(
    session: em.Session, tokens: XRootDServer, grid: Grid
) -> None:
    """What code over items reads by itself is shown them, too; and those of an earlier query are shown no more."""
    looks = em.items([(0, f"{tokens.url}/hzz.root", "events", "", 0)])

    def facts(credentials: em.Credentials | None) -> FileFacts:
        found = session.process(looks, check_item, credentials=credentials).result(60).value
        return msgspec.msgpack.decode(found[0], type=FileFacts)

    assert facts(em.Credentials(token=grid.token())).entries == EVENTS
    assert "does not accept a worker without a token" in facts(None).error


def test_a_token_opens_files_of_a_web_server(
    session: em.Session, tokens: XRootDServer, grid: Grid, wrong_clock: None
) -> None:
    url = f"https://localhost:{tokens.port}/hzz.root"
    assert read(session, url, em.Credentials(token=grid.token())) == EVENTS
    assert "localhost does not let anybody read it: it says 403" in refused(session, url)
    said = refused(session, url, em.Credentials(token=grid.token(seconds=-60)))
    assert re.search(r"that ended \d+ (s|min) ago\) read it: it says 403", said)


def test_credentials_of_a_session_are_for_all_its_queries_until_they_are_renewed(
    trusted: pytest.MonkeyPatch, tokens: XRootDServer, grid: Grid, tmp_path: Path
) -> None:
    """And what a worker has in its own environment works by itself."""
    token = tmp_path / "token"
    token.touch(0o600)
    token.write_text(grid.token())
    with trusted.context() as environment:
        environment.setenv("BEARER_TOKEN_FILE", str(token))
        collected = em.Credentials.from_environment()
        with em.connect(slots=1, credentials=em.Credentials(token=grid.token(seconds=-60))) as session:
            with pytest.raises(EventmillError, match="are over"):
                read(session, f"{tokens.url}/hzz.root")
            session.renew(collected)
            assert read(session, f"{tokens.url}/hzz.root") == EVENTS
            session._watch.delegation = None
            assert read(session, f"{tokens.url}/sub/hzz.root") == EVENTS, "the worker's own"


# --- proxies and keytabs ----------------------------------------------------------------------------------------------


def test_an_x509_proxy_of_the_session(session: em.Session, grid: Grid, tmp_path: Path, wrong_clock: None) -> None:
    gsi = (
        f"sec.protparm gsi -cert:{grid.host_certificate} -key:{grid.host_key} -certdir:{grid.certificates} -crl:0 "
        f"-gridmap:{grid.folder}/gridmap -gmapopt:2 -d:0\nsec.protocol gsi\nsec.protbind * only gsi"
    )
    with serving_users(grid, gsi, "alice") as server:
        shutil.copy(data_path(HZZ), server.folder / "hzz.root")
        url = f"{server.url}/hzz.root"
        assert "does not accept a worker without" in refused(session, url)
        assert read(session, url, em.Credentials(proxy=grid.proxy("alice", tmp_path / "alice"))) == EVENTS
        over = em.Credentials.unpack(em.Credentials(proxy=grid.proxy("alice", tmp_path / "over", hours=-1)).pack())
        assert "does not accept the query's credentials (an X.509 proxy that ended" in refused(session, url, over)


def test_a_keytab_of_the_session(session: em.Session, grid: Grid, tmp_path: Path) -> None:
    """The client reads the first keytab that it finds, and no other: a slot is replaced when another one is wanted."""
    alice, bob = (em.Credentials(sss=grid.keytab(user, tmp_path / user)) for user in ("alice", "bob"))
    sss = f"sec.protocol sss -s {grid.server_keytab}\nsec.protbind * only sss"
    with serving_users(grid, sss, "alice") as server:
        shutil.copy(data_path(HZZ), server.folder / "hzz.root")
        url = f"{server.url}/hzz.root"
        assert read(session, url, alice) == EVENTS
        assert "does not accept a worker without" in refused(session, url)
        assert read(session, url, alice) == EVENTS
        assert "does not let the query's credentials (an sss keytab) read it" in refused(session, url, bob)
        assert read(session, url, alice) == EVENTS


def test_the_keytab_of_a_worker_is_not_taken_for_that_of_a_query(
    monkeypatch: pytest.MonkeyPatch, grid: Grid, tmp_path: Path
) -> None:
    """Who asks first when a query's credentials are worn finds those in the environment."""
    own, alice = grid.keytab("worker", tmp_path / "own"), grid.keytab("alice", tmp_path / "alice")
    monkeypatch.setenv("XrdSecSSSKT", str(own))
    monkeypatch.setattr("eventmill.reading.storage.credentials._wearer", _Wearer())
    credential_set = credential_set_of(em.Credentials(sss=alice).pack())
    with wearing(credential_set):
        assert fits(credential_set) and not fits(None)
        assert shown(None) == f"what this worker has (the keytab {own})"
    with wearing(None):
        assert not fits(None), "the client has read the other one"


# --- secrets ----------------------------------------------------------------------------------------------------------


def test_credentials_show_what_they_are_for_and_never_what_they_are(grid: Grid, tmp_path: Path) -> None:
    credentials = em.Credentials(token=grid.token(), proxy=grid.proxy("alice", tmp_path / "proxy"))
    for text in (repr(credentials), str(credentials), f"{credentials}"):
        assert (
            "for storage.read:/ at https://xrootd.test that ends in 60 min, an X.509 proxy that ends in 12.0 h" in text
        )
        assert credentials.token not in text and "PRIVATE" not in text
    assert em.Credentials.unpack(credentials.pack()).pack() == credentials.pack()


def test_credentials_that_are_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EventmillError, match="cannot be read: No such file"):
        em.Credentials(proxy=tmp_path / "none")
    with pytest.raises(EventmillError, match="need a token, a proxy or a keytab"):
        em.Credentials()
    monkeypatch.setenv("BEARER_TOKEN_FILE", str(tmp_path / "none"))
    with pytest.raises(EventmillError, match="cannot be read: No such file"):
        em.Credentials.from_environment()


# --- on their way -----------------------------------------------------------------------------------------------------

SECRET = b"the secret"
FILES = msgspec.msgpack.encode([m.File("root://host//a.root", "Events")])
SUBMIT = m.Submit(1, "name", "kernel", "digest", credentials=True)


class Masters:
    """A core with a session and a worker, and what it says to the worker."""

    def __init__(self, master: MasterCore) -> None:
        self.master = master
        self.effects: list[object] = []
        self.do(lambda: master.receive(b"s", "session", m.Hello("session", "s", python="3.12"), [], 0.0))
        self.do(lambda: master.receive(b"w", "worker", m.Hello("worker", "w", python="3.12", slots=1), [], 0.0))

    def do(self, step: Callable[[], list[object]]) -> None:
        self.effects += step()

    @property
    def told(self) -> list[tuple[type, list[bytes]]]:
        """What the worker was told, with its frames."""
        sent = [effect for effect in self.effects if isinstance(effect, Send) and effect.peer == b"w"]
        said = [(type(effect.message), [bytes(frame) for frame in effect.frames]) for effect in sent]
        return [(kind, frames) for kind, frames in said if kind is not m.Heartbeat]


def test_connections_are_opened_side_by_side_only_with_the_same_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment names one user's credentials at a time; who connects with others waits."""
    for name in ("BEARER_TOKEN", "BEARER_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    one, other = (credential_set_of(Credentials(token=f"t{number}").pack()) for number in (1, 2))
    together, order = threading.Barrier(2, timeout=10), list[str]()

    def connect(credential_set: CredentialSet | None, name: str, wait: bool) -> None:
        with wearing(credential_set):
            if wait:
                together.wait()
            order.append(f"{name} {os.environ.get('BEARER_TOKEN_FILE')}")

    with ThreadPoolExecutor(3) as threads:
        first = threads.submit(connect, one, "one", True)
        with wearing(one):
            waiting = threads.submit(connect, other, "other", False)
            again = threads.submit(connect, one, "one", True)
            wait([first, again], timeout=10)
            assert not waiting.done() and len(order) == 2
        waiting.result(timeout=10)
    connect(None, "own", wait=False)
    assert order == [f"one {one.variables['BEARER_TOKEN_FILE']}"] * 2 + [
        f"other {other.variables['BEARER_TOKEN_FILE']}",
        "own None",
    ]


def test_the_master_passes_credentials_on_and_writes_none_down() -> None:
    made = Masters(MasterCore("1", "3.12", journaled=True))
    made.do(lambda: made.master.receive(b"s", "session", SUBMIT, [b"code", FILES, SECRET], 0.0))
    assert made.told[1:4] == [(m.Setup, [b"code"]), (m.Credentials, [SECRET]), (m.Lease, [])]
    (saved,) = [effect for effect in made.effects if isinstance(effect, SaveSubmission)]
    assert saved.frames == [b"code", FILES]
    (number,) = made.master.queries
    assert SECRET.decode() not in repr(made.master.queries[number])
    made.do(lambda: made.master.receive(b"s", "session", m.Credentials(number), [b"newer"], 1.0))
    assert made.told[-1] == (m.Credentials, [b"newer"])


def test_a_query_waits_for_its_credentials_when_the_master_was_started_again() -> None:
    made = Masters(MasterCore("1", "3.12", journaled=True))
    made.do(lambda: made.master.restore([Saved("q1", SUBMIT, 0.0, [b"code", FILES])], 0.0, 0.0))
    made.do(lambda: made.master.receive(b"s", "session", m.Attach(2, "q1"), [], 1.0))
    made.do(lambda: made.master.expire(2.0))
    assert [kind for kind, _ in made.told] == [m.Welcome]
    assert made.master.queries["q1"].info(2.0).credentials == m.CredentialsInfo(missing=True)
    said = [effect.message for effect in made.effects if isinstance(effect, Send) and effect.peer == b"s"]
    progress = next(message for message in said if isinstance(message, m.Progress))
    assert progress.waits == m.Wait("credentials")
    made.do(lambda: made.master.receive(b"s", "session", m.Credentials("q1"), [SECRET], 3.0))
    assert made.told[1:4] == [(m.Setup, [b"code"]), (m.Credentials, [SECRET]), (m.Lease, [])]


@pytest.mark.parametrize("frames", [[b"one", b"two"], [bytes(2**20 + 1)]])
def test_credentials_of_another_shape_are_refused(frames: list[bytes]) -> None:
    made = Masters(MasterCore("1", "3.12"))
    made.do(lambda: made.master.receive(b"s", "session", m.Credentials("q1"), frames, 0.0))
    assert isinstance(made.effects[-1].message, m.Fault)  # type: ignore[attr-defined]


def test_an_agent_brings_credentials_to_the_slots_that_work_on_the_query() -> None:
    agent = AgentCore(m.Hello("worker", "w", slots=2))
    agent.start()
    for slot in (0, 1):
        agent.from_slot(slot, m.Ready(), [], 0.0)
    agent.from_master(m.Welcome("w-1", "1", 1.0, 5.0), [], 0.0)
    agent.from_master(m.Setup("q", "kernel", "digest"), [b"code"], 0.0)
    assert agent.from_master(m.Credentials("q"), [SECRET], 0.0) == []
    effects = agent.from_master(m.Lease(1, "q", 1, m.File("f"), 0, 10, 1.0), [], 0.0)
    told = [effect for effect in effects if isinstance(effect, ToSlot)]
    assert {effect.slot for effect in told} == {1}
    assert [type(effect.message) for effect in told] == [m.Serve, m.Setup, m.Credentials, m.Lease]
    assert agent.from_master(m.Credentials("q"), [b"newer"], 0.0) == [ToSlot(1, m.Credentials("q"), [b"newer"])]
    assert SECRET.decode() not in repr(agent.state.queries)


# --- when a server refuses them ---------------------------------------------------------------------------------------


def refused_lease(made: Masters, number: str, packed: bytes, now: float) -> None:
    """The worker's last lease fails, since a server did not accept these credentials."""
    sent = [it for it in made.effects if isinstance(it, Send) and isinstance(it.message, m.Lease)]
    failure = m.Failure("data", "DatasetError", "not accepted", path="root://host//a.root", denied=tag_of(packed))
    lease = sent[-1].message.lease  # type: ignore[union-attr]
    made.do(lambda: made.master.receive(b"w", "worker", m.Failed(number, lease, failure), [], now))


def submitted(renewed: Literal["command", "file", "nobody"], left: float) -> tuple[Masters, str]:
    made = Masters(MasterCore("1", "3.12"))
    made.do(lambda: made.master.receive(b"s", "session", SUBMIT, [b"code", FILES, SECRET], 0.0))
    (number,) = made.master.queries
    info = m.CredentialsInfo("token", left, renewed)
    made.do(lambda: made.master.receive(b"s", "session", m.Credentials(number, info), [], 0.0))
    return made, number


def leases(made: Masters) -> int:
    return sum(kind is m.Lease for kind, _ in made.told)


def test_what_was_refused_with_old_credentials_is_done_again_with_new_ones() -> None:
    """They came while the slot opened the file: nothing is wrong with it."""
    made, number = submitted("nobody", 3600.0)
    made.do(lambda: made.master.receive(b"s", "session", m.Credentials(number), [b"newer"], 1.0))
    refused_lease(made, number, SECRET, 2.0)
    assert made.master.queries[number].state == "running" and leases(made) == 2
    refused_lease(made, number, b"newer", 3.0)
    assert made.master.queries[number].state == "failed", "that was the last word"


def test_a_query_waits_for_those_that_are_being_renewed() -> None:
    made, number = submitted("command", 1.0)
    refused_lease(made, number, SECRET, 0.9)
    assert leases(made) == 1 and not made.master.queries[number].ready
    made.do(lambda: made.master.expire(1.5))
    progress = [it.message for it in made.effects if isinstance(it, Send) and isinstance(it.message, m.Progress)][-1]
    assert progress.waits == m.Wait("credentials") and progress.credentials is not None  # type: ignore[union-attr]
    assert progress.credentials.left == pytest.approx(-0.5)  # type: ignore[union-attr]
    made.do(lambda: made.master.receive(b"s", "session", m.Credentials(number), [b"newer"], 2.0))
    assert leases(made) == 2 and made.told[-2] == (m.Credentials, [b"newer"])


@pytest.mark.parametrize(("renewed", "left"), [("nobody", 10.0), ("command", 3600.0), ("command", None)])
def test_a_refusal_is_the_last_word_where_no_others_come(renewed: Any, left: Any) -> None:
    """Nobody renews them, or they are good still: it is the server that does not want them."""
    made, number = submitted(renewed, left)
    refused_lease(made, number, SECRET, 20.0)
    assert made.master.queries[number].state == "failed"


def test_a_session_that_is_gone_renews_nothing() -> None:
    made, number = submitted("command", 100.0)
    made.do(lambda: made.master.receive(b"s", "session", m.Bye(), [], 10.0))
    info = made.master.queries[number].info(20.0).credentials
    assert info is not None and info.away and info.left == 80.0
    refused_lease(made, number, SECRET, 101.0)
    assert made.master.queries[number].state == "running", "it may come back"
