"""What real faults hit besides the dimuon query: all kinds of datasets and analyses, each with the value that must come out.

The values are made by numpy from what the files are known to hold, in one process: none of eventmill's reading, merging or
isolation is in them.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import eventmill as em
import numpy as np
import uproot

ITEMS, CYCLES, SEED = 1500, 60_000, 7
BAD_ITEM, BAD_EVENT = 131, 9_973
"""One of so many raises in queries that skip errors."""


@dataclass(frozen=True, slots=True)
class Job:
    """A query.

    Args:
        lost: entries that raise and are skipped, of all that are in the dataset.
        value: what the sums must be, `events` being how many entries were processed.
    """

    name: str
    data: em.Dataset
    analysis: Any
    value: dict[str, int]
    lost: int = 0

    @property
    def on_error(self) -> str:
        """What it does with entries that raise."""
        return "skip" if self.lost else "fail"

    def wrong(self, name: str, result: Any) -> list[str]:
        """What is wrong with a result."""
        account = result.account
        found = {key: int(np.asarray(result[key]).sum()) for key in self.value}
        if (account.processed, account.failed) != (self.value["events"], self.lost) or found != self.value:
            return [f"{name} ({self.name}): {found} where {self.value} must be, {self.lost} lost; {account}"]
        return []


def sums(cost: float, bad: bool = False, friend: bool = False) -> Callable[[Any], dict[str, Any]]:
    """Sums over events, `cost` seconds each."""

    def columnar(events: Any) -> dict[str, Any]:
        import time

        number = np.asarray(events.event)
        if bad and (number % BAD_EVENT == 13).any():
            raise ValueError("a bad event")
        time.sleep(cost * len(number))
        result = {"events": len(number), "numbers": int(number.sum())}
        return {**result, "twice": int(np.asarray(events.more.twice).sum())} if friend else result

    return columnar


def sums_of_kernel(bad: bool) -> Any:
    """The same, compiled."""

    @em.kernel(events=np.zeros(1, np.int64), numbers=np.zeros(1, np.int64))
    def kernel(events: Any, numbers: Any, event: Any) -> None:
        if bad and event % BAD_EVENT == 13:
            raise ValueError("a bad event")
        events[0] += 1
        numbers[0] += event

    return kernel


def of_item(item: int) -> dict[str, Any]:
    """Of one item; some raise."""
    import time

    time.sleep(0.002)
    if item % BAD_ITEM == 13:
        raise ValueError("a bad item")
    return {"events": 1, "numbers": item}


def of_cycles(cycles: Any) -> dict[str, Any]:
    """Of generated events: numbers, and random ones that depend on seed and number alone."""
    import time

    time.sleep(2e-5 * len(cycles))
    return {
        "events": len(cycles),
        "numbers": int(cycles.number.sum()),
        "drawn": int((cycles.uniform() * 2**40).astype(np.int64).sum()),
    }


def processor(cost: float) -> Any:
    """A coffea processor."""
    from coffea.nanoevents import BaseSchema  # type: ignore[import-not-found,unused-ignore]
    from coffea.processor import ProcessorABC  # type: ignore[import-not-found,unused-ignore]

    class Sums(ProcessorABC):  # type: ignore[misc,unused-ignore]
        schema = BaseSchema

        def process(self, events: Any) -> dict[str, Any]:
            import time

            time.sleep(cost * len(events))
            return {"events": len(events), "numbers": int(np.asarray(events.event).sum())}

        def postprocess(self, accumulator: Any) -> Any:
            return accumulator

    return Sums()


def drawn(cycles: int) -> int:
    """The sum of the cycles' first uniform numbers, one by one, as docs/guide.md says that they are drawn by numpy."""
    from numpy.random import Generator, Philox

    first = (Generator(Philox(key=SEED, counter=[0, 0, 1, cycle])).random() for cycle in range(cycles))
    return sum(int(number * 2**40) for number in first)


def make_jobs(places: Sequence[str], paths: Sequence[Path], cost: float, factor: float = 1.0) -> list[Job]:
    """Queries over the sample (of which `paths` are here and `places` where the queries read it) and over no files.

    Args:
        cost: seconds an event.
        factor: so many items and cycles, in parts of what there would be.
    """
    numbers, runs, sections = [], [], []
    for path in paths:
        with uproot.open(path) as file:
            columns = file["Events"].arrays(["event", "run", "luminosityBlock"], library="np")
        numbers.append(columns["event"].astype(np.int64))
        runs.append(columns["run"].astype(np.int64))
        sections.append(columns["luminosityBlock"].astype(np.int64))
    everything = np.concatenate(numbers)
    good = everything[everything % BAD_EVENT != 13]
    whole = em.Dataset(list(places), tree="Events")

    def value(chosen: Any) -> dict[str, int]:
        return {"events": len(chosen), "numbers": int(chosen.sum())}

    lists = {place: np.flatnonzero(mine % 3 == 1) for place, mine in zip(places, numbers, strict=True)}
    listed = np.concatenate([mine[mine % 3 == 1] for mine in numbers])
    mask, within = _mask(runs, sections)
    masked = np.concatenate([mine[inside] for mine, inside in zip(numbers, within, strict=True)])
    friends = {place: str(_friend(path, mine)) for place, path, mine in zip(places, paths, numbers, strict=True)}
    items = np.arange(round(ITEMS * factor))
    sound = items[items % BAD_ITEM != 13]
    cycles = round(CYCLES * factor)
    jobs = [
        Job("columnar, skip", whole, sums(cost, bad=True), value(good), len(everything) - len(good)),
        Job("kernel, skip", whole, sums_of_kernel(True), value(good), len(everything) - len(good)),
        Job("items, skip", em.items(items.tolist()), of_item, value(sound), len(items) - len(sound)),
        Job("cycles", em.cycles(cycles, seed=SEED), of_cycles, value(np.arange(cycles)) | {"drawn": drawn(cycles)}),
        Job("entry lists", em.Dataset(list(places), tree="Events", entries=lists), sums(cost), value(listed)),
        Job("mask, kernel", em.Dataset(list(places), tree="Events", mask=mask), sums_of_kernel(False), value(masked)),
        Job(
            "friends", em.Dataset(list(places), tree="Events", friends={"more": friends}), sums(cost, friend=True),
            value(everything) | {"twice": int(2 * everything.sum())},
        ),
    ]  # fmt: skip
    if importlib.util.find_spec("coffea") is not None:
        jobs.append(Job("coffea processor", whole, processor(cost), value(everything)))
    return jobs


def _mask(runs: Sequence[Any], sections: Sequence[Any]) -> tuple[dict[int, list[list[int]]], list[Any]]:
    """A mask that leaves the lower half of each run's luminosity sections, and which events these are."""
    run, section = np.concatenate(runs), np.concatenate(sections)
    middle = {int(one): int(np.median(section[run == one])) for one in np.unique(run)}
    mask = {one: [[int(section[run == one].min()), last]] for one, last in middle.items()}
    within = []
    for some, theirs in zip(runs, sections, strict=True):
        within.append(theirs <= np.array([middle[one] for one in some.tolist()]))
    return mask, within


def _friend(path: Path, numbers: Any) -> Path:
    """A file beside another one with a tree of as many entries."""
    name = path.with_name(f"{path.stem}_friend.root")
    with uproot.recreate(name) as file:
        file.mktree("More", {"twice": "int64"}).extend({"twice": 2 * numbers})
    return name
