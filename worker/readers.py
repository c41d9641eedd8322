"""One open file: its layout, and its columns by range of entries.

A reader opens a file once and is kept, so that the packets of a file that a slot works on in turn cost no new opening.
Plain branches of a TTree go through `baskets`; everything else (RNTuple, strings, vectors of vectors, objects) through
uproot, whose awkward arrays are taken apart into columns here. Whatever goes wrong with a file comes out as a
`DatasetError` that names the file and says what to do.
"""

from __future__ import annotations

import difflib
import errno
import functools
import re
import struct
import sys
import time
import zlib
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import awkward as ak
import cramjam
import numpy as np
import uproot
from uproot.deserialization import DeserializationError
from uproot.exceptions import KeyInFileError
from uproot.interpretation.identify import UnknownInterpretation
from uproot.interpretation.jagged import AsJagged
from uproot.interpretation.numerical import AsDtype
from uproot.interpretation.objects import AsStridedObjects, CannotBeAwkward

from ..protocol.errors import DatasetError
from .baskets import Baskets, IrregularError
from .columns import Column, Flat, Jagged, Strings
from .events import LazyEvents
from .sources import HTTPAhead, LocalSource, Range, XRootDAhead, source_class

SMALLEST = 100
"""Bytes of the shortest header of a ROOT file; fewer cannot be mapped and read."""
MOST_CLUSTERS = 1000
"""A layout travels in a message: of more boundaries, evenly chosen ones are kept."""

_READING_ERRORS = (
    OSError,
    ValueError,
    struct.error,
    zlib.error,
    cramjam.DecompressionError,
    DeserializationError,
    NotImplementedError,
    AssertionError,
    IndexError,
    KeyError,
    TypeError,
    AttributeError,
)
"""What uproot raises for bytes that it cannot make sense of: by its parsers' nature, nearly anything."""
_PERMANENT = {errno.ENOENT, errno.EACCES, errno.EPERM, errno.EISDIR, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP}
"""Errors of the operating system that will be the same the next time."""
_SERVER_SAYS = re.compile(r"\[(3[0-9]{3})\] .*|Invalid address")
"""In the text of uproot's `FileNotFoundError`, which stands for whatever an XRootD server refuses, and for a host that is
not known."""
_NOT_THERE, _NOT_FOR_US = "3011", ("3010", "3016", "3030")
"""What XRootD servers answer about files: no such file; no permission, a folder, not authenticated."""


@dataclass(frozen=True, slots=True)
class FileLayout:
    """What has to be known of a file to cut it into packets.

    Attributes:
        entries: entries of the tree.
        clusters: entries at which reading is best cut, ascending, from 0 to `entries` inclusive (0 if empty).
        tree: name of the tree within the file.
        identity: as `Reader.identity`.
    """

    entries: int
    clusters: tuple[int, ...]
    tree: str
    identity: str


