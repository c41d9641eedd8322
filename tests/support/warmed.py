# mypy: allow-untyped-defs, allow-untyped-decorators
"""What the first compilations of a process build once: processes that are forked afterwards have it."""

from __future__ import annotations

import tempfile
from pathlib import Path

from columns import flat, jagged
from eventmill.analysis.analysis import kernel
from eventmill.worker.kernels.compile import CompiledKernel, warm
from hist import Hist


@kernel(hard=Hist.new.Reg(10, 0, 100).Weight(), count=Hist.new.Int(0, 5).Double())
def typical(hard, count, x, values):
    total = 0.0
    for value in values:
        if value > 1.0:
            total += value
    hard.fill(total + x, weight=0.5)
    count.fill(len(values))


def compile_once() -> None:
    """Import what compiled code is made with, and compile a kernel over a column and one of lists. Starts no thread."""
    warm()
    with tempfile.TemporaryDirectory() as folder:
        compiled = CompiledKernel(typical, Path(folder))
        columns = {"x": flat(1.0, 2.0, dtype="f4"), "values": jagged([1, 2], [])}
        compiled.run(columns, 0)
        compiled.take()
