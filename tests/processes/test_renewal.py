"""Credentials are renewed while queries run: with a real server that wants tokens, or proxies, and real processes.

Tokens last some seconds here, and analyses wait until theirs is over: nothing is decided by how fast a machine is. XRootD
takes a token that it has seen for another minute (XrdSciTokensAccess.cc), so what is to be refused must be new to it.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import eventmill as em
import pytest
from eventmill.display.credentials import MISSING
from eventmill.protocol.errors import DatasetError
from eventmill.protocol.messages import CredentialsInfo
from grid import Grid
from processes import Standing, call, eventually
from skhep_testdata import data_path
from xrootd_server import XRootDServer, serving_tokens, serving_users

from benchmarks.range_server import range_server, send_part

pytestmark = pytest.mark.long("tokens and proxies end after seconds, which are waited for")

HZZ = "uproot-HZZ.root"
EVENTS = 2421
FILES = 4
LIFE = 4
"""Seconds that a token is good."""


@pytest.fixture(scope="module")
def trusted(grid: Grid, tmp_path_factory: pytest.TempPathFactory) -> Iterator[pytest.MonkeyPatch]:
    """An environment that trusts the grid's authority and has nothing to show."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("X509_CERT_DIR", str(grid.certificates))
        environment.setenv("SSL_CERT_DIR", str(grid.certificates))
        environment.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        for name in ("BEARER_TOKEN", "BEARER_TOKEN_FILE", "XDG_RUNTIME_DIR", "X509_USER_PROXY", "XrdSecSSSKT"):
            environment.delenv(name, raising=False)
        yield environment


@pytest.fixture(scope="module")
def tokens(grid: Grid) -> Iterator[XRootDServer]:
    with serving_tokens(grid) as server:
        fill(server)
        yield server


@pytest.fixture(scope="module")
def session(trusted: pytest.MonkeyPatch) -> Iterator[em.Session]:
    with em.connect(slots=1) as session:
        yield session


def fill(server: XRootDServer) -> None:
    server.folder.mkdir(exist_ok=True)
    for number in range(FILES):
        shutil.copy(data_path(HZZ), server.folder / f"{number}.root")


def files(server: XRootDServer, scheme: str = "") -> list[str]:
    url = server.url if not scheme else f"{scheme}://localhost:{server.port}"
    return [f"{url}/{number}.root" for number in range(FILES)]


def wait_for_it(begun: str, go: str) -> None:
    """Say that something has begun, and go on when it is let: in a slot."""
    Path(begun).touch()
    deadline = time.monotonic() + 60
    while not Path(go).exists() and time.monotonic() < deadline:
        time.sleep(0.02)


class Waits:
    """Counts events; it waits to be let go on at the first file, when the next ones are open, too."""

    def __init__(self, folder: Path) -> None:
        self.begun, self.go = str(folder / "begun"), str(folder / "go")

    def __call__(self, events: object) -> dict[str, int]:
        wait_for_it(self.begun, self.go)
        return {"events": len(events.MET_px)}  # type: ignore[attr-defined]


class WaitsToBegin(Waits):
    """Waits while it is loaded, before any file is opened."""

    def __setstate__(self, state: dict[str, str]) -> None:
        self.__dict__.update(state)
        wait_for_it(self.begun, self.go)


def let_go_when_over(waits: Waits, token: em.Credentials) -> None:
    """What the query began with has ended when it goes on."""
    eventually(Path(waits.begun).exists, "it is at work")
    eventually(lambda: (token.left(time.time()) or 0.0) < -1.0, "the token has ended")
    Path(waits.go).touch()


# --- while a query runs -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("scheme", "waiting"), [("", Waits), ("", WaitsToBegin), ("https", WaitsToBegin)])
def test_a_query_that_lasts_longer_than_its_token_goes_on(
    session: em.Session, tokens: XRootDServer, grid: Grid, tmp_path: Path, scheme: str, waiting: type[Waits]
) -> None:
    """Files that are open are read on, others are opened with the new token, and no packet fails."""
    first = em.Credentials(token=grid.token(seconds=LIFE), refresh=lambda: grid.token(seconds=60))
    waits = waiting(tmp_path)
    query = session.process(files(tokens, scheme), waits, credentials=first)
    let_go_when_over(waits, first)
    result = query.result(60)
    assert result["events"] == FILES * EVENTS and result.account.failed == 0 and result.account.redone == 0
    assert not query.logs(grep="does not"), "no server has refused anything"


