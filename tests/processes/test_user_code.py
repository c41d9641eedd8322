"""What user code does to its process: no slot is lost by it, no process is left, and the next query is as the first."""

from __future__ import annotations

import contextlib
import itertools
import signal
import time
from pathlib import Path
from typing import Any

import eventmill as em
import psutil
import pytest
from processes import SECONDS, eventually

ITEMS = [1, 2, 3, 4, 5, 6]


def slots_and_more(session: em.Session) -> tuple[list[psutil.Process], list[psutil.Process]]:
    """The slots of the session's worker, and what they have started; zombies count."""
    assert session._embedded is not None
    (forkserver,) = psutil.Process(session._embedded.processes["worker"].pid).children()
    slots = forkserver.children()
    return slots, [process for slot in slots for process in slot.children(recursive=True)]


def assert_nothing_left(session: em.Session) -> None:
    """The next query is right, there are two slots again, and nothing else."""
    assert session.process(em.items(ITEMS), identity).result(SECONDS).value == sum(ITEMS)

    def clean() -> bool:
        with contextlib.suppress(psutil.NoSuchProcess, ValueError):
            slots, more = slots_and_more(session)
            return len(slots) == 2 and not more
        return False

    eventually(clean, "two slots and nothing else")


def identity(item: int) -> int:
    return item


def check(session: em.Session, analysis: Any) -> None:
    """An analysis whose value is the sum of the items, whatever else it does."""
    result = session.process(em.items(ITEMS), analysis).result(SECONDS)
    assert result.value == sum(ITEMS)
    assert result.account.processed == len(ITEMS) and not result.account.lost
    assert_nothing_left(session)


# --- processes ------------------------------------------------------------------------------------------------------------


def forks_and_returns(item: int) -> int:
    import os

    child = os.fork()
    if child == 0:
        return 1000
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    return item


def forks_and_exits(item: int) -> int:
    import os
    import sys

    child = os.fork()
    if child == 0:
        sys.exit(item)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == item
    return item


def forks_and_raises(item: int) -> int:
    import os

    child = os.fork()
    if child == 0:
        raise ValueError("in the child")
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
    return item


def daemon(item: int) -> int:
    """As a daemon does: forks twice, leaves session and group, ignores signals, spins."""
    import os
    import signal

    child = os.fork()
    if child == 0:
        os.setsid()
        if os.fork() == 0:
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)
            os.closerange(0, 3)
            while True:
                pass
        os._exit(0)
    os.waitpid(child, 0)
    return item


def program(item: int) -> int:
    import subprocess

    subprocess.Popen(["sleep", "1000"], start_new_session=True)
    return item


def thread(item: int) -> int:
    import threading

    threading.Thread(target=threading.Event().wait, daemon=True).start()
    return item


def pool(item: int) -> int:
    """`Pool` ends its processes with SIGTERM, and waits for them."""
    import multiprocessing

    with multiprocessing.get_context("fork").Pool(2) as workers:
        return int(workers.map(abs, [item, 0])[0])


def pool_left(item: int) -> int:
    import multiprocessing

    global workers
    workers = multiprocessing.get_context("fork").Pool(2)
    return int(workers.map(abs, [item])[0])


def terminated(item: int) -> int:
    import signal
    import subprocess

    for number in (signal.SIGTERM, signal.SIGINT):
        process = subprocess.Popen(["sleep", "1000"])
        process.send_signal(number)
        assert process.wait(10) == -number
    return item


def group_killed(item: int) -> int:
    """A signal to the process group of the slot reaches what it has started, and the slot itself, which goes on."""
    import os
    import signal
    import subprocess

    process = subprocess.Popen(["sleep", "1000"])
    os.killpg(0, signal.SIGTERM)
    assert process.wait(10) == -signal.SIGTERM
    return item


@pytest.mark.parametrize(
    "analysis",
    [
        forks_and_returns, forks_and_exits, forks_and_raises, daemon, program, thread, pool, pool_left, terminated,
        group_killed,
    ],
)  # fmt: skip
def test_what_user_code_starts_ends_with_its_query(session: em.Session, analysis: Any) -> None:
    check(session, analysis)


def test_what_a_killed_slot_had_started_ends_with_it(session: em.Session, tmp_path: Path) -> None:
    started = tmp_path / "started"
    started.mkdir()
    folder = str(started)

    def starts_and_hangs(item: int) -> int:
        import subprocess

        process = subprocess.Popen(["sleep", "1000"], start_new_session=True)
        open(f"{folder}/{process.pid}", "w").close()  # noqa: PTH123
        while True:
            pass

    query = session.process(em.items([1, 2]), starts_and_hangs)
    eventually(lambda: len(list(started.iterdir())) >= 2, "both slots hang")
    query.abort()
    for path in started.iterdir():
        eventually(lambda pid=int(path.name): not psutil.pid_exists(pid), "it has ended")  # type: ignore[misc]
    assert_nothing_left(session)


# --- what a slot needs itself ---------------------------------------------------------------------------------------------


def no_modules(item: int) -> int:
    import sys

    sys.modules.clear()
    return item


def no_clock(item: int) -> int:

    time.time = time.monotonic = time.perf_counter = time.process_time = lambda: 0.0
    time.sleep = lambda seconds: None
    return item


