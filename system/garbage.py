"""How often Python looks for objects that only refer to each other: a walk over all that there are, in which nothing else
is done.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator

_YOUNG, _MIDDLE, _ALL = 1_000, 2, 500
"""How many new ones there are before these are looked through, and how often that is done before it is with those of the
last times, and then with all. A microsecond each: a walk over 30,000 of them took 15 ms."""


@contextlib.contextmanager
def nothing_is_garbage() -> Iterator[None]:
    """For modules that are imported: what is made meanwhile stays, so that it is not looked through, now or later.

    To look takes a tenth of what a master or worker imports takes, and a seventh of what a slot does.

    Example:
        >>> import gc
        >>> with nothing_is_garbage():
        ...     import decimal
        >>> gc.isenabled(), gc.get_freeze_count() > 0
        (True, True)
        >>> gc.unfreeze()
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def look_for_garbage_seldom() -> None:
    """Have all objects be looked through once in a million new ones, and not in 70,000; those of now never again.

    Nearly all that a master makes goes as soon as nobody refers to it. What is left to be found are workers that are gone,
    which their slots refer to. With ten thousand workers a walk takes 0.2 s, and there was one for every few thousand that
    came and every few thousand packets: they took as long as all else that is done for a packet.

    Example:
        >>> import gc
        >>> before = gc.get_threshold()
        >>> look_for_garbage_seldom()
        >>> gc.get_threshold()[0] > before[0]
        True
        >>> gc.set_threshold(*before)
        >>> gc.unfreeze()
    """
    gc.freeze()
    gc.set_threshold(_YOUNG, _MIDDLE, _ALL)
