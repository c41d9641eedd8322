"""When credentials are renewed, on a simulated clock: in time, not too often, and again after what fails."""

from __future__ import annotations

from eventmill.session.renewal_plan import LEAST_PAUSE, LONGEST_PAUSE, SPREAD, TRIES, RenewalPlan
from hypothesis import given
from hypothesis import strategies as st

LUCK = st.floats(0.0, 1.0, exclude_max=True)


@given(st.floats(1.0, 1e6), st.floats(1.0, 1e5), st.lists(LUCK, min_size=20, max_size=20))
def test_what_can_be_renewed_never_ends_and_is_not_renewed_too_often(
    life: float, before: float, lucks: list[float]
) -> None:
    """Twenty times; the last third of a life at most, and a tenth of that, is given away."""
    plan, now = RenewalPlan(before), 0.0
    plan.obtained(life, now, lucks[0])
    for luck in lucks:
        assert plan.due is not None
        left = now + life - plan.due
        assert 0 < left <= min(before, life / 3) * (1 + SPREAD) * (1 + 1e-9)
        assert plan.due - now >= life * 0.6, "not too often"
        now = plan.due
        plan.obtained(life, now, luck)


@given(st.floats(60.0, 1e6), st.floats(60.0, 1e5), st.integers(0, 100), LUCK)
def test_who_fails_tries_again_before_the_end_and_more_and_more_rarely(
    life: float, before: float, failures: int, luck: float
) -> None:
    plan, now = RenewalPlan(before), 0.0
    plan.obtained(life, now, luck)
    pauses = []
    for _ in range(failures):
        assert plan.due is not None
        now = plan.due
        left = plan.left(now)
        plan.failed(now, luck)
        assert plan.due - now >= LEAST_PAUSE / 2 and plan.due - now <= LONGEST_PAUSE + 1e-6
        if left is not None and left > 2 * LEAST_PAUSE:
            assert plan.due < now + left, "there is a try before the end"
        pauses.append((left, plan.due - now))
    late = [pause for left, pause in pauses if left is not None and left <= -TRIES * LONGEST_PAUSE]
    assert all(pause > LONGEST_PAUSE * 0.7 for pause in late), "what ended minutes ago is asked for once a minute"
    assert plan.failures == failures


def test_an_outage_that_is_shorter_than_the_time_before_the_end_is_survived() -> None:
    """An hour's token, ten minutes before its end, and a server that is away for nine of them."""
    plan, now = RenewalPlan(600.0), 0.0
    plan.obtained(3600.0, now, 0.5)
    assert plan.due is not None
    back, tries = plan.due + 540.0, 0
    while (now := plan.due) < back:
        plan.failed(now, 0.5)
        tries += 1
    left = plan.left(now)
    assert left is not None and left > 0 and tries < 20


def test_what_does_not_say_its_end_is_renewed_now_and_then() -> None:
    plan = RenewalPlan(600.0)
    assert plan.due is None
    plan.obtained(None, 100.0, 0.0)
    assert plan.due == 700.0 and plan.left(1e9) is None


def test_what_is_over_when_it_comes_is_due_at_once() -> None:
    plan = RenewalPlan(600.0)
    plan.obtained(-5.0, 100.0, 0.9)
    assert plan.due == 100.0


@given(
    life=st.floats(60.0, 1e5),
    before=st.floats(10.0, 3600.0),
    outages=st.lists(st.tuples(st.floats(0.0, 3e5), st.floats(0.0, 2e4)), max_size=6),
    luck=LUCK,
)
def test_a_simulated_day_with_outages_has_no_longer_gap_than_these_make(
    life: float, before: float, outages: list[tuple[float, float]], luck: float
) -> None:
    """Who makes new ones is away now and then. If it is back a moment before the end nothing is over at any time; if not,
    what is over is renewed a quarter of that time after it is back, or a minute."""
    away = [(start, start + length) for start, length in outages]
    plan, now, ends, back = RenewalPlan(before), 0.0, life, 0.0
    plan.obtained(life, now, luck)
    for _ in range(3000):
        assert plan.due is not None
        if (now := plan.due) > 3e5:
            break
        back_at = max((stop for start, stop in away if start <= now < stop), default=None)
        if back_at is not None:
            back = max(back, back_at)
            plan.failed(now, luck)
            continue
        if now > ends:
            assert back > ends - 2 * LEAST_PAUSE, "it was there in time"
            assert now - max(back, ends) <= max(min(LONGEST_PAUSE, (now - ends) / TRIES), 2 * LEAST_PAUSE)
        plan.obtained(life, now, luck)
        ends = now + life
