"""The user's own modules travel with the analysis: found or named, packages with their data, in the version of the moment.

A script of its own and a master and worker of a session's own; workers see neither the script's folder nor its path.
"""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import textwrap
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from eventmill.analysis import modules, ownership
from eventmill.analysis.analysis import pack, unpack
from eventmill.analysis.modules import OwnModule, collect, find
from eventmill.merge import Partial, Total, decode, encode
from eventmill.protocol import codec
from eventmill.protocol.errors import AnalysisError
from eventmill.protocol.messages import Compacted, File, Message
from eventmill.worker.slot.failures import describe
from eventmill.worker.slot.modules import OwnModules, as_in_session, own_modules
from eventmill.worker.slot.packets import Compaction
from eventmill.worker.slot.process import SlotProcess


def write(folder: Path, **files: str) -> None:
    """Python files, by name; `a__b` is b.py in the folder a."""
    for name, text in files.items():
        path = folder / f"{name.replace('__', '/', 1)}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(textwrap.dedent(text))


def names(*given: Any, mentioned: tuple[str, ...] = ()) -> list[str]:
    return [own.name for own in collect(find(given), mentioned)]


def test_where_installed_modules_are_is_looked_at_for_the_first_query_only(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at: list[str] = []

    def look(file: str) -> bool:
        looked_at.append(file)
        return is_own_file(file)

    is_own_file = ownership.is_own_file
    monkeypatch.setattr(ownership, "is_own_file", look)
    monkeypatch.setattr(ownership, "_among_installed", set())
    pack(len_of)
    assert np.__file__ in looked_at
    looked_at.clear()
    pack(len_of)
    assert not any("site-packages" in file for file in looked_at)


def len_of(events: Any) -> int:
    return len(events)


# --- which travel -------------------------------------------------------------------------------------------------


def test_what_an_analysis_mentions_travels_with_what_that_imports_and_nothing_else(beside: Path) -> None:
    write(
        beside,
        helpers="import numpy\nimport constants\ndef f(x):\n    from mypkg.cuts import limit\n    return x > limit",
        constants="gev = 1",
        mypkg____init__="",
        mypkg__cuts="limit = 3",
        unused="",
        broken="def (",
    )
    assert names(mentioned=("helpers", "numpy", "nowhere")) == ["constants", "helpers", "mypkg"]
    assert names(mentioned=("broken",)) == ["broken"], "it may never be imported, and if it is, the slot says so"
    (own,) = collect({}, ["mypkg.cuts"])
    assert sorted(own.files) == ["mypkg/__init__.py", "mypkg/cuts.py"]


def test_a_link_beside_the_script_is_as_good_as_a_file(beside: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    shared = tmp_path_factory.mktemp("shared")
    write(shared, mypkg____init__="", old_name="")
    (beside / "mypkg").symlink_to(shared / "mypkg")
    (beside / "helpers.py").symlink_to(shared / "old_name.py")
    assert names(mentioned=("mypkg", "helpers", "old_name")) == ["helpers", "mypkg"]


def test_modules_are_named_by_import_name_path_and_module(beside: Path) -> None:
    write(beside, helpers="", bare__inside="")
    (beside / "mypkg").mkdir()
    (beside / "mypkg" / "__init__.py").touch()
    import helpers  # type: ignore[import-not-found]

    assert names("helpers") == names(helpers) == names("./helpers.py") == names(beside / "helpers.py") == ["helpers"]
    assert names("mypkg.sub", "./bare") == ["bare", "mypkg"], "a folder that is named needs no __init__.py"
    assert modules.listed("helpers") == ["helpers"]


@pytest.mark.parametrize(
    ("named", "told"),
    [
        ("no_such_module", "there is no module no_such_module here$"),
        ("constants", "give the path of its file or folder, .*constants"),
        ("./nowhere.py", "there is no file or folder"),
        ("./my-package", "'my-package' is no name in Python"),
        ("sys", "sys has no file"),
        (types.ModuleType("made"), "made is no module that came from a file"),
    ],
)
def test_what_cannot_travel_is_told(beside: Path, named: Any, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (beside / "my-package").mkdir()
    (beside / "constants.txt").touch()
    (beside / "constants").touch()
    if isinstance(named, types.ModuleType):
        monkeypatch.setitem(sys.modules, "made", named)
    with pytest.raises(AnalysisError, match=told):
        find([named])


def test_too_large_a_package_is_told_with_its_largest_files(beside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(modules, "LARGEST", 3 * 2**20)
    write(beside, mypkg____init__="")
    (beside / "mypkg" / "model.onnx").write_bytes(bytes(4 * 2**20))
    with pytest.raises(AnalysisError, match=r"more than 3 MB with mypkg.*\n +4\.0 MB  .*mypkg/model\.onnx"):
        names("mypkg")
    (beside / "mypkg" / "model.onnx").rename(beside / "mypkg" / ".model")
    assert names("mypkg") == ["mypkg"], "hidden files stay"


def test_data_files_that_a_module_names_beside_itself_travel_with_it(beside: Path) -> None:
    for name in (
        "weights.json",
        "data/sf_2018.csv",
        "data/sf_2017.csv",
        "data/other.bin",
        "deep/er/x.txt",
        "notes.txt",
    ):
        (beside / name).parent.mkdir(parents=True, exist_ok=True)
        (beside / name).write_text(name)
    write(
        beside,
        helpers="""
            from pathlib import Path
            HERE = Path(__file__).parent
            WEIGHTS = (HERE / "weights.json").read_text()
            def factors(): return sorted(path.read_text() for path in (HERE / "data").glob("sf_*.csv"))
            def deep(): return HERE / "deep/er" / "x.txt"
        """,
        plain="names = ['weights.json', 'notes.txt']",
    )
    helpers, plain = collect({}, ["helpers", "plain"])
    assert sorted(helpers.files) == [
        "data/sf_2017.csv", "data/sf_2018.csv", "deep/er/x.txt", "helpers.py", "weights.json",
    ]  # fmt: skip
    assert list(plain.files) == ["plain.py"], "it does not ask where it is"
    names: dict[str, Any] = {"__name__": "__main__"}
    exec("import helpers\ndef f(events): return helpers.WEIGHTS, helpers.factors(), helpers.deep().read_text()", names)
    blob = pack(names["f"]).blob
    own_modules(blob, beside / "slot").enter()
    try:
        for name in ("weights.json", "data/sf_2018.csv", "deep/er/x.txt"):
            (beside / name).unlink()
        assert unpack(blob)(None) == ("weights.json", ["data/sf_2017.csv", "data/sf_2018.csv"], "deep/er/x.txt")
    finally:
        OwnModules({}).enter()


def test_a_data_file_that_did_not_travel_is_told_with_the_remedy(beside: Path) -> None:
    write(
        beside,
        helpers="from pathlib import Path\ndef f(year): return (Path(__file__).parent / f'w{year}.json').read_text()",
    )
    (beside / "w2018.json").write_text("1")
    names: dict[str, Any] = {"__name__": "__main__"}
    exec("import helpers\ndef f(events): return helpers.f(2018)", names)
    blob = pack(names["f"]).blob
    own_modules(blob, beside / "slot").enter()
    try:
        with pytest.raises(FileNotFoundError) as caught:
            unpack(blob)(None)
    finally:
        OwnModules({}).enter()
    assert "make it a package" in describe(caught.value, File(""), None, None)[0].notes


# --- two versions in one slot -------------------------------------------------------------------------------------


def with_module(text: str) -> bytes:
    """An analysis that comes with this text as its module `versioned`."""
    parcel = pickle.loads(pack(lambda events: None).blob)
    parcel.modules.append(OwnModule("versioned", "/home/user", {"versioned.py": text.encode(), "data/x": b"x"}))
    return pickle.dumps(parcel)


def arrived(cache: Path, text: str) -> OwnModules:
    return own_modules(with_module(text), cache)


def test_each_query_sees_its_own_version_whatever_order_they_run_in(tmp_path: Path) -> None:
    """Also what a function imports when it runs, and what was there under the name before."""
    sys.modules["versioned"] = before = types.ModuleType("versioned")
    one, other, same = (arrived(tmp_path, f"value = {value}\nseen = []") for value in (1, 2, 1))
    none = OwnModules({})
    assert one is same, "the same modules are imported once a slot"

    def look() -> Any:
        import versioned  # type: ignore[import-not-found]

        versioned.seen.append(versioned.value)
        return versioned

    try:
        for own, value in ((one, 1), (other, 2), (one, 1), (other, 2)):
            own.enter()
            own.enter()
            assert look().value == value
        assert look().seen == [2, 2, 2], "a query's module is imported once"
        none.enter()
        assert sys.modules["versioned"] is before
    finally:
        none.enter()
        del sys.modules["versioned"]
    assert not [folder for folder in sys.path if folder.startswith(str(tmp_path))]


def test_modules_are_unpacked_once_a_machine_and_whole(tmp_path: Path) -> None:
    """What a killed slot has left counts for nothing; messages have the user's own paths."""
    (tmp_path / ".left").mkdir()
    first = arrived(tmp_path, "x = 1")
    (file,) = tmp_path.rglob("versioned.py")
    inode = file.stat().st_ino
    os.utime(file.parent, (0, 0))
    assert first is arrived(tmp_path, "x = 1")
    assert file.stat().st_ino == inode and file.parent.stat().st_mtime > 0, "used now: not to be removed soon"
    assert (file.parent / "data" / "x").read_text() == "x"
    assert as_in_session(f"File {file}, line 1") == "File /home/user/versioned.py, line 1"


class Line:
    """A slot's socket, of which nobody is at the other end."""

    def __init__(self) -> None:
        self.answers: list[tuple[Message, list[codec.Buffer]]] = []

    def send_multipart(self, frames: list[codec.Buffer], copy: bool) -> None:
        self.answers.append(codec.decode(frames))


def test_a_slot_merges_objects_of_classes_of_a_query_that_it_never_worked_for(tmp_path: Path) -> None:
    text = "class Sum:\n  def __init__(self, x): self.x = x\n  def __add__(self, other): return Sum(self.x + other.x)"
    blob = with_module(text)
    own = own_modules(blob, tmp_path / "modules")
    own.enter()
    import versioned

    total = Total()
    for number in (1, 2):
        total.add(Partial.from_frames(encode(versioned.Sum(number)).to_frames()))
    frames = total.partial().to_frames()
    OwnModules({}).enter()
    assert "versioned" not in sys.modules
    slot = SlotProcess(0, line := Line(), tmp_path)  # type: ignore[arg-type]
    slot.compact(Compaction("q", [blob, *frames]))
    ((compacted, merged),) = line.answers
    assert isinstance(compacted, Compacted) and compacted.failure is None
    own.enter()
    value: Any = decode(Partial.from_frames(merged))
    assert type(value) is versioned.Sum and value.x == 3
    OwnModules({}).enter()


# --- the whole way ------------------------------------------------------------------------------------------------

SCRIPT = """
    import importlib, json, warnings
    from pathlib import Path
    import eventmill as em
    import helpers, kernels
    from mypkg.cuts import limit

    said = {}

    def columnar(cycles):
        import late
        assert isinstance(helpers.Point(1), late.point_class())
        return {"sum": helpers.scaled(len(cycles)), "limit": limit(), "points": helpers.Point(len(cycles))}

    def missing(cycles):
        import not_there_at_all

    def seen(query):
        return int(query.result(60)["seen"][0])

    def named(cycles):
        import tools.seven, lone
        return {"sum": float(tools.seven.value + lone.value), "chunks": 1.0}

    lib = Path(__file__).parent.parent / "lib"
    with em.connect(slots=2, modules=[lib / "tools"]) as session:
        cycles = em.cycles(1000, seed=1)
        result = session.process(cycles, columnar).result(60)
        said["own class"] = [isinstance(result["points"], helpers.Point), result["points"].x]
        said["columnar"] = result["sum"]
        result = session.process(cycles, named, modules=str(lib / "lone.py")).result(60)
        said["named"] = result["sum"] / result["chunks"]
        items = em.items([helpers.Point(3), helpers.Point(4)])
        result = session.process(items, lambda item: {"n": int(isinstance(item, helpers.Point))}).result(60)
        said["items"] = result["n"]
        said["before"] = seen(session.process(cycles, kernels.count))
        file = Path(helpers.__file__)
        file.write_text(file.read_text().replace("FACTOR = 2", "FACTOR = 30"))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            said["edited"] = seen(session.process(cycles, kernels.count))
        said["warned"] = [[Path(one.filename).name, str(one.message)] for one in caught]
        importlib.reload(helpers)
        importlib.reload(kernels)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            said["reloaded"] = seen(session.process(cycles, kernels.count))
        for name, function in (("missing", missing), ("fails", lambda cycles: helpers.fails())):
            try:
                session.process(cycles, function).result(60)
            except Exception as error:
                said[name] = [str(error), *error.__notes__]
        said["compiled"] = session.log.read_text().count("compiled the kernel")
    print(json.dumps(said))
"""
HELPERS = """
    import threading
    FACTOR = 2
    lock = threading.Lock()  # no pickle takes it
    class Point:
        def __init__(self, x): self.x = x
        def __add__(self, other): return Point(self.x + other.x)
    def scaled(x):
        with lock:
            return FACTOR * x
    def per_cycle(cycle): return FACTOR
    def fails(): raise ValueError("on purpose")
"""
CUTS = """
    from pathlib import Path
    def limit(): return float((Path(__file__).parent / "limit.txt").read_text())
"""
KERNELS = """
    import eventmill as em
    import numpy as np
    from helpers import per_cycle
    @em.kernel(seen=np.zeros(1, np.int64))
    def count(seen, cycle):
        seen[0] += per_cycle(cycle)
"""


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a script finds out whose workers run in another folder."""
    folder, elsewhere = tmp_path_factory.mktemp("home") / "user", tmp_path_factory.mktemp("elsewhere")
    folder.mkdir()
    write(
        folder, script=SCRIPT, helpers=HELPERS, kernels=KERNELS, mypkg____init__="", mypkg__cuts=CUTS,
        late="import helpers\ndef point_class(): return helpers.Point",
    )  # fmt: skip
    (folder.parent / "lib").mkdir()
    write(folder.parent / "lib", tools__seven="value = 7", lone="value = 1")
    (folder / "mypkg" / "limit.txt").write_text("20")
    environment = os.environ | {"XDG_CACHE_HOME": str(elsewhere)}
    command = [sys.executable, str(folder / "script.py")]
    done = subprocess.run(command, cwd=elsewhere, env=environment, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr[-3000:]
    return {**json.loads(done.stdout), "folder": str(folder)}


def test_modules_beside_a_script_run_on_workers_that_have_none_of_them(said: dict[str, Any]) -> None:
    """Imported at the top, in functions, and by each other; with locks that no pickle takes, and with data files."""
    assert said["columnar"] == 2000


def test_modules_from_elsewhere_travel_when_the_session_or_the_query_names_them(said: dict[str, Any]) -> None:
    assert said["named"] == 8


def test_objects_of_own_classes_come_back_as_what_the_script_knows(said: dict[str, Any]) -> None:
    assert said["own class"] == [True, 1000] and said["items"] == 2


def test_an_edited_helper_counts_from_the_next_query_on_and_the_session_is_told(said: dict[str, Any]) -> None:
    assert (said["before"], said["edited"], said["reloaded"]) == (2000, 30_000, 30_000)
    ((file, warning),) = said["warned"]
    assert file == "script.py" and warning.startswith(f"{said['folder']}/helpers.py was changed")
    assert "importlib.reload(helpers)" in warning


def test_a_kernel_with_helpers_in_modules_is_compiled_once_for_two_slots_and_anew_when_they_change(
    said: dict[str, Any],
) -> None:
    assert said["compiled"] == 2


def test_a_module_that_a_function_misses_on_the_worker_is_named_with_what_to_do(said: dict[str, Any]) -> None:
    text = "\n".join(said["missing"])
    assert "modules=['not_there_at_all']" in text and "install it where workers run" in text


def test_errors_have_the_paths_of_the_users_own_files(said: dict[str, Any]) -> None:
    assert f'File "{said["folder"]}/helpers.py", line 12, in fails' in "\n".join(said["fails"])
