"""Damaged copies of files, read in processes beside this one: what comes of them is an error in words, or right.

    python damage.py FIRST NUMBER FILE[:checked]...

reads so many copies of each file and prints what came of them, as JSON. A child reads one copy after the other, each with
limits on its time and memory, and says beforehand which one it is at: so that a crash, or an end by a limit, has the number
of its copy.
"""

from __future__ import annotations

import functools
import json
import logging
import mmap
import os
import random
import resource
import signal
import struct
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import xxhash
from eventmill.protocol.errors import DatasetError
from eventmill.reading.columns import Flat, Strings, tight
from eventmill.reading.opening import opened, trees_in
from eventmill.reading.read_errors import read_errors
from eventmill.reading.reader import Reader

CPU_SECONDS = 20.0
"""For one copy of a small file."""
MOST_BYTES = 2 << 30
"""More than the process had before."""
NUMBER = struct.Struct("=q")
ENTRIES, PART = "entries", " of a part"
EXTREMES = (
    b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff",
    b"\x80\x00\x00\x00",
    bytes(4),
    b"\x40\x00\x00\x10",
    b"\x00\x00\x00\x01",
)


def damaged(content: bytes, seed: int, resealed: bool) -> bytes:
    """A copy of a file with some of its bytes changed, or cut off; the same for the same seed. `resealed`: now and then with
    a right checksum again, where an RNTuple's description is changed.
    """
    choice = random.Random(seed)
    copy = bytearray(content)
    if choice.random() < 0.15 and resealed and (sealed := _sealed(content)):
        start, stop = choice.choice(sealed)
        for _ in range(choice.randint(1, 3)):
            _change(copy, choice, start, stop - 8)
        copy[stop - 8 : stop] = xxhash.xxh3_64_intdigest(bytes(copy[start : stop - 8])).to_bytes(8, "little")
        return bytes(copy)
    for _ in range(choice.choice((1, 1, 1, 2, 5))):
        place = choice.random()
        if place < 0.15:
            _change(copy, choice, 0, min(400, len(copy)))
        elif place < 0.3:
            _change(copy, choice, max(0, len(copy) - 3000), len(copy))
        else:
            _change(copy, choice, 0, len(copy))
    if choice.random() < 0.03:
        del copy[choice.randrange(len(copy)) :]
    return bytes(copy)


def _sealed(content: bytes) -> list[tuple[int, int]]:
    """Where the envelopes of RNTuples are that are not compressed, each with its checksum at its end."""
    found = []
    for kind in (1, 2, 3):
        at = content.find(struct.pack("<H", kind))
        while at >= 0 and len(found) < 40:
            size = int.from_bytes(content[at + 2 : at + 8], "little")
            if 24 < size <= len(content) - at:
                seal = int.from_bytes(content[at + size - 8 : at + size], "little")
                if size < 100_000 and xxhash.xxh3_64_intdigest(content[at : at + size - 8]) == seal:
                    found.append((at, at + size))
            at = content.find(struct.pack("<H", kind), at + 1)
    return found


def _change(copy: bytearray, choice: random.Random, start: int, stop: int) -> None:
    if stop - start < 8:
        return
    at = choice.randrange(start, stop - 4)
    kind = choice.random()
    if kind < 0.4:
        copy[at] ^= 1 << choice.randrange(8)
    elif kind < 0.6:
        copy[at] = choice.randrange(256)
    elif kind < 0.85:
        extreme = choice.choice(EXTREMES)
        copy[at : at + 4] = extreme if choice.random() < 0.7 else extreme[::-1]
    elif kind < 0.95:
        size = min(choice.randint(1, 64), stop - at)
        copy[at : at + size] = bytes(size)
    else:
        size = min(choice.randint(1, 64), stop - at)
        source = choice.randrange(start, max(start + 1, stop - size))
        copy[at : at + size] = copy[source : source + size]


def plain(value: Any) -> bytes:
    """What tells a column from another one: types, structure and values."""
    if isinstance(value, Flat):
        return repr((value.values.dtype.str, value.values.shape)).encode() + value.values.tobytes()
    if isinstance(value, Strings):
        value = tight(value)
        return value.offsets.tobytes() + value.characters.tobytes()
    value = tight(value)
    return bytes(np.asarray(value.offsets).tobytes() + plain(value.content))


Contents = dict[tuple[str, str], Any]
"""By tree and column, or part of a column, and what is in it; of what cannot be read the error."""


def trees_of(path: str) -> list[str]:
    with read_errors(path, "cannot be opened"):
        directory = opened(path, 30.0, None)
        try:
            return trees_in(directory)
        finally:
            directory.close()


def contents(path: str, choice: random.Random) -> Contents:
    """Some columns of one of the trees of a file."""
    found: Contents = {}
    trees = trees_of(path)
    for tree in choice.sample(trees, min(1, len(trees))):
        reader = Reader(path, tree)
        found[tree, ENTRIES] = reader.entries
        for name in choice.sample(list(reader.names), min(3, len(reader.names))):
            found |= column(reader, name)
        reader.close()
    return found


