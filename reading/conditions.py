"""Conditions: what holds for some runs, in a file on a server, as of a conditions database."""

from __future__ import annotations

import json
import os
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..analysis.corrections import Correction
from ..protocol.addresses import shown
from ..protocol.errors import AnalysisError
from .aux_files import AuxFile, for_all_events, unpacked

_MOST_KEPT = 32
_MOST_EXACT = 2**53
_EXAMPLE = (
    '[{"since": 1, "until": 99, "scale": 1.02}, ...], or {"1": {"scale": 1.02}, "100": ...} by the first run of each'
)


@dataclass(frozen=True)
class Intervals:
    """What holds from when until when; `until` is the last one."""

    since: list[int]
    until: list[int]
    payloads: list[Any]


_kept: OrderedDict[str, Intervals] = OrderedDict()
"""By the checksums of their files: decoded once a process."""


class Conditions(AuxFile):
    """What holds for some runs, read by workers from a server, once a host; made by `em.conditions`.

    Example:
        >>> ecal = conditions("root://host//conditions/ecal.json")                                # doctest: +SKIP
        >>> def calibrated(events):                                                               # doctest: +SKIP
        ...     return {"pt": histogram(events.pt * ecal.of(events, "scale"))}
    """

    in_kernels = (
        'kernels read no files. Give it a number of theirs as a parameter, scale=NAME.correction("scale"), and look it up '
        'by scale.evaluate(run); or write a function of events, with NAME.of(events, "scale")'
    )

    def __init__(self, url: str | os.PathLike[str], key: str = "run", *, checksum: str = "") -> None:
        super().__init__(url, checksum=checksum)
        self.key = key

    @property
    def intervals(self) -> Intervals:
        """All of it, in order. Raises `AnalysisError` when the file says no such thing; and as `AuxFile.path`."""
        known = _kept.get(self.checksum)
        if known is None:
            content = self.read()
            try:
                known = _kept[self.checksum] = _decoded(content, shown(self.url))
            except AnalysisError as error:
                raise for_all_events(error) from None
            while len(_kept) > _MOST_KEPT:
                _kept.popitem(last=False)
        return known

    def at(self, run: int) -> Any:
        """What holds for a run (or whatever the key is).

        Raises:
            AnalysisError: nothing does; says between which ones there is a gap.
        """
        intervals = self.intervals
        return intervals.payloads[int(self._places(np.array([run]), intervals)[0])]

    def of(self, events: Any, field: str) -> NDArray[Any]:
        """A number for each event, by the run that it is of.

        Args:
            events: with a column of the name of the key.
            field: which number of what holds.

        Raises:
            AnalysisError: nothing holds for the run of an event, or it has no such number.
        """
        return self.values(np.asarray(events[self.key]), field)

    def values(self, runs: Any, field: str) -> NDArray[Any]:
        """A number for each of some runs. Raises as `of`."""
        intervals = self.intervals
        places = self._places(np.asarray(runs), intervals)
        numbers = []
        for at in np.unique(places).tolist():
            payload = intervals.payloads[at]
            value = payload.get(field) if isinstance(payload, Mapping) else None
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise AnalysisError(
                    f"{shown(self.url)} has no number {field} for {self.key} {intervals.since[at]}: "
                    f"it has {_fields(payload)}"
                )
            numbers.append((at, float(value)))
        table = np.full(len(intervals.since) or 1, np.nan)
        for at, value in numbers:
            table[at] = value
        return np.asarray(table[places])

    def correction(self, field: str) -> Correction:
        """A number for each run as a parameter of a kernel: `def calibrated(pt, run, scale=ecal.correction("scale"))`.

        There, `scale.evaluate(run)` is the number for a run, and an IndexError where the file says nothing of it.

        Args:
            field: which number of what holds.

        Raises:
            AnalysisError: no run has such a number, or runs have numbers beyond 2**53.

        Example:
            >>> import tempfile
            >>> file = tempfile.NamedTemporaryFile(suffix=".json")
            >>> _ = file.write(b'{"1": {"scale": 1.5}, "100": {"scale": 2.0}}'), file.flush()
            >>> conditions(file.name).correction("scale").evaluate(99)
            1.5
        """
        return _ByRun(self, field)

    def _places(self, runs: NDArray[Any], intervals: Intervals) -> NDArray[np.int64]:
        """The interval of each of some runs."""
        if not len(runs):
            return np.empty(0, np.int64)
        since, until = np.array(intervals.since, np.int64), np.array(intervals.until, np.int64)
        places = np.searchsorted(since, runs.astype(np.int64), "right") - 1
        inside = (places >= 0) & (runs <= until[places])
        if not inside.all():
            run = int(runs[np.argmin(inside)])
            at = bisect_right(intervals.since, run)
            before = f"{self.key} {intervals.until[at - 1]}" if at else "nothing"
            behind = f"{self.key} {intervals.since[at]}" if at < len(intervals.since) else "nothing"
            raise AnalysisError(
                f"{shown(self.url)} says nothing of {self.key} {run}: it goes to {before} before it, and on from {behind}"
            )
        return np.asarray(places, np.int64)


