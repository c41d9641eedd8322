"""The simulator: it keeps to the protocol, repeats itself, and says what the packetizer is worth.

A failing seed of the sweeps prints the line that reproduces it.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner
from eventmill.cli.main import main
from eventmill.protocol.errors import DatasetError
from eventmill.protocol.usage import WorkerInfo
from eventmill.simulation import simulated_workers as machines
from eventmill.simulation.outcome import limit
from eventmill.simulation.profiles import (
    Churn,
    Data,
    FileServer,
    Group,
    Profile,
    Trouble,
    from_report,
    load,
    parse,
    spread,
)
from eventmill.simulation.simulator import simulate
from eventmill.worker.agent import leaving
from eventmill.worker.slot import chunks
from eventmill.worker.slot import packet_run as slot
from hypothesis import given
from hypothesis import strategies as st

FEW, SWEEP = 6, 200
"""Seeds of each sweep: every time, beside 300 of the world of trouble with the same cores, and at night."""


def mixed(troubles: list[Trouble] | None = None, **changes: object) -> Group:
    """Sixteen slots of speeds 4:1."""
    group = Group(speed=[1000.0, 4000.0], count=16, jitter=0.1, troubles=troubles or [])
    return msgspec.structs.replace(group, **changes)


CHURNING = Group(
    speed=[500.0, 2000.0],
    count=5,
    slots=2,
    jitter=0.3,
    arrive=[0.0, 1.0],
    latency=0.01,
    churn=Churn(per_minute=12.0, silent=0.3, replaced_after=0.5, same_identity=True),
)
"""A worker lives five seconds on average."""


# --- it is the same every time, and every entry counts once ---------------------------------------------------------


def test_one_seed_gives_one_trace_under_any_hash_seed() -> None:
    """Nothing in the core or the simulator depends on the order of an unordered set."""
    program = (
        "import logging; logging.disable()\n"
        "from eventmill.simulation.profiles import *\n"
        "from eventmill.simulation.simulator import simulate\n"
        "group = Group(speed=[500., 2000.], count=6, slots=2, jitter=0.2, churn=Churn(12.0, 0.5, 0.5, True))\n"
        "data = Data(files=8, entries=[1000, 9000], bytes=100., servers=[FileServer('a', 1e6), FileServer('b', 1e5)])\n"
        "print(simulate(Profile(data, [group]), seed=7, trace=True).trace)\n"
    )
    traces = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": hashseed},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for hashseed in ("0", "1")
    }
    assert len(traces) == 1
    assert len(traces.pop().strip()) == 16


def test_another_seed_gives_another_trace() -> None:
    profile = Profile(Data(files=4, entries=20_000), [mixed()])
    assert simulate(profile, 1, trace=True).trace != simulate(profile, 2, trace=True).trace


SWEEPS = {
    "churn": Profile(Data(files=6, entries=[0, 6_000], cluster=1000), [CHURNING]),
    "churn, new identities, known lengths": Profile(
        Data(files=6, entries=[1, 6_000], known=True),
        [msgspec.structs.replace(CHURNING, churn=Churn(12.0, 0.3, 0.5), rate=1e6)],
    ),
    "slow file servers": Profile(
        Data(files=6, entries=[0, 4_000], bytes=1000.0, servers=[FileServer("a", 2e6), FileServer("b", 1e6)]),
        [msgspec.structs.replace(CHURNING, count=4, churn=Churn(6.0, 0.0, 0.1, True))],
    ),
    "everything goes wrong": Profile(
        Data(files=5, entries=[0, 8_000], cluster=500),
        [
            msgspec.structs.replace(CHURNING, churn=None),
            Group(
                speed=1000.0,
                count=6,
                jitter=0.2,
                latency=0.05,
                troubles=[
                    Trouble("slower", 0.5, 0, 2.0, 20.0),
                    Trouble("freeze", 0.7, 1, 6.0),
                    Trouble("hang", 0.3, 2),
                    Trouble("vanish", 0.9, 3, 1.0),
                    Trouble("die", 0.4, 4, 0.1),
                    Trouble("freeze", 1.2, 5, 0.2),
                ],
            ),
        ],
    ),
    "workers that have to leave": Profile(
        Data(files=6, entries=[0, 8_000], cluster=500),
        [
            msgspec.structs.replace(CHURNING, walltime=[0.5, 4.0], grace=0.5),
            msgspec.structs.replace(CHURNING, count=3, churn=None, walltime=[1.0, 3.0], notice=0.6, grace=0.3),
            Group(
                speed=1000.0,
                count=5,
                jitter=0.2,
                latency=0.05,
                walltime=[2.0, 8.0],
                grace=0.4,
                troubles=[
                    Trouble("drain", 0.5, 0),
                    Trouble("freeze", 1.5, 1, 3.0),
                    Trouble("hang", 0.3, 2),
                    Trouble("vanish", 0.9, 3, 1.0),
                    Trouble("slower", 0.5, 4, None, 1000.0),
                ],
            ),
            Group(speed=1000.0, arrive=2.0),
        ],
    ),
}


@pytest.mark.parametrize(
    "seeds", [range(FEW), pytest.param(range(FEW, SWEEP), marks=[pytest.mark.nightly, pytest.mark.timeout(600)])]
)
@pytest.mark.parametrize("name", SWEEPS)
def test_every_entry_is_merged_exactly_once(name: str, seeds: range) -> None:
    """Whatever dies, freezes, hangs or slows down: `simulate` asserts it from what was merged, not from the ledger."""
    for seed in seeds:
        try:
            outcome = simulate(SWEEPS[name], seed)
            assert outcome.complete
        except Exception as error:
            pytest.fail(f"{error!r}: simulate(SWEEPS[{name!r}], seed={seed}, check=True)")


@pytest.mark.parametrize("name", SWEEPS)
def test_the_cores_invariants_hold_after_every_message(name: str) -> None:
    assert simulate(SWEEPS[name], check=True).complete


# --- what the packetizer is worth -----------------------------------------------------------------------------------


def test_slots_that_are_far_away_do_not_wait_for_the_master_after_each_tiny_file() -> None:
    """With two packets of 10 ms each, and 100 ms to the master and back, they would mostly have nothing to do."""
    group = Group(speed=10_000.0, count=10, latency=0.05, opening=0.002, exchange=0.0)
    outcome = simulate(Profile(Data(files=4000, entries=100), [group]))
    assert outcome.complete and outcome.limit == pytest.approx(4.0)
    assert outcome.seconds < outcome.limit + 400 * 0.002 + 4 * 0.1, "it was 11.3"


def test_slots_of_different_speed_end_together() -> None:
    """PROOF's spread was 0.73 % of 2287 s; a query 25 times shorter is harder."""
    outcome = simulate(Profile(Data(files=20, entries=200_000), [mixed()]))
    assert outcome.seconds > 90
    assert outcome.spread < 0.002
    assert outcome.reached > 0.98
    assert outcome.exchange < 0.01
    assert outcome.in_vain == 0


