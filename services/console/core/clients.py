"""Where a request comes from, and whether that address is one visitor's alone."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class Client:
    """A visitor's address. `shared`: others come from it too (a proxy, this machine), so it must never be locked."""

    address: str
    shared: bool


class Clients:
    """Tells visitors apart.

    Args:
        trusted_proxies: addresses and networks whose word on the visitor's address is taken (by the HTTP server, before this).
    """

    def __init__(self, trusted_proxies: Sequence[str]) -> None:
        self._trusted = tuple(ipaddress.ip_network(proxy) for proxy in trusted_proxies)

    def of(self, address: str, *, forwarded: bool) -> Client:
        """The visitor at `address`. `forwarded`: the request says that a proxy has passed it on."""
        ip = _parsed(address)
        if ip is None or ip.is_loopback or any(ip in network for network in self._trusted):
            return Client(address, shared=True)  # a proxy that named nobody, or somebody on this machine
        return Client(address_key(ip), shared=self.unnamed_proxy(forwarded=forwarded))

    def unnamed_proxy(self, *, forwarded: bool) -> bool:
        """Whether the configuration names no proxy although there is one."""
        return forwarded and not self._trusted


def address_key(ip: _Address) -> str:
    """What an address is counted by: an IPv6 user owns a whole /64."""
    return str(ipaddress.ip_network((ip, 64), strict=False)) if isinstance(ip, ipaddress.IPv6Address) else str(ip)


def _parsed(address: str) -> _Address | None:
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return None
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        return ip.ipv4_mapped
    return ip
