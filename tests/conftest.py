"""Fixtures that several test files share, and how a run of all tests goes: what comes first, and what it leaves nowhere."""

from __future__ import annotations

import contextlib
import fcntl
import gc
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import condor_programs
import eventmill as em
import gridengine_programs
import pytest
from eventmill.protocol.version import has_compiled_cores
from hypothesis import settings
from imported import forget_modules
from order import order
from processes import Standing
from sums import Gate, write_numbers
from tiers import FOLDERS, TIERS, tier
from xrootd_server import grid, xrootd_server

from benchmarks import coffea_samples

__all__ = ["grid", "xrootd_server"]

settings.register_profile("fast", max_examples=40, deadline=None)
settings.register_profile("nightly", max_examples=1000, deadline=None)
settings.load_profile("fast")
"""Of tests that do not say how many examples; the others have them from `property_tests`."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--tier", choices=TIERS, help="only tests of `make test` (own), or of `make test-systems` (systems)"
    )


def pytest_configure(config: pytest.Config) -> None:
    """One folder for what is compiled, shared by all processes of the run, and not that of the user: it may have in it
    what an older version has made, and is to get nothing of the tests.

    And Ctrl-C ends what tests start: who is started in the background (`make test &` of a script) ignores it, children too.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if not hasattr(config, "workerinput"):  # those of pytest-xdist have this from the process that starts them
        os.environ[coffea_samples.FOLDER] = str(coffea_samples.samples_folder())
        os.environ[condor_programs.FOLDER] = str(condor_programs.condor_folder())
        os.environ[gridengine_programs.FOLDER] = str(gridengine_programs.gridengine_folder())
        cache = tempfile.TemporaryDirectory(prefix="cache-of-tests-", ignore_cleanup_errors=True)
        config.add_cleanup(cache.cleanup)
        os.environ["XDG_CACHE_HOME"] = cache.name


@contextlib.contextmanager
def in_turn(folder: Path) -> Iterator[None]:
    """Whoever is first of the processes of a run goes alone, the others after it and all at once."""
    with (folder / "collecting").open("wb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            fcntl.flock(file, fcntl.LOCK_SH)
        yield


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Iterator[None]:
    """To import all tests takes nine CPU seconds where pytest prepares their assertions, of which it keeps what it has
    compiled, and three where it finds that: one process does it, also where nothing else that is compiled is to be kept.

    What is made while they are imported stays: to look for garbage in it takes a quarter of the time, and more later."""
    kept, sys.dont_write_bytecode = sys.dont_write_bytecode, False
    gc.disable()
    try:
        with in_turn(Path(os.environ["XDG_CACHE_HOME"])):
            return (yield)
    finally:
        sys.dont_write_bytecode = kept
        gc.freeze()
        gc.enable()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """What is not to run is not imported."""
    return True if collection_path in FOLDERS and config.getoption("tier") == "own" else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The tests of a tier only, the files in their order, and time for many examples. (Under pytest-xdist, all processes
    have to come to the same order.)"""
    if wanted := config.getoption("tier"):
        tiers = [tier(item) for item in items]
        config.hook.pytest_deselected(items=[item for item, its in zip(items, tiers, strict=True) if its != wanted])
        items[:] = [item for item, its in zip(items, tiers, strict=True) if its == wanted]
    files = {path: path.relative_to(Path(__file__).parent).as_posix() for path in {item.path for item in items}}
    places = {file: place for place, file in enumerate(order(files.values()))}
    items.sort(key=lambda item: places[files[item.path]])
    if settings.get_current_profile_name() == "nightly":
        for item in items:
            item.add_marker(pytest.mark.timeout(600))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """What is compiled calls its own methods, whatever is put in their place."""
    if has_compiled_cores() and (marker := item.get_closest_marker("interpreted")) is not None:
        pytest.skip(*marker.args)


@pytest.fixture(scope="session")
def session() -> Iterator[em.Session]:
    """A session whose worker has two slots. All files share it (to start one takes three seconds of a core), also those
    whose tests take slots down; those that kill other processes of it, or change what these start with, have their own."""
    with em.connect(slots=2) as made:
        yield made


@pytest.fixture(scope="session")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standing]:
    """A master with one worker of one slot. All files share it, as they do `session`."""
    made = Standing(tmp_path_factory.mktemp("state"))
    made.worker()
    yield made
    made.close()


@pytest.fixture(autouse=True)
def nothing_runs_on(request: pytest.FixtureRequest) -> Iterator[None]:
    """What a test, as it failed, left running on the master that all share does not take the slot from the next ones."""
    yield
    if "standing" in request.fixturenames:
        with request.getfixturevalue("standing").connect() as session:
            for info in session.queries(state="running"):
                session.attach(info.query).abort()


@pytest.fixture(scope="session")
def numbers(tmp_path_factory: pytest.TempPathFactory) -> em.Dataset:
    """Ten files that each have one branch, with the numbers from 0 to 999."""
    return write_numbers(tmp_path_factory.mktemp("numbers"))


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    """A closed gate, which is open when the test is over."""
    made = Gate(tmp_path / "gate")
    yield made
    made.open()


@pytest.fixture
def beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder in which the user works: it is the current one, and Python finds modules there."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    forget_modules(tmp_path)