class _ByRun(Correction):
    """One number of conditions, as bins in the key; where nothing holds are categories of which there are none."""

    def __init__(self, of: Conditions, field: str) -> None:
        intervals = of.intervals
        nothing = {"nodetype": "category", "input": of.key, "content": []}
        edges, contents, known = intervals.since[:1], list[Any](), 0
        for since, until, payload in zip(intervals.since, intervals.until, intervals.payloads, strict=True):
            if edges[-1] < since:
                edges.append(since)
                contents.append(nothing)
            value = payload.get(field) if isinstance(payload, Mapping) else None
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            known += is_number
            edges.append(until + 1)
            contents.append(value if is_number else nothing)
        if not known:
            held = _fields(intervals.payloads[0]) if intervals.payloads else "nothing"
            raise AnalysisError(f"{shown(of.url)} has no number {field} for any {of.key}: it has {held}")
        if max(map(abs, edges[:-1])) > _MOST_EXACT:
            raise AnalysisError(
                f"{shown(of.url)}: a {of.key} beyond 2**53 is not exact in kernels: write a function of events"
            )
        name = f"{field} of {shown(of.url)}"
        its = {
            "name": name,
            "inputs": [{"name": of.key, "type": "int"}],
            "data": {"nodetype": "binning", "input": of.key, "edges": edges, "content": contents, "flow": "error"},
        }
        super().__init__(json.dumps({"corrections": [its]}), name)
        self._of, self._field = of, field

    def evaluate(self, *values: Any) -> float:
        """As `Conditions.values`, by which it is done outside compiled code."""
        return float(self._of.values(list(values), self._field)[0])


def conditions(url: str | os.PathLike[str], key: str = "run", *, checksum: str = "") -> Conditions:
    """Conditions in a JSON file on a server, `[{"since": 1, "until": 99, "scale": 1.02}, ...]`, for analyses to look up.

    Each is what holds from a run until another, both included; without `until`, until the next one begins. Also
    `{"1": {"scale": 1.02}, "100": {...}}`, by the first run of each. The file may be compressed by gzip.

    Args:
        url: `root://`, `https://`, `s3://`, or a path that workers see. Workers read it, once a host, with the
            query's credentials.
        key: the column of events by which it is looked up.
        checksum: the SHA-256 of the file; by default it is read here, now. Workers take no other content than this.

    Raises:
        DatasetError: it cannot be read here.
        AnalysisError: it says no such thing; names the place.

    Example:
        >>> import tempfile
        >>> file = tempfile.NamedTemporaryFile(suffix=".json")
        >>> _ = file.write(b'{"1": {"scale": 1.5}, "100": {"scale": 2.0}}'), file.flush()
        >>> ecal = conditions(file.name)
        >>> ecal.at(99), ecal.values([1, 100, 7], "scale").tolist()
        ({'scale': 1.5}, [1.5, 2.0, 1.5])
    """
    made = Conditions(url, key, checksum=checksum)
    if not checksum:
        made.intervals  # noqa: B018  (what cannot be read is said now, and not by each slot)
    return made


def _decoded(content: bytes, name: str) -> Intervals:
    try:
        told = json.loads(unpacked(content))
    except (ValueError, EOFError, OSError) as error:
        raise AnalysisError(f"the conditions {name} are no JSON: {error}") from None
    if isinstance(told, Mapping):
        told = [{"since": _run(since, name), "payload": payload} for since, payload in told.items()]
    if not isinstance(told, list) or not all(isinstance(it, Mapping) and "since" in it for it in told):
        raise AnalysisError(f"the conditions {name} are no intervals: {_EXAMPLE}")
    told = sorted(told, key=lambda it: _run(it["since"], name))
    since = [_run(it["since"], name) for it in told]
    ends = [*(start - 1 for start in since[1:]), 2**62]
    until = [
        _run(it["until"], name) if it.get("until") is not None else end for it, end in zip(told, ends, strict=True)
    ]
    for start, last, end in zip(since, until, ends, strict=True):
        if last < start or last > end:
            raise AnalysisError(
                f"the conditions {name}: what holds since {start} ends at {last}, and the next begins at {end + 1}"
            )
    payloads = [
        it["payload"] if "payload" in it else {field: it[field] for field in it if field not in ("since", "until")}
        for it in told
    ]
    return Intervals(since, until, payloads)


def _run(value: Any, name: str) -> int:
    try:
        if isinstance(value, bool | float):
            raise ValueError
        return int(value)
    except (TypeError, ValueError):
        raise AnalysisError(
            f"the conditions {name} have {value!r} where a number of a run should be: {_EXAMPLE}"
        ) from None


def _fields(payload: Any) -> str:
    return ", ".join(map(str, payload)) if isinstance(payload, Mapping) else repr(payload)[:100]
