"""How many examples Hypothesis tries: few every time, many at night."""

from __future__ import annotations

from typing import Any

from hypothesis import settings

MORE_AT_NIGHT = 10


def examples(count: int, night: int = MORE_AT_NIGHT, **more: Any) -> settings:
    """So many examples, and with the profile `nightly` many times as many; none is too slow.

    Args:
        count: enough to find a fault of the plain kind in one run, and of any kind in the runs of a week.
        night: how many times as many at night.
        more: other settings of Hypothesis.
    """
    return settings(max_examples=count * night if at_night() else count, deadline=None, **more)


def at_night() -> bool:
    """Whether all is tried that there is time for: the profile is `nightly`."""
    return settings.get_current_profile_name() == "nightly"
