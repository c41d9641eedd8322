"""`eventmill simulate pools.toml`: what would be started when for a wish, and what it would cost."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner
from eventmill.cli.main import main
from eventmill.protocol.usage import Usage, WorkerInfo

POOLS = """
[night]
system = "local"
most = 8
start_time = "2 min"

[cloud]
system = "local"
cores = 4
most = 20
price = 0.20
start_time = "75 s"
"""


@pytest.fixture
def pools(tmp_path: Path) -> str:
    file = tmp_path / "pools.toml"
    file.write_text(POOLS)
    return str(file)


def simulated(*arguments: str) -> tuple[int, str]:
    """What the command says, and its exit code."""
    done = CliRunner().invoke(main, ["simulate", *arguments])
    return done.exit_code, done.output


def test_a_wish_that_can_be_met_is_with_what_costs_nothing_first(pools: str) -> None:
    """Eight free workers do what they can in twenty minutes; the cloud does the rest, by the second."""
    code, said = simulated(pools, "--work", "20h", "--finish-in", "20m", "--json")
    facts = json.loads(said)
    assert code == 0 and facts["late"] == 0.0 and 900.0 < facts["finish"] <= 1200.0
    assert facts["pools"]["night"] == {"cost": 0.0, "started": 8}
    done_by_cloud = 20 * 3600 - 8 * (1200 - 120)
    least = done_by_cloud / 4 / 3600 * 0.20
    assert least < facts["cost"] < 1.25 * least, "with its starts, and a margin"
    course = facts["course"]
    assert [it["seconds"] for it in course] == sorted(it["seconds"] for it in course)
    assert max(it["workers"]["night"] for it in course) == 8 and course[-1]["workers"] == {"night": 0, "cloud": 0}
    assert course[-1]["cost"] == pytest.approx(facts["cost"]) and course[0]["left"] == 72_000.0


def test_a_wish_that_cannot_be_met_is_told_with_what_could_be(pools: str) -> None:
    """At once, and as it would come."""
    code, said = simulated(pools, "--work", "20h", "--finish-in", "10m", "--max-workers", "10")
    assert code == 1
    assert "said at once: cannot be met" in said and "max_workers" in said and "too late" in said


def test_what_has_no_price_is_free_and_soon(pools: str) -> None:
    """Without a wish for a time as many are started as are worth it."""
    code, said = simulated(pools, "--work", "1h")
    assert code == 0 and "done after" in said and "cost" in said


def test_a_query_that_has_run_is_replayed_with_other_pools(pools: str, tmp_path: Path) -> None:
    """What its slots had in hand is its work, its packets are what can be done at the same time."""
    usage = {slot: Usage(packets=3, entries=1000, elapsed=1800.0) for slot in range(4)}
    report = tmp_path / "report.json"
    report.write_bytes(msgspec.json.encode([WorkerInfo("w", "host", 1, 4, 0, 12, 4000, 7000.0, by_slot=usage)]))
    code, said = simulated(pools, "--report", str(report), "--json")
    facts = json.loads(said)
    assert code == 0 and facts["course"][0]["left"] == 7200.0
    slots = facts["pools"]["night"]["started"] + 4 * facts["pools"]["cloud"]["started"]
    assert slots < 12 + 4, "not more than packets"


@pytest.mark.parametrize("suffix", ["svg", "png"])
def test_it_can_be_drawn(pools: str, tmp_path: Path, suffix: str) -> None:
    """Workers by pool over time, and the cost."""
    picture = tmp_path / f"course.{suffix}"
    code, _ = simulated(pools, "--work", "2h", "--finish-in", "15m", "--plot", str(picture))
    assert code == 0 and picture.stat().st_size > 5000


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "by --work or by --report"),
        (["--work", "nonsense"], "is no time"),
        (["--work", "1h", "--plot", "x.gif"], "is no .png"),
        (["--work", "1h", "--max-cost", "-1"], "--max-cost"),
    ],
)
def test_what_makes_no_sense_is_refused(pools: str, arguments: list[str], words: str) -> None:
    """With what is wrong."""
    code, said = simulated(pools, *arguments)
    assert code == 2 and words in said


def test_options_of_pools_are_refused_without_pools(tmp_path: Path) -> None:
    """They would be ignored."""
    file = tmp_path / "profile.yaml"
    file.write_text("data: {files: 1, entries: 100}\nworkers: [{speed: 100}]\n")
    code, said = simulated(str(file), "--finish-in", "20m")
    assert code == 2 and "--finish-in is for pools" in said