READS_ON = """
import sys
from eventmill.protocol.credentials import Credentials
from eventmill.reading.storage.credentials import credential_set_of
from eventmill.reading.storage.sources import source_class

url = sys.argv[1]
old, new = (credential_set_of(Credentials(token=it).pack()) for it in ("old", "new"))
source = source_class(url)(url, credential_set=old, timeout=5.0)
source.chunk(0, 10).wait(True)
new.take_over(old)
source.chunk(2000, 2010).wait(True)
source.close()
"""


def test_a_file_that_is_open_at_a_web_server_is_read_on_with_the_new_token(
    grid: Grid, trusted: pytest.MonkeyPatch
) -> None:
    """Each request has a token with it, and that of the first ones is over by then. (A process of its own: aiohttp looks
    for authorities once.)"""
    shown: list[tuple[str, int]] = []

    def answer(request: BaseHTTPRequestHandler, start: int, stop: int) -> None:
        shown.append((request.headers["Authorization"], start))
        send_part(request, bytes(4096), start, stop, None)

    with range_server(answer, tls=(grid.host_certificate, grid.host_key)) as address:
        subprocess.run([sys.executable, "-c", READS_ON, f"{address}/a.root"], check=True, timeout=60)
    assert shown == [("Bearer old", 0), ("Bearer new", 2000)]


def test_without_renewal_a_query_fails_in_words_that_name_the_token(
    session: em.Session, tokens: XRootDServer, grid: Grid, tmp_path: Path
) -> None:
    token = em.Credentials(token=grid.token(seconds=LIFE))
    waits = WaitsToBegin(tmp_path)
    query = session.process(files(tokens), waits, credentials=token)
    eventually(lambda: "nobody renews it" in query.view.credentials, "the display says that it will end")
    let_go_when_over(waits, token)
    with pytest.raises(DatasetError, match=r"does not .*\(a token of .* that ended \d+ s ago") as caught:
        query.result(60)
    assert token.token not in str(caught.value)


def test_a_query_whose_token_is_over_waits_for_another_and_says_why(
    session: em.Session, tokens: XRootDServer, grid: Grid, tmp_path: Path
) -> None:
    """The command fails for a while, and then does not: what was refused meanwhile is done again."""
    repaired = tmp_path / "token"

    def command() -> str:
        if not repaired.exists():
            raise OSError("no agent is there")
        return repaired.read_text()

    first = em.Credentials(token=grid.token(seconds=LIFE), refresh=command)
    waits = WaitsToBegin(tmp_path)
    query = session.process(files(tokens), waits, credentials=first)
    let_go_when_over(waits, first)
    said = "and its renewal fails: test_a_query_whose_token_is_over_waits_for_another_and_says_why.<locals>.command() "
    eventually(lambda: "the token ended" in query.view.wait and said in query.view.wait, "it waits, and says why")
    (info,) = [it for it in session.queries() if it.query == query.id]
    assert info.credentials is not None and "no agent is there" in info.credentials.trouble
    repaired.write_text(grid.token(seconds=60))
    result = query.result(90)
    assert result["events"] == FILES * EVENTS and result.account.failed == 0


def test_a_query_goes_on_with_a_file_that_another_program_renews(
    session: em.Session, tokens: XRootDServer, grid: Grid, tmp_path: Path
) -> None:
    """As where htgettoken runs by cron: nothing is said to eventmill about it."""
    file = tmp_path / "bt"
    file.write_text(grid.token(seconds=LIFE))
    first, waits = em.Credentials(token_file=file), WaitsToBegin(tmp_path)
    query = session.process(files(tokens), waits, credentials=first)
    eventually(Path(waits.begun).exists, "it is at work")
    file.write_text(grid.token(seconds=60))
    let_go_when_over(waits, first)
    assert query.result(60)["events"] == FILES * EVENTS


