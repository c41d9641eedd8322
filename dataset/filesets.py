"""What coffea describes files with, as dicts: its specifications of filesets, and the chunks that its runner has made."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

_CHUNK = ("dataset", "filename", "treename", "entrystart", "entrystop")


def as_fileset(files: Any) -> Any:
    """Files as they were given, or the fileset that objects of coffea's stand for.

    These are `DataGroupSpec`, `DatasetSpec` and what they consist of, in dicts as well; and the `WorkItem`s of
    `Runner.preprocess`, of which just their entries are meant.

    Example:
        >>> class WorkItem:
        ...     dataset, filename, treename, entrystart, entrystop, usermeta = "A", "a.root", "Events", 10, 20, {"era": "B"}
        >>> as_fileset([WorkItem()])
        {'A': {'files': {'a.root': {'object_path': 'Events', 'steps': [[10, 20]]}}, 'metadata': {'era': 'B'}}}
    """
    if isinstance(files, Iterator):
        files = list(files)
    if isinstance(files, list) and files and all(map(_is_chunk, files)):
        return _of_chunks(files)
    return _dumped(files)


def _dumped(files: Any) -> Any:
    if callable(getattr(files, "model_dump", None)) and not isinstance(files, type):
        return files.model_dump()
    if type(files) is dict:
        return {name: _dumped(part) for name, part in files.items()}
    return files


def _is_chunk(thing: Any) -> bool:
    return all(hasattr(thing, name) for name in _CHUNK)


def _of_chunks(chunks: Iterable[Any]) -> dict[str, Any]:
    fileset: dict[str, Any] = {}
    for chunk in chunks:
        part = fileset.setdefault(chunk.dataset, {"files": {}, "metadata": {}})
        part["metadata"].update(getattr(chunk, "usermeta", None) or {})
        about = part["files"].setdefault(chunk.filename, {"object_path": chunk.treename, "steps": []})
        about["steps"].append([chunk.entrystart, chunk.entrystop])
    return fileset
