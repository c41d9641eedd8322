"""How much is done, in calls of functions: what a time bounds badly on a busy machine."""

from __future__ import annotations

import sys
from types import FrameType


class Calls:
    """Counts the calls of functions, of Python's and of C's, while it is entered."""

    count = 0

    def __enter__(self) -> Calls:
        self._before = sys.getprofile()
        sys.setprofile(self._called)
        return self

    def __exit__(self, *error: object) -> None:
        sys.setprofile(self._before)

    def _called(self, frame: FrameType, event: str, argument: object) -> None:
        self.count += event in ("call", "c_call")
