"""What every request passes first: a session, its own origin, and headers that keep the page to itself.

Plain ASGI, so that it covers websockets, static files and streams alike, and so that a route that forgets to ask is closed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie
from typing import Any, cast
from urllib.parse import urlsplit

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from services.console.auth import COOKIE, Authority, LoginLocked
from services.console.core.clients import Client, Clients
from services.console.passwords import TooManyChecks
from shared.config.services import ConsoleConfig

log = structlog.get_logger(__name__)

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'self'",
        "img-src 'self' blob: data:",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)

SECURITY_HEADERS: Mapping[str, str] = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_PUBLIC_PATHS = frozenset({"/healthz", "/login", "/favicon.ico"})
_PUBLIC_PREFIX = "/public/"
_PLAIN_QUERY = re.compile(r"[!-~]{1,512}")


def _is_public(scope: Scope) -> bool:
    path = scope["path"]
    if scope["type"] != "http":
        return False
    if scope["method"] in _SAFE_METHODS:
        return path in _PUBLIC_PATHS or path.startswith(_PUBLIC_PREFIX)
    return bool(scope["method"] == "POST" and path == "/api/session")


class Gate:
    """The outermost layer of the application.

    Args:
        app: everything else.
        authority: who decides.
        console: whose word on a visitor's address is taken, and how others reach this page when that differs from what requests say of
            themselves (a TLS proxy).
    """

    def __init__(self, app: ASGIApp, authority: Authority, console: ConsoleConfig) -> None:
        self._app, self._authority = app, authority
        self.reconfigure(console)

    def reconfigure(self, console: ConsoleConfig) -> None:
        """For requests that come from here on."""
        proxies = console.trusted_proxies
        self._clients = Clients(proxies)
        self._public_origin = _origin_of(console.public_url)
        self._warned = False
        # Nobody's word otherwise: else anybody could choose the address he is known by.
        self._entry: Any = ProxyHeadersMiddleware(cast("Any", self._pass), list(proxies)) if proxies else self._pass

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._entry(scope, receive, send)

    async def _pass(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        answer = _WithSecurityHeaders(scope, send, self._secure(scope))
        if not self._same_origin(scope, headers):
            await _refuse(scope, answer, 403, "this request came from another site")
            return
        session = self._authority.session_of(_cookie(headers))
        state = scope.setdefault("state", {})
        state["session"] = session
        state["user"] = session.user if session is not None else ""
        state["client"] = self._client(scope, headers)
        if session is None and not _is_public(scope):
            if scope["path"] == "/metrics" and "authorization" in headers:
                await self._metrics(scope, receive, answer, headers["authorization"])
                return
            await _ask_to_log_in(scope, answer)
            return
        await self._app(scope, receive, answer)

    async def _metrics(self, scope: Scope, receive: Receive, send: Send, authorization: str) -> None:
        try:
            user = await self._authority.basic(authorization, scope["state"]["client"])
        except LoginLocked as error:
            await _refuse(scope, send, 429, str(error), {"retry-after": str(round(error.wait_s) + 1)})
            return
        except TooManyChecks:
            await _refuse(scope, send, 503, "too many logins at once, try again", {"retry-after": "2"})
            return
        if user is None:
            await _ask_to_log_in(scope, send)
            return
        scope["state"]["user"] = user
        await self._app(scope, receive, send)

    def _client(self, scope: Scope, headers: Headers) -> Client:
        forwarded = "x-forwarded-for" in headers or "forwarded" in headers
        if self._clients.unnamed_proxy(forwarded=forwarded) and not self._warned:
            self._warned = True
            log.warning(
                "requests come through a proxy that console.trusted_proxies does not name: its visitors cannot be told apart,"
                " so wrong logins slow all of them down",
                proxy=_peer(scope),
            )
        return self._clients.of(_peer(scope), forwarded=forwarded)

    def _secure(self, scope: Scope) -> bool:
        return scope["scheme"] in ("https", "wss") or self._public_origin.startswith("https://")

    def _same_origin(self, scope: Scope, headers: Headers) -> bool:
        """Browsers name the origin of every websocket and of every request that changes something; scripts name none."""
        socket = scope["type"] == "websocket"
        if not socket and scope["method"] in _SAFE_METHODS:
            return True
        origin = headers.get("origin")
        if origin is None:
            return not socket and headers.get("sec-fetch-site", "none") in ("none", "same-origin")
        scheme = {"ws": "http", "wss": "https"}.get(scope["scheme"], scope["scheme"])
        return origin.lower() in {f"{scheme}://{headers.get('host', '')}".lower(), self._public_origin}


class _WithSecurityHeaders:
    """`send` that adds the headers to the answer, and marks cookies Secure where the page is reached by https."""

    def __init__(self, scope: Scope, send: Send, secure: bool) -> None:
        self._send, self._secure = send, secure
        self._api = scope["path"].startswith("/api/")

    async def __call__(self, message: Message) -> None:
        if message["type"] in ("http.response.start", "websocket.http.response.start"):
            headers = MutableHeaders(scope=message)
            for name, value in SECURITY_HEADERS.items():
                headers[name] = value
            if self._secure:
                headers["strict-transport-security"] = "max-age=31536000"
            if "cache-control" not in headers:  # static files are checked by their ETag, answers are not kept
                headers["cache-control"] = "no-store" if self._api else "no-cache"
        await self._send(message)


def _peer(scope: Scope) -> str:
    return str((scope.get("client") or ("", 0))[0])


def _cookie(headers: Headers) -> str:
    try:
        morsel = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return morsel.value if morsel is not None else ""


def _origin_of(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}".lower() if parts.scheme and parts.netloc else "-"


async def _ask_to_log_in(scope: Scope, send: Send) -> None:
    if scope["type"] == "http" and scope["path"] == "/" and scope["method"] in _SAFE_METHODS:
        query = scope.get("query_string", b"").decode("latin-1")
        kept = f"?{query}" if _PLAIN_QUERY.fullmatch(query) else ""  # a link to a moment is still meant after the login
        await _respond(scope, send, 303, b"", {"location": f"/login{kept}"})
    elif scope["path"] == "/metrics":
        await _refuse(scope, send, 401, "log in first", {"www-authenticate": 'Basic realm="vedette"'})
    else:
        await _refuse(scope, send, 401, "log in first")


async def _refuse(scope: Scope, send: Send, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
    body = json.dumps({"detail": detail}).encode()
    await _respond(scope, send, status, body, {"content-type": "application/json", **(headers or {})})


async def _respond(scope: Scope, send: Send, status: int, body: bytes, headers: Mapping[str, str]) -> None:
    # A websocket that is not yet accepted is answered as a request is (ASGI extension websocket.http.response).
    prefix = "websocket.http.response" if scope["type"] == "websocket" else "http.response"
    raw = [(name.encode(), value.encode()) for name, value in {"content-length": str(len(body)), **headers}.items()]
    await send({"type": f"{prefix}.start", "status": status, "headers": raw})
    await send({"type": f"{prefix}.body", "body": body})
