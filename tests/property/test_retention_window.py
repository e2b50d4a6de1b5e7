"""The cleaner looks at the oldest items only; what it chooses from them is what it would choose from all."""

from __future__ import annotations

from collections import defaultdict

from hypothesis import example, given, settings
from hypothesis import strategies as st

from services.storage.core.policy import Item, Limits, Space, make_room, oldest, retire, select
from shared.config.services import FullPolicy

items = st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 50), st.booleans()), max_size=40)


@settings(max_examples=500)
@example([("a", 1, False), ("a", 1, False), ("b", 1, False)], 1, 1, {"b": 1})
@given(items, st.integers(0, 400), st.integers(1, 10), st.dictionaries(st.sampled_from("ab"), st.integers(0, 300)))
def test_rounds_over_a_window_end_where_one_round_over_all_does(
    made: list[tuple[str, int, bool]], limit: int, window: int, quotas: dict[str, int]
) -> None:
    limits = Limits(FullPolicy.OVERWRITE, 0, limit, quotas)
    everything = [Item(f"{n:03}", channel, n, n + 1, size, locked) for n, (channel, size, locked) in enumerate(made)]

    def space(stored: list[Item]) -> Space:
        return Space(10**6, 10**6, sum(item.size_bytes for item in stored))

    at_once = {victim.item.id for victim in select(everything, limits, space(everything), 0, 0)}

    stored = list(everything)
    for _ in range(len(everything) + 1):
        unlocked: defaultdict[str, int] = defaultdict(int)
        for item in stored:
            unlocked[item.channel] += 0 if item.locked else item.size_bytes
        deletable = [item for item in stored if not item.locked]
        over = [channel for channel, quota in quotas.items() if unlocked[channel] > quota]
        own = [item for channel in over for item in [item for item in deletable if item.channel == channel][:window]]
        victims = retire(own, limits, 0, unlocked)
        if not victims:
            # As of recordings and snapshots: the oldest of each.
            kinds = ([item for item in deletable if int(item.id) % 3], [item for item in deletable if not int(item.id) % 3])
            victims = make_room(oldest([kind[:window] for kind in kinds], window), limits, space(stored), 0)
        gone = {victim.item.id for victim in victims}
        if not gone:
            break
        stored = [item for item in stored if item.id not in gone]
    assert {item.id for item in everything} - {item.id for item in stored} == at_once
