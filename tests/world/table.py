"""What a benchmark of faults has to tell: a few figures, whether all was well, and a table for the README."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(slots=True)
class Report:
    """Figures by what they are of; `problems` says what went wrong, each with how to see it again."""

    figures: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        return not self.problems

    def text(self) -> str:
        """For a terminal."""
        width = max(map(len, self.figures), default=0)
        lines = [f"{name:<{width}}  {value}" for name, value in self.figures.items()]
        return "\n".join([*lines, *self.problems, "all is well" if self.good else f"{len(self.problems)} PROBLEMS"])

    def markdown(self) -> str:
        """For the README."""
        lines = ["| | |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in self.figures.items())]
        return "\n".join([*lines, f"| problems | {len(self.problems)} |"])


def listed(counts: Mapping[str, int]) -> str:
    """How often what happened, the most frequent first."""
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    return ", ".join(f"{name} {count:,}" for name, count in ordered if count)


def middle_and_worst(values: Sequence[float]) -> str:
    """Of some figures, the one in the middle and the largest.

    Example:
        >>> middle_and_worst([1.0, 2.0, 9.0])
        'median 2.00, worst 9.00'
    """
    if not values:
        return "-"
    shape = ",.0f" if all(isinstance(value, int) for value in values) else ".2f"
    return f"median {statistics.median(values):{shape}}, worst {max(values):{shape}}"
