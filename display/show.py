"""Whether a query can be shown as a widget, and doing so."""

from __future__ import annotations

import importlib
from typing import Any, Protocol

from ..analysis.notebook_cells import running_shell


class Widget(Protocol):
    """What shows a query."""

    def settle(self) -> None:
        """Wait until the end of the query is shown."""


def widget_of(query: Any) -> Widget | None:
    """The widget that shows a query below the cell that runs; None outside notebooks, and without anywidget."""
    if not _in_notebook():
        return None
    try:
        notebook = importlib.import_module(f"{__package__}.notebook")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in ("anywidget", "traitlets", "ipywidgets"):
            return None
        raise
    widget: Widget = notebook.QueryWidget(query)
    notebook.QueryWidget.show(widget)
    return widget


def _in_notebook() -> bool:
    """Whether a kernel runs us, which has a front end: a terminal's IPython has none."""
    return hasattr(running_shell(), "kernel")
