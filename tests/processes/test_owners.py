"""Two owners on one master and one worker of one slot: what the code of one leaves behind, the other never meets."""

from __future__ import annotations

import inspect
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import eventmill as em
import numpy as np
import pytest
from eventmill.system import hidden_memory
from eventmill.system.account import account_name
from eventmill.worker.agent.forkserver_client import ForkserverClient
from eventmill.worker.allocation.memory import taken
from eventmill.worker.slot_status import SlotStatuses
from processes import SECONDS, Standing, call, eventually

PLANTED = "planted_by_bob"
"""A module that bob's code writes to wherever it can."""
ITEMS = list(range(8))

Run = Callable[..., Any]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def shared(cache: Path) -> Iterator[em.Session]:
    """A session whose worker has one slot, and a cache of its own: what these tests leave there is for nobody else."""
    with pytest.MonkeyPatch.context() as context:
        context.setenv("XDG_CACHE_HOME", str(cache))
        made = em.connect(slots=1)
    with made:
        yield made


@pytest.fixture
def of(shared: em.Session, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Run]:
    """What submits queries of an owner; "" is whoever runs the tests."""

    def submitting(owner: str) -> Run:
        def submit(data: Any, analysis: Any) -> Any:
            with monkeypatch.context() as context:
                if owner:
                    context.setattr("eventmill.session.session.owner", lambda: owner)
                return shared.process(data, analysis)

        return submit

    return submitting


def pids(item: int) -> set[str]:
    """Where it runs; imports what is not to be found."""
    import contextlib
    import importlib
    import os

    with contextlib.suppress(ImportError):
        importlib.import_module("planted_by_bob")
    return {str(os.getpid())}


def slow_pids(gate: Path) -> Callable[[int], set[str]]:
    """Where it runs, slowly until the gate is there."""
    opened = str(gate)

    def pids(item: int) -> set[str]:
        import os
        import time

        if not os.path.exists(opened):  # noqa: PTH110
            time.sleep(0.1)
        return {str(os.getpid())}

    return pids


def surroundings(item: int) -> set[str]:
    """The folders that a slot works with."""
    import gc
    import os
    import tempfile
    from pathlib import Path

    tools = next(it for it in gc.get_objects() if type(it).__name__ == "Tools")
    found = {"cache": tools.cache, "tmp": tempfile.gettempdir(), "TMPDIR": os.environ.get("TMPDIR"), "cwd": Path.cwd()}
    return {f"{name} {path}" for name, path in found.items()}


def plants(marker: str) -> Callable[[int], set[str]]:
    """An analysis that changes what others compute, if they let it: whatever of it runs writes its process to `marker`."""

    def analysis(item: int) -> set[str]:
        import copyreg
        import gc
        import hashlib
        import os
        import pickle
        import sys
        import tempfile
        from pathlib import Path

        from eventmill.merge import Total, encode
        from eventmill.worker.slot import handover

        code = f"import os; open({marker!r}, 'a').write(str(os.getpid()) + '\\n')"

        class Evil:
            def __reduce__(self) -> Any:
                return exec, (code,)

            def __add__(self, other: Any) -> Any:
                return self

        def of(self: Any, running: Any, plain: Any = handover.Handover.of) -> None:
            if running.setup.owner != "bob" and running.parts:
                exec(code)
                entries, running.total = running.total.partial().entries, Total()
                running.total.add(encode(Evil(), entries))
            plain(self, running)

        if item == 0:
            for folder in (Path.cwd(), tempfile.gettempdir()):
                Path(folder, "planted_by_bob.py").write_text(code)
                Path(folder, "sitecustomize.py").write_text(code)
            tools = next(it for it in gc.get_objects() if type(it).__name__ == "Tools")
            evil = pickle.dumps(Evil())
            for file in (tools.cache / "kernels").glob("*.code"):
                file.write_bytes(hashlib.sha256(evil).digest() + evil)
            for file in (tools.cache / "modules").glob("*/*.py"):
                file.write_text(code)
            copyreg.pickle(set, lambda thing: (exec, (code,)))
            sys.meta_path.insert(0, type("Finder", (), {"find_spec": staticmethod(lambda *_: exec(code))}))  # type: ignore[arg-type]
            os.environ["PLANTED"] = "1"
            handover.Handover.of = of  # type: ignore[method-assign]
        return {str(os.getpid())}

    return analysis


@pytest.fixture
def marker(tmp_path: Path) -> Iterator[Path]:
    """Where planted code leaves the processes in which it has run."""
    yield tmp_path / "marker"
    for name in (PLANTED, "sitecustomize"):  # where owners are not kept apart, the folder is this one
        Path(f"{name}.py").unlink(missing_ok=True)


def ran_in(marker: Path) -> set[str]:
    return set(marker.read_text().split()) if marker.exists() else set()


