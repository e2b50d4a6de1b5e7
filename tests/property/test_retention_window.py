"""The cleaner looks at the oldest items only; what it chooses from them is what it would choose from all."""

from __future__ import annotations

from collections import defaultdict

from hypothesis import example, given, settings
from hypothesis import strategies as st

from services.storage.core.policy import Item, Limits, Space, make_room, oldest, retire, select, trim
from services.storage.core.turns import BY_TIME, Turns
from shared.config.services import FullPolicy

items = st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 50), st.booleans(), st.sampled_from("xy")), max_size=40)
most = st.integers(0, 300)
orders = st.just(BY_TIME) | st.tuples(st.integers(0, 20), st.integers(20, 40)).map(lambda t: Turns(((None, t[0]), (t[1], None), t)))


@settings(max_examples=500)
@example([("a", 1, False, "x"), ("a", 1, False, "x"), ("b", 1, False, "x")], 1, 1, {"b": 1}, {}, BY_TIME)
@given(
    items,
    st.integers(0, 400),
    st.integers(1, 10),
    st.dictionaries(st.sampled_from("ab"), most),
    st.dictionaries(st.just("x"), most),
    orders,
)
def test_rounds_over_a_window_end_where_one_round_over_all_does(
    made: list[tuple[str, int, bool, str]], limit: int, window: int, quotas: dict[str, int], groups: dict[str, int], order: Turns
) -> None:
    limits = Limits(FullPolicy.OVERWRITE, 0, limit, quotas, groups=groups)
    everything = [Item(f"{n:03}", channel, n, n + 1, size, locked, bucket=b) for n, (channel, size, locked, b) in enumerate(made)]

    def space(stored: list[Item]) -> Space:
        return Space(10**6, 10**6, sum(item.size_bytes for item in stored))

    at_once = {victim.item.id for victim in select(everything, limits, space(everything), 0, 0, order)}

    stored = list(everything)
    for _ in range(len(everything) + 1):
        unlocked: defaultdict[str, int] = defaultdict(int)
        for item in stored:
            unlocked[item.channel] += 0 if item.locked else item.size_bytes
        deletable = sorted((item for item in stored if not item.locked), key=lambda item: order.age(item.start_ns, item.id))
        over = [channel for channel, quota in quotas.items() if unlocked[channel] > quota]
        own = [item for channel in over for item in [item for item in deletable if item.channel == channel][:window]]
        victims = retire(own, limits, 0, unlocked, settled_ns=0, order=order)
        if not victims:
            used: defaultdict[str, int] = defaultdict(int)
            for item in deletable:
                used[item.bucket] += item.size_bytes
            full = [item for item in deletable if used[item.bucket] > groups.get(item.bucket, 10**9)]
            victims = trim(_window_of_both_kinds(full, window, order), limits, used, order)
        if not victims:
            victims = make_room(_window_of_both_kinds(deletable, window, order), limits, space(stored), 0, order)
        gone = {victim.item.id for victim in victims}
        if not gone:
            break
        stored = [item for item in stored if item.id not in gone]
    assert {item.id for item in everything} - {item.id for item in stored} == at_once


def _window_of_both_kinds(found: list[Item], window: int, order: Turns) -> list[Item]:
    """As of recordings and snapshots: the oldest of each."""
    kinds = ([item for item in found if int(item.id) % 3], [item for item in found if not int(item.id) % 3])
    return oldest([kind[:window] for kind in kinds], window, order)
