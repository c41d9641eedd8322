"""The command lines of the benchmarks: what several of them can be told."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

import platformdirs


def command_line(name: str, description: str | None) -> argparse.ArgumentParser:
    """The options of `python -m benchmarks.NAME`, which `--help` shows below the description; `--readme` is one of them."""
    parser = argparse.ArgumentParser(
        prog=f"python -m benchmarks.{name}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--readme", action="store_true", help="put the table into benchmarks/README.md")
    return parser


def add_sample(parser: argparse.ArgumentParser, events: int, files: int) -> None:
    """`--events` in so many `--files` in a `--folder`, and the `--slots` that read them."""
    parser.add_argument("--events", type=int, default=events)
    parser.add_argument("--files", type=int, default=files)
    parser.add_argument("--slots", type=int, default=2, help="slots of eventmill, workers of coffea (default 2)")
    add_folder(parser)


def add_folder(parser: argparse.ArgumentParser) -> None:
    """`--folder`, where the events lie."""
    default = platformdirs.user_cache_path("eventmill") / "benchmarks"
    parser.add_argument("--folder", type=Path, default=default, help="where the events lie (default: the user's cache)")


def add_names(parser: argparse.ArgumentParser, option: str, known: Iterable[str]) -> None:
    """An option that names some of what there is, separated by commas; all of it if it is not given.

    Example:
        >>> parser = command_line("colours", None)
        >>> add_names(parser, "--colours", ["red", "green", "blue"])
        >>> parser.parse_args(["--colours", "blue,red"]).colours
        ['blue', 'red']
    """
    names = list(known)

    def some(text: str) -> list[str]:
        for name in text.split(","):
            if name not in names:
                raise argparse.ArgumentTypeError(f"no {name!r}; there are {', '.join(names)}")
        return text.split(",")

    parser.add_argument(option, type=some, default=names, help=", ".join(names))
