"""Which files a path or pattern of a dataset stands for: on a disk, or on an XRootD server."""

from __future__ import annotations

import fnmatch
import glob
import importlib
import logging
import os
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ...dataset.paths import is_parquet
from ...protocol.errors import DatasetError, nearest

log = logging.getLogger(__name__)

TIMEOUT = 10
"""Seconds that a server may take to list one folder."""
_SILENT = 3.0
"""Seconds of silence after which the user is shown which server is waited for."""
_MARGIN = 5.0
"""Seconds after its own time-out that the client is waited for."""
_SETTINGS = {"TimeoutResolution": 1, "ConnectionWindow": 10, "ConnectionRetry": 1, "StreamErrorWindow": 0}
"""Of the client, in seconds, and how often: its own values are for patient programs. They are explained in
`reading/storage/xrootd.py`."""
XROOTD = ("root", "roots", "xroot", "xroots")
_NOT_FOUND = 3011
"""kXR_NotFound of the XRootD protocol."""
_SOCKETS, _EXPIRED = range(101, 110), 206
"""Codes of the client's `XRootDStatus`: there is no connection, and no answer in time."""

_ROOT = re.compile(r"\.root(\.\d+)?$")
"""How names of files end; on ATLAS's grid with the number of a try."""


def list_files(pattern: str, timeout: float = TIMEOUT, *, keep_missing: bool = False) -> list[str]:
    """The files that a path or pattern stands for, sorted.

    Local paths come out absolute; a folder stands for the `*.root` files in it (and `*.root.1`), or for the `*.parquet`
    files. On root:// addresses, `*` and `[...]` (but for what follows a `?`) may be in any part of the path; the server is
    asked only if they are. A file or folder that is called just so, as `run[1]`, is meant by that name, and not what the
    name fits as a pattern.

    Args:
        pattern: a local path with `*`, `?`, `[...]`, `**` and `~`, or an address: root://, http(s)://, s3://, ...
        timeout: seconds for each answer of a server.
        keep_missing: a local path without a pattern stands for itself also where it is not there: whoever opens it says so.

    Raises:
        DatasetError: there is no such file, nothing fits, or a server does not answer.

    Example:
        >>> list_files("root://host//store/run1.root")
        ['root://host//store/run1.root']
    """
    scheme, separator, _ = pattern.partition("://")
    if not separator:
        return _list_local(pattern, keep_missing)
    if scheme.lower() in XROOTD:
        return _list_xrootd(pattern, timeout)
    if scheme.lower() not in ("http", "https"):
        return _list_store(pattern, scheme.lower())
    if "*" in pattern:
        raise DatasetError(f"{pattern}: web servers cannot list files, so that * does not work there: name the files")
    return [pattern]


# --- this machine -----------------------------------------------------------------------------------------------------


def _list_local(pattern: str, keep_missing: bool) -> list[str]:
    path = Path(os.path.abspath(Path(pattern).expanduser()))  # noqa: PTH100  (resolve() would follow links)
    if path.is_file():
        return [str(path)]
    if path.is_dir():
        return _in_folder(path)
    if not any(glob.has_magic(part) and not _is_there(parent, part) for parent, part in _parts(path)):
        if keep_missing and not path.exists():
            return [str(path)]
        raise DatasetError(f"there is no file {path}{_nearest(path)}")
    found = sorted(file for file in _fitting(path) if Path(file).is_file())
    if not found:
        raise DatasetError(f"no file fits {path}{_nearest(path)}")
    return found


def _in_folder(folder: Path) -> list[str]:
    """The files that a folder stands for: those of the format of which there are some."""
    names = sorted(str(file) for file in folder.iterdir())
    of_root, of_parquet = [name for name in names if _ROOT.search(name)], [name for name in names if is_parquet(name)]
    if of_root and of_parquet:
        raise DatasetError(
            f"the folder {folder} has files of ROOT and of Parquet: say which are meant, {folder}/*.root or "
            f"{folder}/*.parquet"
        )
    if not of_root and not of_parquet:
        raise DatasetError(
            f"the folder {folder} has no *.root files (and none of Parquet); for those of its folders say {folder}/**/*.root"
        )
    return of_root or of_parquet


def _parts(path: Path) -> list[tuple[Path, str]]:
    """The parts of an absolute path, each with the folder that it is looked for in."""
    return [(folder.parent, folder.name) for folder in (*reversed(path.parents), path) if folder.name]


def _fitting(path: Path) -> list[str]:
    """What a pattern stands for."""
    found = [path.anchor]
    parts = [part for _, part in _parts(path)]
    for number, part in enumerate(parts):
        if part == "**":
            rest = os.path.join(*parts[number:])  # noqa: PTH118
            return [file for folder in found for file in _globbed(folder, rest)]
        found = [
            name
            for folder in found
            for name in ([os.path.join(folder, part)] if _is_there(folder, part) else _globbed(folder, part))  # noqa: PTH118
        ]
    return found


def _globbed(folder: str, pattern: str) -> list[str]:
    return glob.glob(os.path.join(glob.escape(folder), pattern), recursive=True)  # noqa: PTH118, PTH207


def _is_there(folder: str | Path, name: str) -> bool:
    """Whether something is called so, although the name may be a pattern."""
    return "*" not in name and Path(folder, name).exists()


