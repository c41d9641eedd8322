# mypy: allow-untyped-defs, allow-untyped-decorators
"""Compiled once: the code of a kernel is kept, and loaded by others, whoever dies, whatever disk and processor there are."""

from __future__ import annotations

import errno
import fcntl
import itertools
import logging
import os
import re
import select
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest
from columns import flat
from eventmill.analysis.analysis import kernel
from eventmill.protocol.errors import AnalysisError
from eventmill.worker.cache_eviction import tidy, use
from eventmill.worker.kernels.code_cache import CompiledCode, environment
from eventmill.worker.kernels.compile import CompiledKernel, warm
from hist import Hist
from processes import SECONDS, eventually


def test_another_binning_or_an_edit_above_the_kernel_compiles_nothing(tmp_path: Path) -> None:
    def compile_it(lines_above: int, bins: int) -> CompiledKernel:
        namespace: dict[str, Any] = {"__name__": "__main__"}
        exec(
            compile("\n" * lines_above + "def f(h, x):\n    h.fill(1 / x)", f"cell{lines_above}.py", "exec"), namespace
        )
        compiled = CompiledKernel(kernel(h=Hist.new.Reg(bins, 0, 1).Double())(namespace["f"]), tmp_path)
        compiled.run({"x": flat(3.0)}, 0)
        return compiled

    first, second = compile_it(0, 4), compile_it(7, 9)
    assert [(one.compiled, one.loaded) for one in (first, second)] == [(1, 0), (0, 1)]
    with pytest.raises(ZeroDivisionError) as caught:
        second.run({"x": flat(1.0, 0.0)}, 0)
    assert "cell7.py:9" in caught.value.__notes__[0], (
        "messages have the line of the user's file, not that of the cached code"
    )


PROCESS = """
    factor = 2.0
    def helper(x): return factor * x
    @kernel(h=Hist.new.Reg(10, 0, 10).Weight())
    def f(h, x): h.fill(helper(x), weight=x)
    compiled = CompiledKernel(f, cache)
    compiled.run({"x": Flat(np.array([1.0, 2.0, 3.0]))}, 0)
    print(compiled.compiled, compiled.loaded, compiled.take()[0]["h"].array["value"].sum(), flush=True)
"""

FORKSERVER = """
    import os, signal, sys
    import numpy as np
    from pathlib import Path
    from hist import Hist
    from eventmill.analysis.analysis import kernel
    from eventmill.reading.columns import Flat
    from eventmill.worker.kernels.compile import CompiledKernel, warm
    warm()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    print("ready", flush=True)
    for line in sys.stdin:
        program, cache, said = map(Path, line.split())
        pid = os.fork()
        if pid == 0:
            for output in (1, 2):
                os.dup2(os.open(said, os.O_WRONLY), output)
            try:
                exec(compile(program.read_text(), str(program), "exec"), globals() | {"cache": cache})
            except BaseException:
                sys.excepthook(*sys.exc_info())
            os._exit(0)
        print(pid, flush=True)
"""


class Slot:
    """A process that runs a program over a cache.

    Attributes:
        pid: of the process.
    """

    def __init__(self, pid: int, said: int) -> None:
        self.pid = pid
        self._said = said

    def ends(self, seconds: float) -> bool:
        """Whether it says something, or ends, within that time."""
        return bool(select.select([self._said], [], [], seconds)[0])

    def said(self) -> list[str]:
        """All that it has to say until it ends: how many loops it compiled and loaded, and the sum that came out."""
        os.set_blocking(self._said, True)
        assert self.ends(SECONDS)
        with os.fdopen(self._said) as file:
            return file.read().split()