def test_a_proxy_is_renewed(session: em.Session, grid: Grid, tmp_path: Path) -> None:
    """By a command that writes its file, as voms-proxy-init and myproxy-logon do."""
    gsi = (
        f"sec.protparm gsi -cert:{grid.host_certificate} -key:{grid.host_key} -certdir:{grid.certificates} -crl:0 "
        f"-gridmap:{grid.folder}/gridmap -gmapopt:2 -d:0\nsec.protocol gsi\nsec.protbind * only gsi"
    )
    with serving_users(grid, gsi, "alice") as server:
        fill(server)
        longer = grid.proxy("alice", tmp_path / "longer")
        proxy = grid.proxy("alice", tmp_path / "proxy", hours=(LIFE + 1) / 3600)
        first = em.Credentials(proxy=proxy, refresh=["cp", str(longer), str(proxy)])
        waits = Waits(tmp_path)
        query = session.process(files(server), waits, credentials=first)
        let_go_when_over(waits, first)
        result = query.result(60)
        assert result["events"] == FILES * EVENTS and result.account.redone == 0


# --- without a session ------------------------------------------------------------------------------------------------


def test_a_query_without_its_session_is_renewed_from_another_shell(
    trusted: pytest.MonkeyPatch, tokens: XRootDServer, grid: Grid, tmp_path: Path
) -> None:
    """A session that is away cannot renew: the list says so, and the query waits for who does, also after a master died."""
    waits = WaitsToBegin(tmp_path)
    standing = Standing(tmp_path)
    try:
        standing.worker()
        first = em.Credentials(token=grid.token(seconds=LIFE), refresh=lambda: grid.token(seconds=LIFE))
        with standing.connect(credentials=first) as session:
            number = session.process(files(tokens), waits, name="detached").id
            eventually(Path(waits.begun).exists, "it is at work")
        with standing.connect() as other:

            def told() -> CredentialsInfo:
                (info,) = other.queries()
                assert info.credentials is not None
                return info.credentials

            assert told().kind == "token" and told().renewed == "command"
            eventually(lambda: told().away, "the master has noticed that the session is gone")
            assert "session away" in repr(other.queries())
            eventually(lambda: (told().left or 0.0) < 0.0, "the token is over")
            Path(waits.go).touch()
            query = other.attach(number)
            eventually(lambda: "session that renews it is away" in query.view.wait, "it waits")
            code, said = call("credentials", "show", "--master", "test", state=tmp_path)
            assert code == 0 and "token over, session away" in said and "the token ended" in said
            standing.crash()
            standing.start_master()
            eventually(lambda: query.view.wait == MISSING, "the next master has none: they are written nowhere")
            assert [it.credentials and it.credentials.missing for it in other.queries()] == [True]
            with standing.connect(credentials=em.Credentials(token=grid.token(seconds=-5))) as late:
                assert late.attach(number).state == "running", "what is over is not brought, and attaching works"
            assert [it.credentials and it.credentials.missing for it in other.queries()] == [True]
            file = tmp_path / "bt"
            file.write_text(grid.token(seconds=-5))
            renew = ("credentials", "renew", "--master", "test", "--token-file", str(file))
            code, said = call(*renew, state=tmp_path)
            assert code == 1 and "that ended" in said, said
            file.write_text(grid.token(seconds=600))
            code, said = call(*renew, state=tmp_path)
            assert code == 0 and f"{number}: has others now, good for 10 min" in said
            assert query.result(60)["events"] == FILES * EVENTS
            written = [it.read_bytes() for it in (tmp_path / "test").rglob("*") if it.is_file()]
            spoken = [command.output.encode() for command in standing.commands]
            for secret in (first.token, file.read_text()):
                assert not any(secret.encode() in it for it in (*written, *spoken)), "in a journal or a log"
            code, said = call("credentials", "show", "--master", "test", state=tmp_path)
            assert "no running query of yours has credentials" in said and "here: there is no token" in said
    finally:
        standing.close()
