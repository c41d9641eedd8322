"""Who may do what: the lines of the table in docs/security.md, at the master's core; and the life of tokens."""

from __future__ import annotations

from pathlib import Path

import pytest
from eventmill.master import effects
from eventmill.master.access import REMEMBERED, SESSION, USUAL, Access, AccessRefused, Change, Identity
from eventmill.master.access_records import AccessRecords
from eventmill.master.catalogue_records import CatalogueRecords
from eventmill.protocol import messages as m
from eventmill.protocol.errors import ConnectionFailed
from fleet import PYTHON, World
from hypothesis import given
from hypothesis import strategies as st
from property_tests import examples

ALICE = Identity("session", user="alice")


def key(name: str) -> str:
    return name.ljust(40, ".")


class Shared(World):
    """A master with users alice and bob, an operator olga, and its owner, all of them there; alice and bob are in "cms"."""

    def __init__(self, lengths: list[int] | None = None, seed: int = 0) -> None:
        super().__init__(lengths or [1000], seed)
        self.saved: list[Change] = []
        self.hello(b"owner", "session")
        self.requests = 100
        for name in ("alice", "bob", "olga"):
            self.add(name)
            self.keys[name.encode()] = key(name)
            self.hello(name.encode(), "session")

    def add(self, name: str, of: str = "") -> m.Message:
        groups = ["cms"] if name in ("alice", "bob") else []
        info = m.UserInfo(name, groups, operator=name == "olga")
        return self.ask(b"owner", lambda number: m.AddUser(number, of or key(name), info))

    def ask(self, who: bytes, make: object) -> m.Message:
        """What the master answers."""
        self.requests += 1
        self.tell(who, "session", make(self.requests))  # type: ignore[operator]
        return self.inbox[who][-1]

    def token(self, by: bytes = b"owner", name: str = "t", **terms: object) -> m.Message:
        return self.ask(by, lambda number: m.MakeToken(number, key(name), m.TokenTerms(name, **terms)))

    def enrol(self, worker: str, token: str = "t", slots: int = 1, pool: str = "") -> m.Message:
        """A worker comes with a token; if it is let in, it says hello with its own key."""
        came = f"{worker} with {token}".encode()
        self.keys[came] = key(token)
        self.tell(came, "token", m.Enrol(key(worker), pool, "4711_1", "node1", slots))
        answer = self.inbox[came][-1]
        if isinstance(answer, m.Enrolled):
            self.keys[worker.encode()] = key(worker)
            self.hello(worker.encode(), "worker", slots)
        return answer

    def merge(self, task: effects.Effect) -> None:
        if isinstance(task, effects.SaveAccess):
            self.saved += task.changes
        else:
            super().merge(task)

    def leases(self, worker: bytes) -> set[str]:
        """The queries that a worker has had leases of."""
        return {message.query for message in self.inbox[worker] if isinstance(message, m.Lease)}

    def last(self, who: bytes, kind: type[m.Message]) -> m.Message:
        return next(message for message in reversed(self.inbox[who]) if isinstance(message, kind))


# --- users ------------------------------------------------------------------------------------------------------------


def test_a_query_is_whose_key_asked_for_it_whatever_the_session_says() -> None:
    made = Shared()
    number = made.submit(b"bob", owner="alice")
    submit = made.core.queries[number].submit
    assert (submit.user, submit.owner) == ("bob", "bob")
    forged = made.submit(b"bob", owner="alice", user="alice")
    assert made.core.queries[forged].submit.user == "bob"


def test_the_owner_of_a_master_cannot_be_taken_for_one_of_its_users() -> None:
    made = Shared()
    submit = made.core.queries[made.submit(b"owner", owner="alice")].submit
    assert (submit.user, submit.owner) == ("", "alice (owner of the master)")


def test_others_see_that_a_query_is_there_and_how_far_it_is() -> None:
    made = Shared()
    number = made.submit(b"alice")
    listed = made.ask(b"bob", lambda n: m.Ask(n, "queries"))
    assert isinstance(listed, m.Queries) and [(it.query, it.owner) for it in listed.queries] == [(number, "alice")]
    cluster = made.ask(b"bob", m.AskCluster)
    assert isinstance(cluster, m.Cluster) and [it.query for it in cluster.progress] == [number]


