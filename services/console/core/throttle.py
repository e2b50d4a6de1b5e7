"""Who may try to log in now: wrong tries cost time, per address and per account, in a table of bounded size.

An attempt is charged when it begins and refunded when it succeeds, so that many attempts at once gain nothing.
"""

from __future__ import annotations

import ipaddress
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


#: An address is locked hard. An account only briefly: else anybody could keep its owner out.
ADDRESS_POLICY = ThrottlePolicy()
ACCOUNT_POLICY = ThrottlePolicy(free_tries=10, first_delay_s=2.0, max_delay_s=60.0)


@dataclass(slots=True)
class _Tries:
    wrong: int = 0
    locked_until_ns: int = 0
    last_ns: int = 0


class Throttle:
    """Wrong tries by key. Times are monotonic nanoseconds."""

    def __init__(self, policy: ThrottlePolicy) -> None:
        self._policy = policy
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


def address_key(address: str) -> str:
    """What an address is counted by: an IPv6 user owns a whole /64, and a mapped IPv4 address is that IPv4 address."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:64]
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            return str(ip.ipv4_mapped)
        return str(ipaddress.ip_network((ip, 64), strict=False))
    return str(ip)
