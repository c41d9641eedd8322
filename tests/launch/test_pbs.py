"""Workers as jobs of PBS, with what a real OpenPBS 23.06 has answered: it cannot be started here."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from eventmill.launch.pools.pbs import PBS
from eventmill.launch.pools.pool import Assignment, Job
from noting_jobs import SECRET, assignment, refused

QSTAT = """Job Id: 23.pbs01
    Job_Name = eventmill-1
    job_state = F
    exec_host = pbs01/0
    comment = Job run at Sun Nov 29 at 20:48 on (pbs01:ncpus=1) and exceeded re
\tsource walltime
    Exit_status = -29

Job Id: 15.pbs01
    job_state = F
    exec_host = pbs01/1*2
    comment = Job run at Sun Nov 29 at 20:46 on (pbs01:ncpus=2:mem=102400kb) an
\td failed
    Exit_status = 127

Job Id: 25.pbs01
    job_state = R
    exec_host = pbs01/1
    Variable_List = PBS_O_HOME=/root,
\tPBS_O_PATH=/usr/bin:/bin,job_state = Q
    comment = Job run at Sun Nov 29 at 20:48 on (pbs01:ncpus=1:mem=102400kb)

Job Id: 19.pbs01
    job_state = Q
    comment = Can Never Run: Insufficient amount of resource: ncpus (R: 200 A:8
\t T: 8)

Job Id: 16.pbs01
    job_state = F
    exec_host = pbs01/1
    Exit_status = 137

"""
UNKNOWN = "qstat: Unknown Job Id 99.pbs01"


@pytest.fixture
def work(tmp_path: Path) -> Assignment:
    return assignment(tmp_path)


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for commands that stand in for those of PBS."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


def answer(commands: Path, name: str, output: str = "", errors: str = "", code: int = 0, lines: str = "") -> None:
    """Let a command answer with this; what it is asked stands in NAME.asked, what it is given in NAME.given."""
    (commands / f"{name}.output").write_text(output)
    (commands / f"{name}.errors").write_text(errors)
    here = commands / name
    here.write_text(
        f'#!/bin/bash\necho "$@" >>{here}.asked\n{lines}\ncat {here}.output\ncat {here}.errors >&2\nexit {code}\n'
    )
    here.chmod(0o755)


def test_what_pbs_says_of_jobs_is_understood(commands: Path) -> None:
    """Lines that go on, jobs that it knows no more, and one that will never start."""
    answer(commands, "qstat", QSTAT, UNKNOWN, code=153)
    jobs = ["23.pbs01", "15.pbs01", "25.pbs01", "19.pbs01", "16.pbs01", "99.pbs01"]
    assert list(PBS().listing(jobs).values()) == [
        Job("gone", "its walltime is over", "pbs01"),
        Job("failed", "ended with code 127", "pbs01"),
        Job("started", "", "pbs01"),
        Job("held", "Insufficient amount of resource: ncpus (R: 200 A:8 T: 8)"),
        Job("failed", "killed by signal 9", "pbs01"),
        Job("gone", "PBS does not know it any more"),
    ]
    assert (commands / "qstat.asked").read_text() == f"-x -f {' '.join(jobs)}\n"


def test_a_job_a_worker_is_submitted(commands: Path, work: Assignment) -> None:
    """What is secret stands in no script."""
    answer(commands, "qsub", lines=f"cat >>{commands}/given; echo $(wc -l <{commands}/qsub.asked).pbs01; exit")
    pool = PBS(python="/sw/python", cores=4, memory="8G", walltime="2h", queue="workq", select="arch=milan")
    assert pool.start(3, work) == ["1.pbs01", "2.pbs01", "3.pbs01"]
    lines = (commands / "given").read_text().splitlines()
    wanted = ["-r n", "-l select=1:ncpus=4:mem=8192mb:arch=milan", "-l walltime=7200", "-q workq", f"-N {work.name}"]
    assert [lines.count(f"#PBS {option}") for option in wanted] == [3] * len(wanted)
    assert f"exec /sw/python -m eventmill worker {work.token}" in pool.preview(3, work)
    assert SECRET not in pool.preview(3, work)


def test_all_jobs_are_taken_or_none(commands: Path, work: Assignment) -> None:
    """Those that were taken before the limit are deleted."""
    answer(
        commands, "qsub", errors="qsub: would exceed complex's per-user limit", code=38,
        lines=f'n=$(wc -l <{commands}/qsub.asked); [ "$n" -lt 3 ] && echo "$n.pbs01" && exit',
    )  # fmt: skip
    answer(commands, "qdel")
    assert refused(PBS(), work, count=5) == ("full", "PBS takes no job: would exceed complex's per-user limit")
    assert (commands / "qdel.asked").read_text() == "1.pbs01 2.pbs01\n"


@pytest.mark.parametrize(
    ("said", "trouble", "words"),
    [
        ("qsub: Unknown queue", "refused", "PBS takes no job: Unknown queue"),
        ("qsub: Unknown resource Resource_List.gpu", "refused", "PBS takes no job: Unknown resource Resource_List.gpu"),
        (
            "Connection refused\nqsub: cannot connect to server pbs01 (errno=15010)",
            "down",
            "PBS takes no job: Connection refused; cannot connect to server pbs01 (errno=15010)",
        ),
    ],
)
def test_what_pbs_does_not_take_is_said_in_words(
    said: str, trouble: str, words: str, commands: Path, work: Assignment
) -> None:
    """In its own words, without what is around them."""
    answer(commands, "qsub", errors=said, code=1)
    answer(commands, "qdel")
    assert refused(PBS(), work) == (trouble, words)


def test_a_server_that_is_down_is_no_news_of_jobs(commands: Path) -> None:
    """And jobs that are over are no trouble when they are stopped."""
    answer(
        commands, "qstat", errors="Connection refused\nqstat: cannot connect to server pbs01 (errno=15010)", code=255
    )
    with pytest.raises(Exception, match="PBS does not answer: Connection refused; cannot connect") as caught:
        PBS().listing(["1.pbs01"])
    assert caught.value.trouble == "down"
    answer(commands, "qdel", errors="qdel: Job has finished 1.pbs01\nqdel: Unknown Job Id 99.pbs01", code=153)
    PBS().stop(["1.pbs01", "99.pbs01"])
