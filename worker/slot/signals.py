"""What signals do in a slot, and in the processes that are forked from it.

A batch system tells all processes of a job to end: the agent sees to it, slots go on meanwhile. But nothing that they start
may miss SIGTERM or SIGINT, or whoever ends a process of a pool waits for ever.
"""

from __future__ import annotations

import os
import signal
import threading

_NUMBERS = (signal.SIGTERM, signal.SIGINT)
_mask = threading.local()


def be_a_slot() -> None:
    """Go on when the process is told to end, from now on.

    A handler, unlike `SIG_IGN`, does not go to the programs that are started, and in forks it is taken off. Until that is
    done, a signal waits: one that comes a moment after the fork would be the slot's handler's, and lost.
    """
    for number in _NUMBERS:
        signal.signal(number, _go_on)
        signal.siginterrupt(number, False)
    os.register_at_fork(before=_hold_back, after_in_parent=_let_come, after_in_child=_be_no_slot)


def _go_on(number: int, frame: object) -> None:
    pass


def _hold_back() -> None:
    _mask.before = signal.pthread_sigmask(signal.SIG_BLOCK, _NUMBERS)


def _let_come() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _mask.before)


def _be_no_slot() -> None:
    came = signal.sigpending()  # an exception would be lost here: it ends as one that nobody catches
    for number, usual in ((signal.SIGTERM, signal.SIG_DFL), (signal.SIGINT, signal.default_int_handler)):
        if signal.getsignal(number) is _go_on:
            signal.signal(number, signal.SIG_DFL if number in came else usual)
    _let_come()
