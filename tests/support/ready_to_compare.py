"""What all comparisons of files need, for a forkserver to have it before it forks: else each process takes a second and a
half for imports, and for what numba does before its first loop."""

from __future__ import annotations

from pathlib import Path

import agreement
from eventmill.reading.reader import Reader

__all__ = ["agreement"]

_reader = Reader(str(Path(__file__).parents[1] / "data" / "nested.root"), "ones")
_reader.array("vv", 0, _reader.entries)
_reader.close()
