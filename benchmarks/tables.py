"""Where the benchmarks put their tables: between two comments in benchmarks/README.md; and what they say of the machine."""

from __future__ import annotations

import datetime
import os
import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

README = Path(__file__).with_name("README.md")


def put(name: str, table: str) -> None:
    """Replace what is between the comments `NAME: begin` and `NAME: end`.

    Raises:
        ValueError: there are no such comments.
    """
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, found, rest = README.read_text().partition(begin)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise ValueError(f"{README} has no place for the table of {name}")
    README.write_text(f"{before}{begin}\n{table}\n{end}{after}")


def rows(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table whose first column is text and the others numbers.

    Example:
        >>> print(rows(["what", "seconds"], [["zstd", "0.56"]]))
        | what | seconds |
        | --- | --: |
        | zstd | 0.56 |
    """
    marks = ["---", *["--:"] * (len(header) - 1)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, marks, *lines))


def today() -> str:
    """The date in UTC."""
    return datetime.datetime.now(tz=datetime.UTC).date().isoformat()


def machine() -> str:
    """Processor, number of cores that this process may use, and operating system."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line.partition(":")[2].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        model = names[0] if names else model
    return f"{len(os.sched_getaffinity(0))} cores of {model}, {platform.system()}"


def package_version(package: str) -> str | None:
    """None if it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def versions(packages: Sequence[str]) -> str:
    """Of Python and those of the packages that are installed."""
    found = {package: package_version(package) for package in packages}
    return ", ".join([f"Python {platform.python_version()}", *(f"{name} {v}" for name, v in found.items() if v)])


def heading(packages: Sequence[str], load: float) -> str:
    """When, where and with what; `load` is what `os.getloadavg` said before."""
    return f"{today()}, {machine()}; {versions(packages)}. Load before the run: {load:.2f}; it should be 0."
