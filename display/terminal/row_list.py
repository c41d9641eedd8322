"""A list that may be long, and changes every second: only the lines that are seen are made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Generic, TypeVar

from rich.cells import set_cell_size
from rich.style import Style
from rich.text import Text
from textual.binding import Binding, BindingType
from textual.events import Click
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from ..logs import shown

Row = TypeVar("Row")


class RowList(ScrollView, Generic[Row], can_focus=True):
    """Rows, one of them under the cursor.

    Args:
        title: stands above it, with how many there are.
        key: tells a row from others, and is the same when there is more to say of it: the cursor stays with it.
        draw: a row as text, in so many columns.
        empty: what stands there when there is none.
        words: of a row, in which `wanted` is looked for.
        follows: the last row is kept in sight, unless the cursor is elsewhere.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "move(-1)", show=False),
        Binding("down", "move(1)", show=False),
        Binding("pageup", "page(-1)", show=False),
        Binding("pagedown", "page(1)", show=False),
        Binding("home", "move(-1000000)", show=False),
        Binding("end", "move(1000000)", show=False),
        Binding("enter", "choose", "choose"),
    ]

    class Moved(Message):
        """The cursor is on another row."""

    class Chosen(Message):
        """Enter was pressed on a row."""

        def __init__(self, row: Any) -> None:
            super().__init__()
            self.row = row

    def __init__(
        self,
        title: str,
        key: Callable[[Row], str],
        draw: Callable[[Row, int], Text],
        empty: str = "",
        words: Callable[[Row], str] | None = None,
        follows: bool = False,
        widget_id: str | None = None,
    ) -> None:
        super().__init__(id=widget_id)
        self._title, self._key, self._draw = title, key, draw
        self._words = words or key
        self._follows = follows
        self._all: Sequence[Row] = ()
        self._rows: Sequence[Row] = ()
        self._at = 0
        self.empty = empty
        self.wanted = ""
        self.note = ""

    def show(self, rows: Sequence[Row]) -> None:
        """There are these rows now."""
        before = self.row
        at_the_end = self._follows and self._at >= len(self._rows) - 1
        self._all = rows
        self._rows = [row for row in rows if self._is_wanted(row)] if self.wanted else rows
        if at_the_end:
            self._at = max(0, len(self._rows) - 1)
        elif before is not None:
            key = self._key(before)
            here = self._rows[self._at] if self._at < len(self._rows) else None
            if here is None or self._key(here) != key:
                found = next((at for at, row in enumerate(self._rows) if self._key(row) == key), self._at)
                self._at = max(0, min(found, len(self._rows) - 1))
        self._settle(follow=at_the_end)
        after = self.row
        if (before and self._key(before)) != (after and self._key(after)):
            self.post_message(self.Moved())

    def filter(self, wanted: str) -> None:
        """Only rows in which these words are, from now on."""
        self.wanted = wanted
        self.show(self._all)

    @property
    def row(self) -> Row | None:
        """What is under the cursor."""
        return self._rows[self._at] if self._at < len(self._rows) else None

    @property
    def rows(self) -> Sequence[Row]:
        """Those that are shown, seen or not."""
        return self._rows

    def select(self, key: str) -> None:
        """Put the cursor on the row of this key, if there is one."""
        self._at = next((at for at, row in enumerate(self._rows) if self._key(row) == key), self._at)
        self._settle()

    def render_line(self, y: int) -> Strip:
        """A line that is seen."""
        width, at = self.scrollable_content_region.width, y + round(self.scroll_offset.y)
        if at >= len(self._rows):
            text = Text(self.empty if not y else "", style="dim", no_wrap=True)
            if self.wanted and not y:
                text = Text(f"nothing with {self.wanted!r}", style="dim", no_wrap=True)
        else:
            text = self._draw(self._rows[at], width)
            if at == self._at and self.has_focus:
                text = Text(set_cell_size(text.plain, width), Style(reverse=True))
            elif at == self._at:
                text.stylize(Style(bold=True))
        segments = list(
            Text.assemble(text).render(self.app.console, end="")
        )  # by itself, a text without spans has no style
        return Strip(segments).adjust_cell_length(width).apply_style(self.rich_style)

    def action_move(self, by: int) -> None:
        """Move the cursor."""
        before, self._at = self._at, max(0, min(self._at + by, len(self._rows) - 1))
        self._settle(follow=True)
        if before != self._at:
            self.post_message(self.Moved())

    def action_page(self, by: int) -> None:
        """Move the cursor by what is seen at once."""
        self.action_move(by * max(1, self.size.height - 1))

    def action_choose(self) -> None:
        """Choose what is under the cursor."""
        if self.row is not None:
            self.post_message(self.Chosen(self.row))

    def on_click(self, event: Click) -> None:
        """The cursor goes where the mouse was."""
        at = event.y + round(self.scroll_offset.y)
        if at < len(self._rows):
            self.action_move(at - self._at)

    def on_resize(self) -> None:
        """Lines are as wide as there is room, and the cursor stays in sight."""
        self._settle(follow=True)

    def _is_wanted(self, row: Row) -> bool:
        text = self._words(row).lower()
        return all(word in text for word in self.wanted.lower().split())

    def _settle(self, follow: bool = False) -> None:
        """Let what is seen fit what there is."""
        self.virtual_size = Size(self.scrollable_content_region.width, max(1, len(self._rows)))
        if follow:
            self.scroll_to_region(Region(0, self._at, 1, 1), animate=False, immediate=True)
        count = (
            f"{len(self._rows):,} of {len(self._all):,} with {self.wanted!r}" if self.wanted else f"{len(self._all):,}"
        )
        self.border_title = Text(shown(f" {' · '.join(filter(None, [f'{self._title} {count}', self.note]))} "))
        self.refresh()
