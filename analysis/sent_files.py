"""Data files that travel with a query: `process(files=["model.onnx"])`, and `em.file("model.onnx")` in the analysis.

A file goes as an attachment does, under a name that its content gives it: to a master that does not have it, from there once
to each worker. So a model of 200 MB is sent again when it has changed, and not with each query. A slot has the files of a
query in a folder of their own, as they lie to each other in the session, since some formats consist of several.
"""

from __future__ import annotations

import difflib
import glob
import hashlib
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray

from ..protocol.codec import MAX_FRAME
from ..protocol.errors import AnalysisError
from ..system.content_folder import digest_of
from .ownership import files_of

Name = str | os.PathLike[str]
MOST_FILES = 1000
LARGEST = MAX_FRAME
"""Bytes of all files of a query, which lie in the memory of session and master."""
_SHOWN = 3

_read: WeakValueDictionary[str, NDArray[np.uint8]] = WeakValueDictionary()
"""By digest: queries that send the same have it in memory once."""


def collect_files(named: Name | Iterable[Name]) -> tuple[dict[str, str], dict[str, memoryview]]:
    """The files that a user names, the folders with all that is in them, and those that fit patterns, as they are now.

    Returns the digest of each by its name, and the contents by their digests.

    Raises:
        AnalysisError: one is not there, cannot be read, or they are too many or too large; the text says which.
    """
    paths: dict[str, Path] = {}
    for name in [named] if isinstance(named, str | os.PathLike) else named:
        paths |= _found(os.path.normpath(os.fspath(name)))
    if len(paths) > MOST_FILES:
        raise AnalysisError(f"files: {len(paths):,} are more than {MOST_FILES:,}: put them into an archive")
    _check_places(paths)
    digests: dict[str, str] = {}
    contents: dict[str, memoryview] = {}
    room = LARGEST
    for name, path in paths.items():
        try:
            size = path.stat().st_size
            if size > room:
                raise AnalysisError(_too_large(paths))
            content = path.read_bytes()
        except OSError as error:
            raise AnalysisError(f"files: {name} cannot be read: {error}") from error
        room -= len(content)
        digest = digests[name] = digest_of(content)
        array = _read.setdefault(digest, np.frombuffer(content, np.uint8))
        contents[digest] = array.data
    return digests, contents


def _found(name: str) -> dict[str, Path]:
    place = Path(name).expanduser()
    if place.is_file():
        return {name: place}
    if place.is_dir():
        inside = {os.path.join(name, path.relative_to(place)): path for path in files_of(place)}  # noqa: PTH118
        if not inside:
            raise AnalysisError(f"files: there is no file in the folder {place.absolute()}")
        return inside
    fitting = {found: Path(found) for found in sorted(glob.glob(str(place))) if Path(found).is_file()}  # noqa: PTH207
    if not fitting:
        raise AnalysisError(f"files: there is no file {name} here ({place.absolute()})")
    return fitting


def place_of(name: str) -> str:
    """Where a file lies in the folder of its query, relative to that.

    Example:
        >>> place_of("weights/bdt.ubj"), place_of("../model.onnx"), place_of("/eos/m/model.onnx")
        ('weights/bdt.ubj', 'model.onnx', 'eos/m/model.onnx')
    """
    return "/".join(part for part in Path(name).parts if part not in ("..", "/", "//"))


def _check_places(paths: Iterable[str]) -> None:
    taken: dict[str, str] = {}
    for name in paths:
        if (other := taken.setdefault(place_of(name), name)) != name:
            raise AnalysisError(
                f"files: {other} and {name} would be one file on a worker: give one of them another name"
            )


def _too_large(paths: Mapping[str, Path]) -> str:
    sizes = sorted(((path.stat().st_size, name) for name, path in paths.items()), reverse=True)
    largest = ", ".join(f"{name} ({size / 2**20:,.0f} MB)" for size, name in sizes[:_SHOWN])
    return (
        f"files: {sum(size for size, _ in sizes) / 2**20:,.0f} MB are more than can be sent with a query "
        f"({LARGEST / 2**20:,.0f} MB); the largest: {largest}. Put them where workers can read them"
    )


# --- in a slot ------------------------------------------------------------------------------------------------------------


class FilesAtHand:
    """The files of a query in a slot.

    Args:
        digests: by name.
        unpack: makes the folder in which they lie, and returns it.
    """

    def __init__(self, digests: Mapping[str, str], unpack: Callable[[Mapping[str, str]], Path]) -> None:
        self.digests = digests
        self._unpack = unpack
        self._folder: Path | None = None

    def path(self, name: str) -> tuple[Path, dict[str, str]] | None:
        """Where a file or folder is, and which files that are; None if there is none."""
        meant = {
            known: digest for known, digest in self.digests.items() if known == name or known.startswith(f"{name}/")
        }
        if not meant:
            return None
        if self._folder is None or not self._folder.is_dir():
            self._folder = self._unpack(self.digests)
        return self._folder / place_of(name), meant


_at_hand: FilesAtHand | None = None
_listener: Callable[[Mapping[str, str]], object] | None = None
_places: tuple[str, ...] = ()


def use(files: FilesAtHand) -> None:
    """From now on `file` finds these: a query is at work in this slot."""
    global _at_hand
    _at_hand = files


def lie_in(folder: Path) -> None:
    """The folders of files that were sent are in this one."""
    global _places
    if (beginning := f"{folder}{os.sep}") not in _places:
        _places += (beginning,)


def was_sent(path: str) -> bool:
    """Whether a file is one that was sent, in a folder that is named after its content."""
    return path.startswith(_places) if _places else False


def listen(listener: Callable[[Mapping[str, str]], object] | None) -> Callable[[Mapping[str, str]], object] | None:
    """Have the names and digests told of what `file` gives from now on. Returns who was told before."""
    global _listener
    before, _listener = _listener, listener
    return before


def are_current(known: Mapping[str, str]) -> bool:
    """Whether files of these names have these contents in the query at work, too."""
    here: Mapping[str, str] = {} if _at_hand is None else _at_hand.digests
    return all(here.get(name) == digest for name, digest in known.items())


def file(name: Name) -> Path:
    """Where a file is that came with the query: one of `process(files=[...])`, by the name that it has there, or a folder.

    In your own session it is where it was: so functions can be tried there.

    Raises:
        AnalysisError: there is none of this name; the text names those that there are.

    Example:
        >>> _ = Path("weights.json").write_text("{}")
        >>> def size(item):
        ...     return em.file("weights.json").stat().st_size
        >>> session.process(em.items([1]), size, files=["weights.json"]).result().value
        2
    """
    text = os.path.normpath(os.fspath(name))
    if _at_hand is None:
        place = Path(text).expanduser()
        if place.exists():
            return place
        raise AnalysisError(f"em.file: there is no file {text} here ({place.absolute()})")
    found = _at_hand.path(text)
    if found is None:
        names = list(_at_hand.digests)
        near = difflib.get_close_matches(text, names, n=_SHOWN, cutoff=0.3) or names[:_SHOWN]
        more = ", ..." if len(names) > len(near) else ""
        there = f"there came {', '.join(near)}{more}" if names else "none came"
        raise AnalysisError(
            f"em.file: no file {text} came with this query ({there}): session.process(..., files=[{text!r}]) sends it"
        )
    path, meant = found
    if _listener is not None:
        _listener(meant)
    return path


def name_of_set(digests: Mapping[str, str]) -> str:
    """Hexadecimal; names what files are and how they are called."""
    return hashlib.sha256(repr(sorted(digests.items())).encode("utf-8", "surrogateescape")).hexdigest()[:40]