@pytest.mark.parametrize("what", ["slower", "freeze", "vanish", "die"])
def test_one_bad_worker_costs_its_share_and_the_time_to_notice(what: str) -> None:
    """It becomes 20 times slower, or silent, shortly before the end."""
    trouble = Trouble(what, 45.0, worker=15, times=20.0)  # type: ignore[arg-type]
    outcome = simulate(Profile(Data(files=10, entries=200_000), [mixed([trouble])]))
    assert outcome.seconds > 45.0
    assert outcome.seconds < 1.02 * outcome.limit + 6.0


def test_workers_that_arrive_late_are_used_at_once() -> None:
    """The query starts with the first worker, and later ones join it while it runs."""
    outcome = simulate(Profile(Data(files=10, entries=100_000), [mixed(arrive=[0.0, 60.0], jitter=0.0)]))
    assert outcome.reached > 0.97
    assert all(worker.packets for worker in outcome.workers)


LEAVING = {
    "walltime": Group(speed=[1000.0, 4000.0], count=8, slots=2, jitter=0.1, walltime=[20.0, 60.0]),
    "notice": Group(speed=[1000.0, 4000.0], count=8, slots=2, jitter=0.1, walltime=[20.0, 60.0], notice=5.0, grace=1.0),
    "told": Group(
        speed=[1000.0, 4000.0],
        count=8,
        slots=2,
        troubles=[Trouble("drain", 10.0 + worker, worker) for worker in range(8)],
    ),
}


@pytest.mark.parametrize("seeds", [range(1), pytest.param(range(1, 20), marks=pytest.mark.nightly)])
@pytest.mark.parametrize("reason", LEAVING)
def test_nothing_is_done_twice_when_workers_have_to_leave(reason: str, seeds: range) -> None:
    """What a worker cannot end in time is not leased to it, or handed on: it leaves with empty hands, before its end."""
    stay = Group(speed=2000.0, count=4, slots=2, jitter=0.1, arrive=[5.0, 30.0])
    for seed in seeds:
        outcome = simulate(Profile(Data(files=30, entries=100_000), [LEAVING[reason], stay]), seed)
        assert outcome.complete
        assert outcome.in_vain == outcome.account.redone == outcome.account.refused == 0
        assert [worker.left for worker in outcome.workers] == [True] * 8 + [False] * 4
        assert all(worker.packets for worker in outcome.workers)
        assert outcome.reached > 0.96


