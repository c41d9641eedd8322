"""Files beside the data that analyses read by themselves: conditions, calibrations, models on a server.

What is read is pinned: whoever makes an `AuxFile` notes the checksum of its bytes, and workers take no others. A host reads
each once from its server, into a cache whose files are named by their content.
"""

from __future__ import annotations

import contextlib
import fcntl
import gzip
import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import platformdirs

from ..analysis.once import cannot_load
from ..dataset.paths import key
from ..protocol.addresses import shown
from ..protocol.errors import AnalysisError, DatasetError
from ..system.private_folders import make_private, not_ours_alone
from .read_errors import read_errors
from .storage.credentials import CredentialSet, at_work
from .storage.sources import FSSpecAhead, source_class

LARGEST = 2**31
"""Bytes of a file."""
LARGEST_CACHE = 2**32
"""Bytes of all that a host keeps; what was used longest ago goes first."""
_PIECE = 16 << 20
_TIMEOUT = 30.0
_NEW, _LOCK = ".new", ".lock"


class _Process:
    """What this process has of such files.

    Attributes:
        folder: where they are kept.
        used: the names of those that something here may have open.
        noted: where those that are pickled are noted, if they are.
    """

    folder = Path(platformdirs.user_cache_dir("eventmill")) / "aux"
    used: ClassVar[set[str]] = set()
    noted: dict[str, str] | None = None


def keep_in(folder: Path) -> None:
    """Keep files there from now on: in the cache of the owner of the analysis at work."""
    _Process.folder = folder


@contextlib.contextmanager
def noting() -> Iterator[dict[str, str]]:
    """Note the files that are pickled in here: their addresses, as others may see them, and checksums."""
    noted: dict[str, str] = {}
    _Process.noted = noted
    try:
        yield noted
    finally:
        _Process.noted = None


class AuxFile:
    """A file that an analysis needs, on a server or a disk that workers see: read there, once a host, and kept.

    It is pinned to what is in it now: workers refuse another content, so that all events see the same.

    Args:
        url: `root://`, `https://`, `s3://`, or a path that workers see.
        checksum: the SHA-256 of what is in it, in hexadecimal; by default the file is read here, now, to find out.

    Attributes:
        url: as it was given; local paths are absolute.
        checksum: the SHA-256.

    Raises:
        DatasetError: it cannot be read here, or it is too large.
        ValueError: `checksum` is none.

    Example:
        >>> model = AuxFile("root://host//store/models/tagger.onnx")                              # doctest: +SKIP
        >>> def scores(events):                                                                   # doctest: +SKIP
        ...     session = load(str(model.path))      # with em.once: once a slot
    """

    in_kernels = "compiled code reads no files. Give it numbers, NAME=em.constant(...), or write a function of events"

    def __init__(self, url: str | os.PathLike[str], *, checksum: str = "") -> None:
        self.url = key(os.fspath(url))
        if checksum and (len(checksum) != 64 or set(checksum.lower()) - set("0123456789abcdef")):
            raise ValueError(f"checksum={checksum!r}: it must be a SHA-256, 64 hexadecimal digits")
        self.checksum = checksum.lower()
        if not self.checksum:
            content = _read(self.url, None)
            self.checksum = hashlib.sha256(content).hexdigest()
            _keep(self.checksum, content)

    @property
    def path(self) -> Path:
        """Where this host has a copy of it: read from its server if there is none yet.

        Raises:
            AnalysisError: the file is gone, is another one by now, or has no place here.
            DatasetError: its server does not answer now, which may pass.
        """
        copy = _Process.folder / self.checksum
        _Process.used.add(self.checksum)
        if not _is_there(copy):
            try:
                with _alone(self.checksum):
                    if not _is_there(copy):
                        self._fetch()
            except OSError as error:
                raise AnalysisError(
                    f"{shown(self.url)}, which the analysis needs, has no place in {_Process.folder}: {error.strerror}; "
                    "make room there, or set XDG_CACHE_HOME of the worker"
                ) from error
        return copy

    def read(self) -> bytes:
        """What is in it. Raises as `path`."""
        return self.path.read_bytes()

    def _fetch(self) -> None:
        try:
            content = _read(self.url, at_work())
        except DatasetError as error:
            if error.transient or error.denied:
                raise
            raise for_all_events(
                AnalysisError(f"{shown(self.url)}, which the analysis needs, is not to be had: {error}")
            ) from error
        found = hashlib.sha256(content).hexdigest()
        if found != self.checksum:
            raise for_all_events(
                AnalysisError(
                    f"{shown(self.url)} has changed since the analysis was made: its SHA-256 was "
                    f"{self.checksum[:12]}..., and is {found[:12]}... now; make it anew, so that all events see the same"
                )
            )
        _keep(self.checksum, content)

    def __reduce__(self) -> tuple[Any, ...]:
        if _Process.noted is not None:
            _Process.noted[shown(self.url)] = self.checksum
        return _again, (type(self), self.__dict__.copy())

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {shown(self.url)}, sha256 {self.checksum[:12]}...>"


