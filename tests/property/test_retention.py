"""Retention as a state machine: a writer that asks for room, a cleaner that sweeps, people who lock and unlock, time that goes by.

The model is a store of items on a disk of a certain size; whatever happens, the policy keeps its promises.
"""

from __future__ import annotations

from dataclasses import replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, precondition, rule

from services.storage.core.model import Kind
from services.storage.core.policy import Item, Limits, Space, Victim, Why, headroom, select, shortfall
from services.storage.core.recording import CLAIM_WINDOW_NS
from shared.config.services import FullPolicy

S = 1_000_000_000
CHANNELS = ("a", "b", "c")
BUCKETS = ("", "x", "y")
DISK = 1000


class Retention(RuleBasedStateMachine):
    items = Bundle("items")

    def __init__(self) -> None:
        super().__init__()
        self.now_ns = 0
        self.count = 0
        self.stored: dict[str, Item] = {}
        self.others = 0  # bytes of the disk that others use
        self.limits = Limits(FullPolicy.OVERWRITE, 0)

    @initialize(
        policy=st.sampled_from(FullPolicy),
        free=st.integers(0, 200),
        limit=st.none() | st.integers(100, 900),
        quotas=st.dictionaries(st.sampled_from(CHANNELS), st.integers(50, 400)),
        keep=st.dictionaries(st.sampled_from(CHANNELS), st.integers(10, 500).map(lambda s: s * S)),
        groups=st.dictionaries(st.sampled_from(BUCKETS[1:]), st.integers(50, 400)),
    )
    def configured(
        self, policy: FullPolicy, free: int, limit: int | None, quotas: dict[str, int], keep: dict[str, int], groups: dict[str, int]
    ) -> None:
        self.limits = Limits(policy, free, limit, quotas, keep, groups=groups)

    @property
    def _own_limits(self) -> bool:
        return bool(self.limits.quotas or self.limits.keep_ns or self.limits.groups)

    def used(self) -> int:
        return sum(item.size_bytes for item in self.stored.values())

    def space(self) -> Space:
        on_disk = sum(item.size_bytes for item in self.stored.values() if item.on_disk)
        return Space(max(0, DISK - on_disk - self.others), DISK, self.used())

    def clean(self, need: int) -> list[Victim]:
        """What the cleaner does, with all that can be seen of it checked."""
        before, space = dict(self.stored), self.space()
        victims = select(before.values(), self.limits, space, need, self.now_ns)
        self.check_victims(victims, before, space, need)
        for victim in victims:
            del self.stored[victim.item.id]
        return victims

    def check_victims(self, victims: list[Victim], before: dict[str, Item], space: Space, need: int) -> None:
        ids = [victim.item.id for victim in victims]
        assert len(set(ids)) == len(ids)
        assert not any(victim.item.locked for victim in victims)
        kept = [item for item in before.values() if item.id not in ids and not item.locked]
        for victim in victims:
            if victim.why is Why.SPACE:
                assert self.limits.when_full is FullPolicy.OVERWRITE
                rivals = [item for item in kept if item.on_disk or not shortfall(space, self.limits, need).disk_bytes]
                assert all((victim.item.start_ns, victim.item.id) <= (item.start_ns, item.id) for item in rivals if item.on_disk)
            elif victim.why is Why.QUOTA:
                own = [item for item in kept if item.channel == victim.item.channel]
                assert all((victim.item.start_ns, victim.item.id) <= (item.start_ns, item.id) for item in own)
            elif victim.why is Why.GROUP:
                own = [item for item in kept if item.bucket == victim.item.bucket]
                assert all((victim.item.start_ns, victim.item.id) <= (item.start_ns, item.id) for item in own)
                assert victim.item.bucket in self.limits.groups
            elif victim.why is Why.EXPIRED:
                assert self.now_ns - victim.item.end_ns > self.limits.keep_ns[victim.item.channel]
            else:
                assert victim.item.kind is Kind.PROVISIONAL
        # No more than is needed: without the last one taken for room, there would not be enough.
        taken = [victim.item for victim in victims if victim.why is Why.SPACE]
        if taken:
            others = [victim.item for victim in victims if victim.why is not Why.SPACE]
            gone = [*others, *taken[:-1]]
            less = replace(
                space,
                free_bytes=space.free_bytes + sum(item.size_bytes for item in gone if item.on_disk),
                used_bytes=space.used_bytes - sum(item.size_bytes for item in gone),
            )
            assert shortfall(less, self.limits, need)

    @rule(
        target=items,
        channel=st.sampled_from(CHANNELS),
        size=st.integers(1, 60),
        kind=st.sampled_from(Kind),
        on_disk=st.booleans(),
        bucket=st.sampled_from(BUCKETS),
    )
    def write(self, channel: str, size: int, kind: Kind, on_disk: bool, bucket: str) -> object:
        """The writer: asks for room, has the cleaner make it, and writes only if it is there."""
        if shortfall(self.space(), self.limits, size):
            self.clean(size)
        if shortfall(self.space(), self.limits, size):
            # Refused: then truly nothing that might be deleted would help.
            if self.limits.when_full is FullPolicy.OVERWRITE:
                missing = shortfall(self.space(), self.limits, size)
                helpful = [item for item in self.stored.values() if not item.locked and (missing.total_bytes or item.on_disk)]
                assert not helpful
            return multiple()
        self.count += 1
        item = Item(f"{self.count:06}", channel, self.now_ns, self.now_ns + 10 * S, size, False, on_disk, kind, bucket)
        self.stored[item.id] = item
        self.now_ns += 10 * S
        return item.id

    @rule(id_=items, locked=st.booleans())
    def lock(self, id_: str, locked: bool) -> None:
        if id_ in self.stored:
            self.stored[id_] = replace(self.stored[id_], locked=locked)

    @rule(id_=consumes(items))
    def uploaded(self, id_: str) -> None:
        """It moves to an object store elsewhere."""
        if id_ in self.stored:
            self.stored[id_] = replace(self.stored[id_], on_disk=False)

    @rule(seconds=st.integers(1, 300))
    def time_goes_by(self, seconds: int) -> None:
        self.now_ns += seconds * S

    @rule(others=st.integers(0, 900))
    def others_use_the_disk(self, others: int) -> None:
        # What is on the disk is on it: others can fill what is left.
        self.others = min(others, DISK - sum(item.size_bytes for item in self.stored.values() if item.on_disk))

    @rule()
    def sweep(self) -> None:
        """The cleaner's own round: head room, quotas, expiry. Afterwards a writer that needs no more than the head room need not wait."""
        need = headroom(self.space(), self.limits)
        self.clean(need)
        if self.limits.when_full is FullPolicy.OVERWRITE and any(not item.locked and item.on_disk for item in self.stored.values()):
            assert not shortfall(self.space(), self.limits, need)
        for item in self.stored.values():
            keep_ns = self.limits.keep_ns.get(item.channel)
            assert item.locked or keep_ns is None or self.now_ns - item.end_ns <= keep_ns
            assert item.locked or item.kind is not Kind.PROVISIONAL or self.now_ns - item.end_ns <= CLAIM_WINDOW_NS
        for channel, quota in self.limits.quotas.items():
            assert sum(item.size_bytes for item in self.stored.values() if item.channel == channel and not item.locked) <= quota
        for bucket, most in self.limits.groups.items():
            assert sum(item.size_bytes for item in self.stored.values() if item.bucket == bucket and not item.locked) <= most
        assert self.clean(need) == [], "a second sweep finds nothing more"

    @precondition(lambda self: self.limits.when_full is FullPolicy.STOP and not self._own_limits)
    @rule(need=st.integers(0, 500))
    def the_stop_policy_takes_only_what_nobody_wants(self, need: int) -> None:
        assert all(victim.why is Why.UNCLAIMED for victim in self.clean(need))

    @invariant()
    def never_beyond_the_limit(self) -> None:
        assert self.limits.max_bytes is None or self.used() <= self.limits.max_bytes


Retention.TestCase.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
TestRetention = Retention.TestCase