@em.kernel(sums=np.zeros(1, np.int64))
def kernel(sums: Any, number: Any) -> None:
    """The same for all owners."""
    sums[0] += number


def test_code_that_is_planted_runs_in_no_process_of_others(
    of: Callable[[str], Run], marker: Path, numbers: em.Dataset
) -> None:
    """Neither in the slot that works for the next owner, nor in her session, which unpickles what comes from there."""
    assert of("bob")(numbers, kernel).result(SECONDS)["sums"][0]
    his = of("bob")(em.items(ITEMS), plants(str(marker))).result(SECONDS).value
    hers = of("")(em.items(ITEMS), pids).result(SECONDS)
    assert not hers.value & his
    assert of("")(numbers, kernel).result(SECONDS)["sums"][0] == of("carol")(numbers, kernel).result(SECONDS)["sums"][0]
    carols = of("carol")(em.items(ITEMS), pids).result(SECONDS).value
    assert not ran_in(marker) & {*hers.value, *carols, str(os.getpid())}
    assert ran_in(marker) <= his


def test_owners_at_work_at_the_same_time_take_turns_in_processes_of_their_own(
    of: Callable[[str], Run], marker: Path, tmp_path: Path
) -> None:
    """The slot makes way for a new query, and goes on with the first one: not in the process that ran it."""
    gate = tmp_path / "gate"
    long = of("alice")(em.items(list(range(300))), slow_pids(gate))
    eventually(lambda: long.account.processed > 0, "alice's query has begun")
    his = of("bob")(em.items(ITEMS), plants(str(marker))).result(SECONDS)
    assert long.state == "running", "it was to go on meanwhile"
    gate.touch()
    result = long.result(SECONDS)
    assert (result.account.processed, result.account.redone, result.account.lost) == (300, 0, [])
    assert len(result.value) >= 2
    assert not result.value & his.value
    assert not ran_in(marker) & {*result.value, str(os.getpid())}


def test_the_same_kernel_is_compiled_for_each_owner(of: Callable[[str], Run], cache: Path, numbers: em.Dataset) -> None:
    @em.kernel(squares=np.zeros(1, np.int64))
    def squares(squares: Any, number: Any) -> None:
        squares[0] += number * number

    def compiled() -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for file in cache.rglob("*.code"):
            found.setdefault(str(file.parent.relative_to(cache / "eventmill")), set()).add(file.name)
        return found

    before = compiled()
    values = {of(owner)(numbers, squares).result(SECONDS)["squares"][0] for owner in ("", "bob", "carol", "")}
    assert len(values) == 1
    new = {folder: files - before.get(folder, set()) for folder, files in compiled().items()}
    new = {folder: files for folder, files in new.items() if files}
    assert "kernels" in new, "the account's own are where they were"
    assert len(new) == 3 and len(set(map(frozenset, new.values()))) == 1


def test_each_owner_has_folders_of_her_own(of: Callable[[str], Run], cache: Path) -> None:
    found = {
        owner: dict(line.split(" ", 1) for line in of(owner)(em.items([1]), surroundings).result(SECONDS).value)
        for owner in ("", "bob", "carol")
    }
    account = found.pop("")
    assert account["cache"] == str(cache / "eventmill")
    assert (account["TMPDIR"], account["cwd"]) == (str(os.environ.get("TMPDIR")), str(Path.cwd()))
    for folders in found.values():
        assert folders["tmp"] == folders["TMPDIR"] == folders["cwd"]
        for path in (folders["cache"], folders["tmp"]):
            assert stat.S_IMODE(Path(path).stat().st_mode) == 0o700
    assert len({path for folders in (account, *found.values()) for path in folders.values()}) >= 6
    assert found["bob"]["cache"] != found["carol"]["cache"]
    assert found["bob"]["tmp"] != found["carol"]["tmp"]


@pytest.mark.usefixtures("marker")
def test_what_an_owner_leaves_in_her_folders_she_finds_again(of: Callable[[str], Run]) -> None:
    """As she would without others: also after another one's turn, for as long as the worker lives."""

    def leaves(item: int) -> int:
        from pathlib import Path

        Path("planted_by_bob.py").write_text("mine")
        return item

    def finds(item: int) -> set[str]:
        from pathlib import Path

        notes = Path("planted_by_bob.py")
        return {notes.read_text()} if notes.exists() else {"nothing"}

    of("bob")(em.items([1]), leaves).result(SECONDS)
    assert of("carol")(em.items([1]), finds).result(SECONDS).value == {"nothing"}
    assert of("bob")(em.items([1]), finds).result(SECONDS).value == {"mine"}


# --- what one process of an account could do to another ----------------------------------------------------------------