Start = Callable[[str, Path], Slot]


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Starts processes as slots are: forked from one that has loaded everything, which takes two seconds of a core."""
    folder, number = tmp_path_factory.mktemp("slots"), itertools.count()
    command = [sys.executable, "-c", textwrap.dedent(FORKSERVER)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as server:
        assert server.stdin is not None and server.stdout is not None

        def started(program: str, cache: Path) -> Slot:
            assert server.stdin is not None and server.stdout is not None
            path = folder / f"slot{next(number)}"
            path.with_suffix(".py").write_text(textwrap.dedent(program))
            os.mkfifo(path)
            said = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
            server.stdin.write(f"{path.with_suffix('.py')} {cache} {path}\n")
            return Slot(int(server.stdout.readline()), said)

        assert server.stdout.readline() == "ready\n"
        yield started
        server.stdin.close()


def test_processes_that_need_a_kernel_at_the_same_time_compile_it_once(tmp_path: Path, start: Start) -> None:
    racing = [start(PROCESS, tmp_path) for _ in range(2)]
    assert sorted(process.said() for process in racing) == [["0", "1", "6.0"], ["1", "0", "6.0"]]
    assert not list(tmp_path.glob("*.lock")), "nothing is left of it"


def compiles(cache: Path) -> bool:
    """Whether a process holds the lock of some code."""
    for path in cache.glob("*.lock"):
        with path.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
    return False


@pytest.mark.long("processes start that compile")
def test_a_process_that_is_killed_while_it_compiles_keeps_nobody_waiting(tmp_path: Path, start: Start) -> None:
    killed = start(PROCESS, tmp_path)
    eventually(lambda: compiles(tmp_path), "a process compiles")
    os.kill(killed.pid, signal.SIGSTOP)
    waiting = start(PROCESS, tmp_path)
    assert not waiting.ends(3)
    os.kill(killed.pid, signal.SIGKILL)
    assert waiting.said() == ["1", "0", "6.0"]
    assert killed.said() == []


class Slow:
    """Stands for what `njit` makes, whose compilation a test decides on."""

    def __init__(self, code: CompiledCode, compile_it: Callable[[], object]) -> None:
        self.targetctx, self.overloads, self.code, self.compile_it = None, {(): None}, code, compile_it

    def compile(self, types: object) -> None:
        self.compile_it()


def test_when_code_cannot_be_kept_slots_compile_side_by_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting for each other would make a machine with a full disk as slow as one core."""
    monkeypatch.setattr(CompiledCode, "_keep", lambda *_: None)
    together = threading.Barrier(2, timeout=30)
    held = threading.Event()

    def first() -> None:
        held.set()
        threads[0].start()
        threads[1].start()
        time.sleep(0.1)  # until both wait, or most of the time: the test would pass without

    code = CompiledCode(tmp_path)
    threads = [threading.Thread(target=code.provide, args=(Slow(code, together.wait), (), "key")) for _ in range(2)]
    assert code.provide(Slow(code, first), (), "key").compiled
    for thread in threads:
        thread.join(30)
    assert held.is_set() and not together.broken


def test_a_cache_folder_that_cannot_be_used_costs_a_compilation_and_a_line_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    thing = kernel(out=np.zeros(1))(add_one)
    compiled = CompiledKernel(thing, tmp_path / "file" / "kernels")
    for dtype in ("f4", "f8"):
        compiled.run({"x": flat(1.0, dtype=dtype)}, 0)
    assert (compiled.compiled, compiled.take()[0]["out"]) == (2, 4.0)
    assert [it.levelname for it in caplog.records if it.levelno >= logging.WARNING] == ["WARNING"]
    assert "every slot compiles by itself" in caplog.text


def test_numba_that_may_not_compile_is_told_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was: "'function' object has no attribute 'targetctx'"."""
    monkeypatch.setattr(numba.config, "DISABLE_JIT", 1)
    with pytest.raises(
        AnalysisError, match=r"are compiled, and NUMBA_DISABLE_JIT is set where this worker runs: unset it"
    ):
        CompiledKernel(kernel(out=np.zeros(1))(add_one), tmp_path).run({"x": flat(1.0)}, 0)


def test_code_that_others_may_have_written_is_not_unpickled(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever may write to the folder would run code here; under an umask of 0 that may be everybody."""

    def attempt() -> tuple[int, int]:
        compiled = CompiledKernel(kernel(out=np.zeros(1))(add_one), tmp_path)
        compiled.run({"x": flat(1.0)}, 0)
        return compiled.compiled, compiled.loaded

    assert [attempt(), attempt()] == [(1, 0), (0, 1)]
    (file,) = tmp_path.glob("*.code")
    file.chmod(0o666)
    assert [attempt(), attempt()] == [(1, 0), (0, 1)], "what is compiled again takes its place"
    assert "others may write to it (mode 0666)" in caplog.text


def add_one(out, x):
    out[0] += x + 1


def test_a_full_disk_and_a_damaged_file_cost_a_compilation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def attempt() -> tuple[int, int]:
        compiled = CompiledKernel(kernel(out=np.zeros(1))(add_one), tmp_path)
        compiled.run({"x": flat(1.0)}, 0)
        return compiled.compiled, compiled.loaded

    def full(path: Path, content: bytes) -> None:
        path.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        assert attempt() == (1, 0)
    assert "No space left on device" in caplog.text and not list(tmp_path.iterdir())
    assert [attempt(), attempt()] == [(1, 0), (0, 1)]
    (file,) = tmp_path.glob("*.code")
    file.write_bytes(file.read_bytes()[:-1])
    assert [attempt(), attempt()] == [(1, 0), (0, 1)], "damaged machine code would take the slot down"
    assert "is damaged" in caplog.text


