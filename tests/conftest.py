"""Fixtures that several test files share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import eventmill as em
import pytest
from processes import Standing
from sums import Gate, write_numbers
from xrootd_server import grid, xrootd_server

__all__ = ["grid", "xrootd_server"]


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standing]:
    """A master with one worker of one slot."""
    made = Standing(tmp_path_factory.mktemp("state"))
    made.worker()
    yield made
    made.close()


@pytest.fixture(scope="session")
def numbers(tmp_path_factory: pytest.TempPathFactory) -> em.Dataset:
    """Ten files that each have one branch, with the numbers from 0 to 999."""
    return write_numbers(tmp_path_factory.mktemp("numbers"))


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    """A closed gate, which is open when the test is over."""
    made = Gate(tmp_path / "gate")
    yield made
    made.open()
