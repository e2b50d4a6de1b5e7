"""The share-out of partitions: complete, balanced, and calm."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from shared.bus.groups import assign

members = st.lists(st.sampled_from("abcdefgh"), unique=True, min_size=1)


@given(partitions=st.integers(1, 48), now=members, before=st.dictionaries(st.integers(0, 47), st.sampled_from("abcdefghxyz")))
def test_every_partition_has_one_member_and_counts_differ_by_one(partitions: int, now: list[str], before: dict[int, str]) -> None:
    shares = assign(range(partitions), now, before)
    assert set(shares) == set(range(partitions))
    counts = Counter(dict.fromkeys(now, 0)) + Counter(shares.values())
    assert set(counts) <= set(now)
    assert max(counts.values()) - min((counts[member] for member in now), default=0) <= 1


@given(partitions=st.integers(1, 48), now=members)
def test_nothing_moves_when_nobody_comes_or_goes(partitions: int, now: list[str]) -> None:
    shares = assign(range(partitions), now, {})
    assert assign(range(partitions), now, shares) == shares


@given(partitions=st.integers(1, 48), now=members, newcomer=st.just("z"))
def test_a_newcomer_takes_only_its_share(partitions: int, now: list[str], newcomer: str) -> None:
    before = assign(range(partitions), now, {})
    after = assign(range(partitions), [*now, newcomer], before)
    moved = [number for number in before if after[number] != before[number]]
    assert all(after[number] == newcomer for number in moved)
    assert len(moved) <= -(-partitions // (len(now) + 1))


@given(partitions=st.integers(1, 48), now=members)
def test_when_one_leaves_only_its_partitions_move(partitions: int, now: list[str]) -> None:
    before = assign(range(partitions), now, {})
    rest = now[1:]
    after = assign(range(partitions), rest, before)
    assert all(after[number] == owner for number, owner in before.items() if owner in rest)
    assert bool(after) == bool(rest)


def test_few_channels_spread_over_two_members() -> None:
    """Channels 1 to 8 of 24 partitions: a second member must not get the empty ones."""
    shares = assign(range(24), ["a", "b"], dict.fromkeys(range(24), "a"))
    assert Counter(shares[number] for number in range(1, 9)) == {"a": 4, "b": 4}
