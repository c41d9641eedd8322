"""Files come out of the wire as they went in, whatever they share and do not share."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from calls import Calls
from eventmill.master.file_table import FileTable
from eventmill.protocol import file_blocks
from eventmill.protocol.file_blocks import A_BLOCK, FileColumns, blocks_of, columns_of, encode_files
from eventmill.protocol.messages import File
from eventmill.protocol.messages.parts import FriendTree
from hypothesis import given
from hypothesis import strategies as st

METADATA: list[Any] = [
    {}, *({"scale": it} for it in (1, 1.0, True, [1], [1.0], 0, 0.0, -0.0, float("nan"), float("inf"), None, "", [])),
    {"scale": 1, "sum": {"x": 0.0, "y": 1}}, {"sum": {"y": 1, "x": -0.0}, "scale": 1},
]  # fmt: skip
FRIENDS: list[dict[str, FriendTree]] = [{}, *({"f": FriendTree("f.root", missing=it)} for it in (1, True))]
ANY_FILE = st.builds(
    File,
    path=st.sampled_from(["a.root", "b.root", "root://host//c.root"]),
    tree=st.sampled_from(["Events", ""]),
    dataset=st.sampled_from(["data", "signal"]),
    entries=st.sampled_from([None, 0, 7]),
    metadata=st.sampled_from(METADATA),
    kind=st.sampled_from(["tree", "cycles"]),
    seed=st.integers(0, 1),
    replicas=st.sampled_from([(), ("/copy",)]),
    listed=st.sampled_from([None, [], [0, 3]]),
    friends=st.sampled_from(FRIENDS),
    identity=st.sampled_from(["", "uuid"]),
)
"""With paths that are there twice, and values that are equal and not the same."""


def exactly(files: Any) -> list[bytes]:
    return [msgspec.msgpack.encode(file) for file in files]


@given(st.lists(ANY_FILE, min_size=1, max_size=12), st.booleans())
def test_files_come_out_as_they_went_in(files: list[File], alike: bool) -> None:
    files = [files[0]] * len(files) if alike else files
    numbered = [msgspec.structs.replace(file, place=place) for place, file in enumerate(files)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(file_blocks, "A_BLOCK", 5)
        frame = encode_files(files)
    table = FileTable.of(frame)
    assert exactly(table) == exactly(numbered)
    assert exactly(block.file(index) for block in blocks_of(frame) for index in range(len(block))) == exactly(numbered)
    listed = [file.entries if file.listed is None else sum(file.listed[1::2]) - sum(file.listed[::2]) for file in files]
    assert (len(table), list(table.known)) == (len(files), listed)
    names = list(table.datasets)
    assert [names[group] for group in table.groups] == [file.dataset for file in files]
    assert table.counted == [
        place
        for place, file in enumerate(files)
        if file.kind != "tree" or (file.listed is not None and not file.listed)
    ]
    assert table.trees == sum(file.kind == "tree" for file in files)


@pytest.mark.parametrize("server", ["", "root://eos.cern.ch/"])
def test_files_that_share_all_but_their_paths_are_taken_in_together(server: str) -> None:
    """Of a million files a step for each takes a second, in which nobody works."""
    table = FileTable(encode_files([File(f"{server}/data/{number}.root", "Events") for number in range(2 * A_BLOCK)]))
    with Calls() as calls:
        table.take()
    assert 0 < calls.count < A_BLOCK / 5 and len(table) == A_BLOCK


def test_columns_have_the_fields_of_a_file() -> None:
    assert FileColumns.__struct_fields__ == File.__struct_fields__


@pytest.mark.parametrize(
    ("column", "values"),
    [("tree", []), ("tree", ["a", "b", "c"]), ("path", []), ("entries", [-1]), ("place", [0, "1"])],
    ids=["none", "too many", "no file", "negative", "no number"],
)
def test_columns_that_do_not_fit_are_refused(column: str, values: list[Any]) -> None:
    columns = msgspec.structs.asdict(FileColumns.of([File("a.root", place=0), File("b.root", place=1)]))
    assert [file.path for file in map(columns_of(msgspec.msgpack.encode(columns)).file, range(2))] == [
        "a.root",
        "b.root",
    ]
    with pytest.raises(msgspec.ValidationError):
        columns_of(msgspec.msgpack.encode(columns | {column: values}))
