"""Commands and functions that make new credentials: those that work, and all that they may do instead."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from eventmill.protocol.credentials import Credentials
from eventmill.protocol.errors import EventmillError
from eventmill.protocol.lifetimes import Lifetime, of_proxy, of_token
from eventmill.session import refresh
from eventmill.session.delegation import Delegation
from eventmill.session.refresh import masked, refreshed
from grid import Grid
from hypothesis import given
from hypothesis import strategies as st


def jwt(**claims: object) -> str:
    """A token that nobody would accept."""

    def part(thing: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(thing).encode()).rstrip(b"=").decode()

    return f"{part({'alg': 'none', 'typ': 'JWT'})}.{part(claims)}.c2lnbmF0dXJl"


def python(*lines: str) -> list[str]:
    return [sys.executable, "-c", "\n".join(lines)]


def told(credentials: Credentials, patience: float = 20.0) -> str:
    with pytest.raises(EventmillError) as caught:
        refreshed(credentials, patience)
    return str(caught.value)


# --- until when -------------------------------------------------------------------------------------------------------


def test_the_end_of_a_token_is_its_claim() -> None:
    assert of_token(jwt(iat=1000, exp=4600)) == Lifetime("token", 1000.0, 4600.0)
    for odd in (jwt(exp="soon"), jwt(exp=True), jwt(exp=1e300), jwt(), "opaque", "a.b.c", "a.W10.c", ""):
        assert of_token(odd) == Lifetime("token")


def test_the_end_of_a_proxy_is_that_of_the_first_certificate_that_ends(grid: Grid, tmp_path: Path) -> None:
    """As the library reads it that made it; the user's own certificate ends in a month."""
    from cryptography import x509

    pem = grid.proxy("alice", tmp_path / "proxy", hours=5.0).read_bytes()
    expected = x509.load_pem_x509_certificates(pem)[0]
    lifetime = of_proxy(pem)
    assert lifetime.ends == expected.not_valid_after_utc.timestamp()
    assert lifetime.begins == expected.not_valid_before_utc.timestamp()
    longer = grid.proxy("alice", tmp_path / "longer", hours=24.0 * 365).read_bytes()
    users = x509.load_pem_x509_certificates(longer)[1]
    assert of_proxy(longer).ends == users.not_valid_after_utc.timestamp()


def test_a_proxy_without_its_key_is_none(grid: Grid, tmp_path: Path) -> None:
    pem = grid.proxy("alice", tmp_path / "proxy").read_bytes()
    bare = tmp_path / "bare"
    bare.write_bytes(pem[: pem.index(b"-----BEGIN RSA")])
    with pytest.raises(EventmillError, match=r"bare is no X.509 proxy: it has a certificate and no key"):
        Credentials(proxy=bare)


@given(st.data())
def test_damaged_certificates_are_errors_in_words(grid_pem: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(30, len(grid_pem) - 1))
    damaged = grid_pem[:at] + bytes([data.draw(st.integers(0, 255))]) + grid_pem[at + data.draw(st.integers(0, 40)) :]
    with contextlib.suppress(EventmillError):
        of_proxy(damaged)


