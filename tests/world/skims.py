"""Skims that real faults hit: their files must hold every selected event once, and nothing else may be left."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import eventmill as em
import numpy as np
import uproot

from .analyses import SINE
from .jobs import Job

EVERY = 3
"""One of so many events is selected."""


def skim(cost: float, folder: Path, form: Literal["parquet", "root"]) -> Callable[[Any], dict[str, Any]]:
    """Every third event, `cost` seconds each, into files of some thousands of rows: TTrees of whole baskets, Parquet cut."""
    files: dict[str, Any] = {"size": 0.3} if form == "root" else {"rows": 5000}

    def columnar(events: Any) -> dict[str, Any]:
        import time

        number = np.asarray(events.event)
        time.sleep(cost * len(number))
        selected = events[number % EVERY == 0][["event", "Muon_pt"]]
        rows = em.write(selected, folder, format=form, **files)
        return {"events": len(number), "numbers": int(number.sum()), "skim": rows}

    return columnar


def skim_of_kernel(cost: float, folder: Path) -> Any:
    """The same, compiled."""
    sines = round(cost / SINE)
    columns = {"event": "int64", "Muon_pt": "var * float32"}

    @em.kernel(events=np.zeros(1, np.int64), numbers=np.zeros(1, np.int64), skim=em.Output(folder, columns, rows=5000))
    def kernel(events: Any, numbers: Any, skim: Any, event: Any, Muon_pt: Any) -> None:
        x = 1.0
        for _ in range(sines):
            x = math.sin(x)
        events[0] += x < 2
        numbers[0] += event
        if event % EVERY == 0:
            skim.append(event, Muon_pt)

    return kernel


@dataclass(frozen=True, slots=True)
class Skim(Job):
    """A query that writes the events of these numbers into a folder of its own, under `folder`."""

    folder: Path = Path()
    form: Literal["parquet", "root", "kernel"] = "parquet"
    cost: float = 0.0
    selected: Any = None
    muons: float = 0.0

    def named(self, name: str) -> Skim:
        """The same for a query of this name."""
        return replace(self, analysis=_analysis(self.cost, self.folder / name, self.form))

    def wrong(self, name: str, result: Any) -> list[str]:
        """What is wrong with a result and its files, which are removed."""
        wrong = Job.wrong(self, name, result)
        place = self.folder / name
        numbers, muons = [np.empty(0, np.int64)], 0.0
        for file in result["skim"]:
            event, pt = _read(file.path)
            numbers.append(event)
            muons += pt
            if len(event) != file.rows:
                wrong.append(f"{name}: {file.path} has {len(event)} rows, and {file.rows} are listed")
        found = np.sort(np.concatenate(numbers))
        if not np.array_equal(found, self.selected) or not np.isclose(muons, self.muons):
            once = len(np.unique(found))
            wrong.append(
                f"{name}: {len(found)} rows where {len(self.selected)} must be, {once} different ones; {muons}, {self.muons}"
            )
        left = sorted({path.name for path in place.iterdir()} - {Path(file.path).name for file in result["skim"]})
        if len(left) != 1 or not left[0].endswith(".json"):
            wrong.append(f"{name}: left in its folder: {left}")
        shutil.rmtree(place)
        return wrong


def make_skims(
    places: Sequence[str], paths: Sequence[Path], cost: float, kernel_cost: float, folder: Path
) -> list[Job]:
    """Skims of the sample (of which `paths` are here and `places` where the queries read it).

    Args:
        cost, kernel_cost: seconds an event, of columnar functions and kernels.
        folder: below which they write.
    """
    numbers, muons = [], 0.0
    for path in paths:
        with uproot.open(path) as file:
            columns = file["Events"].arrays(["event", "Muon_pt"])
        number = columns.event.to_numpy().astype(np.int64)
        numbers.append(number)
        muons += float(np.sum(columns.Muon_pt[number % EVERY == 0].layout.to_packed().content.data, dtype=np.float64))
    everything = np.concatenate(numbers)
    selected = np.sort(everything[everything % EVERY == 0])
    value = {"events": len(everything), "numbers": int(everything.sum())}
    data = em.Dataset(list(places), tree="Events")
    return [
        Skim(
            f"skim, {form}", data, _analysis(its, folder, form), value, 0, folder / "skims", form, its, selected, muons
        )
        for form, its in (("parquet", cost), ("root", cost), ("kernel", kernel_cost))
    ]  # fmt: skip


def _analysis(cost: float, folder: Path, form: Literal["parquet", "root", "kernel"]) -> Any:
    return skim_of_kernel(cost, folder) if form == "kernel" else skim(cost, folder, form)


def _read(path: str) -> tuple[Any, float]:
    """The numbers of a file's events, and the sum of their muons' momenta: by pyarrow and uproot alone."""
    if path.endswith(".parquet"):
        import pyarrow.compute as compute
        import pyarrow.parquet as parquet

        table = parquet.read_table(path)
        flat = np.concatenate([np.empty(0, "f4"), *[each.flatten().to_numpy() for each in table["Muon_pt"].chunks]])
        assert compute.sum(compute.list_value_length(table["Muon_pt"])).as_py() in (len(flat), None)
        return table["event"].to_numpy().astype(np.int64), float(flat.sum(dtype=np.float64))
    with uproot.open(path) as file:
        columns = file["Events"].arrays(["event", "Muon_pt"])
    return columns.event.to_numpy().astype(np.int64), float(
        np.sum(columns.Muon_pt.layout.to_packed().content.data, dtype=np.float64)
    )
