"""Users with keys of their own, and workers that enrol with tokens, as people use them: by the command line and sessions."""

from __future__ import annotations

import json
from collections.abc import Iterator

import eventmill as em
import processes
import pytest
from eventmill.protocol import messages
from eventmill.protocol.connection import load_connection
from eventmill.protocol.errors import ConnectionFailed, QueryFailed
from eventmill.protocol.tokens import find_token, new_token, read_token
from processes import SECONDS, Standing, call, eventually, finds_again, raw_peer, run


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standing]:
    """A master of its own with users alice and bob, and one worker that serves alice only."""
    made = Standing(tmp_path_factory.mktemp("shared"))
    for name in ("alice", "bob"):
        assert (
            call(
                "users", "add", name, "--master", "test", "--file", str(made.state / f"{name}.json"), state=made.state
            )[0]
            == 0
        )
    token = made.state / "token.txt"
    options = ("--master", "test", "--name", "hers", "--owner", "alice", "--pool", "test", "--file", str(token))
    assert call("token", "create", *options, state=made.state)[0] == 0
    made.worker(target=str(token), options=("--pool", "test")).wait_for("enrolled with the master")
    yield made
    made.close()


def connect(shared: Standing, name: str) -> em.Session:
    return em.connect(shared.state / f"{name}.json")


def events() -> em.Dataset:
    return em.cycles(1000, seed=1)


def count(cycles: object) -> dict[str, int]:
    return {"n": len(cycles)}  # type: ignore[arg-type]


def test_a_worker_that_enrolled_serves_its_owner_only(shared: Standing) -> None:
    """With a key that it has made itself, over the one port; the other user's query waits for workers."""
    with connect(shared, "alice") as alice, connect(shared, "bob") as bob:
        assert alice.process(events(), count).result(SECONDS)["n"] == 1000
        waiting = bob.process(events(), count)
        eventually(lambda: "worker" in repr(waiting), "the query waits for workers")
        assert waiting.account.processed == 0
        (worker,) = alice.workers()
        with pytest.raises(QueryFailed, match="works for alice, and is not sent away by bob"):
            bob.drain(worker.worker)
        waiting.abort()


def test_one_user_reads_and_stops_nothing_of_another(shared: Standing) -> None:
    with connect(shared, "alice") as alice, connect(shared, "bob") as bob:
        secret = alice.process(events(), count, name="secret")
        assert secret.result(SECONDS)["n"] == 1000
        (listed,) = [info for info in bob.queries() if info.query == secret.id]
        assert (listed.name, listed.owner, listed.account.processed) == ("secret", "alice", 1000)
        with pytest.raises(QueryFailed, match="is alice's, who has not shared it"):
            bob.attach(secret.id)
        with pytest.raises(QueryFailed, match="is not removed by others"):
            bob.remove(secret.id)
        with pytest.raises(QueryFailed, match="is not stopped by others"):
            bob.stop(secret.id)
        with pytest.raises(QueryFailed, match="only the owner of the master ends it"):
            bob.shutdown()
        open_to_bob = alice.process(events(), count, share=["bob"])
        assert bob.attach(open_to_bob.id).result(SECONDS)["n"] == 1000
        with pytest.raises(QueryFailed, match="no such user; there are: alice, bob"):
            alice.process(events(), count, share=["carol"])


def test_a_stranger_is_not_let_in(shared: Standing) -> None:
    """With the master's address and public key, which are no secrets, and a key of one's own."""
    own = load_connection(shared.state / "alice.json")
    token, _ = new_token(own.address, own.server_key)
    with pytest.raises(ConnectionFailed, match="does not know this key"):
        em.connect(processes.save(read_token(token), shared.state / "stranger.json"))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ((), "is used up: it lets 1 workers in, and has"),
        (("--pool", "other"), "is for workers of pool 'test', and this is of pool 'other'"),
    ],
)
def test_a_worker_that_is_not_let_in_says_why_and_ends(shared: Standing, options: tuple[str, ...], says: str) -> None:
    pool = options or ("--pool", "test")
    code, said = run("worker", str(shared.state / "token.txt"), "--slots", "1", *pool, state=shared.state)
    assert code == 1 and says in said and "Traceback" not in said