@pytest.mark.parametrize(
    ("what", "says"),
    [
        (lambda n: m.Attach(n, "Q"), "is alice's, who has not shared it"),
        (lambda n: m.AskLogs(n, "Q"), "is alice's, who has not shared it"),
        (lambda n: m.AskMiniature(n, "Q"), "is alice's, who has not shared it"),
        (lambda n: m.Stop("Q", True, n), "is not stopped by others"),
        (lambda n: m.Stop("Q", False), "is not stopped by others"),
        (lambda n: m.Shutdown(n), "only the owner of the master ends it"),
        (lambda n: m.AddUser(n, key("eve"), m.UserInfo("eve")), "only the owner of the master adds"),
        (lambda n: m.RemoveUser(n, "alice"), "only the owner of the master adds"),
        (
            lambda n: m.MakeToken(n, key("x"), m.TokenTerms("x", owner="alice")),
            "bob may make tokens for workers of bob",
        ),
        (lambda n: m.MakeToken(n, key("x"), m.TokenTerms("x")), "bob may make tokens for workers of bob"),
        (lambda n: m.RevokeToken(n, "hers"), "no token 'hers' here"),
    ],
    ids=[
        "attach",
        "logs",
        "miniature",
        "stop",
        "abort",
        "shutdown",
        "add",
        "remove user",
        "token",
        "token for all",
        "revoke",
    ],
)
def test_a_user_cannot_read_stop_or_command_what_is_not_hers(what: object, says: str) -> None:
    """Refused in words, and nothing has happened."""
    made = Shared()
    number = made.submit(b"alice")
    made.token(b"alice", "hers", owner="alice")
    before = made.core.queries[number].state

    def make(n: int) -> m.Message:
        message = what(n)  # type: ignore[operator]
        named = {"query": number} if hasattr(message, "query") else {}
        return type(message)(**{field: getattr(message, field) for field in message.__struct_fields__} | named)

    answer = made.ask(b"bob", make)
    assert isinstance(answer, m.Refused) and says in answer.reason
    assert made.core.queries[number].state == before and b"bob" not in made.core.queries[number].audience.subscribers
    assert b"alice" in made.core.sessions and isinstance(made.enrol("w", "hers"), m.Enrolled)


def test_a_user_cannot_remove_the_query_of_another() -> None:
    made = Shared([10])
    number = made.submit(b"alice")
    made.hello(b"worker", "worker", 1)
    made.run()
    assert isinstance(made.ask(b"bob", lambda n: m.Remove(number, n)), m.Refused) and number in made.core.queries
    assert isinstance(made.ask(b"olga", lambda n: m.Remove(number, n)), m.Refused)
    assert isinstance(made.ask(b"alice", lambda n: m.Remove(number, n)), m.Done) and number not in made.core.queries


def test_nobody_brings_credentials_to_the_query_of_another() -> None:
    made = Shared()
    number = made.submit(b"alice")
    made.tell(b"bob", "session", m.Credentials(number), [b"his"])
    assert made.core.queries[number].credentials.packed is None
    made.tell(b"alice", "session", m.Credentials(number), [b"hers"])
    assert made.core.queries[number].credentials.packed == b"hers"


def test_until_when_credentials_are_good_is_told_to_who_may_read_the_result() -> None:
    """And why they are not renewed: a command may have said more than others should know."""
    made = Shared()
    number, shared = made.submit(b"alice"), made.submit(b"alice", share=["bob"])
    info = m.CredentialsInfo("token", 600.0, "command", "no such account")
    for query in (number, shared):
        made.tell(b"alice", "session", m.Credentials(query, info), [b"hers"])
    for peer, hers in ((b"alice", info), (b"bob", None), (b"olga", None)):
        told = made.ask(peer, lambda n: m.Ask(n, "queries"))
        assert isinstance(told, m.Queries)
        found = {it.query: it.credentials for it in told.queries}
        assert found[number] == hers
        assert (found[shared] is not None) == (peer != b"olga")
        cluster = made.ask(peer, lambda n: m.AskCluster(n))
        assert isinstance(cluster, m.Cluster)
        assert {it.query: it.credentials for it in cluster.progress}[number] == hers
        assert {it.query: it.credentials for it in cluster.queries}[number] == hers


