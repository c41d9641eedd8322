# mypy: allow-untyped-defs, allow-untyped-decorators
"""Compiled once: the code of a kernel is kept, and loaded by others, whoever dies, whatever disk and processor there are."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest
from columns import flat
from eventmill.analysis.analysis import kernel
from eventmill.worker.cache_eviction import tidy, use
from eventmill.worker.kernels.code_cache import CompiledCode, environment
from eventmill.worker.kernels.compile import CompiledKernel, warm
from hist import Hist
from processes import eventually


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
    import sys
    import numpy as np
    from pathlib import Path
    from hist import Hist
    from eventmill.analysis.analysis import kernel
    from eventmill.reading.columns import Flat
    from eventmill.worker.kernels.compile import CompiledKernel
    factor = 2.0
    def helper(x): return factor * x
    @kernel(h=Hist.new.Reg(10, 0, 10).Weight())
    def f(h, x): h.fill(helper(x), weight=x)
    compiled = CompiledKernel(f, Path(sys.argv[1]))
    compiled.run({"x": Flat(np.array([1.0, 2.0, 3.0]))}, 0)
    print(compiled.compiled, compiled.loaded, compiled.take()[0]["h"].array["value"].sum())
"""


def start(cache: Path) -> subprocess.Popen[str]:
    """A process that runs the kernel of PROCESS."""
    command = [sys.executable, "-c", textwrap.dedent(PROCESS), str(cache)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def said(process: subprocess.Popen[str]) -> list[str]:
    """How many loops it compiled and loaded, and the sum that came out."""
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    return output.split()


def test_processes_that_need_a_kernel_at_the_same_time_compile_it_once(tmp_path: Path) -> None:
    racing = [start(tmp_path) for _ in range(2)]
    assert sorted(said(process) for process in racing) == [["0", "1", "6.0"], ["1", "0", "6.0"]]
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


def test_a_process_that_is_killed_while_it_compiles_keeps_nobody_waiting(tmp_path: Path) -> None:
    killed = start(tmp_path)
    eventually(lambda: compiles(tmp_path), "a process compiles")
    killed.send_signal(signal.SIGSTOP)
    waiting = start(tmp_path)
    with pytest.raises(subprocess.TimeoutExpired):
        waiting.wait(3)
    killed.kill()
    assert said(waiting) == ["1", "0", "6.0"]
    killed.communicate()


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
    compiled, _ = code.provide(Slow(code, first), (), "key")
    assert compiled
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


SLOTS = '''
    import os, sys
    import numpy as np
    from pathlib import Path
    from hist import Hist
    from eventmill.analysis.analysis import kernel
    from eventmill.reading.columns import Flat
    from eventmill.worker.kernels.compile import CompiledKernel, warm
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
        compiled = CompiledKernel(kernel(h=Hist.new.Reg(10, 0, 100).Weight())(namespace["f"]), Path(sys.argv[1]))
        compiled.run({"x": Flat(np.array([3.0]))}, 0)
        cells = compiled.take()[0]["h"].array["value"]
        print(value, compiled.compiled, compiled.loaded, np.flatnonzero(cells)[0], flush=True)
    warm()
    for values in (["5.0"], ["15.0"], ["5.0", "15.0"]):
        if os.fork() == 0:
            for value in values:
                run(value)
            os._exit(0)
        assert os.wait()[1] == 0
'''


def test_loaded_code_of_like_kernels_is_kept_apart(tmp_path: Path) -> None:
    """Two versions of a kernel, compiled in two slots, run side by side in a third one, each with its own helper; the
    user's module is in none of them."""
    command = [sys.executable, "-c", textwrap.dedent(SLOTS), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.splitlines() == ["5.0 1 0 2", "15.0 1 0 5", "5.0 0 1 2", "15.0 0 1 5"]


def test_warming_up_leaves_no_threads_and_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = threading.active_count(), len(list(Path("/proc/self/task").iterdir()))
    warm()
    assert (threading.active_count(), len(list(Path("/proc/self/task").iterdir()))) == before
    assert not list(tmp_path.iterdir())
