"""The analyses of the queries that real faults hit: slow enough to be hit, the same in every bin however they are run."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import eventmill as em
import numpy as np
import uproot
from hist import Hist

from benchmarks.analyses import MUONS, dimuon_columnar, has_z_candidate, met_histogram

SINE = 8e-9
"""Seconds that a sine takes, about."""


def slow_columnar(cost: float, counter: Path) -> Callable[[Any], dict[str, Any]]:
    """MET of events with a Z candidate, `cost` seconds each; every event that is worked on leaves a byte in `counter`."""
    name = str(counter)

    def columnar(events: Any) -> dict[str, Any]:
        import os
        import time

        time.sleep(cost * len(events))
        descriptor = os.open(name, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(descriptor, bytes(len(events)))
        os.close(descriptor)
        return {"histogram": dimuon_columnar(events)["histogram"], "events": len(events)}

    return columnar


def slow_kernel(cost: float) -> Any:
    """The same as a kernel, at work for about `cost` seconds an event."""
    sines = round(cost / SINE)

    @em.kernel(histogram=met_histogram(), events=np.zeros(1, np.int64))
    def kernel(
        histogram: Any,
        events: Any,
        MET_pt: Any,
        Muon_pt: Any,
        Muon_eta: Any,
        Muon_phi: Any,
        Muon_mass: Any,
        Muon_charge: Any,
    ) -> None:
        x = MET_pt
        for _ in range(sines):
            x = math.sin(x)
        if x < 2.0:
            events[0] += 1
            if has_z_candidate(Muon_pt, Muon_eta, Muon_phi, Muon_mass, Muon_charge):
                histogram.fill(MET_pt)

    return kernel


def in_one_process(paths: Sequence[Path]) -> Hist[Any]:
    """What they must give: plain uproot and awkward, file after file."""
    histogram = met_histogram()
    for path in paths:
        with uproot.open(path) as file:
            histogram += dimuon_columnar(file["Events"].arrays([*MUONS, "MET_pt"]))["histogram"]
    return histogram
