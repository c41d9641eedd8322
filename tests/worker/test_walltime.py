"""Walltimes: as people write them, and as a batch system tells them."""

from __future__ import annotations

import pytest
from eventmill.system.quantities import LONGEST, parse_seconds
from eventmill.worker.allocation.walltime import time_left
from hypothesis import given
from hypothesis import strategies as st

TIMES = {
    "90": 90.0,
    "0.5": 0.5,
    " 5400 ": 5400.0,
    "90m": 5400.0,
    "1h30m": 5400.0,
    "1.5h": 5400.0,
    "2d": 172_800.0,
    "1d2h3m4s": 93_784.0,
    "30:00": 1800.0,
    "12:00:00": 43_200.0,
    "2-12": 216_000.0,
    "2-12:30": 217_800.0,
    "2-12:00:00": 216_000.0,
}
NONSENSE = ["", "0", "-5", "1h30", "30m1h", "h", "1:2:3:4", "2-", "nan", "inf", "1e3", "soon", "0:00", "5000d"]


@pytest.mark.parametrize("text", TIMES)
def test_times_are_read_as_people_and_slurm_write_them(text: str) -> None:
    assert parse_seconds(text) == TIMES[text]


@pytest.mark.parametrize("text", NONSENSE)
def test_what_is_no_time_is_refused_with_examples(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no time: give seconds \(5400\), units"):
        parse_seconds(text)


@given(st.integers(1, int(LONGEST)))
def test_every_way_to_write_a_time_means_the_same(seconds: int) -> None:
    minutes, s = divmod(seconds, 60)
    hours, m = divmod(minutes, 60)
    d, h = divmod(hours, 24)
    for text in (f"{seconds}", f"{d}d{h}h{m}m{s}s", f"{hours}:{m:02}:{s:02}", f"{d}-{h:02}:{m:02}:{s:02}"):
        assert parse_seconds(text) == seconds


def test_slurm_tells_when_a_job_ends() -> None:
    now = 1_700_000_000.0
    assert time_left({"SLURM_JOB_END_TIME": "1700003600"}, now) == 3600.0
    assert time_left({"SLURM_JOB_END_TIME": "1699999990"}, now) == -10.0, "over: it leaves at once"


@pytest.mark.parametrize("said", [None, "", "UNLIMITED", "nan", "inf", "4294967294"])
def test_where_nothing_is_told_there_is_no_limit(said: str | None) -> None:
    environment = {} if said is None else {"SLURM_JOB_END_TIME": said}
    assert time_left(environment, 1_700_000_000.0) is None
