"""Analyses: declared with early errors, named by their content, sent with the user's own modules and source lines."""

from __future__ import annotations

import functools
import linecache
import os
import subprocess
import sys
import textwrap
import threading
import traceback
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, cast

import cloudpickle
import numpy as np
import pytest
from eventmill.analysis.analysis import Kernel, kernel, pack, unpack
from eventmill.analysis.fingerprint import fingerprint
from eventmill.protocol.errors import AnalysisError
from eventmill.protocol.messages import File
from eventmill.worker.slot.failures import describe
from hist import Hist
from scaling import counted

COUNTS = Hist.new.Reg(4, 0, 1).Double()


def define(source: str, name: str = "f", **variables: Any) -> Any:
    """What a user's script would define: `name` of this source, in a main program of its own."""
    namespace = {"__name__": "__main__", "np": np, "Hist": Hist, "kernel": kernel, **variables}
    exec(textwrap.dedent(source), namespace)
    return namespace[name]


def digest(source: str) -> str:
    return pack(define(source)).digest


def run_python(script: str | Path, *arguments: str, cwd: Path, seed: str = "0") -> str:
    """The output of a Python process of its own."""
    command = [sys.executable, *(["-c", script] if isinstance(script, str) else [str(script)]), *arguments]
    environment = {**os.environ, "PYTHONHASHSEED": seed}
    return subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, check=True, timeout=60
    ).stdout


# --- declaring ----------------------------------------------------------------------------------------------


def test_a_kernel_names_its_branches_in_order_and_keeps_the_face_of_its_function() -> None:
    @kernel(seen=np.zeros(2, np.int64), spectrum=COUNTS)
    def muons(spectrum, Muon_pt, seen, MET_pt):  # type: ignore[no-untyped-def]
        """Counts muons."""
        seen[0] += len(Muon_pt)

    assert muons.branches == ("Muon_pt", "MET_pt")
    assert (muons.__name__, muons.__doc__) == ("muons", "Counts muons.")
    counts = np.zeros(2, np.int64)
    muons(None, [1, 2, 3], counts, 0.0)
    assert counts[0] == 3, "a kernel called directly runs as plain Python, for tests"


@pytest.mark.parametrize(
    ("outputs", "source", "told"),
    [
        ({"h": COUNTS}, "def f(x): pass", "no parameter h"),
        ({"h": COUNTS}, "def f(h): pass", "reads no branch"),
        ({}, "def f(x): pass", "no output"),
        ({"h": COUNTS}, "def f(h, *x): pass", r"\*x is no branch"),
        ({"h": COUNTS}, "def f(h, x, cut=3): pass", "cut has a default value"),
        ({"h": COUNTS}, "def f(h, *, x): pass", "x is no branch"),
        ({"h": 3}, "def f(h, x): pass", "an output is a histogram, a numpy array, a cutflow or rows"),
        ({"h": np.zeros(2, object)}, "def f(h, x): pass", "cannot be added up"),
        ({"h": np.ones(2)}, "def f(h, x): pass", "is not empty"),
        ({"h": COUNTS.copy().fill(0.5)}, "def f(h, x): pass", "is not empty"),
        ({"h": Hist.new.Reg(4, 0, 1, growth=True).Double()}, "def f(h, x): pass", "axis 0 grows"),
        ({"h": Hist.new.StrCat([], growth=True).Double()}, "def f(h, x): pass", "axis 0 grows"),
        ({"h": Hist.new.Reg(4, 0, 1).MultiCell(2)}, "def f(h, x): pass", "MultiCell storage"),
        ({"h": COUNTS}, "f = 3", "decorates a function"),
    ],
)
def test_what_cannot_be_a_kernel_is_told_at_once(outputs: dict[str, Any], source: str, told: str) -> None:
    with pytest.raises(AnalysisError, match=told):
        kernel(**outputs)(define(source))


def test_a_decorator_without_its_outputs_is_told_how_it_is_written() -> None:
    with pytest.raises(AnalysisError, match=r"write @kernel\(mass=Hist.*above muons, with the names"):
        kernel(define("def muons(mass, Muon_pt): pass", "muons"))  # type: ignore[arg-type]


def test_a_function_of_branches_without_the_decorator_is_told_what_is_missing() -> None:
    with pytest.raises(AnalysisError, match=r"needs the decorator kernel\(output=...\)"):
        pack(define("def f(mass, Muon_pt, Muon_eta): pass"))