def test_another_processor_or_version_is_another_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert numba.__version__ in environment() and np.__version__ in environment() and sys.version in environment()
    triple, processor, features = numba.core.registry.cpu_target.target_context.codegen().magic_tuple()
    assert all(part in environment() for part in (triple, processor, features))
    for there in ("here", "elsewhere"):
        monkeypatch.setattr("eventmill.worker.kernels.code_cache.environment", lambda there=there: there)
        compiled = CompiledKernel(kernel(out=np.zeros(1))(add_one), tmp_path)
        compiled.run({"x": flat(1.0)}, 0)
        assert compiled.compiled == 1


def test_a_cache_folder_keeps_to_its_bounds_and_loses_what_was_used_longest_ago(tmp_path: Path) -> None:
    now = time.time()
    for age, name in enumerate(("new", "less", "old", "oldest")):
        (tmp_path / name).write_bytes(bytes(100))
        os.utime(tmp_path / name, (now - 100 * age,) * 2)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").write_bytes(bytes(200))
    os.utime(tmp_path / "folder", (now - 50,) * 2)

    def left(**bounds: float) -> set[str]:
        tidy(tmp_path, re.compile("[a-z]+"), **bounds)  # type: ignore[arg-type]
        return {path.name for path in tmp_path.iterdir()} - {"tidied"}

    assert left(largest=1000, oldest=250) == {"new", "folder", "less", "old"}
    assert left(largest=1) == {"new", "folder", "less", "old"}, "it was looked at today"
    use(tmp_path / "old")
    assert left(largest=300, often=0) == {"new", "old"}, "a folder goes whole"


LIKE = '''
    source = """if True:
        def helper(x):
            if x < 2.0:
                return {value}
            return helper(x - 1.0) + helper(x - 2.0)
        def f(h, x):
            h.fill(helper(x))
    """
    def run(value):
        namespace = {"__name__": "my_own_module"}
        exec(source.format(value=value), namespace)
        compiled = CompiledKernel(kernel(h=Hist.new.Reg(10, 0, 100).Weight())(namespace["f"]), cache)
        compiled.run({"x": Flat(np.array([3.0]))}, 0)
        cells = compiled.take()[0]["h"].array["value"]
        print(value, compiled.compiled, compiled.loaded, np.flatnonzero(cells)[0], flush=True)
'''


def test_loaded_code_of_like_kernels_is_kept_apart(tmp_path: Path, start: Start) -> None:
    """Two versions of a kernel, compiled in two slots, run side by side in a third one, each with its own helper; the
    user's module is in none of them."""
    said = [
        start(textwrap.dedent(LIKE) + f"\nfor value in {values}: run(value)\n", tmp_path).said()
        for values in (["5.0"], ["15.0"], ["5.0", "15.0"])
    ]
    assert [" ".join(words) for words in said] == ["5.0 1 0 2", "15.0 1 0 5", "5.0 0 1 2 15.0 0 1 5"]


MULTIPLIES = """
    begun = "scipy.linalg" in sys.modules
    vector = 3.0, 4.0
    @kernel(n=np.zeros(1))
    def squares(n, x):
        n[0] += x * np.dot(np.array(vector), np.array(vector))
    compiled = CompiledKernel(squares, cache)
    compiled.run({"x": Flat(np.array([2.0, 5.0]))}, 0)
    print(begun, compiled.compiled, compiled.loaded, *compiled.take()[0]["n"], flush=True)
"""


def test_linear_algebra_is_imported_by_the_kernels_that_have_some(tmp_path: Path, start: Start) -> None:
    """Nobody else waits for it. They are right where they are compiled, and where only their machine code is loaded."""
    assert start(MULTIPLIES, tmp_path).said() == ["False", "1", "0", "175.0"]
    assert start(MULTIPLIES, tmp_path).said() == ["False", "0", "1", "175.0"]


def test_warming_up_leaves_no_threads_and_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    threads, tasks = set(threading.enumerate()), set(Path("/proc/self/task").iterdir())
    warm()
    assert set(threading.enumerate()) <= threads, "those of tests before may end meanwhile"
    assert set(Path("/proc/self/task").iterdir()) <= tasks
    assert not list(tmp_path.iterdir())
