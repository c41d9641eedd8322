"""What of a traceback is the user's: not what is ours, wherever in the package it stands."""

from __future__ import annotations

import pkgutil
import traceback
from pathlib import Path

import eventmill
import pytest
from eventmill.protocol import codec
from eventmill.protocol.messages import File
from eventmill.worker.slot.failures import _is_users, describe

PACKAGE = Path(eventmill.__file__).parent


@pytest.mark.parametrize("folder", [it.name for it in pkgutil.iter_modules([str(PACKAGE)]) if it.ispkg])
def test_all_packages_of_ours_are_ours(folder: str) -> None:
    """A list by hand lacked those that came later: `cli`, `master` and `simulation`."""
    assert not _is_users(str(PACKAGE / folder / "module.py"))


@pytest.mark.parametrize("path", ["examples/01_dimuon.py", "my_analysis.py"])
def test_what_lies_beside_them_in_a_checkout_is_the_users(path: str) -> None:
    clone = Path(__file__).parents[2]
    assert _is_users(str(clone / path))


def test_an_error_in_our_code_shows_the_users_line_only() -> None:
    def analysis() -> None:
        codec.decode([b"nonsense"])

    try:
        analysis()
    except Exception as error:
        ours = len(traceback.extract_tb(error.__traceback__))
        failure, _ = describe(error, File("f.root"), 0, 10)
    assert ours > 2 and "codec.decode" in failure.traceback and "codec.py" not in failure.traceback
