"""What the code of an analysis says comes to its session, from whatever it is said with, and says who and on what data."""

from __future__ import annotations

import contextlib
import ctypes
import json
import logging
import os
import re
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import eventmill as em
import pytest
from click.testing import CliRunner
from eventmill.cli.main import main
from eventmill.display.logs import Logs
from eventmill.protocol import messages
from processes import Standing, eventually, hello, raw_peer

PROGRAM = [sys.executable, "-m", "eventmill"]

SECONDS = 60.0


def texts(logs: Logs) -> list[str]:
    return [line.text for line in logs]


def talks(item: int) -> int:
    print("print", item)
    ctypes.CDLL(None).printf(b"printf %d\n", item)
    os.write(1, b"write %d\n" % item)
    print("error", item, file=sys.stderr)
    warnings.warn(f"careful, there are {item // 100} of them", stacklevel=1)
    logging.getLogger("my.analysis").warning("record\nof %d", item)
    logging.getLogger("my.analysis").debug("not asked for")
    return item


def test_all_that_an_analysis_says_comes_to_its_session(session: em.Session, caplog: pytest.LogCaptureFixture) -> None:
    """Prints of Python and C, warnings, log records; with slot, query and entry, of both queries that run side by side."""
    queries = [session.process(em.items([*range(base, base + 8)]), talks) for base in (100, 200)]
    assert [query.result(SECONDS).value for query in queries] == [828, 1628]
    told = re.findall(r"query talks: (\d+) lines of output from the analysis, which query.logs\(\) shows", caplog.text)
    assert len(told) == 2 and all(int(lines) >= 48 for lines in told)  # more where a slot has helped another one
    for query, base in zip(queries, (100, 200), strict=True):
        logs = query.logs()
        for number in range(base, base + 8):
            for text, source in (
                (f"print {number}", "stdout"), (f"printf {number}", "stdout"), (f"write {number}", "stdout"),
                (f"error {number}", "stderr"), (f"record\nof {number}", "logging"),
            ):  # fmt: skip
                (line,) = [it for it in logs if it.text == text]
                assert (line.source, line.query) == (source, query.id), line
                assert line.start is not None and line.stop is not None, line
                assert line.start <= number - base < line.stop, line
                assert line.slot in (0, 1) and line.worker.startswith("local-"), line
        (warning,) = [line for line in logs if line.source == "warning"]
        assert (warning.text, warning.level) == (f"careful, there are {base // 100} of them", "UserWarning")
        assert warning.count >= 8
        assert Path(warning.place.rpartition(":")[0]).name == "test_logs.py"
        assert {line.level for line in logs if line.source == "logging"} == {"WARNING"}
        assert len(logs) == 41
        assert texts(query.logs(grep=rf"print {base}$")) == [f"print {base}"]
        assert set(texts(query.logs())) <= set(texts(session.logs()))
    assert session.log is not None and "print 107" in session.log.read_text()


def test_who_follows_gets_what_is_new_without_waiting(session: em.Session, tmp_path: Path) -> None:
    """A display asks again and again while the query runs."""
    gate = tmp_path / "gate"

    def waits(item: int) -> int:
        print("begins", flush=True)
        while not gate.exists():
            signal.sigtimedwait([], 0.01)
        print("ends")
        return item

    query = session.process(em.items([1, 2]), waits)
    feed = query.log_feed()

    def has(text: str) -> bool:
        feed.poll()
        return text in texts(feed.logs)

    eventually(lambda: has("begins"), "it comes while the query runs")
    first = feed.logs
    gate.touch()
    assert query.result(SECONDS).value == 3
    eventually(lambda: has("ends"), "more comes")
    assert texts(first) == ["begins"] and texts(feed.logs) == ["begins", "ends"] and feed.version >= 2


@pytest.mark.long("it prints for seconds")
def test_an_analysis_that_prints_without_end_costs_little_and_is_counted(session: em.Session) -> None:
    """200 MB: what is kept is bounded, the rest counted, and its last words are there."""

    def floods(item: int) -> int:
        for number in range(20_000):
            print(f"{number:9}" * 800)
            print("short", end=" ")
            print("y" * 2_700)
        print("the last words of", item)
        return item

    query = session.process(em.items([1]), floods)
    assert query.result(SECONDS).value == 1
    logs = query.logs()
    assert sum(len(line.text) for line in logs) < 600_000 and len(logs) <= 1000
    assert "the last words of 1" in texts(logs)
    assert logs.unkept.size > 190_000_000
    assert sum(line.count for line in logs) + logs.unkept.lines >= 40_001  # another slot may have helped


def test_a_slot_that_closes_its_streams_is_heard_again(session: em.Session, tmp_path: Path) -> None:
    """User code closes them, puts files in their place, or captures what it prints itself."""

    def closes(item: int) -> int:
        if item == 0:
            os.close(1)
            os.close(2)
            return item
        if item == 1:
            sys.stdout = (tmp_path / "captured").open("w")
            print("into its own file", flush=True)
            with warnings.catch_warnings(record=True) as caught:
                warnings.warn("its own", stacklevel=1)
            assert len(caught) == 1
            sys.stdout = sys.__stdout__
        print("speaks", item)
        return item

    query = session.process(em.items(list(range(6))), closes)
    assert query.result(SECONDS).value == 15
    assert {f"speaks {number}" for number in range(1, 6)} <= set(texts(query.logs()))
    assert "into its own file" not in texts(query.logs()) and "its own" not in texts(query.logs())


