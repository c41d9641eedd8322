"""Pieces become files: by slots, as items of ordinary queries that the session submits.

A file is joined under a name of its own, so that an item that is done twice does no harm: of the two files the one counts
whose record the query's result has. All get their names at the end (`finish`), and only then is what is left removed.
"""

from __future__ import annotations

import secrets
import socket
import tempfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from ..analysis.writes import WriteSpec
from ..merge.rows import OutputFile
from ..protocol.errors import OutputError
from . import formats, pieces
from .baskets import Baskets, array_of
from .checksums import checksum, checksum_text
from .grouping import Group, Share, file_name
from .places import files_of, manifest, manifests, staging
from .storage import Storage, base, join, storage_of

if TYPE_CHECKING:
    import awkward as ak

_CHUNK = 2**22


class Joining(msgspec.Struct, frozen=True):
    """What is to be joined: a group of pieces of an output, whose rows have these forms."""

    spec: WriteSpec
    forms: list[str]
    group: Group


class JoinedFile(msgspec.Struct, frozen=True):
    """A file that has its rows, under the name `staged`; "": it has its own already."""

    staged: str
    file: OutputFile


class Finishing(msgspec.Struct, frozen=True):
    """An output whose files are all joined."""

    spec: WriteSpec
    datasets: list[str]
    joined: list[JoinedFile]


def join_pieces(item: Joining) -> dict[str, list[dict[str, Any]]]:
    """Join a group of pieces into a file, which has not its final name yet."""
    storage = storage_of(item.spec.target)
    finished = _finished(storage, item.spec)
    if finished is not None:
        name = file_name(item.spec, item.group.dataset, item.group.number)
        return _told([JoinedFile("", file) for file in finished if file.path == join(item.spec.target, name)])
    folder = staging(item.spec)
    name = file_name(item.spec, item.group.dataset, item.group.number)
    staged = join(folder, f"{secrets.token_hex(4)}-{name}")
    with tempfile.TemporaryDirectory(dir=storage.scratch(folder), prefix="joining-") as place:
        local = Path(place) / name
        empty = _empty(item.forms)
        try:
            with ThreadPoolExecutor(1, "pieces") as thread:
                formats.write(item.spec, local, empty, _ahead(_batches(storage, item, empty), thread))
        except OSError as error:
            raise OutputError(f"on {socket.gethostname()}: {staged} cannot be written: {error}") from error
        size, summed = local.stat().st_size, _checksum(local)
        storage.send(local, staged)
    file = OutputFile(join(item.spec.target, name), item.group.rows, size, item.group.dataset, summed)
    return _told([JoinedFile(staged, file)])


def finish(item: Finishing) -> dict[str, list[dict[str, Any]]]:
    """Give all files of an output their names, write the list of them, and remove all that counts nowhere."""
    storage = storage_of(item.spec.target)
    finished = _finished(storage, item.spec)
    if finished is None:
        _check_names(storage, item)
        for joined in item.joined:
            if joined.staged and not storage.move(joined.staged, joined.file.path):
                _check_moved(storage, joined)
        if item.spec.overwrite:
            _remove_earlier(storage, item)
        finished = [joined.file for joined in item.joined]
        _write_manifest(storage, manifest(item.spec), finished)
    storage.remove_all(staging(item.spec))
    return _told([JoinedFile("", file) for file in finished])


def discard(spec: WriteSpec) -> int:
    """Remove the pieces of an output that is not to become files, and what else waits with them."""
    storage_of(spec.target).remove_all(staging(spec))
    return 1


def files_told(told: list[dict[str, Any]]) -> list[JoinedFile]:
    """What items have told of files."""
    return msgspec.convert(told, list[JoinedFile])


def _told(joined: list[JoinedFile]) -> dict[str, list[dict[str, Any]]]:
    return {"files": [msgspec.to_builtins(each) for each in joined]}


# --- joining --------------------------------------------------------------------------------------------------------------


def _empty(forms: list[str]) -> ak.Array:
    """No rows, of a type that holds those of all forms."""
    import awkward as ak

    empty = [ak.Array(ak.forms.from_json(form).length_zero_array()) for form in forms]
    return ak.concatenate(empty) if len(empty) > 1 else empty[0]


