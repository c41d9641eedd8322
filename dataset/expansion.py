"""Paths and patterns of a dataset, replaced by the files that they stand for."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from ..protocol.errors import DatasetError
from ..protocol.messages import File

ListFiles = Callable[[str], Sequence[str]]
"""Gives the files of a path or pattern, in order."""


def expanded(files: Sequence[File], list_files: ListFiles) -> list[File]:
    """The files that files of a dataset stand for, which may be named by a pattern or a folder.

    Args:
        files: as they were named.
        list_files: is asked once for each path.

    Raises:
        DatasetError: a path stands for no file; one with an entry list or a replica stands for several.

    Example:
        >>> [file.path for file in expanded([File("a/*.root")], lambda pattern: ["a/1.root", "a/2.root"])]
        ['a/1.root', 'a/2.root']
    """
    several: dict[str, list[str]] = {}
    single = set[str]()
    for path in (file.path for file in files if not file.replicas):
        if path not in single and path not in several:
            paths = list(list_files(path))
            if not paths:
                raise DatasetError(f"no file fits {path}")
            if paths == [path]:
                single.add(path)  # as nearly all of a million are
            else:
                several[path] = paths
    found: list[File] = []
    for file in files:
        if file.replicas:
            found.append(_with_replicas(file, list_files))
        else:
            found += _found(file, several[file.path]) if file.path in several else (file,)
    return found


def _found(file: File, paths: Sequence[str]) -> list[File]:
    """The files that a path or pattern stands for."""
    if len(paths) == 1:
        return [msgspec.structs.replace(file, path=paths[0])]
    if file.listed is not None:
        raise DatasetError(f"{file.path} has the entry list of one file, and stands for {len(paths)} files")
    return [msgspec.structs.replace(file, path=path, entries=None) for path in paths]


def _with_replicas(file: File, list_files: ListFiles) -> File:
    """A file with the paths of its replicas as they are used. One that is not to be seen from here may be from a worker."""
    paths, errors = list[str](), list[DatasetError]()
    for path in (file.path, *file.replicas):
        try:
            found = list_files(path)
        except DatasetError as error:
            errors.append(error)
            found = [path]
        if len(found) != 1:
            raise DatasetError(f"{path} stands for {len(found)} files: a replica is one file")
        paths += found
    if len(errors) == len(paths):
        raise errors[0]
    return msgspec.structs.replace(file, path=paths[0], replicas=tuple(paths[1:]))
