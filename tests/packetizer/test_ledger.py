"""The ledger: every entry in exactly one place, whatever is reported in whatever order."""

from __future__ import annotations

from typing import Any

import pytest
from eventmill.packetizer.files import Loss, OpenedFile
from eventmill.packetizer.leases import Gap, StaleLease
from eventmill.packetizer.ledger import Ledger
from eventmill.packetizer.limits import Limits
from eventmill.packetizer.ranges import Ranges
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from property_tests import examples

LIMITS = st.tuples(
    st.lists(st.integers(0, 2), min_size=5, max_size=5),
    st.dictionaries(st.integers(0, 2), st.integers(0, 60), min_size=1),
)
"""The datasets that files are of, and the most entries of some datasets."""


class LedgerMachine(RuleBasedStateMachine):
    """Files of hidden lengths, leased, opened, committed, given back and failed at random; committed entries are counted
    beside the ledger, one by one."""

    @initialize(
        lengths=st.lists(st.integers(0, 40), min_size=1, max_size=5),
        known=st.lists(st.sampled_from(["not", "right", "wrong", "listed"]), min_size=5, max_size=5),
        limit=st.none() | st.integers(0, 80) | LIMITS,
    )
    def start(self, lengths: list[int], known: list[str], limit: Any) -> None:
        self.lengths = lengths
        self.known = [
            {"not": None, "wrong": 2 * length + 1}.get(how, length) for how, length in zip(known, lengths, strict=False)
        ]
        self.listed = {file for file in range(len(lengths)) if known[file] == "listed"}
        self.groups, self.most = limit if isinstance(limit, tuple) else ([0] * 5, {} if limit is None else {0: limit})
        self.groups = self.groups[: len(lengths)]
        self.limit = limit
        self.ledger = self.begun()
        self.counted: set[tuple[int, int]] = set()
        self.dead: list[int] = []
        self.story: list[tuple[int, OpenedFile] | Loss | list[tuple[int, int, int]]] = []
        self.told = 0

    def begun(self) -> Ledger[str]:
        """A ledger of these files."""
        limit = self.limit if isinstance(self.limit, int) or self.limit is None else Limits(self.groups, self.most)
        return Ledger(self.known, limit, self.listed)

    def live(self, *, opening: bool) -> list[int]:
        return [lease.number for lease in self.ledger.leases.values() if lease.opening == opening]

    def running(self) -> list[int]:
        return [x.number for x in self.ledger.leases.values() if not (x.opening or x.finished)]

    def single(self) -> list[int]:
        leases = self.ledger.leases.values()
        return [x.number for x in leases if not x.opening and x.duplicate is None and x.start < x.stop]

    @precondition(lambda self: self.ledger.files.openable() is not None)
    @rule(stop=st.integers(1, 50))
    def lease_opening(self, stop: int) -> None:
        file = self.ledger.files.openable()
        assert file is not None
        left = self.ledger.limits.left(file)
        if left is not None:
            stop = min(stop, left)
            assert left > 0
        self.ledger.lease_opening(file, stop, "slot")

    @precondition(lambda self: self.live(opening=True))
    @rule(data=st.data())
    def opened(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(self.live(opening=True)))
        lease = self.ledger.leases[number]
        entries = self.lengths[lease.file]
        stop = data.draw(st.integers(1, lease.stop)) if entries > lease.stop else entries
        self.ledger.opened(number, entries, stop)
        self.story.append((lease.file, OpenedFile(self.ledger.files[lease.file].entries or 0)))

    @precondition(lambda self: self.ledger.ready)
    @rule(data=st.data())
    def lease(self, data: st.DataObject) -> None:
        file = data.draw(st.sampled_from(sorted(self.ledger.ready)))
        start, stop = data.draw(st.sampled_from(list(self.ledger.files[file].todo)))
        start = data.draw(st.integers(start, stop - 1))
        self.ledger.lease(file, start, data.draw(st.integers(start + 1, stop)), "slot")

    @precondition(lambda self: self.running())
    @rule(data=st.data())
    def finished(self, data: st.DataObject) -> None:
        lease = self.ledger.leases[data.draw(st.sampled_from(self.running()))]
        self.ledger.finished(lease.number, data.draw(st.integers(lease.start, lease.stop)))
        if lease.number not in self.ledger.leases:
            self.dead.append(lease.number)

    @precondition(lambda self: self.live(opening=False))
    @rule(data=st.data())
    def commit(self, data: st.DataObject) -> None:
        numbers = data.draw(st.lists(st.sampled_from(self.live(opening=False)), min_size=1, unique=True))
        leases = [self.ledger.leases[number] for number in numbers]
        leases = [
            lease
            for lease in leases
            if lease.duplicate is None or lease.number < lease.duplicate or lease.duplicate not in numbers
        ]
        duplicates = [lease.duplicate for lease in leases if lease.duplicate is not None]
        parts = [(lease.number, lease.start, data.draw(st.integers(lease.start, lease.stop))) for lease in leases]
        files = {lease.number: lease.file for lease in leases}
        gaps = []
        for number, start, stop in parts:
            edges = sorted(data.draw(st.sets(st.integers(start, stop), max_size=4)))
            gaps += [Gap(number, *pair, "bad") for pair in zip(edges[::2], edges[1::2], strict=False)]
        missing = {(gap.lease, entry) for gap in gaps for entry in range(gap.start, gap.stop)}
        assert self.ledger.commit(parts, gaps) == sum(stop - start for _, start, stop in parts) - len(missing)
        done = [(files[number], start, start) for number, start, stop in parts if start == stop]
        for number, start, stop in parts:
            left = (entry for entry in range(start, stop) if (number, entry) not in missing)
            done += [(files[number], entry, entry + 1) for entry in left]
        self.story.append(done)
        for number, start, stop in parts:
            for entry in range(start, stop):
                if (number, entry) in missing:
                    continue
                assert (files[number], entry) not in self.counted, "an event was counted twice"
                self.counted.add((files[number], entry))
            if number not in self.ledger.leases:
                self.dead.append(number)
        assert not any(duplicate in self.ledger.leases for duplicate in duplicates), (
            "the duplicate of a committed lease is dead"
        )
        self.dead += duplicates

    @precondition(lambda self: any(not lease.finished for lease in self.ledger.leases.values() if not lease.opening))
    @rule(data=st.data())
    def truncate(self, data: st.DataObject) -> None:
        running = [lease for lease in self.ledger.leases.values() if not (lease.opening or lease.finished)]
        lease = data.draw(st.sampled_from(running))
        self.ledger.truncate(lease.number, data.draw(st.integers(lease.start, lease.stop)))
        if lease.number not in self.ledger.leases:
            self.dead.append(lease.number)

    @precondition(lambda self: self.single())
    @rule(data=st.data())
    def duplicate(self, data: st.DataObject) -> None:
        self.ledger.duplicate(data.draw(st.sampled_from(self.single())), "other slot")

    @precondition(lambda self: self.ledger.leases)
    @rule(data=st.data())
    def give_back(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.ledger.leases)))
        self.ledger.give_back(number)
        self.dead.append(number)

    @precondition(lambda self: self.ledger.leases)
    @rule(data=st.data())
    def fail(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.ledger.leases)))
        self.ledger.fail(number, "broken", *data.draw(st.just(()) | st.tuples(st.integers(0, 40), st.integers(0, 40))))
        self.dead.append(number)

    @rule(data=st.data())
    def hold(self, data: st.DataObject) -> None:
        """A file is set aside for a while."""
        self.ledger.hold(data.draw(st.integers(0, len(self.lengths) - 1)))
        assert not self.ledger.complete

    @precondition(lambda self: self.ledger.held)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        file = data.draw(st.sampled_from(sorted(self.ledger.held)))
        self.ledger.release(file)

    @precondition(lambda self: self.dead)
    @rule(data=st.data())
    def say_something_of_a_dead_lease(self, data: st.DataObject) -> None:
        """Late and replayed reports change nothing."""
        number = data.draw(st.sampled_from(self.dead))
        before = (self.ledger.files.todo, self.ledger.leased, self.ledger.processed, self.ledger.failed)
        for report in (
            lambda: self.ledger.finished(number, 0),
            lambda: self.ledger.commit([(number, 0, 1)]),
            lambda: self.ledger.opened(number, 10, 5),
            lambda: self.ledger.give_back(number),
        ):
            with pytest.raises(StaleLease):
                report()
        assert before == (self.ledger.files.todo, self.ledger.leased, self.ledger.processed, self.ledger.failed)

    @rule(data=st.data())
    def restart(self, data: st.DataObject) -> None:
        """Another ledger goes on from what was written down: the ranges that the result held at some moment, and what was
        told of files and losses until then or until later."""
        self.write()
        done_until = data.draw(st.integers(0, len(self.story)))
        told_until = data.draw(st.integers(done_until, len(self.story)))
        kept = [it for index, it in enumerate(self.story[:told_until]) if index < done_until or type(it) is not list]
        opened = dict(it for it in kept if type(it) is tuple)
        losses = [it for it in kept if isinstance(it, Loss)]
        done: dict[int, Ranges] = {}
        for parts in kept:
            for file, start, stop in parts if type(parts) is list else ():
                done.setdefault(file, Ranges()).add(start, stop)
        self.ledger = self.begun()
        self.ledger.restore(opened, done, losses)
        self.counted = {(file, i) for file, ranges in done.items() for a, b in ranges for i in range(a, b)}
        self.dead, self.story, self.told = [], kept, len(losses)

    def write(self) -> None:
        """Losses are told one step after they happen."""
        self.story += self.ledger.losses[self.told :]
        self.told = len(self.ledger.losses)

    def teardown(self) -> None:
        """Whatever happened, what is left can be done, and then every entry has been counted once, or is lost."""
        if not hasattr(self, "ledger"):
            return
        ledger = self.ledger
        for number in list(ledger.leases):
            ledger.give_back(number) if number in ledger.leases else None
        for file in list(ledger.held):
            ledger.release(file)
        while (file := ledger.files.openable()) is not None:
            lease = ledger.lease_opening(file, 10, "slot")
            ledger.opened(lease.number, self.lengths[file], 0)
            ledger.finished(lease.number, 0)
            ledger.commit([(lease.number, 0, 0)])
        for file in list(ledger.ready):
            for start, stop in list(ledger.files[file].todo):
                ledger.commit([(ledger.lease(file, start, stop, "slot").number, start, stop)])
                self.counted |= {(file, entry) for entry in range(start, stop)}
        for number, lease in list(ledger.leases.items()):
            ledger.finished(number, lease.start)
        self.adds_up()
        assert ledger.complete, (ledger.leases, ledger.ready, ledger.unopened, ledger.held, ledger.files)
        lost = {(it.file, entry) for it in ledger.losses for entry in range(it.start, it.stop or 0)}
        assert not lost & self.counted and len(lost) == ledger.failed
        gone = {it.file for it in ledger.losses if it.stop is None}
        every, left = set(), dict(self.most)
        for file, length in enumerate(self.lengths):
            used = 0 if file in gone else min(length, left.get(self.groups[file], length))
            every |= {(file, entry) for entry in range(used)}
            if self.groups[file] in left:
                left[self.groups[file]] -= used
        assert lost | self.counted == every

    @invariant()
    def adds_up(self) -> None:
        if hasattr(self, "ledger"):
            self.write()
            self.ledger.check()
            assert self.ledger.processed == len(self.counted)
            if self.ledger.complete:
                assert self.ledger.total == self.ledger.processed + self.ledger.failed
                assert not self.ledger.estimated
                if self.most.keys() >= set(self.groups):
                    assert self.ledger.total <= sum(self.most.values())


