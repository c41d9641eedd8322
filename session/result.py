"""What a query gives back: snapshots while it runs, a result at its end."""

from __future__ import annotations

import html
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import msgspec

from ..dataset.dataset import Dataset
from ..dataset.paths import key as key_of
from ..display.account_table import account_html
from ..display.account_text import counted, describe_account, losses_and_where
from ..merge import Partial, Total, compact, decode, entries_in, miniature, opened, plain, result_key
from ..merge.nodes import Dict, Key, Nothing, Sketched
from ..merge.sketch_bins import SteadyBins
from ..packetizer.listed_entries import EntryList
from ..protocol.addresses import HIDDEN, shown
from ..protocol.codec import Frames
from ..protocol.counts import miscounted_total
from ..protocol.errors import AnalysisError, CountError, DatasetError, QueryFailed
from ..protocol.messages import Account, File, LostRange, State
from .demand import is_large
from .output_files import Make, Outputs, with_files
from .remainder import Nowhere, Remainder
from .sums import own_paths

RETURNED_NONE = "the analysis returned None: is a return missing?"


class ResultAccount(Account, frozen=True):
    """What became of a query's entries.

    Attributes:
        total: all that the query is about; an estimate (`estimated`) while not every file has been opened.
        processed: those that are in the result, each of them once.
        failed: those that are not. Once a query is done, `processed + failed == total`.
        lost: where these are, and the reasons.
        undone: of a query that was stopped, what nobody had processed by then.
        redone: those that were processed a second time, since a slot or worker had gone with what it had.
        refused: those whose second result was refused, since the first had come meanwhile.
        files, files_opened: of the dataset.
        workers_lost: that went without a word, or in the middle of something.
        kind: what is counted: the entries of trees ("tree"), "cycles" or "items".
        inputs: files beside the data that the analysis read (`em.conditions`, `em.aux_file`), with their SHA-256.
        notes: what was not as announced, such as a file with fewer entries than its catalogue says.

    Example:
        >>> account = query.result().account
        >>> account.total, account.processed, account.failed
        (10000, 10000, 0)
    """

    def _repr_html_(self) -> str:
        return account_html(self)

    def failed_dataset(self, of: Dataset | None = None) -> Dataset:
        """What is not in the result, as a dataset: what failed, and what was never done of a query that has failed or was
        stopped. Submit it again, and merge what comes of it with `Result.merged`.

        Args:
            of: the dataset that was submitted, if it has aliases, defaults or a mask, or addresses with a token or password
                in them, which are not in an account: the new one gets them too.

        Raises:
            DatasetError: nothing is missing, what is missing are cycles or items, which are in no file, or it cannot be told
                without `of`, or not at all: of files that were not opened, how many entries `max_entries` would have used.

        Example:
            >>> rest = session.process(result.account.failed_dataset(), analysis).result()     # doctest: +SKIP
            >>> whole = result.merged(rest)                                                    # doctest: +SKIP
        """
        missing = [*self.lost, *self.undone]
        if not missing:
            raise DatasetError("nothing is missing in this result")
        for lost in missing:
            if lost.limited:
                raise DatasetError(
                    f"{lost.path} was not opened: how many of its entries max_entries would have used is not known. "
                    "Submit the whole dataset again"
                )
            if lost.supplied and (of is None or not of.shared_inputs):
                raise DatasetError(
                    "the dataset has a mask, aliases or defaults, which are to hold for what is missing in it too: "
                    "account.failed_dataset(of=dataset)"
                )
        return dataset_of(missing, of)