@pytest.mark.parametrize("thing", [3, "columnar", None, dict])
def test_what_is_no_analysis_is_refused(thing: object) -> None:
    with pytest.raises(AnalysisError, match="is no analysis"):
        pack(thing)


def test_functions_of_events_and_of_events_with_their_file_are_columnar() -> None:
    for source in ("f = lambda events: 1", "def f(events, file): pass", "def f(events, cut=3): pass"):
        assert pack(define(source)).kind == "columnar"
    assert pack(functools.partial(define("def f(events, file, cut): pass"), cut=3)).kind == "columnar"


PROCESSOR = """
    class Base:
        cuts = {"tight", "loose", "veto"}
        def process(self, events): return {self.name: scale * len(events)}
        def postprocess(self, accumulator): return accumulator
    class P(Base):
        def __init__(self, name): self.name, self.years = name, {"2016", "2017", "2018"}
"""


def test_an_object_with_process_and_postprocess_is_a_processor_and_its_class_is_not() -> None:
    processor = define(PROCESSOR, "P", scale=2)
    analysis = pack(processor("met"))
    assert (analysis.kind, analysis.name, analysis.branches) == ("processor", "P", None)
    assert unpack(analysis.blob).process([1, 2]) == {"met": 4}
    with pytest.raises(AnalysisError, match="is a class"):
        pack(processor)


# --- the digest ---------------------------------------------------------------------------------------------

SCRIPT = """
    import sys
    import numpy as np
    from hist import Hist
    from eventmill.analysis.analysis import kernel, pack
    CUTS = {"a": 1.5, "b": {"x", "y", "z"}}
    TABLE = np.linspace(0, 1, 5)
    scale = 3
    def helper(x): return x * 2 if x > 0 else helper(-x)
    @kernel(h=Hist.new.Reg(4, 0, 1, name="x", label="x").Weight(), n=np.zeros(3))
    def f(h, n, x):
        if "a" in {"a", "b", "c"}: h.fill(helper(x) + TABLE[0])
    def g(events): return CUTS, helper, np.sqrt, {"q", "r"}
""" + PROCESSOR + """
    print(pack(f).digest, pack(g).digest, pack(P("met")).digest)
"""  # fmt: skip


def test_the_digest_does_not_depend_on_process_hash_seed_file_or_lines(tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text(textwrap.dedent(SCRIPT))
    (tmp_path / "two.py").write_text("# a comment\n\n" + textwrap.dedent(SCRIPT))
    one = run_python(tmp_path / "one.py", cwd=tmp_path, seed="1")
    two = run_python(tmp_path / "two.py", cwd=tmp_path, seed="2")
    assert one == two
    assert len(set(one.split())) == 3


KERNEL = """
    limit = {limit}
    def helper(x): return x {sign} 1
    def f(h, x):
        if x > limit: h.fill(helper(x))
    f = kernel(h=Hist.new.Reg({bins}, 0, 1).{storage}())(f)
"""
PLAIN = {"limit": "2", "sign": "+", "bins": "4", "storage": "Double"}


@pytest.mark.parametrize("change", [{"limit": "3"}, {"sign": "-"}, {"bins": "5"}, {"storage": "Weight"}])
def test_the_digest_changes_with_a_global_a_helper_and_an_output(change: dict[str, str]) -> None:
    assert digest(KERNEL.format(**PLAIN)) == digest("# moved\n" + textwrap.dedent(KERNEL.format(**PLAIN)))
    assert digest(KERNEL.format(**PLAIN)) != digest(KERNEL.format(**{**PLAIN, **change}))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("f = lambda events: 1", "f = lambda events: 2"),
        ("f = lambda events, cut=1: cut", "f = lambda events, cut=2: cut"),
        ("f = lambda events: events.pt", "f = lambda events: events.eta"),
        ("f = (lambda n: lambda events: n)(1)", "f = (lambda n: lambda events: n)(2)"),
        ("a = np.zeros(3)\nf = lambda events: a", "a = np.zeros(4)\nf = lambda events: a"),
        ("a = np.zeros(3, 'f4')\nf = lambda events: a", "a = np.zeros(3, 'i4')\nf = lambda events: a"),
        ("f = lambda events: {1, 2}", "f = lambda events: {1, 3}"),
        ("a = {1: 2}\nf = lambda events: a", "a = {1: '2'}\nf = lambda events: a"),
    ],
)
def test_the_digest_sees_every_value_that_decides(one: str, other: str) -> None:
    assert digest(one) == digest(one)
    assert digest(one) != digest(other)


