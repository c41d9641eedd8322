"""How soon a kernel is ready in a warm slot that has nothing to compile: one of a second worker, or of a second session.

    python -m benchmarks.kernel_ready              the three analyses, 20 slots each: a few seconds
    python -m benchmarks.kernel_ready --slots 50

A process warms up as the forkserver does, and forks slots as it does. The first slot compiles. Each later one is as fresh,
and is timed from the analysis as it arrives to compiled code that has run over no entries, the file being open.
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import os
import tempfile
import time
from pathlib import Path
from statistics import median

from eventmill.analysis.analysis import pack
from eventmill.cli.sample import write_sample
from eventmill.protocol.messages import File, Setup
from eventmill.reading.reader import Reader
from eventmill.worker.slot import process as slot
from eventmill.worker.slot.tasks import KernelTask, load

from .analyses import ANALYSES, kernel
from .systems import TREE

TARGET = 0.1
"""Seconds; the first thing of its kind that numba loads costs any other process 0.6 s."""


def in_a_slot(blob: bytes, file: str, cache: Path) -> tuple[float, int]:
    """Seconds until the kernel is ready in a process forked from this one, and how many loops it compiled."""
    ours, theirs = multiprocessing.Pipe(duplex=False)
    if os.fork() == 0:
        try:
            reader = Reader(file, TREE)
            begin = time.perf_counter()
            task = load(Setup("q", "kernel", "digest"), blob, cache)
            assert isinstance(task, KernelTask)
            task.prepare(reader, File(file))
            theirs.send((time.perf_counter() - begin, task.kernel.compiled))
        finally:
            os._exit(0)
    theirs.close()
    os.wait()
    seconds, compiled = ours.recv()
    return seconds, compiled


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slots", type=int, default=20, help="slots that load each kernel")
    slots = parser.parse_args().slots
    os.environ["NUMBA_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as folder:
        (file,) = write_sample(folder, events=1000, files=1)
        blobs = {name: pack(kernel(name)).blob for name in ANALYSES}
        slot.warm()
        gc.freeze()
        shown, worst = [], 0.0
        for name, blob in blobs.items():
            compiling, compiled = in_a_slot(blob, str(file), Path(folder))
            loading, again = zip(*(in_a_slot(blob, str(file), Path(folder)) for _ in range(slots)), strict=True)
            if compiled != 1 or any(again):
                raise SystemExit(f"{name} was compiled {compiled} times in the first slot, then {sum(again)} times")
            worst = max(worst, median(loading))
            shown.append(f"{name} {median(loading):.3f} s (at most {max(loading):.3f}; compiled in {compiling:.2f})")
    verdict = "met" if worst <= TARGET else "missed"
    row = f"kernel ready in a warm slot, nothing to compile, median of {slots}"
    print(f"| {row} | {TARGET} s | {', '.join(shown)} | {verdict} |")


if __name__ == "__main__":
    main()
