"""The script that runs the example notebooks, `examples/notebooks/run.py`, in kernels of Jupyter."""

from __future__ import annotations

import importlib.util
from pathlib import Path

NOTEBOOKS = Path(__file__).parents[3] / "examples" / "notebooks"
_spec = importlib.util.spec_from_file_location("run_notebooks", NOTEBOOKS / "run.py")
assert _spec is not None and _spec.loader is not None
run = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(run)
