"""What a large array, and a data file, cost the first query and later ones: `python -m benchmarks.large_arrays`."""

from __future__ import annotations

import argparse
import os
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

AGAIN = 5


def measure(megabytes: int, slots: int = 2) -> dict[str, tuple[float, float]]:
    """Seconds of the first query with so many megabytes, and of the next ones (median), by what has them."""
    import eventmill as em
    import numpy as np

    rng = np.random.default_rng(1)
    table = rng.random(megabytes * 125_000)

    def plain(item: int) -> float:
        return float(item)

    def of_array(item: int) -> float:
        return float(table[item])

    def of_file(item: int) -> float:
        return float(np.memmap(em.file("table.bin"), np.float64, "r")[item])

    with em.connect(slots=slots) as session, tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is large, we know
        os.chdir(folder)

        def seconds(function: Callable[[int], float], **options: Any) -> float:
            begin = time.perf_counter()
            session.process(em.items(list(range(2 * slots))), function, **options).result(progress=False)
            return time.perf_counter() - begin

        def both(function: Callable[[int], float], **options: Any) -> tuple[float, float]:
            return seconds(function, **options), median(seconds(function, **options) for _ in range(AGAIN))

        seconds(plain)  # the workers are there
        found = {"nothing": both(plain), "an array": both(of_array)}
        rng.random(megabytes * 125_000).tofile("table.bin")
        return {**found, "a file": both(of_file, files="table.bin")}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=200)
    arguments = parser.parse_args()
    home = Path.cwd()
    print(f"{arguments.megabytes} MB, load before {os.getloadavg()[0]:.1f}")
    print("| with the query goes | first query | later queries |\n| --- | --: | --: |")
    for what, (first, later) in measure(arguments.megabytes).items():
        print(f"| {what} | {first:.2f} s | {later:.2f} s |")
    os.chdir(home)


if __name__ == "__main__":
    main()
