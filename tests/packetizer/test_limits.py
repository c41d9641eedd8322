"""Limits on the entries of each of several datasets: the first ones of each, whatever is opened when."""

from __future__ import annotations

from eventmill.packetizer.files import Files, Loss, OpenedFile
from eventmill.packetizer.limits import Limits
from hypothesis import given
from hypothesis import strategies as st


@given(
    lengths=st.lists(st.integers(0, 20), min_size=1, max_size=12),
    known=st.booleans(),
    most=st.dictionaries(st.integers(0, 2), st.integers(0, 40)),
    data=st.data(),
)
def test_each_dataset_has_its_first_entries(
    lengths: list[int], known: bool, most: dict[int, int], data: st.DataObject
) -> None:
    """Files of several datasets are open at once; each has what a plain count from its first file on gives it."""
    groups = data.draw(st.lists(st.integers(0, 2), min_size=len(lengths), max_size=len(lengths)))
    files = Files(list(lengths) if known else [None] * len(lengths), Limits(groups, most))
    used: dict[int, int] = {}
    at_work: list[int] = []
    while True:
        file = files.openable()
        if file is not None and (not at_work or data.draw(st.booleans())):
            files.begin(file)
            at_work.append(file)
        elif at_work:
            file = at_work.pop(data.draw(st.integers(0, len(at_work) - 1)))
            if data.draw(st.booleans()):
                files.unopen(file)  # its slot has died
                continue
            used[file] = files.open(file, lengths[file])
            files.put_back(file, 0, used[file])
        else:
            break
    left = dict(most)
    for file, entries in enumerate(lengths):
        right = min(entries, left.get(groups[file], entries))
        if groups[file] in left:
            left[groups[file]] -= right
        assert used.get(file, 0) == right
    assert files.todo == sum(used.values()) and not files.estimated
    again = Files([None] * len(lengths), Limits(groups, most))
    again.restore(
        {file: OpenedFile(entries) for file, entries in used.items()}, {file: [] for file in used}, list[Loss]()
    )
    assert again.todo == files.todo and again.openable() is None


def test_a_dataset_without_a_limit_goes_on() -> None:
    files = Files([None] * 3, Limits([0, 1, 0], {0: 5}))
    files.begin(0)
    assert files.openable() == 1, "the next one of the limited dataset has to wait"
    files.begin(1)
    assert files.openable() is None
    assert (files.open(0, 9), files.open(1, 9)) == (5, 9)
    assert files.openable() is None and not files.estimated


def test_files_behind_the_limit_of_many_need_no_objects() -> None:
    """Who tries an analysis on the first entries of a million files had an object of each when these were there."""
    for groups, most in ((bytes(1000), {0: 150}), (bytes([0, 1] * 500), {0: 75, 1: 75})):
        files = Files([None] * 1000, Limits(groups, most))
        while (file := files.openable()) is not None:
            files.begin(file)
            files.put_back(file, 0, files.open(file, 100))
        assert files.todo == 150 and not files.estimated and not files.unopened
        assert files._states.kept == 2 and files[999].given_up


def test_a_file_that_is_held_is_not_needed_either_and_takes_no_other_out() -> None:
    """Files 1 and 2 are of one dataset, 0 of another, without a limit."""
    files = Files([None] * 3, Limits([1, 0, 0], {0: 5}))
    files.begin(1)
    files.hold(2)
    assert list(files.unopened) == [0] and files.open(1, 9) == 5
    assert files[2].given_up and not files.held and list(files.unopened) == [0] and files.estimated
    files.put_back(1, 0, 5)
    files.check({})