def test_the_last_words_of_a_slot_that_is_killed_are_heard(session: em.Session) -> None:
    """In the middle of a line, of Python and of C: what is printed before a crash is what is looked for."""

    def crashes(item: int) -> int:
        if item == 1:
            ctypes.CDLL(None).printf(b"C was here\n")
            print("before the", end=" ", flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        return item

    query = session.process(em.items([0, 1, 2]), crashes)
    with pytest.raises(em.errors.AnalysisError, match="took down its slot"):
        query.result(SECONDS)
    logs = query.logs()
    assert {"C was here", "before the "} <= set(texts(logs))
    assert all(line.start is not None and line.start <= 1 for line in logs if line.source == "stdout")
    assert any("went down: killed by signal 9" in text for text in texts(logs))


def embedded(session: em.Session, file: str) -> str:
    """A connection file of the session's own master."""
    assert session._embedded is not None
    return str(session._embedded.folder / file)


def test_the_command_line_shows_them_as_text_and_as_json(session: em.Session) -> None:
    def speaks(item: int) -> int:
        print("\x1b[31mred", item)
        return item

    query = session.process(em.items([1, 2, 3]), speaks)
    query.result(SECONDS)

    def asked(*options: str) -> str:
        made = CliRunner().invoke(main, ["logs", embedded(session, "client.json"), *options], catch_exceptions=False)
        assert made.exit_code == 0, made.output
        return made.output

    text = asked("--query", query.id, "--grep", "red [23]")
    shown = [line.partition("  ")[2].partition(" [")[0] for line in text.splitlines()]
    assert sorted(shown) == [
        "\\x1b[31mred 2",
        "\\x1b[31mred 3",
    ]
    lines = [json.loads(line) for line in asked("--query", query.id, "--json").splitlines()]
    assert {line["text"] for line in lines} == {f"\x1b[31mred {number}" for number in (1, 2, 3)}
    assert {line["query"] for line in lines} == {query.id} and {line["source"] for line in lines} == {"stdout"}
    assert len(asked("--query", query.id, "--tail", "1").splitlines()) == 1
    assert asked("--query", query.id, "--worker", "nobody") == ""
    refused = CliRunner().invoke(main, ["logs", "nowhere", "--grep", "("])
    assert refused.exit_code == 2 and "no regular expression" in refused.output


@pytest.mark.long("a master and a worker of its own")
def test_a_follower_in_a_shell_gets_what_comes(session: em.Session) -> None:
    """Until it is interrupted, which is no error."""
    command = [*PROGRAM, "logs", embedded(session, "client.json"), "--follow", "--grep", "for followers"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as following:
        assert following.stdout is not None
        for number in (1, 2):

            def speaks(item: int) -> int:
                print("for followers", item)
                return item

            session.process(em.items([number]), speaks).result(SECONDS)
            while f"for followers {number}" not in (line := following.stdout.readline()):
                assert line, "it goes on"
        following.send_signal(signal.SIGINT)
        assert following.wait(SECONDS) == 0


def test_a_worker_that_cannot_start_says_so_to_its_master(session: em.Session, tmp_path: Path) -> None:
    """Its batch job ends in a minute, and its log lies on another machine. Errors were taken for kills, and tried again."""
    (tmp_path / "awkward.py").write_text("raise ImportError('this installation is broken')\n")
    worker = [*PROGRAM, "worker", embedded(session, "worker.json"), "--slots", "1", "--name", "broken"]
    ended = subprocess.run(
        worker, env=os.environ | {"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, timeout=SECONDS
    )
    assert ended.returncode == 1 and "this installation is broken" in ended.stdout + ended.stderr
    why = "the worker ends: the process that starts slots has ended: its error is"
    eventually(
        lambda: any(line.text.startswith(why) for line in session.logs(worker="broken")), "its master hears of it"
    )
    logs = session.logs(worker="broken")
    assert any("ImportError: this installation is broken" in text for text in texts(logs)), logs
    assert any(line.level == "ERROR" and line.text.startswith(why) for line in logs), logs


def test_the_last_words_of_workers_that_left_at_once_are_heard(standing: Standing) -> None:
    """A worker that cannot start says hello, why, and goodbye; a busy master finds it gone when it answers the first."""
    with contextlib.ExitStack() as stack:
        workers = [stack.enter_context(raw_peer(standing.worker_key)) for _ in range(20)]
        for worker in workers:
            worker.say(messages.Heartbeat())
            assert isinstance(worker.hear(), messages.Unknown), "the connection stands"
        standing.master.process.send_signal(signal.SIGSTOP)
        for number, worker in enumerate(workers):
            worker.say(hello(slots=0))
            worker.say(messages.Output([messages.OutputLine("worker", f"last words of {number}")]))
            worker.say(messages.Bye())
            worker.leave()
        standing.master.process.send_signal(signal.SIGCONT)
    expected = {f"last words of {number}" for number in range(20)}
    with standing.connect() as session:
        eventually(lambda: expected <= set(texts(session.logs(grep="last words"))), "all of them are heard")
