"""Tests in several processes (`--processes 4`): one collects, which takes 10 s of a core, and then forks. Each child takes
file by file, in the order of all, and is as a process of pytest that has come so far by itself."""

from __future__ import annotations

import contextlib
import os
import pickle
import selectors
import signal
import struct
import sys
import traceback
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain, groupby
from types import SimpleNamespace
from typing import Any

import pytest
from _pytest.config import create_terminal_writer

NUMBER, LENGTH = struct.Struct("<H"), struct.Struct("<I")


def add_options(parser: pytest.Parser) -> None:
    parser.addoption(
        "--processes", type=int, default=0, metavar="N", help="run the tests, file by file, in N processes"
    )


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool | None:
    """Run all tests in forks of this process, if that is wanted; what they report is reported here."""
    processes = session.config.getoption("processes")
    if not processes or session.config.option.collectonly or session.testsfailed:
        return None
    _Run(session).run(processes)
    return True


@dataclass
class _Child:
    """A fork, and what it has sent so far of its next message.

    Attributes:
        current: the test that it is at.
        code: how it ended: minus the number of a signal, or an exit code.
    """

    name: str
    pid: int
    reports: int
    pending: bytearray = field(default_factory=bytearray)
    current: pytest.Item | None = None
    code: int | None = None

    def messages(self) -> Iterator[tuple[str, Any]] | None:
        """What has come; None at the end of its pipe."""
        data = os.read(self.reports, 1 << 20)
        self.pending += data
        return self._whole() if data else None

    def _whole(self) -> Iterator[tuple[str, Any]]:
        while len(self.pending) >= LENGTH.size:
            end = LENGTH.size + LENGTH.unpack_from(self.pending)[0]
            if len(self.pending) < end:
                return
            message = bytes(self.pending[LENGTH.size : end])
            del self.pending[:end]
            yield pickle.loads(message)

    def ended(self) -> None:
        """Wait for its end."""
        os.close(self.reports)
        self.code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


class _Run:
    def __init__(self, session: pytest.Session) -> None:
        self._session, self._config = session, session.config
        self._files = [list(items) for _, items in groupby(session.items, key=lambda item: item.path)]
        self._missing = {item.nodeid: item for item in session.items}
        self._todo, todo = os.pipe()
        os.write(todo, b"".join(NUMBER.pack(number) for number in range(len(self._files))))
        os.close(todo)

    def run(self, processes: int) -> None:
        children: list[_Child] = []
        try:
            for _ in range(min(processes, len(self._files))):
                children.append(self._fork([child.reports for child in children]))
            self._listen(children)
        finally:
            os.close(self._todo)
            for child in children:
                if child.code is None:  # Ctrl-C, or an error here: each takes down what it has up
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(child.pid, signal.SIGINT)
                    child.ended()
        if self._session.shouldfail:
            raise self._session.Failed(self._session.shouldfail)
        if self._session.shouldstop:
            raise self._session.Interrupted(self._session.shouldstop)
        self._report_those_that_did_not_run(children)

    def _listen(self, children: list[_Child]) -> None:
        with selectors.DefaultSelector() as selector:
            for child in children:
                selector.register(child.reports, selectors.EVENT_READ, child)
            while selector.get_map():
                for key, _ in selector.select():
                    messages = key.data.messages()
                    if messages is None:
                        selector.unregister(key.fd)
                        key.data.ended()
                    else:
                        for kind, what in messages:
                            self._hear(key.data, kind, what)
                if self._session.shouldfail or self._session.shouldstop:
                    while os.read(self._todo, 1 << 16):
                        """No file is begun any more."""

    def _hear(self, child: _Child, kind: str, what: Any) -> None:
        hook = self._config.hook
        if kind == "start":
            child.current = self._missing[what]
        elif kind == "report":
            report = hook.pytest_report_from_serializable(config=self._config, data=what)
            # As pytest-xdist says that tests are not in order, and where one ran.
            report.node = SimpleNamespace(gateway=SimpleNamespace(id=child.name), _workerinfocache=f"[{child.name}]")
            hook.pytest_runtest_logreport(report=report)
        elif kind == "finish":
            item, child.current = self._missing.pop(what), None
            hook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        else:
            message, when, nodeid, location = what
            hook.pytest_warning_recorded.call_historic(
                kwargs={"warning_message": message, "when": when, "nodeid": nodeid, "location": location}
            )

    def _report_those_that_did_not_run(self, children: list[_Child]) -> None:
        """A process of tests that died: each test that it has not run fails."""
        ends = "; ".join(
            f"{it.name} ended with {it.code}, in {it.current.nodeid if it.current else 'no test'}"
            for it in children
            if it.code
        )
        for item in list(self._missing.values()):
            report = pytest.TestReport(
                item.nodeid, item.location, {}, "failed", f"not run to its end: {ends}", "call", duration=0
            )
            self._config.hook.pytest_runtest_logreport(report=report)
        if ends and not self._missing:
            raise RuntimeError(f"a process of tests failed after its last one: {ends}")

    # --- a child ---

    def _fork(self, others: list[int]) -> _Child:
        read, write = os.pipe()
        factory = self._config._tmp_path_factory  # type: ignore[attr-defined]
        folder = factory.mktemp("of")
        sys.stdout.flush()
        sys.stderr.flush()
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", DeprecationWarning
            )  # "may lead to deadlocks": the threads are those of libraries
            pid = os.fork()
        if pid:
            os.close(write)
            return _Child(folder.name, pid, read)
        code = 1
        try:
            for descriptor in (read, *others):
                os.close(descriptor)
            factory._basetemp = folder
            self._work(write)
            code = 0
        except KeyboardInterrupt:
            code = 2
        except BaseException:  # to what must not happen: the stack of the parent is not unwound here
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _work(self, write: int) -> None:
        manager = self._config.pluginmanager
        capture = manager.getplugin("capturemanager")
        capture.stop_global_capturing()
        capture.start_global_capturing()  # into files of its own
        capture.suspend_global_capture()
        manager.unregister(manager.getplugin("terminalreporter"))
        writer = create_terminal_writer(self._config, sys.stderr)  # for the stacks of all threads when time is up
        manager.register(SimpleNamespace(_tw=writer), "terminalreporter")
        manager.register(_Reporter(self._config, write))
        try:
            items = chain.from_iterable(self._files[number] for number in self._numbers())
            item = next(items, None)
            while item is not None and not (self._session.shouldfail or self._session.shouldstop):
                following = next(items, None)
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
                item = following
        finally:
            self._session._setupstate.teardown_exact(None)

    def _numbers(self) -> Iterator[int]:
        while number := os.read(self._todo, NUMBER.size):
            yield NUMBER.unpack(number)[0]


class _Reporter:
    """Tells the parent what happens in a child."""

    def __init__(self, config: pytest.Config, write: int) -> None:
        self._config, self._write = config, write

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._tell("start", nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._tell("report", self._config.hook.pytest_report_to_serializable(config=self._config, report=report))

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        self._tell("finish", nodeid)

    def pytest_warning_recorded(self, warning_message: Any, when: str, nodeid: str, location: Any) -> None:
        shown = warnings.WarningMessage(
            str(warning_message.message), warning_message.category, warning_message.filename, warning_message.lineno
        )
        self._tell("warning", (shown, when, nodeid, location))

    def _tell(self, kind: str, what: Any) -> None:
        message = pickle.dumps((kind, what))
        data = memoryview(LENGTH.pack(len(message)) + message)
        while data:
            data = data[os.write(self._write, data) :]
