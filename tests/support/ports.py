"""Ports of loopback that are free now."""

from __future__ import annotations

import socket


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