HIDDEN = """
import os, socket
SOURCE
if os.getuid() == 0:  # root may do everything
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
    hide_memory(False)

def readable(pid):
    found = []
    for name in ("mem", "environ", "fd", "maps", "smaps_rollup", "cwd"):
        path = f"/proc/{pid}/{name}"
        try:
            {"fd": os.listdir, "cwd": os.readlink}.get(name, lambda path: os.close(os.open(path, os.O_RDONLY)))(path)
        except PermissionError:
            continue
        found.append(name)
    return found

ours, theirs = socket.socketpair()
child = os.fork()
if child == 0:
    theirs.recv(1)
    hide_memory()
    rollup = os.open("/proc/self/smaps_rollup", os.O_RDONLY)
    socket.send_fds(theirs, [b"hidden"], [rollup])
    theirs.recv(1)
    os._exit(0)
print(*readable(child))
ours.send(b"x")
_, (rollup,), _, _ = socket.recv_fds(ours, 100, 1)
print(*readable(child))
print(b"Pss:" in os.pread(rollup, 65536, 0), int(open(f"/proc/{child}/statm").read().split()[1]) > 0)
os.kill(child, 9)
os.waitpid(child, 0)
"""


def test_a_process_that_hides_its_memory_can_only_be_measured() -> None:
    """By whom it has given the file for that, its agent: for another process of its account there is nothing to be seen."""
    script = HIDDEN.replace("SOURCE", inspect.getsource(hidden_memory).replace("from __future__", "# from __future__"))
    done = subprocess.run(
        [sys.executable, "-IS", "-c", script], capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert (done.stdout, done.stderr) == ("mem environ fd maps smaps_rollup cwd\n\nTrue True\n", "")


def test_slots_know_a_word_of_which_no_other_process_knows(
    of: Callable[[str], Run], shared: em.Session, tmp_path: Path
) -> None:
    """Without it, who can reach the agent's socket could hand in results as if they were another owner's."""

    def pretends(item: int) -> set[str]:
        import gc
        from pathlib import Path

        import zmq
        from eventmill.protocol import codec, messages

        link = next(it for it in gc.get_objects() if type(it).__name__ == "AgentLink")
        endpoint, me = link._socket.get(zmq.LAST_ENDPOINT), link._socket.get(zmq.IDENTITY).decode()
        slot, number, word = me.split(":")
        for guess in (f"{slot}:{int(number) + 1}", f"{slot}:{int(number) + 1}:{word}"):
            with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
                socket.set(zmq.IDENTITY, guess.encode())
                socket.connect(endpoint)
                socket.send_multipart(codec.encode(messages.Bye()))
        return {word, str(Path(endpoint.decode().removeprefix("ipc://")).exists())}

    first, second = (of(owner)(em.items([1]), pretends).result(SECONDS).value for owner in ("bob", "carol"))
    assert "True" in first & second
    words = (first | second) - {"True"}
    assert len(words) == 2 and all(len(word) == 32 for word in words)


def test_a_forkserver_imports_nothing_from_where_it_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be started once more, after the code of users has run and left files there."""
    for name in ("uproot", "numba", "awkward"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit(3)")
    monkeypatch.chdir(tmp_path)
    made = ForkserverClient(tmp_path / "cache")
    try:
        assert made.receive() == ["warm"]
        _statuses = SlotStatuses(made.statuses, 1)  # without, a slot ends at once
        made.fork(0)
        _, slot, pid = made.receive()
        assert made.processes[int(slot)][0] == int(pid)
        eventually(
            lambda: taken(int(pid), 1.0, made.processes[0][1]) > 0, "a fork that has just begun has nothing alone"
        )
    finally:
        made.close()


# --- users with keys ----------------------------------------------------------------------------------------------------


@pytest.mark.long("users, a master and workers of its own; owners of one session are above")
def test_users_with_keys_share_no_process_and_no_folder(tmp_path: Path) -> None:
    """Also if one of them is called as the account is that the worker runs as."""
    standing = Standing(tmp_path)
    names = (account_name(), "bob")
    try:
        standing.worker()
        for name in names:
            file = str(tmp_path / f"{name}.json")
            assert call("users", "add", name, "--master", "test", "--file", file, state=standing.state)[0] == 0
        found: dict[str, dict[str, str]] = {}
        processes: dict[str, set[str]] = {}
        for name in (*names, *names):
            with em.connect(tmp_path / f"{name}.json") as session:
                lines = session.process(em.items([1]), surroundings).result(SECONDS).value
                processes.setdefault(name, set()).update(session.process(em.items([1]), pids).result(SECONDS).value)
            found[name] = dict(line.split(" ", 1) for line in lines)
    finally:
        standing.close()
    one, other = (found[name] for name in names)
    assert not processes[names[0]] & processes["bob"]
    assert not {*one.values()} & {*other.values()}
    for folders in (one, other):
        assert Path(folders["cache"]).parent.name == Path(folders["tmp"]).parent.name == "owners"