TestLedger = LedgerMachine.TestCase
TestLedger.settings = examples(40, stateful_step_count=30)


def test_a_commit_stands_or_falls_as_a_whole() -> None:
    """One stale part refuses all of them."""
    ledger = Ledger([None])
    first = ledger.lease_opening(0, 10, "a")
    ledger.opened(first.number, entries=30, stop=10)
    second = ledger.lease(0, 10, 20, "b")
    for parts in ([(0, 0, 10), (99, 0, 1)], [(0, 0, 10), (1, 11, 20)], [(0, 0, 11)], [(0, 0, 5), (0, 5, 10)]):
        with pytest.raises(StaleLease):
            ledger.commit(parts)
        ledger.check()
        assert ledger.processed == 0
    assert ledger.commit([(first.number, 0, 10), (second.number, 10, 20)]) == 20


def test_a_gap_outside_of_its_part_refuses_the_commit() -> None:
    ledger = Ledger([None])
    lease = ledger.lease_opening(0, 10, "a")
    ledger.opened(lease.number, entries=30, stop=10)
    for gaps in ([Gap(0, 5, 11, "")], [Gap(0, 5, 5, "")], [Gap(1, 0, 1, "")], [Gap(0, 2, 4, ""), Gap(0, 3, 5, "")]):
        with pytest.raises(StaleLease):
            ledger.commit([(0, 0, 10)], gaps)
        ledger.check()
    assert ledger.commit([(0, 0, 10)], [Gap(0, 0, 2, "bad"), Gap(0, 9, 10, "worse")]) == 7
    assert (ledger.processed, ledger.failed) == (7, 3)


