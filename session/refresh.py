"""Running what makes new credentials: a command, which may fail, hang or print whatever it likes, or a Python function."""

from __future__ import annotations

import atexit
import contextlib
import os
import queue
import re
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from ..protocol.credentials import LARGEST, Credentials
from ..protocol.errors import EventmillError

PATIENCE = 60.0
"""Seconds that a command may take: it asks a server, and nobody answers its questions."""
LONGEST_WORDS = 300
_MASK = "***"
_SECRETS = re.compile(
    r"-----BEGIN [A-Z ]+-----.*?(?:-----END [A-Z ]+-----|$)"  # keys and certificates
    r"|\beyJ[\w-]+\.[\w-]+(?:\.[\w-]*)?"  # tokens
    r"|(?<=[Bb]earer )\S+"
    r"|(?i:(?<=password=)|(?<=password: )|(?<=secret=)|(?<=token=))\S+"
    r"|(?=[\w+=-]*\d)(?=[\w+=-]*[a-z])(?=[\w+=-]*[A-Z])[\w+=-]{32,}",  # whatever else is as long and as random
    re.DOTALL,
)


def masked(text: str, secrets: Iterable[str] = ()) -> str:
    """Text that others may read: on one line, not too long, and without what looks like a secret or is one of these.

    Example:
        >>> masked("cannot use token=abc123\\nBearer xyz is over")
        'cannot use token=*** Bearer *** is over'
        >>> masked("swordfish is wrong", ["swordfish"])
        '*** is wrong'
    """
    for secret in secrets:
        if secret:
            text = text.replace(secret, _MASK)
    words = " ".join(_SECRETS.sub(_MASK, text).split())
    return words if len(words) <= LONGEST_WORDS else f"…{words[-LONGEST_WORDS:]}"


def refreshed(credentials: Credentials, patience: float = PATIENCE) -> Credentials:
    """Others in place of these, made by what is to make them.

    Args:
        credentials: with a `refresh`.
        patience: seconds that it may take.

    Raises:
        EventmillError: it failed; the text says how, without secrets.
    """
    refresh = credentials.refresh
    assert refresh is not None
    if callable(refresh):
        return _of_function(refresh, credentials, patience)
    name = Path(refresh[0]).name
    output = _run(refresh, patience, credentials.secrets)
    return _taken(credentials, output, name)


def _taken(credentials: Credentials, output: bytes, name: str) -> Credentials:
    """What has come of a command: what it has written into files, or else what it has printed."""
    again = credentials.again()
    if again.pack() != credentials.pack():
        return again
    try:
        return again.printed(output)
    except EventmillError as error:
        if credentials.files:
            files = " and ".join(map(str, credentials.files.values()))
            raise EventmillError(
                f"{name} left {files} as it was" if credentials else f"{name} made no {files}"
            ) from None
        raise EventmillError(f"{name} printed {error}" if output else f"{name} printed nothing") from None


# --- commands -------------------------------------------------------------------------------------------------------------


_at_work: set[subprocess.Popen[bytes]] = set()
_starting = threading.Lock()
"""Held from a command's start until it is in the list, and for good once the script is over."""


@atexit.register
def _end_all() -> None:
    """A script that ends does not wait for them, and leaves none behind: not one that is being started, either."""
    _starting.acquire(timeout=PATIENCE)
    for process in list(_at_work):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _forget() -> None:
    """A fork of the process has none of them: they go on when it ends."""
    global _starting
    _at_work.clear()
    _starting = threading.Lock()


os.register_at_fork(after_in_child=_forget)


def _run(command: Sequence[str], patience: float, secrets: Sequence[str]) -> bytes:
    """What a command prints. It has no input, a group of its own, and ends with its time at the latest."""
    name = Path(command[0]).name
    try:
        with _starting:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
            _at_work.add(process)
    except OSError as error:
        raise EventmillError(f"{command[0]} cannot be run: {error.strerror}") from None
    try:
        output, said = _listen(process, time.monotonic() + patience)
    except TimeoutError:
        raise EventmillError(f"{name} is not through after {patience:.0f} s, and was ended") from None
    except OverflowError:
        raise EventmillError(f"{name} prints more than {LARGEST} bytes: these are no credentials") from None
    finally:
        _end(process)
        _at_work.discard(process)
    if process.returncode:
        words = masked(said.decode("utf-8", "replace"), secrets) or "it does not say why"
        how = f"signal {-process.returncode}" if process.returncode < 0 else f"exit {process.returncode}"
        raise EventmillError(f"{name} failed ({how}): {words}")
    return output


def _listen(process: subprocess.Popen[bytes], deadline: float) -> tuple[bytes, bytes]:
    """Standard output and error until the end of the process. Raises `TimeoutError` and `OverflowError`."""
    assert process.stdout is not None and process.stderr is not None
    heard = {process.stdout: bytearray(), process.stderr: bytearray()}
    with selectors.DefaultSelector() as selector:
        for pipe in heard:
            selector.register(pipe, selectors.EVENT_READ, pipe)
        while selector.get_map():
            ready = selector.select(max(0.0, deadline - time.monotonic()))
            if not ready:
                raise TimeoutError
            for key, _ in ready:
                chunk = os.read(key.fd, 65536)
                if not chunk:
                    selector.unregister(key.fileobj)
                heard[key.data] += chunk
                if len(heard[key.data]) > LARGEST:
                    raise OverflowError
    try:
        process.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        raise TimeoutError from None
    return bytes(heard[process.stdout]), bytes(heard[process.stderr])


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a command and what it has started, if they are there."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()


# --- functions ------------------------------------------------------------------------------------------------------------

_running: set[int] = set()
"""Functions that are not through yet, by their ids: nobody can end one, and it is not called a second time meanwhile."""


def _of_function(function: Callable[[], object], credentials: Credentials, patience: float) -> Credentials:
    name = getattr(function, "__qualname__", type(function).__qualname__)
    if id(function) in _running:
        raise EventmillError(f"{name}() is not through with its last call yet")
    _running.add(id(function))
    outcome: queue.SimpleQueue[object] = queue.SimpleQueue()

    def call() -> None:
        try:
            outcome.put(function())
        except BaseException as error:
            outcome.put(error)
        finally:
            _running.discard(id(function))

    threading.Thread(target=call, name="eventmill refresh", daemon=True).start()
    try:
        given = outcome.get(timeout=patience)
    except queue.Empty:
        raise EventmillError(f"{name}() is not through after {patience:.0f} s") from None
    if isinstance(given, BaseException):
        words = masked(str(given), credentials.secrets)
        raise EventmillError(f"{name}() raised {type(given).__name__}: {words}") from None
    if isinstance(given, Credentials):
        return credentials.with_those_of(given)
    if isinstance(given, str | bytes):
        return credentials.printed(given)
    if given is None and credentials.files:
        return credentials.again()
    raise EventmillError(f"{name}() returned {type(given).__name__}, and not a token, a proxy in PEM or Credentials")
