"""Ports of loopback that are free now."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager


def free_ports(count: int) -> list[int]:
    """TCP ports that nobody listens on now, each another."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]
    finally:
        for one in sockets:
            one.close()


def free_port() -> int:
    """A TCP port that nobody listens on now."""
    return free_ports(1)[0]


@contextmanager
def kept_port(port: int = 0) -> Iterator[int]:
    """A TCP port that nobody listens on, and that nobody else is given until the end; who lets addresses be reused may listen on it.

    `port`: which; 0: any.
    """
    with socket.socket() as kept:
        kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        kept.bind(("127.0.0.1", port))
        yield int(kept.getsockname()[1])