def _nearest(path: Path) -> str:
    """What there is instead: names like the first part of the path that does not exist."""
    for folder in reversed(path.parents):
        missing = (folder / path.relative_to(folder).parts[0]) if folder != path else path
        if missing.exists() or glob.has_magic(missing.name):
            continue
        try:
            names = sorted(entry.name for entry in folder.iterdir())
        except OSError as error:
            return f"; {folder} cannot be read ({error.strerror})"
        return f": there is no {missing.name} in {folder}{nearest(missing.name, names)}"
    return ""


# --- stores of objects, and whatever else fsspec knows ----------------------------------------------------------------


def _list_store(url: str, scheme: str) -> list[str]:
    import fsspec

    if scheme not in fsspec.available_protocols():
        raise DatasetError(
            f"{url}: eventmill reads local files, root://, https:// and what fsspec does, not {scheme}://"
        )
    if not glob.has_magic(url):
        return [url]
    try:
        store, path = fsspec.core.url_to_fs(url)
        found = [store.unstrip_protocol(name) for name in store.glob(_taken_by_name(path, store.exists))]
    except (ImportError, OSError) as error:
        raise DatasetError(f"{url} cannot be listed: {error}") from error
    if not found:
        raise DatasetError(f"no file fits {url}")
    return sorted(found)


def _taken_by_name(path: str, exists: Callable[[str], bool]) -> str:
    """A pattern with what exists of it, from its beginning on, marked to be taken by its name."""
    parts, taken = path.split("/"), list[str]()
    for number, part in enumerate(parts):
        if glob.has_magic(part) and ("*" in part or not exists("/".join(parts[: number + 1]))):
            break
        taken.append(glob.escape(part))
    return "/".join(taken + parts[len(taken) :])


# --- XRootD -----------------------------------------------------------------------------------------------------------


def _list_xrootd(url: str, timeout: float) -> list[str]:
    address, _, opaque = url.partition("?")
    scheme, _, rest = address.partition("://")
    host, _, path = rest.partition("/")
    if not glob.has_magic(path):
        return [url]
    if "**" in path:
        raise DatasetError(f"{url}: ** works for local files only; write a * for each folder")
    parts = [part for part in path.split("/") if part]
    first = next(i for i, part in enumerate(parts) if glob.has_magic(part))
    server = _Server(f"{scheme}://{host}", timeout)
    folders = ["/" + "/".join(parts[:first])]
    for i, part in enumerate(parts[first:], start=first):
        last = i == len(parts) - 1
        folders = [found for folder in folders for found in server.matches(folder, part, folders=not last)]
    if not folders:
        raise DatasetError(f"no file fits {url}")
    tail = f"?{opaque}" if opaque else ""
    return sorted(f"{scheme}://{host}/{file}{tail}" for file in folders)


class _Server:
    """Lists folders of one XRootD server."""

    def __init__(self, url: str, timeout: float) -> None:
        client: Any = importlib.import_module("XRootD.client")
        for name, value in _SETTINGS.items():
            client.EnvPutInt(name, value)
        self._url = url
        self._timeout = max(1, round(timeout))
        self._files = client.FileSystem(url)
        self._flags = client.flags

    def matches(self, folder: str, pattern: str, folders: bool) -> list[str]:
        """Paths in a folder whose names fit the pattern, or that of what is called just so: folders, or anything else."""
        listing = list(self._list(folder) or ())
        found = []
        for entry in [entry for entry in listing if entry.name == pattern] or listing:
            if entry.name != pattern and not fnmatch.fnmatchcase(entry.name, pattern):
                continue
            is_folder = entry.statinfo is not None and bool(entry.statinfo.flags & self._flags.StatInfoFlags.IS_DIR)
            if entry.statinfo is None or is_folder == folders:
                found.append(f"{folder.rstrip('/')}/{entry.name}")
        return found

    def _list(self, folder: str) -> Any:
        """What is in a folder. A thread of the client waits for the answer, so that Ctrl-C reaches this one at once."""
        answers: list[tuple[Any, Any]] = []
        there = threading.Event()

        def answered(status: Any, listing: Any, _hosts: Any) -> None:
            answers.append((status, listing))
            there.set()

        began = self._files.dirlist(folder, self._flags.DirListFlags.STAT, timeout=self._timeout, callback=answered)
        if not began.ok:
            raise DatasetError(self._explain(folder, began))
        if not there.wait(_SILENT):
            log.warning("waiting for %s, which is to list %s", self._url, folder)
            there.wait(self._timeout + _MARGIN - _SILENT)
        if not answers:
            raise DatasetError(f"{self._url} does not answer (for {self._timeout + _MARGIN:.0f} s)")
        status, listing = answers[0]
        if not status.ok:
            raise DatasetError(self._explain(folder, status))
        return listing

    def _explain(self, folder: str, status: Any) -> str:
        if status.errno == _NOT_FOUND:
            return f"{self._url} has no folder {folder}"
        said = str(status.message).partition("] ")[2].strip() or str(status.message).strip()  # without "[ERROR] "
        if "Permission denied" in said or "Auth failed" in said:
            return f"{self._url} does not let you list {folder} ({said}): is there a valid proxy or token?"
        if status.code in _SOCKETS:
            return f"{self._url} cannot be reached: {said}"
        if status.code == _EXPIRED:
            return f"{self._url} does not answer: it did not list {folder} within {self._timeout} s"
        return f"{self._url} does not list {folder}: {said}"
