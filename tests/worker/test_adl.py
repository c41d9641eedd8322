"""The eight queries of the ADL benchmark: kernels and columnar functions fill the bins that ROOT fills."""

from __future__ import annotations

import importlib.util
import inspect
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from eventmill.merge.histograms import FilledHistogram
from eventmill.reading.reader import Reader
from eventmill.reading.record_groups import record_group
from eventmill.worker.kernels.compile import CompiledKernel

DATA, EXAMPLE = Path(__file__).parents[1] / "data", Path(__file__).parents[2] / "examples" / "adl.py"
ROOTS: dict[str, list[int]] = json.loads((DATA / "adl.json").read_text())
"""Of RDataFrame: see `write_adl.py`."""
QUERIES = [f"q{number}" for number in range(1, 9)]
COMPILED = {"q2": (), "q5": (), "q8": pytest.mark.long("takes three seconds to compile")}
"""Which of them are, otherwise than at night."""


@pytest.fixture(scope="module")
def adl() -> Any:
    specification = importlib.util.spec_from_file_location("adl", EXAMPLE)
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def reader() -> Reader:
    return Reader(str(DATA / "adl.root"), "Events")


@pytest.mark.parametrize("query", [pytest.param(it, marks=COMPILED.get(it, pytest.mark.nightly)) for it in QUERIES])
def test_kernels_fill_what_root_fills(
    query: str, adl: Any, reader: Reader, tmp_path_factory: pytest.TempPathFactory
) -> None:
    compiled = CompiledKernel(adl.KERNELS[query], tmp_path_factory.getbasetemp() / "adl")
    compiled.parameters.look_at(lambda name: record_group(reader, name))
    compiled.prepare(lambda names: reader.read(names, 0, 0))
    for start, stop in ((0, 700), (700, reader.entries)):
        compiled.run(reader.read(compiled.branches, start, stop), start)
    outputs, _ = compiled.take()
    for name, output in outputs.items():
        assert isinstance(output, FilledHistogram)
        assert output.array.astype(int).tolist() == ROOTS[f"{query} {name}"]


@pytest.mark.parametrize("query", QUERIES)
def test_columnar_functions_fill_what_root_fills(query: str, adl: Any, reader: Reader) -> None:
    for name, histogram in adl.COLUMNAR[query](reader.events(0, reader.entries)).items():
        assert histogram.values(flow=True).astype(int).tolist() == ROOTS[f"{query} {name}"]


def test_the_eighth_query_takes_half_the_lines_that_it_took_with_branches(adl: Any) -> None:
    """Of 26, with a parameter for each field of both flavours."""
    lines = inspect.getsource(adl.q8.__wrapped__).splitlines()
    code = [line for line in lines if line.strip() and not line.strip().startswith(('"""', "@", "def "))]
    assert len(code) <= 13


def test_answers_have_something_in_them() -> None:
    """A query whose answer is empty everywhere would agree with anything."""
    assert all(np.sum(bins) > 20 for bins in ROOTS.values())
