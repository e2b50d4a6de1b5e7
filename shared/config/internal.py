"""How services in processes of their own reach each other over HTTP."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr

from shared.config.base import Secret, Section


def listen_address(text: str) -> tuple[str, int]:
    """Host and port of `HOST:PORT`; an IPv6 address stands in brackets. Raises: ValueError."""
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or port is None or parts.netloc != text or "@" in text:
        raise ValueError("must be HOST:PORT, for example 0.0.0.0:8790 (every network) or 127.0.0.1:8790 (this machine)")
    return host, port


def _check_listen(text: str) -> str:
    listen_address(text)
    return text


def _check_token(token: SecretStr) -> SecretStr:
    text = token.get_secret_value()
    if len(text) < 16 or not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("a token has 16 or more letters, digits and signs without blanks; `openssl rand -hex 32` makes one")
    return token


def _without_slash(url: str) -> str:
    return url.rstrip("/")


_Url = Annotated[str, Field(pattern=r"^https?://[^/]"), AfterValidator(_without_slash)]


class InternalConfig(Section):
    """Services in processes of their own: where each tells its health, and where the console finds the others."""

    listen: Annotated[str, AfterValidator(_check_listen)] | None = None
    """HOST:PORT for health, metrics and the API of the services of a process; null: none. `vedette run --listen` goes before it."""
    token: Annotated[Secret, AfterValidator(_check_token)] | None = None
    """What the console proves with who it is: {env: NAME}, {file: PATH} or text, the same in every process; null: the API is refused."""
    ingest: tuple[_Url, ...] = ()
    """Where the console asks ingest processes for their health; a name that has several addresses stands for a process at each."""
    storage: _Url | None = None
    """Where the console finds storage: http:// or https://."""
    alarms: _Url | None = None
    """Where the console finds alarms."""
    analytics: tuple[_Url, ...] = ()
    """Where the console finds the analytics workers; a name that has several addresses stands for a worker at each."""
