"""Overwriting by a clock that was ahead and is set back: what is recorded since is the last to go, and a full disk always gets room."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from services.storage.core.clock_watch import ClockWatch
from services.storage.core.policy import Item, Limits, Space, make_room
from services.storage.core.turns import AHEAD_NS, turns
from shared.config.services import FullPolicy
from shared.domain.clock import NS_PER_S

MINUTE = 60 * NS_PER_S
START = 1_700_000_000 * NS_PER_S
SEEN_NS = 60 * MINUTE  # of what is about as old as the set-back nobody knows


@example(before=0, ahead=200, ahead_for=100, after=60, room=100, restarted=False)
@example(before=100, ahead=600, ahead_for=50, after=140, room=100, restarted=True)
@given(
    before=st.integers(0, 200),
    ahead=st.integers(1, 2000),
    ahead_for=st.integers(1, 200),
    after=st.integers(1, 200),
    room=st.integers(20, 150),
    restarted=st.booleans(),
)
def test_what_was_recorded_after_a_set_back_goes_after_what_bears_times_to_come(
    before: int, ahead: int, ahead_for: int, after: int, room: int, restarted: bool
) -> None:
    """A file a minute; `room` of them fit. The true order is that of the ids."""
    limits = Limits(FullPolicy.OVERWRITE, 0, room)
    stored: dict[str, Item] = {}
    watch, wrong_ns = ClockWatch(), 0
    for minute in range(before + ahead_for + after):
        true_ns = START + minute * MINUTE
        was_ns, wrong_ns = wrong_ns, ahead * MINUTE if before <= minute < before + ahead_for else 0
        back = was_ns > wrong_ns
        watch = watch.looked(true_ns + wrong_ns, 0 if back and restarted else MINUTE)
        at_ns = true_ns + wrong_ns
        stored[f"{minute:05}"] = Item(f"{minute:05}", "a", at_ns, at_ns + MINUTE, 1)
        for victim in make_room(stored.values(), limits, Space(10**6, 10**6, len(stored)), 0, turns(watch)):
            del stored[victim.item.id]
            since = f"{before + ahead_for:05}"
            if victim.item.id >= since:
                rest = [item for item in stored.values() if item.id < since]
                assert all(true_ns - SEEN_NS - MINUTE - (minute - before - ahead_for) * MINUTE <= item.start_ns for item in rest)
                assert all(item.start_ns < at_ns + AHEAD_NS for item in rest)
        assert len(stored) <= room, "a full disk gets room"
    if ahead > room + after + AHEAD_NS // MINUTE and not before:  # all of before bears times to come
        newest = sorted(stored)[-min(after, room) :]
        assert newest == [f"{minute:05}" for minute in range(before + ahead_for + after)][-min(after, room) :]


@given(st.lists(st.integers(0, 100), min_size=1, max_size=30), st.integers(0, 100), st.integers(0, 100))
def test_whatever_was_seen_of_the_clock_everything_has_its_turn(starts: list[int], wall: int, back: int) -> None:
    """Nothing is out of the order, so that nothing can never be deleted; without a set-back the order is that of time."""
    watch = ClockWatch().looked(START + wall * MINUTE, 0).looked(START + back * MINUTE, 0)
    order = turns(watch)
    items = [(START + start * MINUTE, str(number)) for number, start in enumerate(starts)]
    by_age = sorted(items, key=lambda item: order.age(*item))
    assert sorted(by_age) == sorted(items)
    if back >= wall:
        assert by_age == sorted(items)
    for from_ns, to_ns in order.ranges:
        inside = [at for at, _ in by_age if (from_ns is None or at >= from_ns) and (to_ns is None or at < to_ns)]
        assert inside == sorted(inside)
