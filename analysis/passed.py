"""What passes cuts: how it is summed up, what its efficiencies are, and how it is shown."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Passed:
    """What passes each of some cuts.

    Attributes:
        names: of the cuts.
        counts: events.
        weights: sum of their weights.
        variances: sum of the squares of these.
    """

    names: tuple[str, ...]
    counts: NDArray[np.int64]
    weights: NDArray[np.float64]
    variances: NDArray[np.float64]

    def efficiency(
        self, weighted: bool = True, of_previous: bool = False
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The part of the first line, or of the line before each, that passes, and its uncertainty.

        The uncertainty is that of a binomial, for weighted events too: with the sums of weights w and of their squares v of
        what passes (p) and of all (t), and the efficiency e = w_p / w_t, its square is ((1 - 2 e) v_p + e^2 v_t) / w_t^2.
        This is what ROOT's TH1::Divide computes with the option "B"; without weights it is e (1 - e) / n. It is 0 where
        nothing or everything passes.

        Args:
            weighted: of sums of weights, not of numbers of events.
            of_previous: relative to the line before.
        """
        values = self.weights if weighted else self.counts.astype(np.float64)
        squares = self.variances if weighted else values
        before = np.maximum(np.arange(len(values)) - 1, 0) if of_previous else np.zeros(len(values), np.intp)
        total, spread = values[before], squares[before]
        with np.errstate(divide="ignore", invalid="ignore"):
            part = values / total
            variance = ((1 - 2 * part) * squares + part**2 * spread) / total**2
        return part, np.sqrt(np.abs(variance))


@dataclass(frozen=True, eq=False)
class Sums:
    """Counts `[kind, cut]`, and sums of weights and of their squares `[kind, cut, 2]`.

    Kinds are in order, each alone, all but each; of a cutflow of a kernel only the first.
    """

    names: tuple[str, ...]
    counts: NDArray[np.int64]
    sums: NDArray[np.float64]

    @classmethod
    def zeros(cls, names: Sequence[str], kinds: int = 1) -> Sums:
        """Nothing has passed, in order."""
        return cls(tuple(names), np.zeros((kinds, len(names)), np.int64), np.zeros((kinds, len(names), 2)))

    @classmethod
    def of_masks(cls, named: Mapping[str, NDArray[np.bool_]], weight: NDArray[np.float64] | None) -> Sums:
        """What passes some masks, the first of which all events pass; each with weight 1 if there are none."""
        masks = np.array(list(named.values()))
        before = np.logical_and.accumulate(masks)
        behind = np.logical_and.accumulate(masks[::-1])[::-1]
        but_one = before.copy()
        but_one[0] = before[-1]
        for row in range(1, len(masks)):
            but_one[row] = before[row - 1] & behind[row + 1] if row + 1 < len(masks) else before[row - 1]
        kinds = (before, masks, but_one)
        counts = np.array([kind.sum(axis=1) for kind in kinds], np.int64)
        if weight is None:
            return cls(tuple(named), counts, np.repeat(counts[..., None], 2, axis=2).astype(np.float64))
        powers = np.stack([weight, weight**2])
        sums = np.array([[powers[:, mask].sum(axis=1) for mask in kind] for kind in kinds], np.float64)
        return cls(tuple(named), counts, sums)

    def passed(self, kind: int) -> Passed:
        """What passes, of one kind."""
        return Passed(self.names, self.counts[kind], self.sums[kind, :, 0], self.sums[kind, :, 1])

    def same(self, other: Sums) -> bool:
        """Whether the other has the same cuts, and the same in them."""
        same = np.array_equal(self.counts, other.counts) and np.array_equal(self.sums, other.sums)
        return self.names == other.names and same


def differ(mine: tuple[str, ...], my_kinds: int, theirs: tuple[str, ...], their_kinds: int) -> str:
    """Why two cutflows do not add up; empty if they do."""
    if mine != theirs:
        return f"the cuts {', '.join(mine)} in one and {', '.join(theirs)} in the other, which have to be the same in order"
    return "cuts of masks in one, and passed one by one in the other" if my_kinds != their_kinds else ""


# --- shown ------------------------------------------------------------------------------------------------------------


def as_text(passed: Passed | None) -> str:
    """A table in text."""
    headings, rows = _table(passed)
    widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if at else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in (headings, *rows)
    )


def as_html(passed: Passed | None) -> str:
    """A table for notebooks."""
    headings, rows = _table(passed)
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in headings)
    body = "".join(f"<tr>{''.join(_cell(at, cell) for at, cell in enumerate(row))}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def lines(passed: Passed | None) -> dict[str, str]:
    """A line in words for each cut."""
    (_, *headings), rows = _table(passed)
    return {
        name: ", ".join(f"{cell} {what}" for what, cell in zip(headings, cells, strict=True) if cell != "-")
        for name, *cells in rows
    }


def _cell(at: int, cell: str) -> str:
    return f'<td style="text-align:{"right" if at else "left"}">{html.escape(cell)}</td>'


def _table(passed: Passed | None) -> tuple[list[str], list[list[str]]]:
    if passed is None:
        return ["cut"], []
    headings = ["cut", "events", "of all", "of previous"]
    columns = [[f"{count:,}" for count in passed.counts], *(_percents(passed, False, it) for it in (False, True))]
    if not np.array_equal(passed.weights, passed.counts):
        headings += ["weighted", "of all", "of previous"]
        columns += [
            [f"{weight:,.6g}" for weight in passed.weights],
            *(_percents(passed, True, it) for it in (False, True)),
        ]
    return headings, [list(row) for row in zip(passed.names, *columns, strict=True)]


def _percents(passed: Passed, weighted: bool, of_previous: bool) -> list[str]:
    parts, errors = passed.efficiency(weighted, of_previous)
    found = [
        f"{100 * part:.2f} ± {100 * error:.2f} %" if np.isfinite(part) else "-"
        for part, error in zip(parts, errors, strict=True)
    ]
    return ["-" if of_previous else "100 %" if np.isfinite(parts[0]) else "-", *found[1:]]