def test_what_a_function_of_a_users_module_was_made_with_is_in_the_digest() -> None:
    """Two that one function has made are two analyses: what was learnt of the quick one is not true of the slow one."""
    one, same, other = (pack(counted(Path(gate))).digest for gate in ("a", "a", "b"))
    assert one == same != other


def test_functions_that_refer_to_each_other_have_a_digest() -> None:
    source = "def g(x): return f(x)\ndef f(x): return g(x)\n"
    assert digest(source) == digest(source)


# --- the journey --------------------------------------------------------------------------------------------


def test_a_kernel_comes_back_as_a_kernel() -> None:
    again = unpack(pack(define(KERNEL.format(**PLAIN))).blob)
    assert isinstance(again, Kernel)
    assert (again.branches, list(again.outputs)) == (("x",), ["h"])
    assert again.__wrapped__.__globals__["limit"] == 2


@pytest.mark.parametrize(
    ("source", "culprit"),
    [
        ("f = lambda events: lock", r"the variable lock \(lock\), which <lambda> uses"),
        ("def g(x): return lock\ndef f(events): return g(events)", r"the variable lock \(lock\), which g uses"),
        ("def make():\n  held = lock\n  return lambda events: held\nf = make()", r"the variable held \(lock\)"),
    ],
)
def test_what_cannot_be_pickled_is_named(source: str, culprit: str) -> None:
    with pytest.raises(AnalysisError, match=culprit):
        pack(define(source, lock=threading.Lock()))


def test_an_attribute_of_a_processor_that_cannot_be_pickled_is_named() -> None:
    processor = define(PROCESSOR, "P", scale=2)("met")
    processor.lock = threading.Lock()
    with pytest.raises(AnalysisError, match=r"its attribute lock \(lock\)"):
        pack(processor)


def test_modules_beside_the_script_go_along_and_change_the_digest(tmp_path: Path) -> None:
    """A slot has neither the user's folder nor modules."""
    session, slot = tmp_path / "session", tmp_path / "slot"
    session.mkdir()
    slot.mkdir()
    (session / "cuts.py").write_text("LIMIT = 20\ndef passes(pt): return pt > LIMIT\n")
    (session / "names.py").write_text(
        "from cuts import passes\ndef label(pt): return 'hard' if passes(pt) else 'soft'\n"
    )
    (session / "main.py").write_text(
        textwrap.dedent("""
            import sys, cloudpickle, cuts, names
            from names import label
            from eventmill.analysis.analysis import pack
            def columnar(events): return [label(pt) for pt in events if cuts.passes(pt) or names.label(pt)]
            analysis = pack(columnar)
            assert not cloudpickle.list_registry_pickle_by_value()
            open(sys.argv[1], "wb").write(analysis.blob)
            print(analysis.digest)
        """)
    )
    first = run_python(session / "main.py", str(tmp_path / "blob"), cwd=tmp_path)
    receive = (
        "import sys; from pathlib import Path; from eventmill.analysis.analysis import unpack;"
        "from eventmill.worker.slot.modules import own_modules;"
        "blob = Path(sys.argv[1]).read_bytes(); own_modules(blob, Path('modules')).enter();"
        "print(unpack(blob)([10, 30]))"
    )
    assert run_python(receive, str(tmp_path / "blob"), cwd=slot).strip() == "['soft', 'hard']"
    # Another size: Python takes a module that changed within a second, in its length not at all, from its old bytecode.
    (session / "cuts.py").write_text("LIMIT = 25.5\ndef passes(pt): return pt > LIMIT\n")
    assert run_python(session / "main.py", str(tmp_path / "blob"), cwd=tmp_path) != first


def test_a_registration_that_the_user_made_stays() -> None:
    module = sys.modules["hist"]
    cloudpickle.register_pickle_by_value(module)
    try:
        pack(lambda events: 1)
        assert module.__name__ in cloudpickle.list_registry_pickle_by_value()
    finally:
        cloudpickle.unregister_pickle_by_value(module)