class Snapshot:
    """The merged result of the entries processed so far. It can be pickled and copied, as the query gave it.

    Attributes:
        account: what became of the entries up to now.
        seconds: time since the query began.
        state: "running", or the final state.

    Raises:
        AnalysisError: `snapshot[...]`, and the analysis returned None.
        QueryFailed: `snapshot[...]`, and nothing has been merged so far.

    Example:
        A snapshot is read like the dict that the analysis returns. Of a large one (more than a megabyte) of a query that
        goes on, the master sends what is read when it is read, together with the account of that moment:

        >>> for snapshot in query.stream():
        ...     met = snapshot["met"]
        >>> met.sum(), snapshot.fraction, snapshot.final
        (10000.0, 1.0, True)
    """

    _make: Make | None = None
    """Of a query that has failed: makes files of rows that it has written."""
    _asked_for: frozenset[Any] | set[Any] = frozenset()
    _rest: Remainder | Nowhere | None = None
    _read_of = False
    _steady: SteadyBins | None = None
    """The bins that it is to be shown with, if it has some to be chosen."""

    def __init__(
        self,
        frames: Frames,
        account: Account,
        seconds: float,
        state: State,
        steady: SteadyBins | None = None,
        rest: Remainder | None = None,
    ) -> None:
        self._frames = frames
        self._rest, self._read_of = rest, False
        if steady is not None:
            self._steady = steady
        self.account = ResultAccount(**{name: getattr(account, name) for name in account.__struct_fields__})
        self.seconds = seconds
        self.state = state

    @property
    def value(self) -> Any:
        """What the analysis returned, merged: a dict for kernels, any mergeable object for functions."""
        self._have(None)
        return self._decoded

    @property
    def opened(self) -> Any:
        """The same for displays that show some of it: each value of a dict is made when it is taken."""
        return self._decoded if "_decoded" in self.__dict__ else self._opened

    @property
    def large(self) -> bool:
        """Whether displays ask for miniatures of it."""
        return self.is_part or is_large(self._frames)

    @property
    def is_part(self) -> bool:
        """Whether it is one of a large result, of which what is read comes from the master."""
        return self._rest is not None

    def small(self, names: Sequence[str], windows: Mapping[str, tuple[float, float]]) -> Snapshot:
        """A miniature of it for a display, which looks at these histograms; see `merge.miniature`."""
        if not self._frames:
            return self
        partial = Partial.from_frames(self._frames)
        tree = miniature(partial.tree, names, windows)
        return Snapshot(
            Partial(tree, partial.entries).to_frames(), self.account, self.seconds, self.state, self._steady
        )

    @property
    def plain(self) -> Any:
        """The same for displays of what others have made: what only their Python can merge is named, and not unpickled."""
        return self._read(plain)

    @property
    def fraction(self) -> float:
        """Fraction of the dataset's entries in this result, 0 to 1; of an estimate while files are unopened."""
        return self.account.processed / self.account.total if self.account.total else float(self.state == "done")

    @property
    def final(self) -> bool:
        """Whether the query is over."""
        return self.state not in ("running", "merging")

    def __getitem__(self, key: Any) -> Any:
        self._have(result_key(key) or None)
        if self._decoded is None:
            if self._merged:
                raise AnalysisError(RETURNED_NONE)
            raise QueryFailed(
                f"nothing has been merged: {self.account.processed:,} {counted(self.account)} were processed"
            )
        return self._decoded[key]

    def __contains__(self, key: object) -> bool:
        self._have(result_key(key) or None)
        return isinstance(self._decoded, Mapping) and key in self._decoded

    def __iter__(self) -> Iterator[Any]:
        self._have(None)
        return iter(self._decoded if self._decoded is not None else ())

    def keys(self) -> Any:
        """The names in it, when the analysis returned a dict. Raises TypeError when it returned something else."""
        return self._mapping().keys()

    def items(self) -> Any:
        """Names and merged values, when the analysis returned a dict. Raises TypeError when it did not."""
        return self._mapping().items()

    def values(self) -> Any:
        """The merged values, when the analysis returned a dict. Raises TypeError when it returned something else."""
        return self._mapping().values()

    def __getstate__(self) -> dict[str, Any]:
        frames = [bytes(frame) for frame in self._frames]  # views of what ZeroMQ received cannot be pickled
        known = {"_frames": frames, "account": self.account, "seconds": self.seconds, "state": self.state}
        return known if self._rest is None else {**known, "_rest": Nowhere()}

    if not TYPE_CHECKING:  # a type checker would believe that every attribute exists

        def __getattr__(self, name: str) -> Any:
            """Say where an attribute of the value is to be had: `result.sum()` is tried by everybody once."""
            kind = type(self).__name__
            if not name.startswith("_"):
                if name in self:
                    raise AttributeError(f"{kind} has no attribute {name!r}: use {kind.lower()}[{name!r}]")
                if hasattr(self._decoded, name):
                    raise AttributeError(f"{kind} has no attribute {name!r}: use {kind.lower()}.value.{name}")
            raise AttributeError(f"{kind} has no attribute {name!r}")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._described()}>"

    def _repr_html_(self) -> str:
        account = self.account
        about = "about " if account.estimated else ""
        rows = {
            "state": f"{self.state}, {self.seconds:.1f} s",
            counted(account): f"{account.processed:,} of {about}{account.total:,} processed ({self.fraction:.1%})",
            "files": f"{account.files_opened:,} of {account.files:,} opened" if account.kind == "tree" else "",
            "lost": losses_and_where(account),
            "notes": "; ".join(account.notes),
            "holds": self._content(),
        }
        cells = "".join(
            f'<tr><th style="text-align:left">{name}</th><td style="text-align:left">{html.escape(text)}</td></tr>'
            for name, text in rows.items()
            if text
        )
        return f"<table><caption>{type(self).__name__}</caption>{cells}</table>"

    # --- inside ---------------------------------------------------------------------------------------------------

    @cached_property
    def _decoded(self) -> Any:
        return self._read(partial(decode, files=partial(Outputs, make=self._make)))

    @cached_property
    def _opened(self) -> Any:
        return self._read(opened)

    def _read(self, read: Callable[[Partial], Any]) -> Any:
        if not self._frames:
            return None
        partial = Partial.from_frames(self._frames)
        if self._steady is not None and isinstance(partial.tree, Sketched):
            return self._steady.drawn(partial.tree.sketch)
        return read(partial)

    def _have(self, keys: Sequence[Key] | None) -> None:
        """Have what is under these keys, or all of it, if it is a part; together with what was read of it before."""
        rest, before = self._rest, self._read_of
        self._read_of = True
        if rest is None or (keys is not None and all(key in self._there for key in keys)):
            return
        came = rest.fetch(keys, self.account.processed if before else 0)
        if isinstance(came, Snapshot):
            self._frames, self._rest = came._frames, None
            self.account, self.seconds, self.state = came.account, came.seconds, came.state
        else:
            told, self._frames = came
            account, self.seconds = told.account, told.seconds
            self.account = ResultAccount(**{name: getattr(account, name) for name in account.__struct_fields__})
            self._rest = rest if told.part else None
        self._asked_for = {*self._asked_for, *(keys or ())}
        for name in ("_decoded", "_opened", "_there"):
            self.__dict__.pop(name, None)

    @cached_property
    def _there(self) -> Collection[Any]:
        """The keys under which nothing is missing here, though there may be nothing."""
        tree = Partial.from_frames(self._frames).tree if self._frames else Nothing()
        return self._asked_for | set(tree.items if isinstance(tree, Dict) else ())

    def _mapping(self) -> Mapping[Any, Any]:
        self._have(None)
        if self._decoded is None or isinstance(self._decoded, Mapping):
            return self._decoded or {}
        raise TypeError(f"the analysis returned a {type(self._decoded).__name__}, not a dict: use result.value")

    @property
    def returned_none(self) -> bool:
        """Whether that is all the analysis has returned; tells it without decoding the rest."""
        return self._merged and isinstance(Partial.from_frames(self._frames).tree, Nothing)

    @property
    def _merged(self) -> bool:
        return bool(self._frames) and self.account.processed > 0

    def _described(self) -> str:
        if self.is_part:
            return f"{self.state}: {describe_account(self.account)}, {self.seconds:.1f} s, a large result"
        if self._decoded is None and not self._merged:
            how = " before anything was merged" if self.state == "stopped" else ", nothing was merged"
            return f"{self.state}{how}: {describe_account(self.account)}"
        return f"{self.state}: {describe_account(self.account)}, {self.seconds:.1f} s, {self._content()}"

    def _content(self) -> str:
        """What the value is, in words."""
        if self.is_part:
            return "a large result, of which comes what is read"
        if isinstance(self._decoded, Mapping):
            return ", ".join(map(str, self._decoded)) or "an empty dict"
        if self._decoded is None:
            return RETURNED_NONE if self._merged else "nothing was merged"
        return type(self._decoded).__name__


