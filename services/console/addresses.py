"""Behind one name of a process there may be many, each at an address of its own."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

#: What people are told of a process that does not answer.
AWAY = "does not answer: its process is away, or cannot be reached"


@dataclass(frozen=True, slots=True)
class Address:
    """Where one process is asked. `host`: what the request names as its host; `name`: HOST:PORT, as people are told."""

    url: str
    host: str
    name: str


async def addresses(url: str) -> list[Address]:
    """Every address of a URL's host; the URL itself when it has one address, is https, or its host is not known now."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    itself = [Address(url, host, host)]
    if parts.scheme != "http" or parts.hostname is None:  # a certificate is for the name
        return itself
    port = parts.port or 80
    try:
        found = await asyncio.get_running_loop().getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
    except OSError:  # asking it says so
        return itself
    hosts = list(dict.fromkeys(f"[{where[0]}]" if family is socket.AF_INET6 else str(where[0]) for family, _, _, _, where in found))
    if len(hosts) == 1:
        return itself
    return [Address(urlunsplit(parts._replace(netloc=f"{one}:{port}")), host, f"{one}:{port}") for one in hosts]