def _again(kind: type[AuxFile], attributes: dict[str, Any]) -> AuxFile:
    """A file as it was pickled."""
    made = kind.__new__(kind)
    made.__dict__.update(attributes)
    return made


def aux_file(url: str | os.PathLike[str], *, checksum: str = "") -> AuxFile:
    """A file beside the data that an analysis reads by itself; arguments, errors and an example as of `AuxFile`."""
    return AuxFile(url, checksum=checksum)


def unpacked(content: bytes) -> bytes:
    """What is in a file that may be compressed by gzip."""
    return gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content


def _read(url: str, credential_set: CredentialSet | None) -> bytes:
    """All bytes of a file."""
    name = shown(url)
    with read_errors(name, "cannot be read"):
        if "://" not in url:
            _check_size(Path(url).stat().st_size, name)
            return Path(url).read_bytes()
        source = source_class(url)(url, timeout=_TIMEOUT, credential_set=credential_set)
        try:
            if isinstance(source, FSSpecAhead):
                with source.in_words():
                    content = bytes(source._fs.cat_file(url))
                _check_size(len(content), name)
                return content
            size = int(source.num_bytes)
            _check_size(size, name)
            pieces = (source.chunk(at, min(at + _PIECE, size)) for at in range(0, size, _PIECE))
            return b"".join(bytes(piece.raw_data) for piece in pieces)
        finally:
            source.__exit__(None, None, None)


def _check_size(size: int, name: str) -> None:
    if size > LARGEST:
        raise DatasetError(
            f"{name} has {size:,} bytes: files that analyses read beside the data have {LARGEST:,} at most"
        )


def for_all_events(error: AnalysisError) -> AnalysisError:
    """An error of what all events need: the query fails with it at once, and skips nothing."""
    cannot_load(error)
    return error


# --- the cache --------------------------------------------------------------------------------------------------------


def _is_there(copy: Path) -> bool:
    """Whether a file is in the cache, and is ours; that it is used is noted."""
    try:
        os.utime(copy)
        return not not_ours_alone(copy.stat())
    except OSError:
        return False


@contextlib.contextmanager
def _alone(name: str) -> Iterator[None]:
    """Nobody else on this host fetches a file of this name meanwhile."""
    make_private(_Process.folder)
    lock = os.open(_Process.folder / f"{name}{_LOCK}", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _keep(name: str, content: bytes) -> None:
    """Put a file into the cache, under its own name when it is whole."""
    folder = _Process.folder
    make_private(folder)
    descriptor, new = tempfile.mkstemp(_NEW, dir=folder)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        Path(new).rename(folder / name)
    except BaseException:
        Path(new).unlink(missing_ok=True)
        raise
    _trim(folder, LARGEST_CACHE)


def _trim(folder: Path, most: int) -> None:
    """Let go what was used longest ago, until the rest takes `most` bytes; nothing that is in use here."""
    entries = []
    for entry in os.scandir(folder):
        if not entry.name.endswith((_NEW, _LOCK)):
            with contextlib.suppress(FileNotFoundError):  # another process was faster
                about = entry.stat()
                entries.append((about.st_mtime, about.st_size, entry))
    left = most
    for _, size, entry in sorted(entries, key=lambda it: -it[0]):
        left -= size
        if left < 0 and entry.name not in _Process.used:
            Path(entry.path).unlink(missing_ok=True)
            Path(f"{entry.path}{_LOCK}").unlink(missing_ok=True)
