"""What has become of the files of a dataset since it was registered: what was found, compared with what is known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from ...protocol.addresses import shown
from ...protocol.errors import DatasetError
from ...protocol.messages import CatalogueFile

_SHOWN = 10
"""Files that an error names."""


class FileFacts(msgspec.Struct, frozen=True, array_like=True):
    """What was found: entries of the tree, identity and size in bytes, the checksum; or the `error`, which may pass if it is
    `transient`. `layout` is what slots tell each other of a file, where it was asked for."""

    entries: int = 0
    identity: str = ""
    size: int = 0
    checksum: str = ""
    tree: str = ""
    error: str = ""
    transient: bool = False
    layout: bytes = b""


Difference = tuple[str, str, str]
"""The path of a copy, what is wrong with it in a word, and why."""


def copies(files: Sequence[CatalogueFile]) -> list[tuple[int, str, str]]:
    """All paths of all files: the number of the file, the path, and the tree that is to be in it."""
    return [
        (number, path, it.file.tree) for number, it in enumerate(files) for path in (it.file.path, *it.file.replicas)
    ]


def differences(known: CatalogueFile, path: str, found: FileFacts) -> Iterator[Difference]:
    """What a copy of a file is not, as it was registered.

    Example:
        >>> from ...protocol.messages import File
        >>> file = CatalogueFile(File("a.root", "Events", entries=10, identity="u:900"), 900, "adler32:0000002a")
        >>> list(differences(file, "a.root", FileFacts(11, "v:950", 950)))[0][:2]
        ('a.root', 'changed')
    """
    where = shown(path)
    if found.error:
        yield where, "unreachable" if found.transient else "missing", found.error
        return
    entries, identity = known.file.entries, known.file.identity
    if identity and found.identity != identity:
        lengths = "" if entries in (None, found.entries) else f"; {found.entries:,} entries, and {entries:,} before"
        yield where, "changed", f"{found.size:,} bytes, and {identity.rpartition(':')[2]} before{lengths}"
    elif entries is not None and found.entries != entries:
        yield where, "length", f"{found.entries:,} entries, and {entries:,} were registered"
    elif known.size is not None and found.size != known.size:
        yield where, "size", f"{found.size:,} bytes, and {known.size:,} were registered"
    if found.checksum and known.checksum and found.checksum.lower() != known.checksum.lower():
        yield where, "checksum", f"{found.checksum}, and {known.checksum} was registered"


def learnt(files: Sequence[CatalogueFile], found: Sequence[Sequence[FileFacts]]) -> list[CatalogueFile]:
    """Files with what was found of them: their tree, length and identity.

    Args:
        files: as somebody has listed them.
        found: for each of them what was found at each of its paths.

    Raises:
        DatasetError: a file is at none of its paths, its copies differ, or it is not what the list says; names all of these.
    """
    wrong: dict[str, str] = {}
    known = []
    for it, at_paths in zip(files, found, strict=True):
        there = [facts for facts in at_paths if not facts.error]
        if not there:
            wrong[it.file.path] = at_paths[0].error
            continue
        first = there[0]
        if any(facts.identity != first.identity for facts in there):
            wrong[it.file.path] = "its replicas are different files"
        for _, what, why in differences(it, it.file.path, first):
            wrong[it.file.path] = f"{what}: {why}"
        file = msgspec.structs.replace(it.file, tree=first.tree, entries=first.entries, identity=first.identity)
        known.append(CatalogueFile(file, first.size, it.checksum))
    if wrong:
        listed = "".join(f"\n  {shown(path)}: {why}" for path, why in list(wrong.items())[:_SHOWN])
        more = f"\n  and {len(wrong) - _SHOWN:,} more" if len(wrong) > _SHOWN else ""
        raise DatasetError(
            f"{len(wrong):,} of {len(files):,} files cannot be registered (scan=False registers them unseen):{listed}{more}"
        )
    return known
