"""A fork of the user's process is no end of its session: `multiprocessing`, `os.fork`, however the child ends."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

SCRIPT = """
    import atexit, gc, multiprocessing, os, sys, warnings
    import eventmill as em
    from eventmill.protocol.errors import EventmillError

    warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside threads, from Python 3.12 on

    gate = sys.argv[1]

    def square(item):
        return item * item

    def slow(item):
        import time
        while not os.path.exists(gate):
            time.sleep(0.01)
        return item

    def in_child(session, done, running):
        print("in child:", repr(session), done.result().value, flush=True)
        for call in (session.queries, running.result, running.stop, lambda: list(running.stream())):
            try:
                call()
            except EventmillError as error:
                assert f"belongs to process {os.getppid()}" in str(error), error
            else:
                raise AssertionError(call)
        session.close()

    if __name__ == "__main__":
        session = em.connect(slots=1)
        atexit.register(lambda: print("atexit", "child" if os.getpid() != me else "parent", flush=True))
        me = os.getpid()
        done = session.process(em.items([1, 2, 3]), square)
        assert done.result().value == 14
        running = session.process(em.items([1, 2, 3, 4]), slow)

        child = os.fork()
        if child == 0:
            in_child(session, done, running)
            sys.exit(7)  # with all atexit handlers
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7

        child = os.fork()
        if child == 0:
            with session:
                del done, running
            del session
            gc.collect()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0

        process = multiprocessing.get_context("fork").Process(target=in_child, args=(session, done, running))
        process.start()
        process.join()
        assert process.exitcode == 0

        open(gate, "w").close()
        assert running.result().value == 10
        assert session.process(em.items([5]), square).result().value == 25
        session.close()
        print("whole", flush=True)
"""


@pytest.mark.long("a session in a program of its own, which forks in each way")
def test_a_fork_of_the_users_process_leaves_its_session_alone(tmp_path) -> None:  # type: ignore[no-untyped-def]
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(SCRIPT))
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "gate")], capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line for line in lines if "atexit" in line] == ["atexit child", "atexit parent"]
    assert lines.count("in child: <Session of an embedded master, of another process> 14") == 2
    assert "whole" in lines
