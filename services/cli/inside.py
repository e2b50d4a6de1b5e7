"""The small HTTP server of a process: its health and metrics to all, the API of its services to who has the internal token."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import unquote

from fastapi import APIRouter, FastAPI, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from services.cli.factory import HealthOf
from services.cli.share import Share
from shared.config.base import secrets_of
from shared.config.internal import listen_address
from shared.config.site import SiteConfig
from shared.domain.redact import redact
from shared.http import USER_HEADER, problems
from shared.http.server import HttpServer, listen, url_of
from shared.obs.metrics import exposition
from shared.service import Health

_OPEN = frozenset({"/healthz", "/metrics"})
_MAX_BODY_BYTES = 1024 * 1024
_CLOSED = "this process has no internal token, so its API is closed: set internal.token, the same in every process"


class InsideServer:
    """Serves a process from before its services start until after they have stopped."""

    def __init__(self, site: SiteConfig, health: HealthOf, routers: Sequence[APIRouter], address: str, share: Share | None = None) -> None:
        token = site.internal.token
        secrets = tuple(secrets_of(site.model_dump()))
        app = create_app(health, routers, token.get_secret_value() if token is not None else "", lambda text: redact(text, secrets), share)
        self._server = HttpServer(app, "inside.http")
        self._host, self._port = listen_address(address)
        self.url = ""

    async def start(self) -> None:
        """Raises: ConfigError (address in use or not of this machine)."""
        setting = "--listen (internal.listen)"
        listener = listen(self._host, self._port, host_setting=setting, port_setting=setting)
        self.url = url_of(listener)
        await self._server.start(listener)

    async def stop(self) -> None:
        """Idempotent."""
        await self._server.stop()


def create_app(
    health: HealthOf, routers: Sequence[APIRouter], token: str, clean: Callable[[str], str], share: Share | None = None
) -> ASGIApp:
    """The application behind its guard.

    Args:
        health: what every service says of itself, by name.
        routers: of the services (no authentication inside).
        token: of the API; empty: the API is refused.
        clean: takes secrets out of a text.
        share: of the cameras, that ingest takes here; None: all.
    """
    app = FastAPI(title="Vedette, inside", openapi_url=None, docs_url=None, redoc_url=None, max_body_size=_MAX_BODY_BYTES)
    for router in routers:
        app.include_router(router)

    @app.get("/healthz")
    async def healthz() -> JSONResponse:
        """Health by service, and the share of the cameras: 200 when each makes progress, else 503."""
        found = health()
        ok = all(one.ok for one in found.values())
        services = {name: _told(one, clean) for name, one in found.items()}
        told = {"status": "ok" if ok else "degraded", "services": services} | ({"share": str(share)} if share is not None else {})
        return JSONResponse(told, 200 if ok else 503)

    @app.get("/metrics")
    async def metrics() -> Response:
        """Prometheus text format."""
        return Response(exposition(), headers={"content-type": CONTENT_TYPE_LATEST})

    problems.install(app, clean)
    return _Guard(app, token)


def _told(health: Health, clean: Callable[[str], str]) -> dict[str, Any]:
    details = {key: clean(value) if isinstance(value, str) else value for key, value in health.details.items()}
    return {"ok": health.ok, "summary": clean(health.summary), "details": details}


class _Guard:
    """Lets pass who asks for health or metrics, or has the token. Outside of all routes, so that none can be left open."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app, self._token = app, token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in _OPEN:
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if not self._token:
            await JSONResponse({"detail": _CLOSED}, 403)(scope, receive, send)
            return
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if not hmac.compare_digest(given.encode("latin-1"), self._token) or scheme.lower() != "bearer":
            answer = JSONResponse({"detail": "the internal token is wrong or missing"}, 401, {"www-authenticate": "Bearer"})
            await answer(scope, receive, send)
            return
        scope.setdefault("state", {})["user"] = unquote(headers.get(USER_HEADER, "")) or "internal"
        await self._app(scope, receive, send)