@pytest.fixture(scope="module")
def grid_pem(grid: Grid, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return grid.proxy("alice", tmp_path_factory.mktemp("pem") / "proxy").read_bytes()


def test_a_clock_that_is_behind_does_not_make_a_token_last_longer() -> None:
    """It was made a quarter of an hour from now, it says: so it is good for as long as it is good, and no longer."""
    lifetime = Lifetime("token", begins=1900.0, ends=5500.0)
    assert lifetime.left(1000.0) == 3600.0 and lifetime.behind(1000.0) == 900.0
    assert lifetime.left(2000.0) == 3500.0 and lifetime.behind(2000.0) == 0.0


def test_of_an_environment_what_is_over_is_left_out(
    grid: Grid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proxy of last month lies about in /tmp, and nobody thinks of it."""
    monkeypatch.setenv("X509_USER_PROXY", str(grid.proxy("alice", tmp_path / "old", hours=-5.0)))
    monkeypatch.setenv("BEARER_TOKEN", jwt(exp=time.time() + 3600))
    monkeypatch.setenv("HOME", str(tmp_path))
    credentials = Credentials.from_environment()
    assert credentials.token and not credentials.proxy


def test_a_token_that_ends_beside_a_proxy_is_waited_for_by_who_has_it_and_not_by_others(
    grid: Grid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A query that began with both may need either; one that begins later has what is good then."""
    file = tmp_path / "bt"
    file.write_text(jwt(exp=time.time() + 3600))
    monkeypatch.setenv("X509_USER_PROXY", str(grid.proxy("alice", tmp_path / "proxy")))
    monkeypatch.setenv("BEARER_TOKEN_FILE", str(file))
    monkeypatch.delenv("BEARER_TOKEN", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    delegation = Delegation(Credentials.from_environment())
    file.write_text(jwt(exp=1000))
    assert delegation.look() and delegation.info().kind == "token" and not delegation.good
    later = delegation.ready()
    assert later.proxy and not later.token
    file.write_text(new := jwt(exp=time.time() + 3600))
    assert delegation.look() and delegation.current.token == new and delegation.current.proxy


# --- commands ---------------------------------------------------------------------------------------------------------


def test_a_command_prints_a_token() -> None:
    token = jwt(exp=time.time() + 3600)
    assert refreshed(Credentials(refresh=python(f"print('{token}')"))).token == token


def test_a_command_renews_a_file(tmp_path: Path) -> None:
    """As htgettoken does, which prints what it has done; the file need not be there before."""
    token, file = jwt(exp=time.time() + 3600), tmp_path / "bt"
    command = python(f"open({str(file)!r}, 'w').write('{token}')", "print('Storing bearer token in', 'a file')")
    credentials = Credentials(token_file=file, refresh=command)
    assert not credentials and refreshed(credentials).token == token


def test_a_command_renews_what_an_environment_names_or_prints_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """htgettoken does the one, oidc-token the other, and nobody has to say which. The file may not be there before."""
    for name in ("BEARER_TOKEN", "BEARER_TOKEN_FILE", "X509_USER_PROXY", "XrdSecSSSKT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    file, old, new = tmp_path / f"bt_u{os.geteuid()}", jwt(exp=time.time() + 60), jwt(exp=time.time() + 3600)
    writes, prints = python(f"open({str(file)!r}, 'w').write('{new}')", "print('Done')"), python(f"print('{new}')")
    for command in (writes, prints):
        for before in ("", old):
            file.unlink(missing_ok=True)
            if before:
                file.write_text(before)
            assert refreshed(Credentials.from_environment(refresh=command)).token == new
    file.unlink()
    monkeypatch.setenv("BEARER_TOKEN", old)
    made = refreshed(Credentials.from_environment(refresh=prints))
    assert made.token == new and made.again().token == new, "the variable is not newer for being looked at again"
    monkeypatch.delenv("BEARER_TOKEN")
    file.write_text(old)
    assert f"left {file} as it was" in told(Credentials.from_environment(refresh=python("print('Done')")))


def test_a_command_prints_a_proxy(grid_pem: bytes, tmp_path: Path) -> None:
    (tmp_path / "proxy").write_bytes(grid_pem)
    assert refreshed(Credentials(refresh=["cat", str(tmp_path / "proxy")])).proxy == grid_pem


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["raise SystemExit('no such account: cms')"], r"failed \(exit 1\): no such account: cms"),
        (["raise SystemExit(3)"], r"failed \(exit 3\): it does not say why"),
        (["import os; os.kill(os.getpid(), 9)"], r"failed \(signal 9\)"),
        (["print('Please log in at https://somewhere')"], "printed 35 bytes that are neither a token nor a proxy"),
        (["pass"], "printed nothing"),
        (["while True: print('y' * 1000)"], "prints more than 262144 bytes"),
        (["print('-----BEGIN CERTIFICATE-----')"], "there is no certificate in it"),
    ],
)
def test_what_a_command_does_instead_is_said(lines: list[str], words: str) -> None:
    assert re.search(words, told(Credentials(refresh=python(*lines))))


def test_a_command_that_hangs_is_ended_with_all_that_it_has_started(tmp_path: Path) -> None:
    """Its child has its output, too, and would keep it open; it is gone as well: it holds a lock no more."""
    lock = tmp_path / "lock"
    lock.touch()
    child = f"import fcntl, time; f = open({str(lock)!r}); fcntl.flock(f, fcntl.LOCK_EX); time.sleep(999)"
    command = python("import subprocess, sys", f"subprocess.Popen([sys.executable, '-c', {child!r}]).wait()")
    assert "is not through after 2 s, and was ended" in told(Credentials(refresh=command), 2.0)
    with lock.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # waits for the kernel to have ended it, and no longer


LATE = (
    "import subprocess, time",
    "class Late(subprocess.Popen):",
    "    def __init__(self, *args, **kwargs):",
    "        super().__init__(*args, **kwargs)",
    "        time.sleep(1)",
    "subprocess.Popen = Late",
)
"""A thread that has started a process has no turn for a second, as on a busy machine."""


@pytest.mark.parametrize("before", [(), LATE], ids=["at work", "just started"])
def test_a_script_that_ends_leaves_no_command_behind(tmp_path: Path, before: tuple[str, ...]) -> None:
    lock = tmp_path / "lock"
    lock.touch()
    command = f"import fcntl, time; f = open({str(lock)!r}); fcntl.flock(f, fcntl.LOCK_EX); time.sleep(999)"
    script = (
        "import fcntl, sys, threading, time",
        "from eventmill.protocol.credentials import Credentials",
        "from eventmill.session.refresh import refreshed",
        f"credentials = Credentials(refresh=[sys.executable, '-c', {command!r}])",
        "threading.Thread(target=refreshed, args=(credentials,), daemon=True).start()",
        f"file = open({str(lock)!r})",
        "def free():",
        "    try:",
        "        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)",
        "    except BlockingIOError:",
        "        return False",
        "    fcntl.flock(file, fcntl.LOCK_UN)",
        "    return True",
        "while free():",
        "    time.sleep(0.02)",
    )
    subprocess.run(python(*before, *script), check=True, timeout=60)
    with lock.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # its holder is being ended, or is gone


def test_a_fork_that_ends_leaves_the_commands_of_its_parent_alone() -> None:
    """It has a copy of the list of them, and of what is to be done at the end."""
    command = [sys.executable, "-c", "import time; time.sleep(1); print('eyJ' + 20 * 'a' + '.b.c')"]
    script = (
        "import os, sys, threading, time",
        "from eventmill.protocol.credentials import Credentials",
        "from eventmill.session import refresh",
        "def work():",
        f"    print(refresh._run({command!r}, 30.0, ()).decode())",
        "worker = threading.Thread(target=work)",
        "worker.start()",
        "while not refresh._at_work:",
        "    time.sleep(0.01)",
        "if (child := os.fork()) == 0:",
        "    sys.exit()",
        "os.waitpid(child, 0)",
        "worker.join()",
    )
    said = subprocess.run(python(*script), check=True, timeout=60, capture_output=True, text=True)
    assert said.stdout.startswith("eyJ"), said.stderr


def test_a_command_that_is_not_there() -> None:
    assert told(Credentials(refresh="no-such-program --at all")).endswith(
        "no-such-program cannot be run: No such file or directory"
    )
    for odd in ("'", "", []):
        with pytest.raises(EventmillError, match=r"is no command|is an empty command"):
            Credentials(refresh=odd)


def test_secrets_are_masked_in_what_a_command_says() -> None:
    token = jwt(exp=1.0)
    command = python(f"raise SystemExit('cannot renew {token} with password=hunter2')")
    assert told(Credentials(token=token, refresh=command)).endswith("cannot renew *** with password=***")


@given(st.text(), st.text(st.characters(categories=["L", "N"]), min_size=6))
def test_what_is_masked_is_gone(text: str, secret: str) -> None:
    said = masked(f"{text}{secret}{text} Bearer {secret}", [secret])
    assert secret not in said.replace("***", " ") and len(said) <= refresh.LONGEST_WORDS + 1


# --- functions --------------------------------------------------------------------------------------------------------


def test_a_function_returns_a_token_or_credentials() -> None:
    token = jwt(exp=time.time() + 3600)
    assert refreshed(Credentials(refresh=lambda: token)).token == token
    made = refreshed(Credentials(refresh=lambda: Credentials(token=token)))
    assert made.token == token and made.refresh is not None, "to be renewed again"


def test_what_a_function_does_instead_is_said() -> None:
    token = jwt(exp=1.0)

    def raises() -> str:
        raise ValueError(f"{token} is not known")

    assert told(Credentials(token=token, refresh=raises)).endswith("raises() raised ValueError: *** is not known")
    assert "returned int, and not a token" in told(Credentials(refresh=lambda: 7))


def test_a_function_that_hangs_is_left_and_not_called_again_meanwhile() -> None:
    go, calls = threading.Event(), []

    def hangs() -> str:
        calls.append(1)
        go.wait(60)
        return jwt()

    credentials = Credentials(refresh=hangs)
    assert "is not through after 0 s" in told(credentials, 0.01)
    assert "is not through with its last call yet" in told(credentials)
    assert len(calls) == 1
    go.set()


# --- delegations ------------------------------------------------------------------------------------------------------


def test_what_is_given_again_and_again_is_no_renewal() -> None:
    """oidc-agent keeps tokens, and gives the same one until it is over."""
    token = jwt(exp=time.time() + 300)
    delegation = Delegation(Credentials(token=token, refresh=lambda: token))
    assert delegation.renew() and "no later than before" in delegation.trouble and "--time" in delegation.trouble
    assert delegation.info().trouble == delegation.trouble and delegation.info().renewed == "command"
    assert not delegation.renew(), "it has been told"


def test_what_is_over_is_renewed_when_it_is_wanted() -> None:
    new = jwt(exp=time.time() + 3600)
    delegation = Delegation(Credentials(token=jwt(exp=1000), refresh=lambda: new))
    assert delegation.ready().token == new
    with pytest.raises(EventmillError, match=r"there are no credentials; they could not be renewed: .*no such account"):
        Delegation(Credentials(refresh=python("raise SystemExit('no such account')"))).ready()
    with pytest.raises(
        EventmillError, match=r"are over: a token that ended .* could not be renewed: .*no such account"
    ):
        Delegation(Credentials(token=jwt(exp=1000), refresh=python("raise SystemExit('no such account')"))).ready()


def test_a_file_that_another_program_renews_is_taken_up(tmp_path: Path) -> None:
    file = tmp_path / "bt"
    file.write_text(jwt(exp=time.time() + 60))
    delegation = Delegation(Credentials(token_file=file))
    assert not delegation.look() and delegation.info().renewed == "file"
    new = jwt(exp=time.time() + 3600)
    file.write_text(new)
    assert delegation.look() and delegation.current.token == new
    file.unlink()
    assert delegation.look() and "cannot be read" in delegation.trouble and delegation.current.token == new
    file.write_text(new)
    assert delegation.look() and not delegation.trouble, "it is all right again"


def test_what_cannot_be_renewed_is_never_looked_at() -> None:
    delegation = Delegation(Credentials(token=jwt(exp=time.time() + 60)))
    assert delegation.next_look() is None and delegation.info().renewed == "nobody"


def test_two_who_want_new_ones_at_once_get_the_same() -> None:
    made = []
    both = threading.Barrier(2, timeout=20)

    def make() -> str:
        made.append(1)
        return jwt(exp=time.time() + 3600 * len(made))

    delegation = Delegation(Credentials(token=jwt(exp=1000), refresh=make))
    had = delegation.current

    def want() -> None:
        both.wait()
        if delegation.current is had:
            delegation.renew()

    threads = [threading.Thread(target=want) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not delegation.trouble