class Result(Snapshot):
    """The result of a query that is over: all of the dataset ("done"), or what was merged when it was stopped.

    Example:
        >>> result = query.result()
        >>> result["met"].axes[0].label, result.account.processed, result.account.lost
        ('Axis 0', 10000, [])
    """

    def check_count(self) -> None:
        """Compare the entries that the result counts in itself with those that the account has as processed.

        Raises:
            CountError: they differ.
        """
        counted = entries_in(self._frames) if self._frames else 0
        if wrong := miscounted_total(counted, self.account.processed):
            raise CountError(wrong)

    def merged(self, rest: Result) -> Result:
        """This result together with that of what was missing in it (`account.failed_dataset()`).

        Raises:
            DatasetError: `rest` is not about as many entries as are missing here.
            MergeError: the two do not fit together: they come of different analyses.

        Example:
            >>> part = session.process(["events.root", "late.root"], missing_energy, on_error="skip").result()
            >>> _ = Path("late.root").write_bytes(Path("events.root").read_bytes())
            >>> rest = session.process(part.account.failed_dataset(), missing_energy).result()
            >>> part["met"].sum(), part.merged(rest)["met"].sum()
            (10000.0, 20000.0)
        """
        mine, other = self.account, rest.account
        unknown = any(lost.stop is None for lost in (*mine.lost, *mine.undone))
        missing = mine.failed + sum(map(_length, mine.undone))
        if not unknown and other.total != missing:
            raise DatasetError(
                f"{missing:,} entries are missing in this result, and the other is about {other.total:,}: "
                "it is to be that of account.failed_dataset()"
            )
        total = Total()
        for each in (self, rest):
            if each._frames:
                part = Partial.from_frames(each._frames)
                total.add(part if each._make is None else with_files(part, each._make))
        account = msgspec.structs.replace(
            mine,
            total=mine.processed + other.total,
            estimated=other.estimated,
            processed=mine.processed + other.processed,
            failed=other.failed,
            lost=other.lost,
            undone=other.undone,
            redone=mine.redone + other.redone,
            refused=mine.refused + other.refused,
            workers_lost=mine.workers_lost + other.workers_lost,
            notes=[*mine.notes, *other.notes],
        )
        whole = Result(compact(total.partial()).to_frames(), account, self.seconds + rest.seconds, rest.state)
        whole.check_count()
        return whole


