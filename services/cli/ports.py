"""Free TCP ports. Port 0 becomes a number before services are made, since links in webhooks carry it."""

from __future__ import annotations

import socket

from shared.config.site import SiteConfig


def is_free(host: str, port: int) -> bool:
    """Whether one could listen there now. An address that is no local one is left to the console, which tells it better."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except OSError:
        return True
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError:
            return False
    return True


def any_free_port() -> int:
    """A TCP port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def with_known_port(site: SiteConfig) -> SiteConfig:
    """The site with a real port for its page where it asks for any."""
    if site.console.port:
        return site
    return site.model_copy(update={"console": site.console.model_copy(update={"port": any_free_port()})})
