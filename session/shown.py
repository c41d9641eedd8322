"""Queries in notebooks: a query shows itself as a live view."""

from __future__ import annotations

from ..display.show import widget_of


class Shown:
    """The part of a `Query` that is its view in a notebook."""

    _widget: object = None

    def show(self) -> bool:
        """Show it in a notebook while it runs: how far it is, its histograms as they fill, buttons to stop and to abort it.

        A query that is the last value of a cell is shown so, and one that `result` waits for. One that is shown already
        stays where it is.

        Returns:
            whether a widget shows it: that takes a notebook, and the extra `notebook` (anywidget).

        Example:
            >>> query.show()                                                                      # doctest: +SKIP
        """
        if self._widget is None:
            self._widget = widget_of(self)
        return self._widget is not None

    def _ipython_display_(self) -> None:
        self._widget = None  # as often as the user asks
        if not self.show():
            print(self)  # noqa: T201
