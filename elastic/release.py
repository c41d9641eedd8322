"""Which machines go, and when: not before they had their grace, and what is paid for is used to its end."""

from __future__ import annotations

from collections.abc import Sequence

from .estimates import Estimates
from .supply import Machine, Supply

LEAST_GRACE, MOST_GRACE = 60.0, 300.0
"""Seconds for which a machine that is not needed stays, since it may be: twice its start time, within these bounds."""
LEAVING_SECONDS = 60.0
"""Before the end of a billing period, in which a machine can leave in good order."""
_SHORT = 2 * LEAVING_SECONDS


def grace(learnt: Estimates) -> float:
    """Seconds for which a machine of a pool stays though it is not needed; and no machine goes sooner after it was asked
    for, or has joined.

    Example:
        >>> grace(Estimates(start=10.0)), grace(Estimates(start=90.0)), grace(Estimates(start=600.0))
        (60.0, 180.0, 300.0)
    """
    return min(MOST_GRACE, max(LEAST_GRACE, 2.0 * learnt.start))


def is_paid(supply: Supply, machine: Machine) -> bool:
    """What is paid for lasts for longer than it takes to leave.

    Example:
        >>> from eventmill.elastic.supply import Tariff
        >>> hourly = Supply("cloud", tariff=Tariff(0.4, 3600.0))
        >>> is_paid(hourly, Machine("i-1", "idle", ran=3000.0)), is_paid(hourly, Machine("i-1", "idle", ran=3550.0))
        (True, False)
    """
    tariff = supply.tariff
    return tariff.price > 0 and tariff.period > _SHORT and tariff.paid(machine.ran) - machine.ran > LEAVING_SECONDS


def overdue(supply: Supply, learnt: Estimates) -> list[Machine]:
    """Machines that have started long ago and have not joined: they will not."""
    return [machine for machine in supply.staying if machine.phase == "booting" and machine.ran > learnt.patience]


def surplus(
    supply: Supply, untaken: Sequence[Machine], learnt: Estimates, *, is_dear: bool, is_over: bool, is_forced: bool
) -> list[Machine]:
    """Of the machines of a pool that no need has taken, those that go now.

    Args:
        supply: the pool.
        untaken: those machines, the first to go first.
        learnt: of the pool.
        is_dear: what they do would be done for less by others that are there.
        is_over: they are more than a user may have.
        is_forced: they are more than a user can pay.
    """
    least = grace(learnt)
    going = []
    for machine in untaken:
        if is_paid(supply, machine):
            continue
        if machine.coming:
            goes = machine.age >= least
        elif machine.phase == "idle":
            goes = min(machine.rests, machine.up) >= least
        else:
            goes = (is_dear or is_over) and machine.up >= least
        if goes or is_forced:
            going.append(machine)
    return going[: max(0, len(supply.staying) - supply.least)]
