"""The status page of real masters: who gets in, what is seen to grow, and that it lives as long as what it shows."""

from __future__ import annotations

import base64
import contextlib
import gc
import json
import os
import re
import ssl
import time
import weakref
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection, HTTPResponse, HTTPSConnection
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import eventmill as em
import numpy as np
import psutil
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hist import Hist
from processes import Standing, eventually, run


class Browser:
    """Asks a page, with a token or the cookie that it was given."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.host, self.query = parts.netloc, parts.query
        self.cookie = ""

    def enter(self) -> None:
        """As a browser does with the URL: take the cookie, and go where it is sent."""
        response, _ = self.ask(f"/?{self.query}")
        assert (response.status, response.headers["Location"]) == (303, "./")
        self.cookie = response.headers["Set-Cookie"].partition(";")[0]
        response, text = self.ask("/")
        assert response.status == 200 and "html" in text

    def ask(self, path: str, method: str = "GET", **headers: str) -> tuple[HTTPResponse, str]:
        connection = HTTPConnection(self.host, timeout=30)
        cookie = {"Cookie": self.cookie} if self.cookie else {}
        connection.request(method, path, headers={**cookie, **headers})
        response = connection.getresponse()
        text = response.read().decode()
        connection.close()
        return response, text

    def get(self, path: str) -> Any:
        response, text = self.ask(f"/{path}")
        assert response.status == 200, text
        return json.loads(text)

    def seen(self, condition: Callable[[Any], bool] = lambda _: True) -> Any:
        """The first summary that is as wanted."""
        connection = HTTPConnection(self.host, timeout=30)
        connection.request("GET", "/events", headers={"Cookie": self.cookie})
        with contextlib.closing(connection), connection.getresponse() as response:
            for line in response:
                if line.startswith(b"data: ") and condition(told := json.loads(line[6:])):
                    return told
        raise AssertionError("the page ended")


def slow(cycles: Any) -> Any:
    time.sleep(0.02)
    return {"h": Hist.new.Reg(2, 0, 2, name="x").Double().fill(np.zeros(len(cycles))), "n": len(cycles)}


def total(told: Any) -> float:
    """Of the only histogram of an answer."""
    array = told["pictures"][0]["drawings"][0]["arrays"][0]
    return float(np.frombuffer(base64.b64decode(array), "<f8").sum())


def test_the_dashboard_of_a_session_shows_a_query_that_grows_and_stops_it(session: em.Session) -> None:
    """Stopping keeps the partial result, and all that is shown are the ledger's numbers."""
    browser = Browser(session.dashboard.url)
    assert session.dashboard is session.dashboard
    assert re.search(r'href="http://127.0.0.1:\d+/\?token=', session.dashboard._repr_html_())
    assert "token" not in repr(session.dashboard)
    assert browser.ask("/")[0].status == 403 and browser.ask("/?token=guessed")[0].status == 403
    browser.enter()
    query = session.process(em.cycles(10**7, seed=1), slow, name="<script>alert(1)</script>", chunk=10)
    reached: list[int] = []

    def grows(told: Any) -> bool:
        reached.extend(row["processed"] for row in told["queries"] if row["number"] == query.id)
        return len(reached) > 2 and reached[-1] > reached[0]

    told = browser.seen(grows)
    assert (told["role"], told["connected"], told["slots"]) == ("steer", True, 2)
    path = f"api/query/{query.id}/drawings?shown=h"
    first = browser.get(path)
    while not first["pictures"]:
        first = browser.get(f"{path}&after={first['snapshot']}")
    second = first
    while second["entries"] == first["entries"]:
        second = browser.get(f"{path}&after={second['snapshot']}")
    assert total(second) == second["entries"] > total(first) == first["entries"] > 0
    assert browser.ask(f"/api/query/{query.id}/stop", "POST")[0].status == 403
    assert not query.view.final
    response, _ = browser.ask(f"/api/query/{query.id}/stop", "POST", **{"X-Eventmill": "1"})
    assert response.status == 200
    result = query.result(timeout=60)
    assert result.state == "stopped" and result["n"] == result.account.processed >= second["entries"]
    eventually(lambda: browser.get(f"api/query/{query.id}")["row"]["final"], "the end of the query is shown")
    about = browser.get(f"api/query/{query.id}")
    assert (about["row"]["state"], about["row"]["processed"]) == ("stopped", result.account.processed)
    assert about["account"]["processed"] == result.account.processed and about["report"] == repr(query.report())
    assert total(browser.get(path)) == result["n"]


def test_the_dashboard_ends_with_a_session_that_nobody_refers_to() -> None:
    session = em.connect(slots=1)
    dashboard = session.dashboard
    browser = Browser(dashboard.url)
    browser.enter()
    there = weakref.ref(session)
    del session
    gc.collect()
    assert there() is None and not dashboard._thread.is_alive()
    with pytest.raises(ConnectionRefusedError):
        browser.ask("/")


def test_who_looks_and_leaves_takes_nothing_from_who_waits(session: em.Session) -> None:
    """The page of a session shares its line to the master."""
    query = session.process(em.cycles(400, seed=1), slow, chunk=10)
    session.attach(query.id).leave()
    assert query.result(timeout=60)["n"] == 400


