"""Which member of a consumer group reads which partitions. Pure."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import TypeVar

K = TypeVar("K", bound=Hashable)


def assign(partitions: Iterable[int], members: Sequence[K], current: Mapping[int, K]) -> dict[int, K]:
    """Spread partition numbers over members: counts differ by at most one, and as few as possible move.

    Members give up evenly spaced numbers, not the last ones: channels are numbered from the first partition on, and often few.
    A partition number is given as a whole, over all topics of the group, so that one member has all that concerns a channel.

    Args:
        members: in the order in which they joined; the first ones get the extra partitions.
        current: who has which partition now; owners that are no members any more are ignored.
    """
    numbers = sorted(set(partitions))
    if not members:
        return {}
    low, extra = divmod(len(numbers), len(members))
    held: dict[K, list[int]] = {member: [] for member in members}
    for number in numbers:
        if (owner := current.get(number)) in held:
            held[owner].append(number)
    # The members with the most partitions now get the larger shares, so that nothing moves without need.
    ranked = sorted(members, key=lambda member: -len(held[member]))
    quota = {member: low + (rank < extra) for rank, member in enumerate(ranked)}
    result = {number: member for member in members for number in _spread(held[member], quota[member])}
    free = iter([number for number in numbers if number not in result])
    for member in members:
        for _ in range(quota[member] - min(len(held[member]), quota[member])):
            result[next(free)] = member
    return result


def _spread(numbers: Sequence[int], count: int) -> list[int]:
    """`count` of `numbers`, evenly spaced; all when there are not so many."""
    if count >= len(numbers):
        return list(numbers)
    return [numbers[index * len(numbers) // count] for index in range(count)]
