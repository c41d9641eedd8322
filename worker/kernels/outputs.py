"""What a kernel fills: its outputs in memory, how the compiled loop sees them, and what they are when they are taken."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numba.np.numpy_support import from_dtype
from numpy.typing import NDArray

from ...analysis.analysis import Kernel
from ...analysis.binning import Binning, is_histogram
from ...analysis.cutflow import Cutflow
from ...analysis.row_output import Output
from ...analysis.writes import Write
from ...merge.histograms import FilledHistogram, HistogramTemplate
from ...merge.nodes import widened
from . import cutflow_fill, histogram_fill, row_append


class Store:
    """The outputs of a kernel, and how many entries are in them.

    Args:
        kernel: whose outputs.
        width: of the lanes of each, if they have any (see `lanes`).

    Attributes:
        outputs: by name, in the order of the parameters.
        counted: the number of entries, counted by the loop.
    """

    def __init__(self, kernel: Kernel, width: int = 0) -> None:
        self.outputs = {
            name: _output(name, kernel.outputs[name], width) for name in kernel.parameters if name in kernel.outputs
        }
        self.counted = np.zeros(1, np.int64)
        self._rows = {name: output for name, output in self.outputs.items() if isinstance(output, _RowOutput)}

    @property
    def has_rows(self) -> bool:
        """Whether some of the outputs are rows for files."""
        return bool(self._rows)

    def mark(self) -> list[Any]:
        """What is in them, for `put_back`."""
        return [self.counted.copy(), *(output.mark() for output in self.outputs.values())]

    def put_back(self, mark: list[Any]) -> None:
        """Let them be as they were when `mark` was taken, which may be done once."""
        self.counted[:] = mark[0]
        for output, its in zip(self.outputs.values(), mark[1:], strict=True):
            output.put_back(its)

    def take_rows(self) -> dict[str, Write]:
        """The rows since the last `take_rows` or `take`."""
        return {name: output.taken() for name, output in self._rows.items()}

    def take(self) -> tuple[dict[str, object], int]:
        """The outputs accumulated since the last `take`, by name, in the order of the parameters, and how many entries the
        loop has counted in them; then zeros again.

        Histograms come as `FilledHistogram`, arrays as arrays; rows that nobody has taken are forgotten. What is returned
        does not change later.
        """
        (outputs,), entries = self.take_lanes(1)
        return outputs, entries

    def take_lanes(self, lanes: int) -> tuple[list[dict[str, object]], int]:
        """As `take`, the outputs of each of the first lanes."""
        entries = int(self.counted[0])
        self.counted[0] = 0
        for rows in self._rows.values():
            rows.clear()
        taken = {name: it.take_lanes(lanes) for name, it in self.outputs.items() if not isinstance(it, _RowOutput)}
        return [{name: of_lanes[lane] for name, of_lanes in taken.items()} for lane in range(lanes)], entries


class _ArrayOutput:
    """An output whose first array is what is filled."""

    arrays: list[NDArray[Any]]

    def mark(self) -> NDArray[Any]:
        return self.arrays[0].copy()

    def put_back(self, mark: NDArray[Any]) -> None:
        self.arrays[0] = mark

    def after(self, _name: str) -> list[str]:
        """What the loop does with it behind each event."""
        return []


class _FilledOutput(_ArrayOutput):
    """A histogram that a kernel fills: its cells, and its binning for the loop."""

    def __init__(self, name: str, histogram: Any, width: int = 0) -> None:
        self._binning = Binning.of(histogram, f"output {name}")
        self._template = HistogramTemplate(histogram)
        self._width = width if self._binning.storage in histogram_fill.IN_LANES else 0
        self.arrays = [self._empty_cells(), *histogram_fill.bin_numbers(self._binning)]

    def _empty_cells(self) -> NDArray[Any]:
        cells = self._binning.empty_cells()
        return np.zeros((len(cells) - 1) * self._width + 1) if self._width else cells

    def take_lanes(self, lanes: int) -> list[FilledHistogram]:
        cells, self.arrays[0] = self.arrays[0], self._empty_cells()
        of_each = [cells]
        if self._width:
            of_each = [np.append(cells[:-1].reshape(-1, self._width)[:, lane], cells[-1]) for lane in range(lanes)]
        found = [FilledHistogram(self._template, self._binning.view(it), variance_known=not it[-1]) for it in of_each]
        return found if self._width else found * lanes

    def in_python(self) -> object:
        return _Unfilled()

    def source(self, name: str) -> tuple[list[str], str, list[types.Type]]:
        axes = "".join(f"bins({name}_1, {name}_2, {axis}), " for axis in range(len(self._binning.axes)))
        line = f"{name} = fillable({histogram_fill.describe(self._binning, self._width)!r}, {name}_0, ({axes}))"
        return [line], name, [_array_type(array) for array in self.arrays]


class _SummedOutput(_ArrayOutput):
    """A numpy array that a kernel changes in place: in 64 bits, as sums are kept wherever they go from here."""

    def __init__(self, template: NDArray[Any]) -> None:
        self.arrays = [np.zeros(template.shape, widened(template.dtype))]

    def take_lanes(self, lanes: int) -> list[NDArray[Any]]:
        array, self.arrays[0] = self.arrays[0], np.zeros_like(self.arrays[0])
        return [array] * lanes

    def in_python(self) -> object:
        return np.zeros_like(self.arrays[0])

    def source(self, name: str) -> tuple[list[str], str, list[types.Type]]:
        return [], f"{name}_0", [_array_type(self.arrays[0])]


class _CutflowOutput(_ArrayOutput):
    """A cutflow whose cuts a kernel passes."""

    def __init__(self, cutflow: Cutflow, width: int = 0) -> None:
        self._cells = cutflow_fill.Cells(cutflow.names, cutflow.adds, width)
        self.arrays = [self._cells.empty()]

    def take_lanes(self, lanes: int) -> list[Cutflow]:
        cells, self.arrays[0] = self.arrays[0], self._cells.empty()
        return [self._cells.cutflow(cells, lane) for lane in range(lanes)]

    def in_python(self) -> object:
        return Cutflow(*self._cells.cuts, nminusone=self._cells.adds)

    def after(self, name: str) -> list[str]:
        return [f"event_ended({name}, {len(self._cells.cuts)})"] if self._cells.adds else []

    def source(self, name: str) -> tuple[list[str], str, list[types.Type]]:
        line = f"{name} = passable({self._cells.description!r}, {name}_0)"
        return [line], f"event_begun({name})", [_array_type(self.arrays[0])]


class _RowOutput:
    """Rows that a kernel appends."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._buffers = row_append.RowBuffers(output)
        self.arrays = [self._buffers.state]
        self.mark, self.put_back, self.clear = self._buffers.mark, self._buffers.put_back, self._buffers.clear

    def after(self, _name: str) -> list[str]:
        return []

    def taken(self) -> Write:
        return Write(self._buffers.taken(), self._output.spec)

    def in_python(self) -> object:
        return Output(self._output.spec.target, {column.name: column.type for column in self._output.columns})

    def source(self, name: str) -> tuple[list[str], str, list[types.Type]]:
        line = f"{name} = appendable({row_append.describe(self._output)!r}, {name}_0)"
        return [line], name, [_array_type(self.arrays[0])]


class _Unfilled:
    """A histogram that forgets what is filled."""

    def fill(self, *values: object, **named: object) -> None:
        pass


def _output(name: str, output: Any, width: int) -> _FilledOutput | _SummedOutput | _CutflowOutput | _RowOutput:
    if isinstance(output, Output):
        return _RowOutput(output)
    if isinstance(output, Cutflow):
        return _CutflowOutput(output, width)
    return _FilledOutput(name, output, width) if is_histogram(output) else _SummedOutput(output)


def _array_type(array: NDArray[Any]) -> types.Array:
    return types.Array(from_dtype(array.dtype), array.ndim, "C")
