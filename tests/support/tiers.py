"""Which tests `make test` runs, and which `make test-systems`. CI runs both, and `pytest tests/some/file.py` all of a file.

`make test` is for many times a day: it needs nothing but this package, what that depends on, and an XRootD server.
`make test-systems` has what starts systems of others (batch systems, clouds, browsers) or reads many of their files, and
what is long by its nature:

- what starts a system of others is in `tests/support/systems`; a file of tests that imports of it is in `tests/systems`;
- `tests/interop`, where files of experiments and other programs are read, of which `tests/reading` has each kind;
- `@pytest.mark.long("why")`, on a test or as the `pytestmark` of a file: it takes seconds whatever it runs on, to wait
  or to compute, and another test, which is not so near to the real thing or one of several of its kind, stays in
  `make test`.
"""

from __future__ import annotations

import functools
from pathlib import Path

import pytest

TIERS = ("own", "systems")
FOLDERS = tuple(Path(__file__).parents[1] / name for name in ("systems", "interop"))
"""Whose tests are not of `make test`."""


def tier(item: pytest.Item) -> str:
    """The tier of a test.

    Raises:
        UsageError: it is marked as long, without a reason.
    """
    marker = item.get_closest_marker("long")
    if marker is not None and not (len(marker.args) == 1 and isinstance(marker.args[0], str) and not marker.kwargs):
        raise pytest.UsageError(f"{item.nodeid} says nowhere why it is long: @pytest.mark.long('why')")
    return "systems" if marker is not None or _is_in_folders(item.path) else "own"


@functools.cache
def _is_in_folders(path: Path) -> bool:
    return not set(FOLDERS).isdisjoint(path.parents)
