"""Where others reach the console: what links in webhooks begin with."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from shared.config.services import ConsoleConfig, WebhookCentre

#: Addresses for documentation (RFC 5737, RFC 3849): a way to them is a way to the rest of the world. Nothing is sent there.
_ELSEWHERE = {socket.AF_INET: "192.0.2.1", socket.AF_INET6: "2001:db8::1"}


@dataclass(frozen=True, slots=True)
class ConsoleAddress:
    """`url`: without a slash at the end. `doubt`: why others may not reach it, for people; empty: no reason is known."""

    url: str
    doubt: str = ""


def console_address(console: ConsoleConfig) -> ConsoleAddress:
    """As configured by `console.public_url`; otherwise made from host and port. A console that listens on every address is reached at the
    one that this machine shows to others.
    """
    if console.public_url:
        return ConsoleAddress(console.public_url.rstrip("/"))
    host = _shown(console.host)
    url = f"http://{_in_url(host)}:{console.port}"
    if console.port == 0:
        return ConsoleAddress(url, "the port is chosen at every start (console.port is 0)")
    if is_loopback(host):
        return ConsoleAddress(url, f"{host} is this machine only")
    return ConsoleAddress(url)


def told_far_away(centres: Iterable[WebhookCentre]) -> bool:
    """Whether a centre that is told anything is on another machine."""
    return any(centre.enabled and not is_loopback(urlsplit(centre.url).hostname or "") for centre in centres)


def is_loopback(host: str) -> bool:
    """Whether a name or address is that of the machine itself."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower().rstrip(".") == "localhost" or host.lower().endswith(".localhost")


def _shown(host: str) -> str:
    """Of "every address" the one that this machine uses towards others; its name where it has no way to them."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if not address.is_unspecified:
        return host
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((_ELSEWHERE[family], 9))  # chooses a way; a datagram socket sends nothing by it
            return str(probe.getsockname()[0])
    except OSError:
        return socket.gethostname()


def _in_url(host: str) -> str:
    """As a URL spells it: IPv6 in brackets, its zone escaped (RFC 6874)."""
    address, _, zone = host.partition("%")
    try:
        version = ipaddress.ip_address(address).version
    except ValueError:
        return host
    return host if version == 4 else f"[{address}%25{zone}]" if zone else f"[{address}]"
