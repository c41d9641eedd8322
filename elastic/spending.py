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
        >>> cloud = Supply("cloud", tariff=Tariff(0.40, 3600.0), machines=[Machine("i-1", "working", ran=10.0)])
        >>> spending.charge([cloud], {"cloud": {"ada": 3.0, "bob": 1.0}})
        >>> spending.spent["ada"], spending.spent["bob"]
        (0.30000000000000004, 0.1)
    """

    def __init__(self, spent: Mapping[str, float] | None = None) -> None:
        self.spent: Counter[str] = Counter(spent or {})
        self._paid: dict[tuple[str, str], float] = {}

    def charge(self, supplies: Iterable[Supply], users: Mapping[str, Mapping[str, float]]) -> None:
        """Charge what became due, by pool to those who use it, in these parts; unused ones are charged to nobody ("")."""
        paid: dict[tuple[str, str], float] = {}
        for supply in supplies:
            if supply.tariff.price <= 0.0:
                continue
            due = 0.0
            for machine in supply.machines:
                if machine.ran > 0.0 and machine.phase != "failed":
                    seconds = supply.tariff.paid(machine.ran)
                    key = supply.pool, machine.job
                    due += max(0.0, seconds - self._paid.get(key, 0.0)) * supply.tariff.price / HOUR
                    paid[key] = seconds
            parts = users.get(supply.pool) or {"": 1.0}
            for owner, part in parts.items():
                self.spent[owner] += due * part / sum(parts.values())  # type: ignore[assignment]
        self._paid = paid
