"""Who may try to log in now: wrong tries cost time.

An address that is one visitor's alone is locked, for that account only (`Throttle`). All tries on one account together, wherever
they come from, are slowed down but never locked (`Pace`): else anybody could keep its owner out.

An attempt is charged when it begins and refunded when it succeeds, so that many attempts at once gain nothing.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from shared.domain.clock import NS_PER_S


@dataclass(frozen=True, slots=True)
class ThrottlePolicy:
    """How wrong tries are answered.

    Attributes:
        free_tries: wrong tries that cost nothing yet.
        first_delay_s: the lock after one more; it doubles with each further one.
        max_delay_s: the longest lock.
        forget_after_s: a key without a wrong try for this long starts anew.
        max_keys: the least recently used key is forgotten beyond this.
    """

    free_tries: int = 5
    first_delay_s: float = 5.0
    max_delay_s: float = 900.0
    forget_after_s: float = 3600.0
    max_keys: int = 4096


@dataclass(frozen=True, slots=True)
class PacePolicy:
    """How tries are slowed down.

    Attributes:
        free_tries: wrong tries that cost nothing yet.
        first_step_s: the distance between two tries after one more; it doubles with each further one.
        max_step_s: the largest distance.
        patience_s: a try that would wait longer than this is turned away.
        forget_after_s: after this long without a wrong try all starts anew.
    """

    free_tries: int = 10
    first_step_s: float = 0.5
    max_step_s: float = 3.0
    patience_s: float = 10.0
    forget_after_s: float = 3600.0


@dataclass(slots=True)
class _Tries:
    wrong: int = 0
    locked_until_ns: int = 0
    last_ns: int = 0


@dataclass(slots=True)
class _Paced:
    wrong: int = 0
    next_ns: int = 0
    last_ns: int = 0


class Throttle:
    """Wrong tries by key. Times are monotonic nanoseconds."""

    def __init__(self, policy: ThrottlePolicy | None = None) -> None:
        self._policy = policy or ThrottlePolicy()
        self._tries: OrderedDict[str, _Tries] = OrderedDict()

    def __len__(self) -> int:
        return len(self._tries)

    def wait_s(self, key: str, now_ns: int) -> float:
        """Seconds until `key` may try again; 0: now."""
        tries = self._tries.get(key)
        return max(0, tries.locked_until_ns - now_ns) / NS_PER_S if tries is not None else 0.0

    def charge(self, key: str, now_ns: int) -> bool:
        """Count one try as wrong. True when this one locks the key."""
        policy = self._policy
        tries = self._tries.pop(key, None)
        if tries is None or now_ns - tries.last_ns > policy.forget_after_s * NS_PER_S:
            tries = _Tries()
        self._tries[key] = tries  # the most recently used key is last
        tries.wrong += 1
        tries.last_ns = now_ns
        beyond = tries.wrong - policy.free_tries
        if beyond > 0:
            delay_s = min(policy.max_delay_s, policy.first_delay_s * 2 ** min(beyond - 1, 32))
            tries.locked_until_ns = now_ns + round(delay_s * NS_PER_S)
        while len(self._tries) > policy.max_keys:
            self._tries.popitem(last=False)
        return beyond > 0

    def forgive(self, key: str) -> None:
        """The try was right: the key starts anew."""
        self._tries.pop(key, None)


class Pace:
    """Tries by account, one after the other, at a distance that grows while they are wrong. Times are monotonic nanoseconds."""

    def __init__(self, policy: PacePolicy | None = None) -> None:
        self.policy = policy or PacePolicy()
        self._tries: dict[str, _Paced] = {}

    def admit(self, account: str, now_ns: int) -> float | None:
        """Count one try as wrong; the seconds that it must wait before it is looked at. None: too many wait, it is not counted."""
        policy = self.policy
        tries = self._tries.get(account)
        if tries is None or now_ns - tries.last_ns > policy.forget_after_s * NS_PER_S:
            tries = self._tries[account] = _Paced()
        at_ns = max(now_ns, tries.next_ns)
        wait_s = (at_ns - now_ns) / NS_PER_S
        if wait_s > policy.patience_s:
            return None
        tries.wrong += 1
        tries.last_ns = now_ns
        tries.next_ns = at_ns + round(self.step_s(account) * NS_PER_S)
        return wait_s

    def step_s(self, account: str) -> float:
        """The distance between two tries now, seconds; 0: they are not slowed down."""
        tries = self._tries.get(account)
        beyond = tries.wrong - self.policy.free_tries if tries is not None else 0
        return min(self.policy.max_step_s, self.policy.first_step_s * 2 ** min(beyond - 1, 32)) if beyond > 0 else 0.0

    def forgive(self, account: str) -> None:
        """The try was right: the account starts anew."""
        self._tries.pop(account, None)