def test_what_others_have_made_is_shown_and_not_run(session: em.Session, tmp_path: Path) -> None:
    run_by_page = tmp_path / "run"
    code = f"import os\nif os.getpid() == {os.getpid()}: open({str(run_by_page)!r}, 'w').close()"

    class Mine:
        def __add__(self, other: Any) -> Any:
            return self

        def __reduce__(self) -> Any:
            return exec, (code,)

    browser = Browser(session.dashboard.url)
    browser.enter()
    query = session.process(em.cycles(10, seed=1), lambda cycles: {"n": len(cycles), "mine": Mine()})
    eventually(lambda: query.view.final, "the query is over")
    items = {item["name"]: item["text"] for item in browser.get(f"api/query/{query.id}")["items"]}
    assert items["n"] == "10" and "its own session can show" in items["mine"]
    assert not run_by_page.exists()


@pytest.fixture(scope="module")
def paged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standing]:
    """A master with a status page, and no workers."""
    made = Standing(tmp_path_factory.mktemp("state"), options=["--status-port", "0"])
    yield made
    made.close()


def urls(master: Standing) -> dict[str, str]:
    file = master.state / master.name / "status.json"
    assert file.stat().st_mode & 0o777 == 0o600
    told = json.loads(file.read_text())
    return {"look": told["look"], "steer": told["steer"]}


def entered(master: Standing, role: str) -> Browser:
    """Who has come in, once the page's process listens."""
    browser = Browser(urls(master)[role])
    eventually(lambda: browser.ask("/")[0].status == 403, "the page answers")
    browser.enter()
    return browser


def test_a_standing_master_says_where_its_page_is_and_tells_the_token_to_nobody_else(paged: Standing) -> None:
    assert f"status:    {urls(paged)['steer']}\n" in paged.master.output
    browser = entered(paged, "look")
    assert browser.seen()["role"] == "look"
    assert browser.ask("/api/query/q1/stop", "POST", **{"X-Eventmill": "1"})[0].status == 403
    tokens = [url.partition("token=")[2] for url in urls(paged).values()]
    commands = " ".join(word for process in paged.master.family() for word in process.cmdline())
    assert "status_page" in commands and not any(token in commands for token in tokens)
    assert paged.master.output.count(tokens[1]) == 1 and tokens[0] not in paged.master.output


@pytest.mark.long("a worker is taken for lost after seconds")
def test_a_killed_worker_is_shown_as_lost(paged: Standing) -> None:
    browser = entered(paged, "look")
    worker = paged.worker()
    browser.seen(lambda told: told["slots"] == 1)
    name = browser.get("api/workers")["rows"][0]["name"]
    for process in worker.family():
        process.kill()
    browser.seen(lambda told: told["lost"] == 1)
    gone = browser.get("api/workers?gone=1")["rows"]
    assert [(row["name"], row["lost"]) for row in gone] == [(name, True)] and gone[0]["how"]
    assert browser.get("api/workers")["rows"] == []


def test_the_page_is_started_again_when_it_is_killed_and_its_cookies_stay(paged: Standing) -> None:
    browser = entered(paged, "look")
    (page,) = [process for process in paged.master.family() if "status_page" in " ".join(process.cmdline())]
    page.kill()

    def answers() -> bool:
        try:
            return bool(browser.get("api/workers"))
        except OSError:
            return False

    eventually(answers, "another one answers")
    assert page.pid not in [process.pid for process in paged.master.family()]


def test_a_port_that_is_taken_is_an_error_of_one_line_that_names_it(paged: Standing, tmp_path: Path) -> None:
    port = urlsplit(urls(paged)["look"]).port
    code, said = run("master", "other", "--port", "0", "--status-port", str(port), state=tmp_path)
    assert code == 1 and len(said.strip().splitlines()) == 1
    assert f"the status page cannot listen at 127.0.0.1:{port}" in said and "choose another --status-port" in said


def test_with_a_certificate_it_is_reached_by_tls_only(tmp_path: Path) -> None:
    certificate, key = certified(tmp_path)
    files = ["--status-certificate", str(certificate), "--status-key", str(key)]
    code, said = run("master", "other", "--status-port", "0", *files[:3], str(certificate), state=tmp_path)
    assert code == 1 and "no certificate and key for TLS" in said and len(said.strip().splitlines()) == 1
    made = Standing(tmp_path, options=["--status-port", "0", *files])
    try:
        url = urls(made)["look"]
        assert url.startswith("https://127.0.0.1:")
        context = ssl.create_default_context(cafile=certificate)

        def cookie() -> str:
            connection = HTTPSConnection(urlsplit(url).netloc, timeout=30, context=context)
            with contextlib.closing(connection):
                connection.request("GET", f"/?{urlsplit(url).query}")
                return connection.getresponse().headers["Set-Cookie"]

        def answers() -> bool:
            try:
                return bool(cookie())
            except OSError:
                return False

        eventually(answers, "the page answers")
        assert "Secure" in cookie()
    finally:
        made.close()


def certified(folder: Path) -> tuple[Path, Path]:
    """A certificate for this machine, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    files = folder / "certificate.pem", folder / "key.pem"
    files[0].write_bytes(certificate.public_bytes(Encoding.PEM))
    files[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return files


@pytest.mark.long("masters start and are ended in each way")
def test_the_page_ends_with_its_master_however_that_ends(tmp_path: Path) -> None:
    made = Standing(tmp_path, options=["--status-port", "0"])
    try:
        entered(made, "look")
        family = made.master.family()
        made.crash()
        psutil.wait_procs(family, timeout=30)
        assert not [process for process in family if process.is_running()]
    finally:
        made.close()
