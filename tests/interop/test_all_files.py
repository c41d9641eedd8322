"""Every branch of every file that there is: ours and uproot's reading give equal arrays, or both refuse.

The files are those of scikit-hep-testdata, and the samples in the source distribution of coffea (NanoAOD and others, as
TTrees and RNTuples), which `make samples` fetches.

One file of each codec, format and quirk is compared every time (`KINDS`), and all of them under the marker `interop`. Of
what only uproot decodes (objects), a few branches of each type are read, and a few entries, because that takes long;
`EVENTMILL_TEST_EVERYTHING=1` has all of it read.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ready_to_compare
import skhep_testdata
import uproot
from agreement import Comparison, compare_file
from eventmill.reading.columns import Jagged
from eventmill.reading.reader import Reader

from benchmarks.coffea_samples import samples_folder

EVERYTHING = os.environ.get("EVENTMILL_TEST_EVERYTHING") == "1"
FILES = sorted((Path(skhep_testdata.__file__).parent / "data").rglob("*.root"))
KINDS = (
    # one content in each codec
    "uproot-HZZ-lz4", "uproot-HZZ-lzma", "uproot-HZZ-uncompressed", "uproot-HZZ-zlib", "uproot-HZZ-zstd",
    # an old ROOT and a newer one
    "uproot-sample-5.23.02-zlib", "uproot-sample-6.20.04-lzma",
    # what stands for a layout, a type or a quirk, and is compared within two seconds
    "uproot-HZZ-objects", "uproot-double32-float16", "uproot-empty", "uproot-foriter", "uproot-issue30",
    "uproot-issue31", "uproot-issue38a", "uproot-issue38b", "uproot-issue46", "uproot-issue49", "uproot-issue57",
    "uproot-issue213", "uproot-issue243", "uproot-issue327", "uproot-issue367", "uproot-issue413", "uproot-issue429",
    "uproot-issue433-splitlevel2", "uproot-issue443", "uproot-issue452", "uproot-issue475",
    "uproot-issue-tbranch-of-th2", "uproot-leaflist", "uproot-nesteddirs", "uproot-ntpl001_staff",
    "uproot-small-dy-nooffsets", "uproot-small-dy-withoffsets", "uproot-small-evnt-tree-fullsplit",
    "uproot-small-evnt-tree-nosplit", "uproot-stl_containers", "uproot-vectorVectorDouble",
)  # fmt: skip
"""What is compared every time."""
SAMPLES = ("treemaker_rntuple",)
NOT_TRIED = {
    # objects that are referred to have more bytes than uproot takes: see `test_bits_of_objects_that_are_referred_to`
    *(
        (file, f"{kind}.fBits")
        for file in ("uproot-issue513.root", "delphes.root")
        for kind in ("Particle", "Track", "Tower", "EFlowTrack", "EFlowPhoton", "EFlowNeutralHadron")
    ),
    *(
        ("uproot-issue475b.root", name)
        for name in ("SimEvent", "nEXO::HeaderObject", "nEXO::EventObject", "TObject", "fBits")
    ),
    # uproot takes links that are written member by member for whole ones
    ("PHYSLITE_example.root", "METAssoc_AnalysisMETAux.jetLink"),
    # uproot takes the checksum of the class for its first member: 1561916699 is the second of the run, in 2019
    ("uproot-issue433-splitlevel2.root", "KM3NETDAQ::JDAQTimesliceHeader"),
    ("uproot-issue433-splitlevel2.root", "KM3NETDAQ::JDAQHeader"),
    ("uproot-issue433-splitlevel2.root", "KM3NETDAQ::JDAQChronometer"),
    ("uproot-issue433-splitlevel2.root", "timeslice_start"),
    # uproot takes four bytes of an object for the length of a list, and asks for gigabytes of memory before it refuses
    ("uproot-issue510b.root", "SegmentDetectors"),
    # what uproot refuses and eventmill reads: see `test_lists_whose_offsets_were_not_written`
    ("uproot-small-dy-nooffsets.root", "Jet_jetId"),
    ("uproot-small-dy-nooffsets.root", "Jet_pt"),
}

Compare = Callable[[Path], "Future[Comparison]"]


@pytest.fixture(scope="module")
def compare(request: pytest.FixtureRequest) -> Iterator[Compare]:
    """Compares files in processes beside this one, ahead of the tests that ask for them.

    Each in a process of its own: uproot keeps the classes that it has made for a file, and takes them for those of the
    same name and version in the next.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["ready_to_compare"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(ready_to_compare.__file__).parent))
        forkserver.ensure_running()
    with ProcessPoolExecutor(len(os.sched_getaffinity(0)), context, max_tasks_per_child=1) as pool:
        started: dict[Path, Future[Comparison]] = {}

        def start(path: Path) -> Future[Comparison]:
            if path not in started:
                started[path] = pool.submit(compare_file, path, EVERYTHING, NOT_TRIED)
            return started[path]

        for item in request.session.items:
            if isinstance(item, pytest.Function) and item.originalname == "test_a_file_of_scikit_hep":
                start(item.callspec.params["path"])
        yield start
        pool.shutdown(cancel_futures=True)


