"""What will become of a wish, in words."""

from __future__ import annotations

from ..protocol.messages import Hindrance, WishInfo
from ..protocol.values import some
from .progress_line import duration

_WHY: dict[Hindrance, str] = {
    "max_workers": "more than {workers} are not wished for (max_workers)",
    "max_cost": "there is no money for more (max_cost)",
    "most": "the pools have no more, or are in trouble",
    "share": "others have their share of the pools",
    "parallel": "no more could work on it at the same time",
    "start": "more would come too late to be of use",
}


def wish_words(info: WishInfo) -> str:
    """What will become of a wish: when all is done, with how many workers, what it costs, and why it will be late.

    Example:
        >>> from eventmill.protocol.messages import WishTerms
        >>> late = WishInfo("ada", WishTerms(finish_in=1200.0), 1, 2100.0, 900.0, 40, hindrance="most")
        >>> wish_words(late)
        'cannot be met: 35 min 00 s with 40 workers, 15 min 00 s too late; the pools have no more, or are in trouble'
        >>> wish_words(WishInfo("ada", WishTerms(), 1, 840.0, 0.0, 12, 0.5, 1.75))
        'done in 14 min 00 s with 12 workers, cost 1.75 (0.50 so far)'
        >>> wish_words(WishInfo("ada", WishTerms()))
        'nothing to do: pools follow the work as it comes'
    """
    workers = f"{info.workers:,} worker{'s' * (info.workers != 1)}"
    why = _WHY[info.hindrance].format(workers=f"{info.workers:,}") if info.hindrance else ""
    if not info.queries:
        spent = f"; cost {money(info.spent)} so far" if info.spent else ""
        course = "".join(f"; {name} {duration(seconds)}" for name, seconds in info.course.items())
        return f"nothing to do: pools follow the work as it comes{spent}{course}"
    if not info.known:
        return f"how long it takes is known when somebody has worked on it: {workers}, some of them to find out"
    cost = "" if info.cost is None or not info.cost else f", cost {money(info.cost)}"
    cost += f" ({money(info.spent)} so far)" if cost and info.spent else ""
    if info.finish is None:
        return f"cannot be met: {workers}; {why or 'there is nobody who could do it'}"
    if info.late > 0:
        return f"cannot be met: {duration(info.finish)} with {workers}, {duration(info.late)} too late{cost}; {why}"
    return f"done in {duration(info.finish)} with {workers}{cost}" + (f"; {why}" if why else "")


def wish_line(info: WishInfo) -> str:
    """A wish in a list of them: whose it is, what it is, and what will become of it.

    Example:
        >>> from eventmill.protocol.messages import WishTerms
        >>> wish_line(WishInfo("ada", WishTerms(["night"], finish_in=1200.0)))
        'ada wishes: each query in 20 min 00 s, in night; nothing to do: pools follow the work as it comes'
    """
    terms = info.terms
    parts = [
        f"each query in {duration(terms.finish_in)}" if terms.finish_in is not None else "",
        f"all in {duration(terms.deadline)} from now" if terms.deadline is not None else "",
        f"{terms.max_workers:,} workers at most" if terms.max_workers is not None else "",
        f"a cost of {money(terms.max_cost)} at most" if terms.max_cost is not None else "",
    ]
    wish = ", ".join(part for part in parts if part) or "workers as there is work"
    where = f", in {some(terms.pools)}" if terms.pools else ""
    return f"{info.owner or 'the master'} wishes: {wish}{where}; {wish_words(info)}"


def course_line(info: WishInfo) -> str:
    """How pools have followed the work: how long that took, and what was spent.

    Example:
        >>> from eventmill.protocol.messages import WishTerms
        >>> course_line(WishInfo("ada", WishTerms(), spent=1.5, course={"to the first packet": 75.0}))
        'Pools that followed the work: to the first packet 1 min 15 s; 1.50 spent since it was wished.'
    """
    parts = [f"{name} {duration(seconds)}" for name, seconds in info.course.items()]
    parts += [f"{money(info.spent)} spent since it was wished"] if info.spent else []
    return f"Pools that followed the work: {'; '.join(parts) or 'nothing yet'}."


def money(amount: float) -> str:
    """An amount of the facility's currency.

    Example:
        >>> money(12.5), money(0.0123)
        ('12.50', '0.012')
    """
    return f"{amount:.2f}" if amount >= 0.1 or amount == 0 else f"{amount:.2g}"