def column(reader: Reader, name: str) -> Contents:
    found: Contents = {}
    n, tree, path = reader.entries, reader.tree, reader.path
    part = (n // 3, n - n // 4) if n < 1 << 40 else (0, 1)
    for what, (start, stop) in {"": (0, n), PART: part}.items():
        try:
            with read_errors(path, "cannot be read"):
                is_plain = reader.columns.is_plain(name)
            if is_plain:
                found[tree, name + what] = plain(reader.read([name], start, stop)[name])
            elif not what:
                found[tree, name] = repr(reader.array(name, start, stop).tolist())
        except DatasetError as error:
            found[tree, name + what] = error
    return found


class Whole:
    """What is in the file itself, read as it is asked for, by the child that asks: a file has hundreds of columns, and its
    copies are asked for some of them."""

    def __init__(self, path: Path) -> None:
        self.trees = trees_of(str(path))
        self._reader = functools.cache(lambda tree: Reader(str(path), tree))
        self._column = functools.cache(lambda tree, name: column(self._reader(tree), name))

    def has(self, tree: str, what: str, value: Any) -> bool:
        reader = self._reader(tree)
        if what == ENTRIES:
            return bool(reader.entries == value)
        name = what if what in reader.names else what.removesuffix(PART)
        return name in reader.names and bool(self._column(tree, name).get((tree, what)) == value)


@dataclass(slots=True)
class Outcome:
    """What came of some copies.

    Attributes:
        counts: how many were read as the file itself (`same`), refused as a whole (`refused`), in some columns (`partly`),
            have a tree of another name (`renamed`), or gave other values (`other`).
        faults: those that are none of these, and other values where a checksum is, in words.
    """

    counts: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)


def try_copies(path: Path, seeds: Sequence[int], checked: bool) -> Outcome:
    """Read damaged copies of a file in a child, another one after each that died.

    Args:
        path: a small file.
        seeds: of the copies.
        checked: whether other values are faults, since all of the file is under checksums.
    """
    content, right = path.read_bytes(), Whole(path)
    outcome = Outcome()
    left = list(seeds)
    with tempfile.TemporaryDirectory() as folder, mmap.mmap(-1, NUMBER.size) as at:
        while left:
            log = Path(folder, "log")
            log.write_text("")
            status = _in_a_child(_read_copies, content, right, left, checked, Path(folder), at, log)
            for line in log.read_text().splitlines():
                kind, *words = json.loads(line)
                outcome.counts[kind] += 1
                outcome.faults += [f"{path.name}, copy {words[0]}: {words[1]}"] if len(words) == 2 else []
            if status == 0:
                break
            seed = NUMBER.unpack_from(at)[0]
            ended = f"signal {signal.Signals(status & 127).name}" if status & 127 else f"status {status >> 8}"
            outcome.counts["died"] += 1
            outcome.faults.append(f"{path.name}, copy {seed}: it ended by {ended}")
            left = left[left.index(seed) + 1 :]
    return outcome


def _in_a_child(work: Callable[..., None], *of: Any) -> int:
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    try:
        work(*of)
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def _read_copies(
    content: bytes,
    right: Whole,
    seeds: Sequence[int],
    checked: bool,
    folder: Path,
    at: mmap.mmap,
    log: Path,
) -> None:
    now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + MOST_BYTES, resource.RLIM_INFINITY))
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    copy = folder / "copy.root"
    with log.open("a") as lines:
        for seed in seeds:
            NUMBER.pack_into(at, 0, seed)
            copy.unlink(missing_ok=True)
            copy.write_bytes(damaged(content, seed, not checked))
            signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
            said = _judged(str(copy), right, checked, random.Random(seed))
            signal.setitimer(signal.ITIMER_PROF, 0)
            lines.write(json.dumps([said] if isinstance(said, str) else [said[0], seed, said[1]]) + "\n")
            lines.flush()


def _judged(path: str, right: Whole, checked: bool, choice: random.Random) -> str | tuple[str, str]:
    try:
        found = contents(path, choice)
    except DatasetError:
        return "refused"
    except Exception as error:
        words = "".join(traceback.format_exception(error)[-3:])
        return "raised", words
    if not {tree for tree, _ in found} <= set(right.trees):
        return "renamed"  # its name is in ROOT's directory, under no checksum: who asks for the tree does not find it
    other = [key for key, value in found.items() if not isinstance(value, DatasetError) and not right.has(*key, value)]
    if other:
        return ("differs", f"{other[0]} has other values") if checked else "other"
    return "partly" if any(isinstance(value, DatasetError) for value in found.values()) else "same"


if __name__ == "__main__":
    logging.disable()
    first, number = int(sys.argv[1]), int(sys.argv[2])
    of_each = []
    for file in sys.argv[3:]:
        came = try_copies(Path(file.removesuffix(":checked")), range(first, first + number), file.endswith(":checked"))
        of_each.append([came.counts, came.faults])
    print(json.dumps(of_each))
