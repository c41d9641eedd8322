"""What was spent, on whose work: a billing period is paid for when it begins."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from .supply import HOUR, Supply


class Spending:
    """By owner.

    Args:
        spent: before.

    Example:
        >>> from eventmill.elastic.supply import Machine, Tariff
        >>> spending = Spending()
        >>> hourly = Tariff(0.40, 3600.0)
        >>> spending.charge([Supply("cloud", tariff=hourly)], {})
        >>> cloud = Supply("cloud", tariff=hourly, machines=[Machine("i-1", "working", ran=10.0)])
        >>> spending.charge([cloud], {"cloud": {"ada": 3.0, "bob": 1.0}})
        >>> spending.spent["ada"], spending.spent["bob"]
        (0.30000000000000004, 0.1)
    """

    def __init__(self, spent: Mapping[str, float] | None = None) -> None:
        self.spent: Counter[str] = Counter(spent or {})
        self._paid: dict[str, dict[str, float]] = {}
        self._users: dict[str, Mapping[str, float]] = {}

    def charge(self, supplies: Iterable[Supply], users: Mapping[str, Mapping[str, float]]) -> None:
        """Charge what became due, by pool to those who use it, in these parts.

        While nobody does, it is charged to those who did last: for their work the machines are there. What machines have run
        before their pool was first seen is not charged: others have paid for it, or an earlier master has written it down.
        """
        for supply in supplies:
            pool, tariff = supply.pool, supply.tariff
            paid = {
                machine.job: tariff.paid(machine.ran)
                for machine in supply.machines
                if machine.ran > 0.0 and machine.phase != "failed"
            }
            before = self._paid.get(pool, paid)
            due = sum(max(0.0, seconds - before.get(job, 0.0)) for job, seconds in paid.items()) * tariff.price / HOUR
            self._paid[pool] = paid
            self._users[pool] = parts = users.get(pool) or self._users.get(pool) or {"": 1.0}
            for owner, part in parts.items() if due > 0.0 else ():
                self.spent[owner] += due * part / sum(parts.values())  # type: ignore[assignment]
