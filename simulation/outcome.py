"""What came out of a simulation: its figures, a summary in words, and drawings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, isfinite, sqrt
from pathlib import Path
from typing import Any

from rich.table import Table

from ..protocol.errors import EventmillError
from ..protocol.messages import Account
from .environment import Record


@dataclass(frozen=True, slots=True)
class WorkerOutcome:
    """What one worker did: packets, when each slot that was there at the end finished its last one, and whether it left in
    good order before."""

    name: str
    speed: float
    packets: int
    ends: tuple[float, ...]
    left: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a simulated query went.

    Attributes:
        seed: of the run.
        complete: whether the query ended with every entry processed; otherwise nothing would ever have happened any more.
        seconds: from the submission to the end of the query.
        limit: the analytical limit: the T at which the integral over time of what all live slots could process is the
            work. For workers that start at times `start_i`: the sum over slots of (T - start_i)+ speed_i = entries.
        record: sums and changes over time.
        account: the ledger's account of entries.
        messages: that the master received and sent.
        workers: what each did.
        trace: digest of all messages, with their times, when asked for.
    """

    seed: int
    complete: bool
    seconds: float
    limit: float
    record: Record
    account: Account
    messages: int
    workers: list[WorkerOutcome]
    trace: str = ""

    @property
    def reached(self) -> float:
        """Fraction of the analytical limit; 0 when the query did not end."""
        return self.limit / self.seconds if self.complete and self.seconds else 0.0

    @property
    def ends(self) -> list[float]:
        """When each slot finished its last packet, of those that were there at the end."""
        return [end for worker in self.workers for end in worker.ends]

    @property
    def spread(self) -> float:
        """RMS of the slots' ends around their mean, over that mean (PROOF's figure: 16.6 s / 2287 s = 0.73 %)."""
        ends = self.ends
        if not ends:
            return 0.0
        mean = sum(ends) / len(ends)
        return sqrt(sum((end - mean) ** 2 for end in ends) / len(ends)) / mean

    @property
    def slot_seconds(self) -> float:
        """Slot time of all workers, from their arrival to their death or the end."""
        record = self.record
        return record.computing + record.opening + record.exchange + record.idle

    @property
    def idle(self) -> float:
        """Share of the slot time in which a slot had no lease."""
        return self.record.idle / self.slot_seconds if self.slot_seconds else 0.0

    @property
    def exchange(self) -> float:
        """Share of the slot time that went into exchanging packets."""
        return self.record.exchange / self.slot_seconds if self.slot_seconds else 0.0

    @property
    def in_vain(self) -> int:
        """Entries that were processed and did not count: of workers that died, of duplicates that came second."""
        return self.record.entries - self.account.processed

    def table(self) -> Table:
        """The figures, for a terminal."""
        record, account = self.record, self.account
        left = sum(worker.left for worker in self.workers)
        rows = [
            ("query", f"{account.processed:,} of {account.total:,} entries in {self.seconds:,.1f} s: {self._ended()}"),
            ("analytical limit", f"{self.limit:,.1f} s, {self.reached:.2%} of it reached" if self.complete else "-"),
            (
                "slots end together",
                f"within {self._range():.2f} s, RMS/mean {self.spread:.3%}" if self.complete else "-",
            ),
            (
                "slot time",
                f"idle {self.idle:.2%}, exchange {self.exchange:.2%}, opening {self._share(record.opening):.2%}",
            ),
            ("packets", f"{record.packets:,}, the longest {record.longest_packet:.2f} s, duplicates {record.apart:,}"),
            (
                "processed in vain",
                f"{self.in_vain:,} entries, {account.workers_lost} workers lost, {left} left in time",
            ),
            ("messages", f"{self.messages:,}"),
        ]
        table = Table(show_header=False, box=None)
        for row in rows:
            table.add_row(*row)
        return table

    def draw(self, path: Path) -> None:
        """Draw packets a worker and activity over time into an image file.

        Raises:
            EventmillError: matplotlib is not installed.
        """
        try:
            from matplotlib.figure import Figure
        except ImportError:
            raise EventmillError("drawing needs matplotlib: pip install eventmill[plot]") from None
        figure = Figure(figsize=(10, 4), layout="constrained")
        left, right = figure.subplots(1, 2)
        self._draw_packets(left)
        self._draw_activity(right)
        figure.savefig(path)

    def _draw_packets(self, axes: Any) -> None:
        packets = [worker.packets for worker in self.workers]
        axes.bar(range(len(packets)), packets, width=1.0)
        axes.set(xlabel="worker", ylabel="packets", title="packets a worker")
        axes.xaxis.get_major_locator().set_params(integer=True)

    def _draw_activity(self, axes: Any) -> None:
        times, slots = [0.0], [0]
        for time, change in self.record.activity:
            times.append(time)
            slots.append(slots[-1] + change)
        axes.step(times, slots, where="post", linewidth=0.8)
        if isfinite(self.limit):
            axes.axvline(self.limit, color="black", linestyle=":", label="analytical limit")
            axes.legend()
        axes.set(xlabel="time [s]", ylabel="slots at work", title="activity", ylim=(0, None))

    def _ended(self) -> str:
        if self.complete:
            return "every entry done, once"
        return "NEVER ENDS: what is left waits for workers that are gone, or that do nothing any more"

    def _range(self) -> float:
        return max(self.ends, default=0.0) - min(self.ends, default=0.0)

    def _share(self, seconds: float) -> float:
        return seconds / self.slot_seconds if self.slot_seconds else 0.0


def limit(capacity: Sequence[tuple[float, float]], work: float, ceiling: float | None = None) -> float:
    """The earliest time at which `work` entries can be done; infinity when never.

    Args:
        capacity: changes of the entries a second that all slots together can process, `(time, change)` in order of time.
        ceiling: entries a second that the file servers can give.

    Example:
        >>> limit([(0.0, 10.0), (5.0, 10.0)], work=100.0)
        7.5
    """
    now = rate = 0.0
    for time, change in (*capacity, (inf, 0.0)):
        usable = max(0.0, rate if ceiling is None else min(rate, ceiling))
        if usable > 1e-9 and work <= usable * (time - now):
            return now + work / usable
        if time < inf:
            work -= usable * (time - now)
        now, rate = time, rate + change
    return 0.0 if work <= 0.0 else inf