def no_streams(item: int) -> int:
    import sys

    if not sys.stdout.closed:  # by the call for the item before
        print("before")
    sys.stdout.close()
    sys.stderr.close()
    return item


def no_descriptors(item: int) -> int:
    import os

    os.closerange(0, 3)
    return item


def test_what_is_done_with_a_result_finds_all_modules(session: em.Session) -> None:
    """Which modules there are decides whose objects are: a number was taken for one that outlives its call."""

    def no_modules_and_one(item: int) -> int:
        import sys

        sys.modules.clear()
        return 1

    result = session.process(em.items(range(100)), no_modules_and_one).result(SECONDS)
    assert result.value == 100


@pytest.mark.parametrize("analysis", [no_modules, no_clock, no_streams, no_descriptors])
def test_what_a_slot_needs_is_there_again_after_each_call(session: em.Session, analysis: Any) -> None:
    check(session, analysis)


def test_a_slot_whose_descriptors_are_closed_is_replaced_and_the_query_says_so(session: em.Session) -> None:
    def closes_all(item: int) -> int:
        import os

        os.closerange(3, 1000)
        return item

    with pytest.raises(em.protocol.errors.AnalysisError, match="took down its slot"):
        session.process(em.items([1]), closes_all).result(SECONDS)
    assert_nothing_left(session)


# --- what the next query meets --------------------------------------------------------------------------------------------


def changes_all(item: int) -> int:
    import gc
    import os
    import resource
    import signal
    import sys
    import warnings

    import numpy as np

    os.chdir("/")
    os.environ["LEFT"] = "1"
    os.environ.pop("HOME", None)
    os.umask(0o777)
    np.seterr(all="raise")
    warnings.simplefilter("error")
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, 1000.0)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    sys.setrecursionlimit(5000)
    gc.disable()
    if item % 2:
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
    return item


def state(item: int) -> dict[str, Any]:
    import gc
    import os
    import resource
    import signal
    import sys
    import warnings

    import numpy as np

    umask = os.umask(0o22)
    os.umask(umask)
    return {
        "all": [
            repr(
                (
                    os.getcwd(),  # noqa: PTH109
                    sorted(os.environ.items()),
                    umask,
                    np.geterr(),
                    [repr(one) for one in warnings.filters],
                    signal.getsignal(signal.SIGUSR1),
                    signal.getitimer(signal.ITIMER_REAL),
                    signal.pthread_sigmask(signal.SIG_BLOCK, ()),
                    sys.getrecursionlimit(),
                    gc.isenabled(),
                    resource.getrlimit(resource.RLIMIT_NOFILE),
                )
            )
        ]
    }


def test_the_next_query_runs_as_if_the_slot_were_new(session: em.Session) -> None:
    items = em.items(list(range(50)))
    before = session.process(items, state).result(SECONDS)["all"]
    assert len(set(before)) == 1
    assert session.process(items, changes_all).result(SECONDS).value == sum(range(50))
    after = session.process(items, state).result(SECONDS)["all"]
    assert set(after) == set(before)


def changes_libraries(item: int) -> int:
    import decimal
    import math
    import sys

    import awkward as ak

    class Mine(ak.Array):  # type: ignore[misc]
        pass

    sys.path.insert(0, "/nowhere")
    decimal.getcontext().prec = 5
    ak.behavior["mine"] = Mine
    if item % 2:
        math.sqrt = lambda value: 0.0
    return item


def libraries(item: int) -> dict[str, Any]:
    import decimal
    import math
    import sys

    import awkward as ak

    return {"all": [repr(("/nowhere" in sys.path, decimal.getcontext().prec, "mine" in ak.behavior, math.sqrt(4.0)))]}


def test_the_next_query_finds_libraries_as_they_were(session: em.Session) -> None:
    """A function that is put in the place of a library's own takes the slot with it."""
    items = em.items(list(range(50)))
    assert session.process(items, changes_libraries).result(SECONDS).value == sum(range(50))
    after = session.process(items, libraries).result(SECONDS)["all"]
    assert set(after) == {repr((False, 28, False, 2.0))}


def test_another_user_has_processes_of_her_own(session: em.Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not all that code does to a process can be found out: a method of a library's class, say."""

    def process(item: int) -> set[str]:
        import os

        return {str(os.getpid())}

    def hers() -> set[str]:
        with monkeypatch.context() as context:
            context.setattr("eventmill.session.session.owner", lambda: "somebody else")
            found: set[str] = session.process(em.items(ITEMS), process).result(SECONDS).value
        return found

    def mine() -> set[str]:
        found: set[str] = session.process(em.items(ITEMS), process).result(SECONDS).value
        return found

    turns = [mine(), hers(), mine(), hers()]
    assert all(not one & other for one, other in itertools.pairwise(turns))
    assert not (turns[0] | turns[2]) & (turns[1] | turns[3])


def test_children_of_a_slot_know_no_signal_of_its(session: em.Session) -> None:
    def of_child(item: int) -> list[str]:
        import subprocess
        import sys

        code = "import signal; print(*(signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)), end='')"
        return [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout]

    (said,) = session.process(em.items([1]), of_child).result(SECONDS).value
    assert said.startswith(f"{signal.SIG_DFL} <built-in function default_int_handler>")