class Reader:
    """A tree of a file, open for reading.

    Args:
        path: a local path, or a root:// or http(s):// address.
        tree: name of a TTree or RNTuple, with its folders; "" takes the only one in the file.
        timeout: seconds that a remote file's server may take to answer one request.

    Raises:
        DatasetError: there is no such file, it is not a whole ROOT file, or it has no such tree.

    Example:
        >>> reader = Reader("root://host//store/run1.root", "Events")                       # doctest: +SKIP
        >>> reader.read(["Muon_pt", "MET_pt"], 0, reader.layout(None).entries)              # doctest: +SKIP
    """

    def __init__(self, path: str, tree: str = "", timeout: float = 30.0) -> None:
        self.path = path
        self.opened = time.monotonic()
        self.touched: set[str] = set()
        """Names of the branches that have been read since the last call of `events`."""
        with self._explained("cannot be opened"):
            self.directory = _open(path, timeout)
        try:
            with self._explained("cannot be opened"):
                self.tree = self._only_tree() if tree == "" else tree
                self._tree = self._find_tree(self.tree)
                self.entries = int(self._tree.num_entries)
        except BaseException:
            self.close()
            raise
        self.is_rntuple = not isinstance(self._tree, uproot.TTree)
        self.baskets = None if self.is_rntuple else Baskets(self.directory.file.source, self.names)

    @property
    def bytes_read(self) -> int:
        """Bytes asked for from the file so far, compressed as they are."""
        return int(self.directory.file.source.num_requested_bytes)

    @functools.cached_property
    def names(self) -> dict[str, Any]:
        """All branches (fields, in an RNTuple) by name; of several with one name, all but the first by their path."""
        if self.is_rntuple:
            return {str(field.name): field for field in self._tree.fields}
        names: dict[str, Any] = {}
        for path, branch in self._tree.iteritems(full_paths=True):
            names[path if branch.name in names else branch.name] = branch
        return names

    @property
    def identity(self) -> str:
        """Changes when the file is replaced by another one of the same name: its UUID and size."""
        file = self.directory.file
        return f"{file.uuid}:{file.fEND}"

    def is_current(self, since: float) -> bool:
        """Whether the path still means the file that is open here, as far as its time and size tell.

        A local file is looked at each time; a server is asked only if the file was opened before `since`
        (`time.monotonic()`), and one that cannot be asked is taken to have another file by now.
        """
        source = self.directory.file.source
        if not isinstance(source, LocalSource) and self.opened >= since:
            return True
        return isinstance(source, LocalSource | XRootDAhead) and source.is_current()

    def check_unchanged(self) -> None:
        """Raise `DatasetError` when somebody has written to the file since it was opened, as far as a local disk tells:
        what was read meanwhile may be of the old file, the new one, or both.
        """
        source = self.directory.file.source
        if isinstance(source, LocalSource) and not source.is_unchanged():
            raise DatasetError(f"{self.path} was written to while it was read: submit the query again")

    def close(self) -> None:
        """Close the file. What has been read stays valid; lazy columns not read by then do not."""
        self.directory.close()

    # --- the packets' view --------------------------------------------------------------------------------------------

    def layout(self, branches: Sequence[str] | None = None) -> FileLayout:
        """The file's entries and the boundaries that its baskets have in common.

        Args:
            branches: those that will be read; None for all.
        """
        names = list(self.names) if branches is None else [self._known(name) for name in branches]
        with self._explained("cannot be read"):
            edges = self._rntuple_edges() if self.is_rntuple else self._common_edges(names)
        if len(edges) > MOST_CLUSTERS:
            edges = edges[np.linspace(0, len(edges) - 1, MOST_CLUSTERS).round().astype(np.int64)]
        return FileLayout(self.entries, tuple(edges.tolist()), self.tree, self.identity)

    def _rntuple_edges(self) -> Any:
        firsts = [cluster.num_first_entry for cluster in self._tree.ntuple.cluster_summaries]
        return np.unique(np.array([0, *firsts, self.entries], dtype=np.int64))

    def _common_edges(self, names: list[str]) -> Any:
        common = np.array([0, self.entries], dtype=np.int64)
        branches = [self.names[name] for name in names]
        edges = [np.array(branch.entry_offsets, dtype=np.int64) for branch in branches if not branch.branches]
        if edges:
            common = np.union1d(common, functools.reduce(np.intersect1d, edges))
        return common[common <= self.entries]

    def stride(self, branches: Sequence[str] | None = None) -> int:
        """Entries in a basket of the branches, on average (in a cluster of an RNTuple): what is read as a whole anyway."""
        if self.is_rntuple:
            return max(1, self.entries // max(1, len(self._tree.ntuple.cluster_summaries)))
        read = self.names.values() if branches is None else [self.names[self._known(name)] for name in branches]
        baskets = [int(branch.num_baskets) for branch in read if not branch.branches]
        return max(1, self.entries * len(baskets) // max(1, sum(baskets)))

    def ahead(self, branches: Sequence[str], start: int, stop: int) -> None:
        """Ask a remote file for what `read` of the same entries will need, and return at once.

        Only for plain branches of TTrees; for anything else, and for local files, it does nothing.
        """
        self.ranges_ahead(branches, [(start, stop)])

    def ranges_ahead(self, branches: Sequence[str], ranges: Sequence[Range]) -> None:
        """As `ahead`, for `read_ranges`."""
        if self.baskets is not None:
            with self._explained("cannot be read"):
                self.baskets.ahead([name for name in branches if self.is_plain(self._known(name))], ranges)

    # --- the kernels' view --------------------------------------------------------------------------------------------

    def read(self, branches: Sequence[str], start: int, stop: int) -> dict[str, Column]:
        """Columns of the entries `[start, stop)`, in native byte order.

        Args:
            branches: names. Numbers and fixed-size arrays of them become `Flat`, lists and vectors `Jagged`, texts
                `Strings`.
            start: first entry.
            stop: entry after the last, at most the tree's entries.

        Raises:
            DatasetError: no such branch or entries, a type that kernels cannot take, or a file that cannot be read.
        """
        (columns,) = self.read_ranges(branches, [(start, stop)])
        return columns

    def read_ranges(self, branches: Sequence[str], ranges: Sequence[Range]) -> Iterator[dict[str, Column]]:
        """As `read`, for each of some ranges of entries, ascending. What is far is fetched for all of them together."""
        for start, stop in ranges:
            self._check_entries(start, stop)
        plain = self._read_plain([self._known(name) for name in branches], ranges)
        for start, stop in ranges:
            with self._explained("cannot be read"):
                columns = next(plain)
            for name in branches:
                if name not in columns:
                    array = self.array(name, start, stop)
                    columns[name] = _column(
                        array.layout, f"branch {name} of {self.path}, of type {array.type.content},"
                    )
            yield columns
        self.touched.update(branches)

    def _read_plain(self, names: Sequence[str], ranges: Sequence[Range]) -> Iterator[dict[str, Column]]:
        """Of each range, the columns of those among the branches that are plain."""
        done = 0
        while self.baskets is not None and done < len(ranges):
            try:
                for columns in self.baskets.read([name for name in names if self.is_plain(name)], ranges[done:]):
                    yield columns
                    done += 1
            except IrregularError as irregular:
                self.baskets.leave(str(irregular))
        for _ in ranges[done:]:
            yield {}

    def array(self, name: str, start: int, stop: int) -> ak.Array:
        """One branch as uproot reads it, whatever its type. Raises `DatasetError` as `read` does."""
        branch = self.names[self._known(name)]
        with self._explained("cannot be read"):
            end = max(stop, min(start + 1, self.entries))  # of no entries, uproot cannot make every type
            array = branch.array(entry_start=start, entry_stop=end, library="ak")[: stop - start]
        if len(array) != stop - start:
            raise DatasetError(f"branch {name} of {self.path} has fewer entries than its tree {self.tree}")
        self.touched.add(name)
        return array

    # --- the columnar functions' view ---------------------------------------------------------------------------------

    def events(self, start: int, stop: int) -> ak.Array:
        """Events `[start, stop)` as an awkward array of records, whose columns are read when they are touched.

        The columns touched since the last call are asked for ahead, in one request, where the file is far.

        Raises:
            DatasetError: no such entries. Touching a column raises it when the file cannot be read.
        """
        self._check_entries(start, stop)
        self.ahead(sorted(self.touched), start, stop)
        self.touched = set()
        with self._explained("cannot be read"):
            return self.lazy.array(self, start, stop)

    @functools.cached_property
    def lazy(self) -> LazyEvents:
        """Makes arrays of events whose columns are read when they are touched."""
        return LazyEvents(self)

    def forms(self) -> dict[str, Any]:
        """The awkward forms of all branches that have data of their own and that awkward arrays can hold, by name."""
        if self.is_rntuple:
            return _field_forms(self._tree.ntuple, self.names)
        forms = {name: _form(branch) for name, branch in self.names.items() if not branch.branches}
        return {name: form for name, form in forms.items() if form is not None}

    # --- what can be wrong --------------------------------------------------------------------------------------------

    def is_plain(self, name: str) -> bool:
        """Whether a branch goes the short way."""
        return self.baskets is not None and self.baskets.branch(name) is not None

    def _check_entries(self, start: int, stop: int) -> None:
        if not 0 <= start <= stop <= self.entries:
            raise DatasetError(f"{self.path} has {self.entries} entries in {self.tree}, not [{start}, {stop})")

    def _known(self, name: str) -> str:
        if name not in self.names:
            hint = _hint(name, self.names)
            raise DatasetError(f"{self.path} has no branch {name} in its tree {self.tree}{hint}")
        return name

    def _only_tree(self) -> str:
        trees = self._trees()
        if len(trees) != 1:
            held = f"has {len(trees)} trees ({', '.join(trees)}): say which with tree=..." if trees else "has no tree"
            raise DatasetError(f"{self.path} {held}")
        return trees[0]

    def _trees(self) -> list[str]:
        names = self.directory.classnames(recursive=True, cycle=False)
        return [name for name, kind in names.items() if kind in ("TTree", "TNtuple", "TNtupleD", "ROOT::RNTuple")]

    def _find_tree(self, name: str) -> Any:
        try:
            tree = self.directory[name]
        except KeyInFileError:
            trees = self._trees()
            hint = f"; it has {', '.join(trees)}" if 0 < len(trees) <= 10 else _hint(name, trees)
            raise DatasetError(f"{self.path} has no tree {name}{hint}") from None
        if not isinstance(tree, uproot.TTree | uproot.behaviors.RNTuple.RNTuple):
            raise DatasetError(f"{name} in {self.path} is a {tree.classname}, not a tree")
        return tree

    @contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        """Turn what uproot raises into a `DatasetError` that names the file."""
        try:
            yield
        except FileNotFoundError as error:
            said = _SERVER_SAYS.search(str(error))
            if said is None or said[1] == _NOT_THERE:
                raise DatasetError(f"there is no file {self.path}") from error
            text = f"{self.path} {what}: XRootD says: {said[0]}"
            raise DatasetError(text, transient=said[1] not in _NOT_FOR_US) from error
        except TimeoutError as error:
            text = f"{self.path} {what}: the server does not answer ({_brief(error)})"
            raise DatasetError(text, transient=True) from error
        except (UnknownInterpretation, CannotBeAwkward) as error:
            raise DatasetError(f"{self.path} {what}: uproot does not know a type in it ({error})") from error
        except (*_READING_ERRORS, *_http_errors()) as error:
            raise DatasetError(f"{self.path} {what}: {_brief(error)}", transient=_may_pass(self.path, error)) from error


class ReaderCache:
    """The readers used last, open; the one unused for longest is closed when there are too many.

    Args:
        most: how many files are open at a time.
        timeout: as `Reader`'s.
    """

    def __init__(self, most: int = 10, timeout: float = 30.0) -> None:
        self._most = most
        self._timeout = timeout
        self._readers: OrderedDict[tuple[str, str], Reader] = OrderedDict()

    def get(self, path: str, tree: str, since: float = 0.0, identity: str = "") -> Reader:
        """The reader of a tree in a file, opened if it is not open, or if another file is there by now.

        Args:
            path, tree: as `Reader`'s.
            since: as for `Reader.is_current`.
            identity: what `Reader.identity` has to be; any if empty.

        Raises:
            DatasetError: as `Reader`, and when the file has another identity.
        """
        reader = self._readers.get((path, tree))
        if reader is not None and not (reader.is_current(since) and identity in ("", reader.identity)):
            self.drop(path, tree)
            reader = None
        if reader is None:
            reader = self._open(path, tree)
        self._readers.move_to_end((path, tree))
        if identity not in ("", reader.identity):
            raise DatasetError(
                f"{path} has changed while the query ran: when it was opened first, it had {_described(identity)}, "
                f"and now it has {_described(reader.identity)}; submit the query again"
            )
        return reader

    def _open(self, path: str, tree: str) -> Reader:
        reader = Reader(path, tree, self._timeout)
        while len(self._readers) >= self._most:
            self._readers.popitem(last=False)[1].close()
        self._readers[path, tree] = reader
        return reader

    def drop(self, path: str, tree: str) -> None:
        """Close a reader, so that the file is opened anew: after an error, its connection may be of no more use."""
        reader = self._readers.pop((path, tree), None)
        if reader is not None:
            reader.close()

    def close(self) -> None:
        """Close all of them."""
        while self._readers:
            self._readers.popitem()[1].close()


def _open(path: str, timeout: float) -> Any:
    """Open a ROOT file, and check that it is whole as far as its size says."""
    handler = source_class(path)
    options: dict[str, Any] = {"handler": handler, "object_cache": None, "array_cache": None}
    if "://" in path:
        options["timeout"] = max(1, round(timeout))
    else:
        local = Path(path).expanduser()
        path = str(local)
        if local.is_dir():
            raise IsADirectoryError("it is a folder")
        if local.stat().st_size < SMALLEST:
            raise ValueError("it is too short for a ROOT file")
    file = uproot.ReadOnlyFile(path, **options)
    try:
        end = file.fEND
        if handler is not HTTPAhead and file.source.num_bytes < end:
            size = file.source.num_bytes
            raise ValueError(f"it has {size} bytes of {end}: it was not written, or not copied, to its end")
        return file.root_directory
    except BaseException:
        file.close()
        raise


def _may_pass(path: str, error: BaseException) -> bool:
    """Whether an error in reading may be gone the next time, or with another replica.

    What comes over a network may also be cut off or damaged on its way; what is wrong with a local file stays wrong.
    """
    status = getattr(error, "status", None)  # what a web server said
    if isinstance(status, int):
        return status >= 500 or status in (408, 429)
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno not in _PERMANENT
    return "://" in path and not isinstance(error, NotImplementedError)


def _http_errors() -> tuple[type[Exception], ...]:
    """What the client of web servers raises, once it is in use."""
    client = sys.modules.get("aiohttp")
    return () if client is None else (client.ClientError,)


def _described(identity: str) -> str:
    """What an identity says of a file."""
    uuid, _, size = identity.partition(":")
    return f"{size} bytes (UUID {uuid})"


def _field_forms(ntuple: Any, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The awkward forms of fields of an RNTuple: uproot's `to_akform` takes seconds for as many as NanoAOD has."""
    paths: dict[str, list[str]] = {}
    for path in (field.path for field in ntuple.all_fields):
        if path is not None:
            paths.setdefault(path.partition(".")[0], []).append(path)
    return {name: ntuple.field_form(field.field_id, paths[name]) for name, field in fields.items()}


def _form(tbranch: Any) -> Any:
    kind = tbranch.interpretation
    is_strided = isinstance(kind.content if isinstance(kind, AsJagged) else kind, AsStridedObjects)
    try:
        form = kind.awkward_form(tbranch.file)
        return _without_hidden(form) if is_strided else form
    except AssertionError:  # uproot has arrays, but no forms, of structures with arrays in them
        empty = np.empty(0, kind.to_dtype) if type(kind) is AsDtype else None
        return None if empty is None else ak.from_numpy(empty, regulararray=True, highlevel=False).form
    except (UnknownInterpretation, CannotBeAwkward):
        return None


def _without_hidden(form: Any) -> Any:
    """The form without the members that uproot's arrays do not have, though its forms do."""
    if form.is_list:
        return form.copy(content=_without_hidden(form.content))
    if not form.is_record:
        return form
    shown = {name: form.content(name) for name in form.fields if not name.startswith("@")}
    return form.copy(contents=[_without_hidden(content) for content in shown.values()], fields=list(shown))


def _column(layout: Any, where: str) -> Column:
    """Take an awkward layout apart into a column.

    Raises:
        DatasetError: the type is none that a kernel can take.
    """
    layout = layout.to_packed()
    if layout.is_regular or layout.is_list:
        lists = layout.to_ListOffsetArray64(True)
        offsets = lists.offsets.data
        if layout.parameter("__array__") in ("string", "bytestring"):
            return Strings(offsets, np.asarray(lists.content.data, dtype=np.uint8))
        return Jagged(offsets, _column(lists.content, where))
    if layout.is_numpy and layout.data.dtype.kind in "biuf":
        return Flat(layout.data.astype(layout.data.dtype.newbyteorder("="), copy=False))
    raise DatasetError(f"{where} cannot be used in a kernel: use a columnar function for it")


def _hint(name: str, names: Any) -> str:
    near = difflib.get_close_matches(name, list(names), n=3, cutoff=0.5)
    if not near:
        lower = {other.lower(): other for other in names}
        near = [lower[other] for other in difflib.get_close_matches(name.lower(), list(lower), n=3, cutoff=0.5)]
    return f"; the nearest names are {', '.join(near)}" if near else ""


def _brief(error: BaseException) -> str:
    """The first line that an error says: uproot's messages go on with advice for its own callers."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