@pytest.fixture(scope="module")
def samples() -> Path:
    """The folder with coffea's samples; a skip where `make samples` has not been run."""
    folder = samples_folder()
    if not folder.is_dir():
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("there are no files of coffea: make samples")
    return folder


def no_problem(*found: Comparison) -> None:
    problems = [problem for one in found for problem in one.problems]
    assert not problems, "\n".join(problems)


def of_all(path: Path) -> Any:
    """A file as a parameter, under the marker `interop` unless it stands for a kind."""
    return pytest.param(path, id=path.stem, marks=[] if path.stem in KINDS else pytest.mark.interop)


@pytest.mark.parametrize("path", [of_all(path) for path in FILES])
def test_a_file_of_scikit_hep(compare: Compare, path: Path) -> None:
    no_problem(compare(path).result())


@pytest.mark.parametrize("name", SAMPLES)
def test_a_sample_of_coffea(samples: Path, compare: Compare, name: str) -> None:
    no_problem(compare(samples / f"{name}.root").result())


@pytest.mark.interop
@pytest.mark.timeout(900)
def test_the_samples_of_coffea(samples: Path, compare: Compare) -> None:
    found = [compare(path) for path in sorted(samples.glob("*.root"))]
    assert len(found) == 34
    no_problem(*(one.result() for one in found))


def test_branches_were_compared(compare: Compare) -> None:
    """That the tests above look at something."""
    found = [compare(path).result() for path in FILES if path.stem in KINDS]
    assert len(found) == len(KINDS)
    assert sum(one.equal for one in found) > 1_000
    assert sum(one.refused for one in found) < 200


@pytest.mark.interop
@pytest.mark.timeout(900)
def test_branches_of_all_files_were_compared(compare: Compare) -> None:
    found = [compare(path).result() for path in FILES]
    assert sum(one.equal for one in found) > 13_000
    assert sum(one.refused for one in found) < 900


@pytest.mark.parametrize(
    "name",
    ["nano_dy", "treemaker", *(pytest.param(name, marks=pytest.mark.interop) for name in ("nano_dimuon", "pfnano"))],
)
def test_who_was_told_an_rntuple_needs_none_of_its_metadata(samples: Path, name: str) -> None:
    """Neither do columnar functions, to which every column is shown: uproot reads records, and need not describe them."""
    first = Reader(str(samples / f"{name}_rntuple.root"))
    told = Reader(first.path, layout=first.news())
    assert told.events(0, 5).fields == first.events(0, 5).fields and len(told.columns.forms()) == len(told.names)
    assert told.bytes_read == 0 and "directory" not in vars(told.stored)
    first.close()
    told.close()


def test_lists_whose_offsets_were_not_written() -> None:
    """Where uproot wants a table of offsets that ROOT has left out, the counter branch has the lengths."""
    path = skhep_testdata.data_path("uproot-small-dy-nooffsets.root")
    reader = Reader(path, "tree")
    columns = reader.read(["Jet_pt", "nJet"], 0, reader.entries)
    pt, counts = columns["Jet_pt"], uproot.open(path)["tree/nJet"].array(library="np")
    assert isinstance(pt, Jagged)
    assert np.array_equal(np.diff(pt.offsets), counts)
    first = uproot.open(path)["tree/Jet_pt"].array(entry_stop=100).tolist()
    assert [pt.content.values[pt.offsets[i] : pt.offsets[i + 1]].tolist() for i in range(100)] == first
    reader.close()
