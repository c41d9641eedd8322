"""What a launcher writes down: all of it is there for the next one, and only one uses it at a time."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from eventmill.launch.effects import ForgetJobs, SaveCall, Saved, SaveJobs, SaveWanted
from eventmill.launch.record import FILE, Record
from eventmill.protocol.errors import EventmillError


def test_the_next_launcher_finds_what_was_written(tmp_path: Path) -> None:
    """Calls that were answered with their jobs, those that were not, and how many are wanted."""
    record = Record(tmp_path)
    record.write(SaveWanted("night", 3))
    record.write(SaveCall("night", "call-1", 2))
    record.write(SaveJobs("night", "call-1", ["7_0", "7_1"]))
    record.write(SaveCall("night", "call-2", 1))
    record.write(ForgetJobs("night", ["7_0"]))
    record.write(SaveWanted("day", 0, by_hand=False))
    record.close()
    again = Record(tmp_path)
    assert again.saved == {
        "night": Saved(3, {"call-2": 1}, {"7_1": "call-1"}, by_hand=True),
        "day": Saved(0, {}, {}),
    }
    assert (record.number, again.number) == (1, 2), "names of calls never come again"
    again.close()


def test_two_launchers_never_share_a_folder(tmp_path: Path) -> None:
    """Each would take the other's jobs for its own."""
    record = Record(tmp_path)
    with pytest.raises(EventmillError, match="another launcher runs pools in"):
        Record(tmp_path)
    record.close()
    Record(tmp_path).close()


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    """With what to do: to begin anew in silence would leave jobs to nobody."""
    (tmp_path / FILE).write_bytes(b"no database " * 100)
    with pytest.raises(EventmillError, match=f"{FILE} cannot be used"):
        Record(tmp_path)


def test_the_record_is_the_users_own(tmp_path: Path) -> None:
    record = Record(tmp_path / "new")
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "new" / FILE).stat().st_mode) == 0o600
    record.close()