@pytest.mark.parametrize("share", [["bob"], ["all"]])
def test_what_is_shared_is_read_by_those_it_is_shared_with_and_not_stopped(share: list[str]) -> None:
    made = Shared()
    number = made.submit(b"alice", share=share)
    assert isinstance(made.ask(b"bob", lambda n: m.Attach(n, number)), m.Accepted)
    assert isinstance(made.ask(b"bob", lambda n: m.Stop(number, True, n)), m.Refused)
    assert isinstance(made.ask(b"olga", lambda n: m.Attach(n, number)), m.Accepted) == (share == ["all"])


def test_a_query_is_shared_with_users_that_there_are() -> None:
    made = Shared()
    made.tell(b"alice", "session", m.Submit(7, "x", "kernel", "d", share=["bbo"]), [b"", b"\x90"])
    refused = made.last(b"alice", m.Refused)
    assert isinstance(refused, m.Refused) and "'bbo'" in refused.reason and "bob" in refused.reason


def test_an_operator_stops_and_drains_everything_and_reads_nothing() -> None:
    made = Shared()
    number = made.submit(b"alice")
    made.token(b"alice", owner="alice")
    made.enrol("w1")
    (worker,) = made.core.workers.values()
    assert isinstance(made.ask(b"olga", lambda n: m.Attach(n, number)), m.Refused)
    assert isinstance(made.ask(b"bob", lambda n: m.Drain(worker.name, n)), m.Refused)
    assert isinstance(made.ask(b"olga", lambda n: m.Drain(worker.name, n)), m.Done)
    assert isinstance(made.inbox[b"w1"][-1], m.Drain)
    assert isinstance(made.ask(b"olga", lambda n: m.Stop(number, False, n)), m.Done)
    assert made.core.queries[number].state == "aborted"


def test_logs_of_all_are_of_what_one_may_read() -> None:
    made = Shared()
    hers, his = made.submit(b"alice"), made.submit(b"bob")
    made.hello(b"worker", "worker", 1)
    said = [m.OutputLine("stdout", text, query) for text, query in (("a", hers), ("b", his), ("c", ""))]
    made.tell(b"worker", "worker", m.Output(said))

    def told(who: bytes) -> list[str]:
        logs = made.ask(who, m.AskLogs)
        assert isinstance(logs, m.Logs)
        return sorted(entry.line.text for entry in logs.entries)

    assert told(b"alice") == ["a", "c"] and told(b"bob") == ["b", "c"]
    assert told(b"owner") == ["a", "b", "c"] and told(b"olga") == ["c"]


def test_a_removed_user_is_gone_with_her_workers_and_her_queries_stop() -> None:
    made = Shared()
    number = made.submit(b"alice")
    made.token(b"alice", owner="alice")
    made.enrol("w1")
    assert made.leases(b"w1") == {number}
    assert isinstance(made.ask(b"owner", lambda n: m.RemoveUser(n, "alice")), m.Done)
    assert made.last(b"w1", m.Fault) == m.Fault("user alice was removed", fatal=True)
    assert made.last(b"alice", m.Bye) == m.Bye("user alice was removed")
    assert not made.core.workers and b"alice" not in made.core.sessions
    made.tell(b"alice", "session", m.Ask(1, "queries"))  # over the connection that is still open
    assert made.inbox[b"alice"][-1] == m.Fault("this key is let in no more", fatal=True)
    made.now += 3.0
    made.carry_out(made.core.expire(made.now))
    made.run()
    assert made.core.queries[number].over
    assert made.core._access.role(key("alice")) == "" and made.core._access.role(key("t")) == "token"


def test_a_key_that_is_rotated_lets_in_no_more() -> None:
    made = Shared()
    number = made.submit(b"alice")
    assert isinstance(made.add("alice", key("new")), m.Done)
    assert made.last(b"alice", m.Bye) == m.Bye("the key of user alice was replaced")
    made.keys[b"again"] = key("new")
    made.hello(b"again", "session")
    assert isinstance(made.ask(b"again", lambda n: m.Attach(n, number)), m.Accepted)