def test_totals_of_unopened_files_are_estimates_and_say_so() -> None:
    ledger = Ledger([None, None, 50])
    assert ledger.estimated and ledger.total == 50
    lease = ledger.lease_opening(0, 100, "a")
    ledger.opened(lease.number, entries=20, stop=20)
    assert ledger.estimated and ledger.total == 20 + 20 + 50


def test_an_unopenable_file_is_listed_as_lost() -> None:
    """A file that never opened has no known length: it is in the list of losses with an open end."""
    ledger = Ledger([None, 7, 5], listed={2})  # 7 was announced only, 5 are named by a list
    for _ in range(3):
        file = ledger.files.openable()
        assert file is not None
        ledger.fail(ledger.lease_opening(file, 10, "a").number, "gone")
    assert ledger.complete and ledger.failed == ledger.total == 5
    losses = [(loss.file, loss.stop, loss.reason) for loss in ledger.losses]
    assert losses == [(0, None, "gone"), (1, None, "gone (announced: 7 entries)"), (2, 5, "gone")]


def test_with_a_limit_empty_files_that_are_given_back_are_opened_again() -> None:
    """In whatever order they come back: the next one is the first of the dataset."""
    ledger = Ledger([None] * 3, limit=100)
    numbers = []
    for _ in range(2):
        file = ledger.files.openable()
        assert file is not None
        numbers.append(ledger.lease_opening(file, 100, "w").number)
        ledger.opened(numbers[-1], 0, 0)
    for number in numbers:
        ledger.give_back(number)
    assert ledger.files.openable() == 0