def _batches(storage: Storage, item: Joining, empty: ak.Array) -> Iterator[pieces.Content]:
    """The rows of a group in their order, some at a time. A piece is read when its first rows are needed."""
    sized = (
        (
            rows if isinstance(rows, Baskets) and _is_of(rows, empty) else array_of(item.spec, rows),
            share.size * len(rows) // (share.stop - share.start),
        )
        for share, rows in _rows(storage, item)
    )
    for rows in pieces.gathered(sized, formats.BATCH):
        yield rows if isinstance(rows, Baskets) else _as(rows, empty)


def _rows(storage: Storage, item: Joining) -> Iterator[tuple[Share, pieces.Content]]:
    """What is in the shares of a group, each with its share."""
    uses = Counter(share.piece.path for share in item.group.shares)
    read: dict[str, list[pieces.Content]] = {}
    for share in item.group.shares:
        path = share.piece.path
        if path not in read:
            data = storage.get(path)
            if data is None:
                raise OutputError(
                    f"on {socket.gethostname()}: there is no {path}, which another worker has written: the folder is to be "
                    "one that all workers see, or a URL"
                )
            read[path], _ = pieces.unpacked(pieces.checked(data, share.piece, path))
        for rows in pieces.cut(read[path], share.start, share.stop, item.spec):
            yield share, rows
        uses[path] -= 1
        if not uses[path]:
            del read[path]


def _ahead(batches: Iterator[pieces.Content], thread: ThreadPoolExecutor) -> Iterator[pieces.Content]:
    """The same batches, of which the next one is read while one is written: at the end, when few slots have something to do,
    all wait for that.
    """
    coming = thread.submit(next, batches, None)
    while (batch := coming.result()) is not None:
        coming = thread.submit(next, batches, None)
        yield batch


def _is_of(rows: Baskets, empty: ak.Array) -> bool:
    """Whether rows have the type of `empty`, column by column."""
    import awkward as ak

    return bool(ak.forms.from_json(rows.form).type == empty.layout.form.type)


def _as(array: ak.Array, empty: ak.Array) -> ak.Array:
    """Rows with the type of `empty`, which lacks nothing of theirs."""
    import awkward as ak

    array = array[empty.fields]
    return array if array.layout.form.type == empty.layout.form.type else ak.concatenate([empty, array])


def _checksum(path: Path) -> str:
    value = 1
    with path.open("rb") as file:
        while data := file.read(_CHUNK):
            value = checksum(data, value)
    return checksum_text(value)


# --- the end --------------------------------------------------------------------------------------------------------------


def _finished(storage: Storage, spec: WriteSpec) -> list[OutputFile] | None:
    """The files of an output that has been finished, by whomever; None if it has not."""
    data = storage.get(manifest(spec))
    return None if data is None else msgspec.json.decode(data, type=list[OutputFile])


def _check_names(storage: Storage, item: Finishing) -> None:
    """Files of these names may have come while the query ran."""
    if item.spec.overwrite:
        return
    there = set(storage.names(item.spec.target))
    waiting = set(storage.names(staging(item.spec)))
    for joined in item.joined:
        if base(joined.staged) in waiting and base(joined.file.path) in there:
            raise OutputError(
                f"{joined.file.path} has come while the query ran: move it away, and take up the query again with "
                "session.attach(...).result(), or write to another folder"
            )


def _check_moved(storage: Storage, joined: JoinedFile) -> None:
    """A file is not where it was joined: somebody has given it its name, or it is gone."""
    if base(joined.file.path) not in storage.names(joined.file.path.rpartition("/")[0]):
        raise OutputError(f"on {socket.gethostname()}: there is no {joined.staged} any more")


def _remove_earlier(storage: Storage, item: Finishing) -> None:
    """Remove the files of an earlier query that these replace: it may have written more of them."""
    target = item.spec.target
    mine = {joined.file.path for joined in item.joined}
    names = storage.names(target)
    for dataset in item.datasets:
        for name in files_of(names, item.spec, dataset):
            if join(target, name) not in mine:
                storage.remove(join(target, name))
    for name in manifests(names):
        path = join(target, name)
        listed = msgspec.json.decode(storage.get(path) or b"[]", type=list[OutputFile])
        if path != manifest(item.spec) and {file.path for file in listed} & mine:
            storage.remove(path)


def _write_manifest(storage: Storage, path: str, files: list[OutputFile]) -> None:
    beside = f"{path}.{secrets.token_hex(4)}"
    storage.put(beside, msgspec.json.format(msgspec.json.encode(files)))
    storage.move(beside, path)