@pytest.mark.parametrize("name", ["", "@cms", "all", "me", "a\nb"])
def test_a_name_that_means_something_else_is_none_for_a_user(name: str) -> None:
    assert isinstance(Shared().add(name, key("other")), m.Refused)


# --- workers ----------------------------------------------------------------------------------------------------------


def test_a_worker_serves_its_owner_and_nobody_else() -> None:
    """The talk's "users prevented from running on VMs which were not booted for them", for users, groups and everybody."""
    made = Shared([1000] * 8)
    for name, owner in (("hers", "alice"), ("his", "bob"), ("theirs", "@cms"), ("free", "")):
        made.token(name=name, owner=owner, uses=2)
        made.enrol(f"w-{name}", name)
    queries = {who: made.submit(who.encode()) for who in ("alice", "bob", "olga", "owner")}
    made.run()
    assert set(made.ended) == set(queries.values())
    assert made.leases(b"w-hers") <= {queries["alice"]} and made.leases(b"w-his") <= {queries["bob"]}
    assert made.leases(b"w-theirs") <= {queries["alice"], queries["bob"]}
    for number in queries.values():
        assert set(made.merged[number].values()) == {1} and made.merged[number].total() == 8000


def test_idle_workers_of_one_user_do_not_keep_the_query_of_another_waiting() -> None:
    made = Shared()
    made.token(name="hers", owner="alice", uses=50)
    for index in range(50):
        made.enrol(f"hers{index}", "hers")
    made.token(name="his", owner="bob")
    made.enrol("his0", "his")
    number = made.submit(b"bob")
    assert made.leases(b"his0") == {number}


def test_a_query_that_no_worker_serves_waits_for_workers() -> None:
    made = Shared()
    made.token(owner="alice")
    made.enrol("w1")
    number = made.submit(b"bob")
    cluster = made.ask(b"bob", m.AskCluster)
    assert isinstance(cluster, m.Cluster)
    (progress,) = [it for it in cluster.progress if it.query == number]
    assert progress.waits == m.Wait("workers") and not made.leases(b"w1")


@examples(4, night=25)
@given(st.integers(0, 10_000))
def test_queries_of_several_owners_are_exact_and_on_their_workers(seed: int) -> None:
    """Whatever order things happen in, workers die, and new ones enrol."""
    made = Shared([300, 0, 900, 40], seed)
    owners = {"hers": ("alice",), "theirs": ("alice", "bob"), "free": ("alice", "bob", "owner")}
    for name, owner in (("hers", "alice"), ("theirs", "@cms"), ("free", "")):
        made.token(name=name, owner=owner, uses=100)
    numbers = {who: made.submit(who.encode()) for who in ("alice", "bob", "owner")}
    for count in range(60):
        name = made.random.choice(list(owners))
        made.enrol(f"{name}-{count}", name, slots=made.random.randrange(1, 3))
        for _ in range(made.random.randrange(8)):
            made.step()
        if made.random.random() < 0.4 and made.workers:
            made.kill(made.random.choice(list(made.workers)))
    made.enrol("free-last", "free")
    made.run()
    for who, number in numbers.items():
        assert set(made.merged[number].values()) == {1} and made.merged[number].total() == 1240
        for identity in made.inbox:
            pool = identity.decode().partition("-")[0]
            assert pool not in owners or number not in made.leases(identity) or who in owners[pool]


# --- tokens -----------------------------------------------------------------------------------------------------------


def test_a_token_lets_so_many_workers_in_and_says_when_it_is_used_up() -> None:
    made = Shared()
    made.token(uses=2)
    assert made.enrol("w1") == m.Enrolled(43200.0) and isinstance(made.enrol("w2"), m.Enrolled)
    assert made.enrol("w3") == m.Fault("the token 't' is used up: it lets 2 workers in, and has", fatal=True)
    assert isinstance(made.enrol("w1"), m.Enrolled), "the answer was lost: it comes again with the same key"


