"""That many files are submitted without anybody waiting for it."""

from __future__ import annotations

from math import inf

import msgspec
import pytest
from eventmill.dataset.dataset import Dataset
from eventmill.master import submissions
from eventmill.master.file_table import FileTable
from eventmill.master.query import Query
from eventmill.protocol import messages as m
from eventmill.protocol.file_blocks import A_BLOCK, encode_files
from eventmill.session.session import _encode_files
from fleet import World

MANY = 5 * A_BLOCK + 7


def world() -> World:
    made = World([])
    for name in (b"session", b"other"):
        made.hello(name, "session")
    made.hello(b"worker0", "worker", slots=1)
    return made


def submit(made: World, frame: bytes, request: int = 1, token: str = "", session: bytes = b"session") -> None:
    made.tell(session, "session", m.Submit(request, "test", "kernel", "digest", token=token), [b"analysis", frame])


def heard(made: World, kind: type[m.Message], session: bytes = b"session") -> list[m.Message]:
    return [message for message in made.inbox.get(session, []) if isinstance(message, kind)]


FILES = [
    m.File(f"root://eos{i % 3}.cern.ch//f{i}.root", entries=i % 5, replicas=("/copy",) * (i % 2)) for i in range(MANY)
]


def test_a_table_has_the_files_that_travelled() -> None:
    table = FileTable.of(encode_files(FILES))
    assert list(table) == [msgspec.structs.replace(file, place=place) for place, file in enumerate(FILES)]
    assert (table[-1], table[MANY - 1 :]) == (table[MANY - 1], [table[MANY - 1]])
    assert list(table.known) == [file.entries for file in FILES]
    assert table.homes.servers(1) == ("eos1.cern.ch", "") and table.homes.servers(2) == ("eos2.cern.ch",)
    with pytest.raises(IndexError):
        table[MANY]
    plain = FileTable.of(msgspec.msgpack.encode(FILES))
    assert list(plain) == FILES


def test_many_files_are_taken_in_a_block_a_turn() -> None:
    """Others are answered in between; the query begins with the last block."""
    made = world()
    submit(made, encode_files(FILES), token="t")
    turns = 0
    while not heard(made, m.Accepted):
        assert made.core.deadline() == -inf, "there is more to do"
        made.tell(b"other", "session", m.Ask(1, "queries"))
        assert isinstance(made.inbox[b"other"][-1], m.Queries)
        if turns == 1:  # it was not answered: a session that comes again says the same again
            submit(made, encode_files(FILES), request=5, token="t")
        turns += 1
        made.carry_out(made.core.expire(made.now))
    assert turns == 6 and made.core.deadline() > -inf
    assert [message.request for message in heard(made, m.Accepted)] == [5]  # type: ignore[attr-defined]
    query = next(iter(made.core.queries.values()))
    assert len(made.core.queries) == 1 and len(query.files) == MANY
    assert query.ledger.total == sum(file.entries or 0 for file in FILES)


@pytest.mark.parametrize("bad", [b"\xc0", msgspec.msgpack.encode([{"path": 7}])], ids=["no list", "no file"])
def test_a_block_that_is_none_is_refused_when_it_comes(bad: bytes) -> None:
    made = world()
    block = msgspec.msgpack.encode(FILES[:10])
    submit(made, msgspec.msgpack.encode([block, block, bad, block]))
    for _ in range(5):
        made.carry_out(made.core.expire(made.now))
    assert "malformed submission" in heard(made, m.Refused)[0].reason  # type: ignore[attr-defined]
    assert not made.core.queries and made.core.deadline() > -inf
    submit(made, msgspec.msgpack.encode([block, {"path": "f.root"}]))
    assert "in blocks, or not" in heard(made, m.Refused)[1].reason  # type: ignore[attr-defined]


@pytest.mark.interpreted("faults are put into methods of cores")
@pytest.mark.parametrize("where", ["table", "query"])
def test_an_error_of_ours_refuses_the_submission_only(monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    made = world()
    made.errors = 1
    submit(made, encode_files(FILES))
    whose, name = (submissions.FileTable, "take") if where == "table" else (Query, "submitted")
    monkeypatch.setattr(whose, name, lambda *_: 1 // 0)
    for _ in range(6):
        made.carry_out(made.core.expire(made.now))
    assert "the master failed on it" in heard(made, m.Refused)[0].reason  # type: ignore[attr-defined]
    assert made.core.deadline() > -inf and not made.core.queries and made.core.errors == 1


def test_a_session_says_which_of_many_files_cannot_travel() -> None:
    names = [f"f{i}.root" for i in range(2 * A_BLOCK)]
    assert len(FileTable.of(_encode_files(Dataset(names).files))) == 2 * A_BLOCK
    names[A_BLOCK + 3] = "x" * 200_000
    with pytest.raises(Exception, match="cannot be named to the master"):
        _encode_files(Dataset(names).files)