def test_a_token_on_a_command_line_is_refused(shared: Standing) -> None:
    """Where everybody on the machine can read it; and one in a file that others can read."""
    file = shared.state / "token.txt"
    code, said = call("worker", file.read_text().strip(), state=shared.state)
    assert (
        code == 1
        and "stood on the command line" in said
        and "EVENTMILL_TOKEN" in said
        and file.read_text().strip() not in said
    )
    copy = shared.state / "copy.txt"
    copy.write_text(file.read_text())
    copy.chmod(0o644)
    code, said = call("worker", str(copy), state=shared.state)
    assert code == 1 and "can be read by others" in said
    copy.chmod(0o600)
    copy.write_text(file.read_text()[:-20])
    code, said = call("worker", str(copy), state=shared.state)
    assert code == 1 and "not whole" in said


def test_a_token_in_the_environment_is_taken(shared: Standing, monkeypatch: pytest.MonkeyPatch) -> None:
    code, said = call("token", "create", "--master", "test", "--uses", "2", state=shared.state)
    assert code == 0
    text = said.splitlines()[0]
    found = find_token("", {"EVENTMILL_TOKEN": text})
    assert found is not None and found.role == "token" and found.secret_key not in repr(found)
    monkeypatch.setenv("EVENTMILL_TOKEN", text)
    worker = processes.Running("worker", "--slots", "1", "--idle", "0.2", "--name", "short", state=shared.state)
    try:
        worker.wait_for("nothing was asked of this worker for 0.2 s: it leaves")
        assert worker.wait() == 0
    finally:
        worker.close()


def test_tokens_and_users_are_listed_for_people_and_programs(shared: Standing) -> None:
    code, said = call("token", "list", "--master", "test", "--json", state=shared.state)
    lines = {line["name"]: line for line in map(json.loads, said.splitlines())}
    assert (
        code == 0 and lines["hers"]["used"] == 1 and lines["hers"]["owner"] == "alice" and lines["hers"]["workers"] == 1
    )
    code, said = call("token", "list", "--master", "test", state=shared.state)
    assert code == 0 and "1 of 1" in said and "alice" in said
    code, said = call("users", "list", "--master", "test", state=shared.state)
    assert code == 0 and "bob" in said
    code, said = call("users", "add", "alice", "--master", "test", state=shared.state)
    assert code == 2 and "rotate" in said


def test_a_worker_comes_back_under_its_name_and_users_stay_when_the_master_is_killed(shared: Standing) -> None:
    """The key that it has made is known to the next master, too."""
    with connect(shared, "alice") as alice:
        for _ in range(2):  # the second is taken in when the end of the first is written down, with the worker's name
            assert alice.process(events(), count).result(SECONDS)["n"] == 1000
        (before,) = [info.worker for info in alice.workers()]
        shared.crash()
        shared.start_master()
        finds_again(alice)
        eventually(lambda: bool(alice.workers()), "the worker has found it, too")
        assert alice.process(events(), count).result(SECONDS)["n"] == 1000
        assert [info.worker for info in alice.workers()] == [before]


@pytest.mark.long("processes start and end; tests/master/test_access.py has what a master says and does")
def test_a_revoked_token_ends_its_worker_and_a_removed_user_her_session(shared: Standing) -> None:
    code, said = call(
        "token",
        "create",
        "--master",
        "test",
        "--name",
        "brief",
        "--file",
        str(shared.state / "brief"),
        state=shared.state,
    )
    assert code == 0 and "eventmill worker" in said
    worker = shared.worker(target=str(shared.state / "brief"), options=("--name", "brief"))
    worker.wait_for("joined as brief-")
    assert call("token", "revoke", "brief", "--master", "test", state=shared.state)[0] == 0
    worker.wait_for("the token 'brief', by which this worker came, was revoked")
    assert worker.wait() == 1
    call("users", "add", "carol", "--master", "test", "--file", str(shared.state / "carol.json"), state=shared.state)
    with connect(shared, "carol") as carol:
        assert call("users", "remove", "carol", "--master", "test", state=shared.state)[0] == 0
        with pytest.raises(ConnectionFailed, match="user carol was removed"):
            eventually(lambda: not carol.queries() and False, "she is told")
    with raw_peer(load_connection(shared.state / "bob.json")) as bob:
        bob.say(messages.Hello("worker", "x", python=processes.PYTHON, slots=1))
        answer = bob.hear()
        assert isinstance(answer, messages.Fault) and "a session key cannot be used as a worker" in answer.reason