def test_a_token_may_say_nothing_but_that_it_enrols() -> None:
    made = Shared()
    made.token()
    made.keys[b"thief"] = key("t")
    for message in (m.Hello("worker", "x", python=PYTHON, slots=1), m.Ask(1, "queries"), m.SlotUp(0)):
        made.tell(b"thief", "token", message)
        fault = made.inbox[b"thief"][-1]
        assert isinstance(fault, m.Fault) and "a token key may not say" in fault.reason
    assert not made.core.workers


@pytest.mark.parametrize(
    ("terms", "worker", "says"),
    [
        ({"pool": "slurm"}, {"pool": "condor"}, "is for workers of pool 'slurm', and this is of pool 'condor'"),
        ({"pool": "slurm"}, {}, "is for workers of pool 'slurm', and this is of no pool"),
        ({"slots": 4}, {"slots": 8}, "a worker has at most 4 slots, not 8"),
    ],
)
def test_a_token_is_for_workers_as_its_terms_say(
    terms: dict[str, object], worker: dict[str, object], says: str
) -> None:
    made = Shared()
    made.token(**terms)
    fault = made.enrol("w1", **worker)  # type: ignore[arg-type]
    assert isinstance(fault, m.Fault) and fault.fatal and says in fault.reason
    assert made.core._access.listed(SESSION, 0.0)[1][0].used == 0


def test_a_worker_has_no_more_slots_than_its_token_lets_it() -> None:
    """Also when it enrols with few and says hello with many."""
    made = Shared()
    made.token(slots=2)
    made.enrol("w1", slots=2)
    made.tell(b"w1", "worker", m.Hello("worker", "w1", python=PYTHON, slots=64))
    fault = made.inbox[b"w1"][-1]
    assert isinstance(fault, m.Fault) and "at most 2 slots" in fault.reason


def test_a_revoked_token_sends_its_workers_away_and_what_they_had_is_done_by_others() -> None:
    made = Shared([5000])
    number = made.submit(b"alice")
    made.token(b"alice", owner="alice", uses=2)
    made.enrol("w1")
    assert made.leases(b"w1")
    assert isinstance(made.ask(b"alice", lambda n: m.RevokeToken(n, "t")), m.Done)
    assert made.last(b"w1", m.Fault).reason == "the token 't', by which this worker came, was revoked"  # type: ignore[attr-defined]
    assert not made.core.workers
    assert made.enrol("w2") == m.Fault("the token 't' was revoked", fatal=True)
    del made.workers[b"w1"]
    made.hello(b"free", "worker", 1)
    made.run()
    assert made.merged[number].total() == 5000


def test_a_worker_goes_when_its_token_is_over() -> None:
    made = Shared()
    made.token(valid=60.0)
    made.enrol("w1")
    assert made.core.deadline() <= 60.0
    made.now = 61.0
    made.tell(b"w1", "worker", m.Heartbeat())
    assert made.last(b"w1", m.Fault).fatal and not made.core.workers  # type: ignore[attr-defined]
    made.carry_out(made.core.expire(made.now))
    fault = made.enrol("w2")
    assert isinstance(fault, m.Fault) and "is over since 1 s" in fault.reason
    made.now = 61.0 + REMEMBERED
    for session in list(made.core.sessions):
        made.tell(session, "session", m.Heartbeat())
    made.carry_out(made.core.expire(made.now))
    assert made.core._access.role(key("t")) == ""


def test_two_tokens_of_one_name_or_key_are_refused() -> None:
    made = Shared()
    made.token()
    again = made.token()
    assert isinstance(again, m.Refused) and "there is a token called 't' already" in again.reason
    same = made.ask(b"owner", lambda n: m.MakeToken(n, key("alice"), m.TokenTerms("other")))
    assert isinstance(same, m.Refused) and "known already" in same.reason


def test_users_hear_of_their_own_tokens_only() -> None:
    made = Shared()
    made.token(b"alice", "hers", owner="alice")
    made.token(b"owner", "free")

    def names(who: bytes) -> list[str]:
        listed = made.ask(who, m.AskAccess)
        assert isinstance(listed, m.AccessList)
        return [info.terms.name for info in listed.tokens]

    assert (names(b"alice"), names(b"bob"), names(b"owner")) == (["hers"], [], ["hers", "free"])