def test_a_worker_works_until_it_begins_to_leave() -> None:
    """Of 55 seconds before that, it loses not much more than one to the end of its last packet."""
    groups = [Group(speed=1000.0, walltime=60.0, grace=5.0), Group(speed=1000.0, arrive=60.0)]
    outcome = simulate(Profile(Data(files=1, entries=80_000), groups))
    idle = [change for change in outcome.record.activity if change[0] > 1.0]
    assert 54.0 < idle[0][0] < 55.5, "its last packet ends when it begins to leave"
    assert outcome.seconds == pytest.approx(60.0 + 25.0, abs=1.5)


def test_a_worker_without_notice_is_like_one_that_dies() -> None:
    groups = [Group(speed=1000.0, walltime=10.0, notice=0.0), Group(speed=1000.0)]
    outcome = simulate(Profile(Data(files=1, entries=40_000), groups))
    assert outcome.complete and outcome.account.workers_lost == 1
    assert 0 < outcome.in_vain < 4000
    assert not outcome.workers[0].left


def test_slots_share_a_file_server() -> None:
    """Sixteen readers of a server that could serve four: the limit is the server's, and it is reached."""
    data = Data(files=10, entries=10_000, bytes=1000.0, servers=[FileServer("eos", 4e6)])
    outcome = simulate(Profile(data, [Group(speed=1000.0, count=16)]))
    assert outcome.limit == pytest.approx(25.0)
    assert outcome.reached > 0.95


def test_a_narrow_link_slows_its_worker_down() -> None:
    data = Data(files=1, entries=10_000, bytes=1000.0)
    assert simulate(Profile(data, [Group(speed=1000.0, rate=1e5)])).seconds == pytest.approx(100.0, rel=0.05)


def test_a_query_that_can_never_end_is_told() -> None:
    """The only worker dies and none will come: the simulation ends all the same, and says so."""
    outcome = simulate(Profile(Data(files=1, entries=100_000), [Group(speed=100.0, troubles=[Trouble("die", 5.0)])]))
    assert not outcome.complete
    assert outcome.reached == 0.0
    assert outcome.limit == float("inf")


def test_the_simulated_worker_has_the_real_ones_figures() -> None:
    """The simulated slot may not import the real one, which reads and compiles; its constants are copies."""
    assert machines.CHUNK_SECONDS == chunks.CHUNK_SECONDS
    assert machines.REPORT_INTERVAL == slot.TELL
    assert machines.REPORTS == slot.TIMES_TOLD
    assert Group(speed=1.0).grace == leaving.GRACE


# --- the limit ------------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.floats(0, 1000), st.floats(1, 100)), min_size=1, max_size=20), st.floats(1, 1e5))
def test_the_limit_is_where_the_slots_can_have_done_the_work(slots: list[tuple[float, float]], work: float) -> None:
    """T with sum of (T - start)+ * speed = work."""
    end = limit(sorted(slots), work)
    assert sum(max(0.0, end - start) * speed for start, speed in slots) == pytest.approx(work)


def test_the_limit_knows_what_file_servers_can_give() -> None:
    assert limit([(0.0, 100.0)], 1000.0, ceiling=10.0) == 100.0


# --- profiles -------------------------------------------------------------------------------------------------------

NONSENSE = {
    "data: {files: 1, entries: 1000000000}\nworkers: [{speed: 0.001}]": "too much to simulate",
    "data: {files: 1, entries: 100}\nworkers: [{speed: 100, count: 1000000}]": "too many to simulate",
    "data: {files: 1, entries: 10}": "workers",
    "data: {files: 0, entries: 10}\nworkers: [{speed: 1}]": "data.files",
    "data: {files: 1, entries: 10}\nworkers: []": "workers",
    "data: {files: 1, entries: 10}\nworkers: [{speed: fast}]": "workers[0].speed",
    "data: {files: 1, entries: 10}\nworkers: [{speed: -1}]": "workers[0].speed",
    "data: {files: 1, entries: 10}\nworkers: [{speed: .nan}]": "workers[0].speed",
    "data: {files: 1, entries: 10}\nworkers: [{speed: [2, 1]}]": "workers[0].speed",
    "data: {files: 1, entries: 10}\nworkers: [{speed: [1, 2, 3]}]": "workers[0].speed",
    "data: {files: 1, entries: [5, 1]}\nworkers: [{speed: 1}]": "data.entries",
    "data: {files: 1, entries: 10}\nworkers: [{speed: 1, sped: 2}]": "sped",
    "data: {files: 1, entries: 10}\nworkers: [{speed: 1, troubles: [{what: explode, at: 1}]}]": "explode",
    "data: {files: 1, entries: 10}\nworkers: [{speed: 1, troubles: [{what: die, at: 1, worker: 1}]}]": "worker is 1",
    "data: {files: 1, entries: 10}\nworkers: [{speed: 1, troubles: [{what: slower, at: 1}]}]": "times",
    "data: {files: 1, entries: 10}\nworkers: [{speed: 1, walltime: 0}]": "workers[0].walltime",
    "data: {files: 1, entries: 10}\nworkers: [{speed: 1, walltime: [2, 1]}]": "workers[0].walltime",
    "data: {files: 1, entries: 10}\nworkers: [{speed: 1, notice: 5}]": "workers[0].notice",
    "data: [\nworkers": "line",
    "just words": "no profile: that has `data` and `workers`",
    "": "no profile: that has `data` and `workers`",
}