def _length(lost: LostRange) -> int:
    """Entries of a range whose end is known."""
    if lost.runs is not None:
        return sum(lost.runs[1::2]) - sum(lost.runs[::2])
    return (lost.stop or 0) - lost.start


def dataset_of(lost: Sequence[LostRange], of: Dataset | None = None) -> Dataset:
    """The dataset of what a query has not of another, `of`, whose mask, columns and sizes of chunks it gets.

    Example:
        >>> dataset_of([LostRange("a.root", "Events", 5, 7, ""), LostRange("a.root", "Events", 9, 10, "")]).files[0].listed
        [5, 7, 9, 10]
    """
    wholes: dict[tuple[str, str, str], File] = {}
    runs: dict[tuple[str, str, str], list[int]] = {}
    entire: set[tuple[str, str, str]] = set()
    own = {} if of is None else own_paths(of.files)
    for it in sorted(lost, key=lambda it: it.start):
        if it.kind != "tree":
            raise DatasetError(
                f"the {it.kind} that are missing are in no file: submit those numbered in account.lost anew"
            )
        path = own.get(shown(key_of(it.path)), it.path)
        if HIDDEN in path:
            raise DatasetError(
                f"the password for {path} is not in the account: account.failed_dataset(of=dataset) has it"
            )
        key = (path, it.tree, it.dataset)
        wholes[key] = File(path, it.tree, it.dataset, metadata=it.metadata, friends=it.friends)
        runs.setdefault(key, [])
        listed = it.runs
        if listed is None and it.stop is not None:
            listed = [it.start, it.stop] if it.start < it.stop else []
        if listed is None:
            entire.add(key)
        else:
            runs[key] += listed
    files = [
        msgspec.structs.replace(file, listed=None if key in entire else EntryList(runs[key]).runs())
        for key, file in wholes.items()
    ]
    return Dataset.of_files(files, of)