# --- written down -----------------------------------------------------------------------------------------------------


def test_the_next_master_lets_in_whom_this_one_did(tmp_path: Path) -> None:
    """Users, tokens with what is left of them, and workers that have enrolled; with no secret in the file."""
    made = Shared()
    made.token(uses=2, valid=100.0, owner="alice")
    made.enrol("w1")
    records = AccessRecords(tmp_path / "access.sqlite")
    records.write(made.saved)
    records.close()
    assert (tmp_path / "access.sqlite").stat().st_mode & 0o777 == 0o600
    again = AccessRecords(tmp_path / "access.sqlite")
    access = Access(USUAL, again.load(), epoch=-50.0)  # its clock is at 90 when the last one's was at 40
    again.close()
    worker = access.identity(key("w1"), 90.0)
    assert worker is not None and (worker.owner, worker.until) == ("alice", 150.0)
    assert access.identity(key("alice"), 0.0) == ALICE and access.served_by("bob") == {"", "bob", "@cms"}
    assert access.enrol(key("t"), m.Enrol(key("w2")), 90.0) == 60.0
    with pytest.raises(AccessRefused, match="used up"):
        access.enrol(key("t"), m.Enrol(key("w3")), 90.0)


def test_a_worker_that_left_for_good_is_not_written_down_any_more(tmp_path: Path) -> None:
    made = Shared()
    made.token()
    made.enrol("w1")
    made.tell(b"w1", "worker", m.Bye())
    records = AccessRecords(tmp_path / "access.sqlite")
    records.write(made.saved)
    assert not any(record.key == key("w1") for record in records.load())
    records.close()


def test_a_file_that_others_can_write_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "access.sqlite"
    records = AccessRecords(file)
    records.write([("user", "x", None)])
    records.close()
    file.chmod(0o644)
    with pytest.raises(ConnectionFailed, match="open to others"):
        AccessRecords(file)
    with pytest.raises(ConnectionFailed, match="the catalogue of datasets, is open to others"):
        CatalogueRecords(file)
    file.chmod(0o600)
    file.write_bytes(b"something else" * 100)
    with pytest.raises(ConnectionFailed, match="with the users and tokens of this master, cannot be read"):
        AccessRecords(file)


def test_what_cannot_be_written_is_written_with_the_next_change(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = Shared()
    folder = tmp_path / "not there yet"
    records = AccessRecords(folder / "access.sqlite")
    records.write(made.saved)
    assert "is lost when the master ends" in caplog.text
    folder.mkdir()
    records.write([])
    assert len(records.load()) == 3
    records.close()


def test_a_dataset_that_somebody_has_changed_meanwhile_is_not_overwritten() -> None:
    """Whoever refreshes names the version that was looked at."""
    made = Shared()

    def put(who: bytes, replaces: int | None, files: bytes = b"files") -> m.Message:
        made.requests += 1
        made.tell(who, "session", m.PutDataset(made.requests, m.DatasetInfo("ttbar", owner="joe"), replaces), [files])
        return made.inbox[who][-1]

    first = put(b"alice", None)
    assert isinstance(first, m.DatasetIs) and (first.info.version, first.info.user, first.info.owner) == (
        1,
        "alice",
        "alice",
    )
    second = put(b"owner", 1)
    assert isinstance(second, m.DatasetIs) and (second.info.version, second.info.user) == (2, "alice")
    for who, replaces, says in (
        (b"alice", 1, "was changed by somebody else meanwhile"),
        (b"alice", None, "there is a dataset 'ttbar' already"),
        (b"bob", 2, "is alice's, and is not changed by bob"),
    ):
        refused = put(who, replaces)
        assert isinstance(refused, m.Refused) and says in refused.reason
    assert isinstance(made.ask(b"alice", lambda number: m.RemoveDataset(number, "ttbar")), m.Done)
    refused = put(b"alice", 2)
    assert isinstance(refused, m.Refused) and "is not in the catalogue any more" in refused.reason
