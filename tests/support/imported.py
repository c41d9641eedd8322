"""Modules that a test has written and imported."""

from __future__ import annotations

import sys
from pathlib import Path


def forget_modules(folder: Path) -> None:
    """Take the modules of a folder out of `sys.modules`.

    What was imported meanwhile from elsewhere stays: parts of numba, imported twice, register their types twice.
    """
    for name, module in sys.modules.copy().items():
        if (getattr(module, "__file__", None) or "").startswith(f"{folder}/"):
            del sys.modules[name]