def test_a_module_that_the_worker_lacks_is_named(tmp_path: Path) -> None:
    (tmp_path / "site-packages").mkdir()
    (tmp_path / "site-packages" / "fancy_fits.py").write_text("def fit(x): return x\n")
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); import fancy_fits; from eventmill.analysis.analysis import pack;"
        "open(sys.argv[2], 'wb').write(pack(lambda events: fancy_fits.fit(events)).blob)"
    )
    run_python(script, str(tmp_path / "site-packages"), str(tmp_path / "blob"), cwd=tmp_path)
    with pytest.raises(AnalysisError, match="No module named 'fancy_fits'"):
        unpack((tmp_path / "blob").read_bytes())


def test_a_traceback_in_a_slot_shows_the_lines_of_a_notebook_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    cell, file = (
        "def g(x):\n    return x.missing\n\ndef f(events):\n    return g(events)  # the cell's own line\n",
        "<cell 7>",
    )
    monkeypatch.setitem(linecache.cache, file, (len(cell), None, cell.splitlines(True), file))
    namespace: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(cell, file, "exec"), namespace)
    blob = pack(namespace["f"]).blob
    linecache.cache.pop(file)
    columnar: Callable[[object], object] = unpack(blob)
    with pytest.raises(AttributeError) as caught:
        columnar(None)
    shown = "".join(traceback.format_exception(caught.value))
    assert 'File "<cell 7>", line 5, in f\n    return g(events)  # the cell\'s own line' in shown
    assert "return x.missing" in shown


def test_a_cell_is_called_as_in_the_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    """IPython compiles it under the name of a file that nobody has."""
    file = "/tmp/ipykernel_7/123.py"
    cell = "def f(events):\n    return events.missing\n"
    monkeypatch.setitem(linecache.cache, file, (len(cell), None, cell.splitlines(True), file))
    shell = SimpleNamespace(
        compile=SimpleNamespace(format_code_name=lambda name: ("Cell", "In[4]") if name == file else None)
    )
    monkeypatch.setitem(sys.modules, "IPython", cast(ModuleType, SimpleNamespace(get_ipython=lambda: shell)))
    namespace: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(cell, file, "exec"), namespace)
    columnar: Callable[[object], object] = unpack(pack(namespace["f"]).blob)
    with pytest.raises(AttributeError) as caught:
        columnar(None)
    told = describe(caught.value, File(""), None, None)[0].traceback
    assert "  Cell In[4], line 2, in f\n    return events.missing" in told and "ipykernel" not in told


def test_a_session_imports_no_numba_and_no_hist_to_pack(tmp_path: Path) -> None:
    script = (
        "import sys; from eventmill.analysis.analysis import pack; pack(lambda events: 1);"
        "print([name for name in ('numba', 'hist', 'boost_histogram', 'awkward', 'uproot') if name in sys.modules])"
    )
    assert run_python(script, cwd=tmp_path).strip() == "[]"


# --- large analyses -----------------------------------------------------------------------------------------


def test_a_large_analysis_says_so_and_what_makes_it_large() -> None:
    analysis = define("def f(events, small=np.ones(3)): return table[0] + small[0]", table=np.zeros(7_000_000))
    with pytest.warns(
        UserWarning, match=r"takes 56 MB.*: most of it is table \(ndarray, 56 MB\)\. .*@functools\.cache"
    ):
        pack(analysis)


def test_the_content_of_a_large_array_is_told_without_copies_of_it() -> None:
    """It took several times the memory of the array, and most of the time of a submission."""
    table = np.zeros(20_000_000, np.uint8)
    tracemalloc.start()
    try:
        fingerprint((table, table.tobytes()))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 25_000_000  # the bytes that the test itself makes, and no more


def test_arrays_of_any_layout_have_the_fingerprint_of_their_values() -> None:
    square = np.arange(12.0).reshape(3, 4)
    assert fingerprint(square.T) == fingerprint(square.T.copy()) != fingerprint(square)
    kinds = [np.float32, np.int64, "S3", "U2", "M8[s]", "V5", [("x", "f4"), ("y", "i2")]]
    empty = [np.zeros(0, kind) for kind in kinds] + [np.zeros((), kind) for kind in kinds] + [np.zeros(2, "S0")]
    assert len({fingerprint(array) for array in empty}) == len(empty)
    assert fingerprint(square[:, ::2]) == fingerprint(square[:, ::2].copy())