@pytest.mark.parametrize("text", NONSENSE)
def test_a_profile_with_nonsense_is_refused_by_the_name_of_the_field(text: str) -> None:
    with pytest.raises(DatasetError) as refusal:
        parse(text)
    assert NONSENSE[text] in str(refusal.value)


def test_the_profiles_in_the_documentation_are_good() -> None:
    text = (Path(__file__).parents[2] / "docs" / "simulator.md").read_text()
    profiles = [block.partition("```")[0] for block in text.split("```yaml\n")[1:]]
    assert len(profiles) >= 3
    for profile in profiles:
        parse(profile)


def test_json_that_is_no_report_is_told_what_one_is(tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(DatasetError, match=r"^other\.json is no report: that is a list of workers"):
        load(tmp_path / "other.json")


def test_a_profile_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"nowhere\.yaml cannot be read"):
        load(tmp_path / "nowhere.yaml")


def test_ranges_are_spread_evenly() -> None:
    assert [spread([1.0, 4.0], index, 4) for index in range(4)] == [1.0, 2.0, 3.0, 4.0]
    assert spread([1.0, 4.0], 0, 1) == 1.0


def test_large_numbers_may_be_written_as_people_write_them() -> None:
    """YAML 1.1 takes 1e9 for a word; we do not."""
    text = "data: {files: 1, entries: 1_000, bytes: 1e3, servers: [{name: eos, bandwidth: 1e9}]}\nworkers: [{speed: 1}]"
    assert parse(text).data.servers[0].bandwidth == 1e9


def test_the_report_of_a_query_becomes_a_profile(tmp_path: Path) -> None:
    """With these workers, when would I have had it?"""
    report = [
        WorkerInfo("fast", "host", 1, 2, 0, 10, 2_000_000, 100.0),
        WorkerInfo("slow", "host", 2, 1, 0, 10, 500_000, 100.0),
        WorkerInfo("idle", "host", 3, 1, 0, 0, 0, 0.0),
    ]
    path = tmp_path / "report.json"
    path.write_bytes(msgspec.json.encode(report))
    profile = load(path)
    assert [(group.speed, group.slots) for group in profile.workers] == [(20_000.0, 2), (5_000.0, 1)]
    outcome = simulate(profile)
    assert outcome.account.processed == 2_500_000
    assert outcome.seconds == pytest.approx(2_500_000 / 45_000, rel=0.05)


def test_a_report_without_work_is_of_no_use() -> None:
    with pytest.raises(DatasetError, match="no worker in it"):
        from_report([])


# --- the command ----------------------------------------------------------------------------------------------------


def test_the_command_prints_and_draws(tmp_path: Path) -> None:
    profile = tmp_path / "profile.yaml"
    profile.write_text("data: {files: 4, entries: 10_000}\nworkers: [{speed: [500, 2000], count: 4}]\n")
    result = CliRunner().invoke(main, ["simulate", str(profile), "--png", str(tmp_path / "run.png"), "--seed", "3"])
    assert result.exit_code == 0, result.output
    assert "every entry done, once" in result.output
    assert (tmp_path / "run.png").read_bytes().startswith(b"\x89PNG")


def test_the_command_says_what_is_wrong_with_a_profile(tmp_path: Path) -> None:
    profile = tmp_path / "profile.yaml"
    profile.write_text("data: {files: 4, entries: 10_000}\nworkers: [{speed: 0}]\n")
    result = CliRunner().invoke(main, ["simulate", str(profile)])
    assert result.exit_code == 1
    assert "workers[0].speed" in result.output
