"""Simulated days are full of warnings, which nobody is to read; other tests in the same process need theirs."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    log = logging.getLogger("eventmill")
    level = log.level
    log.setLevel(logging.CRITICAL)
    yield
    log.setLevel(level)
