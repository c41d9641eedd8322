"""The form for contexts in a real browser, served by the command, for a real master."""

from __future__ import annotations

import signal
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jupyterlab import page
from processes import Running, Standing


@pytest.fixture(scope="module")
def master(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standing]:
    made = Standing(tmp_path_factory.mktemp("state"))
    yield made
    made.close()


@pytest.fixture
def form(master: Standing) -> Iterator[Running]:
    running = Running("context", "--web", "--pool", "night", "--master", master.name, state=master.state)
    running.wait_for("http://127.0.0.1:")
    yield running
    running.close()


def url(form: Running) -> str:
    return next(line.strip() for line in form.output.splitlines() if line.startswith("http://127.0.0.1:"))


def shows(shown: Any, place: str, words: str) -> None:
    """Wait until an element has these words in it."""
    shown.evaluate(
        """([place, words]) => new Promise((done) => {
             const there = () => document.querySelector(place)?.textContent.includes(words);
             const look = () => there() ? done(true) : requestAnimationFrame(look);
             look();
           })""",
        [place, words],
    )


def test_a_context_is_made_by_form(form: Running, master: Standing, tmp_path: Path) -> None:
    """What is wrong is said while it is written; downloaded are a file for the command, and user-data with a token."""
    with page() as shown:
        shown.goto(url(form))
        shown.wait_for_selector("[name=software]")
        assert "token=" not in shown.url
        shown.fill("[name=software]", "eventmill 1.2")
        shows(shown, "#problem", "no requirement of pip")
        assert shown.is_disabled("#save") and shown.is_disabled("#make")
        shown.fill("[name=software]", "eventmill==1.2")
        shown.fill("[name=cloud_config]", "runcmds: [x]")
        shows(shown, "#problem", "no key 'runcmds'; the nearest names are runcmd")
        shown.fill("[name=cloud_config]", "")
        shown.fill("[name=site]", "<b>cern</b>")
        shows(shown, "#toml", 'site = "<b>cern</b>"')
        shows(shown, "#shown", "(secret)")
        assert shown.text_content("#problem") == ""
        with shown.expect_download() as saved:
            shown.click("#save")
        saved.value.save_as(tmp_path / "context.toml")
        assert (tmp_path / "context.toml").read_text() == 'software = ["eventmill==1.2"]\nsite = "<b>cern</b>"\n'
        with shown.expect_download() as saved:
            shown.click("#make")
        saved.value.save_as(tmp_path / "user-data")
    text = (tmp_path / "user-data").read_text()
    assert text.startswith("#cloud-config\n") and text.count("eventmill-token-1-") == 1
    with master.connect() as session:
        (token,) = session.access.tokens()
    assert (token.terms.pool, token.terms.uses) == ("night", 1)
    assert "eventmill-token-1-" not in form.output
    assert form.end(signal.SIGINT) == 0


@pytest.mark.parametrize(
    ("path", "headers"),
    [("/", {}), ("/?token=guessed", {}), ("/api/fields", {}), ("/form.js", {"Host": "evil.example"})],
)
def test_nobody_else_gets_at_the_form(form: Running, path: str, headers: dict[str, str]) -> None:
    """It makes tokens: other users of this machine and other sites' scripts are to have none of it."""
    base = url(form).partition("/?")[0]
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(urllib.request.Request(base + path, headers=headers), timeout=20)
    assert caught.value.code == 403
    assert "default-src 'self'" in caught.value.headers["Content-Security-Policy"]
    caught.value.close()
