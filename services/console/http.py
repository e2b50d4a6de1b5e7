"""The HTTP application: the console's own routes, the services' routers, and the page. Everything passes the gate."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, FastAPI, HTTPException, Request, Response, WebSocket
from fastapi import Path as PathParameter
from fastapi.responses import FileResponse, JSONResponse
from fastapi.staticfiles import StaticFiles
from prometheus_client import CONTENT_TYPE_LATEST

from services.console.auth import COOKIE, Authority, LoginLocked, LoginRefused
from services.console.elsewhere import Elsewhere
from services.console.gate import Gate
from services.console.live import Hub
from services.console.models import (
    Credentials,
    HealthAnswer,
    Problem,
    ServiceAnswer,
    SessionAnswer,
    SiteAnswer,
    StatusAnswer,
    site_answer,
)
from services.console.passwords import TooManyChecks
from services.console.state import LiveState
from shared.domain.clock import Clock
from shared.http import problems
from shared.obs.metrics import exposition
from shared.service import Health

STATIC = Path(__file__).parent / "static"
_MAX_BODY_BYTES = 1024 * 1024

HealthOf = Callable[[], Mapping[str, Health]]


def create_app(
    *,
    clock: Clock,
    authority: Authority,
    hub: Hub,
    state: LiveState,
    routers: Sequence[APIRouter],
    health: HealthOf,
    elsewhere: Elsewhere,
) -> Gate:
    """The application behind its gate."""
    app = FastAPI(
        title="Vedette",
        description="Everything but `/healthz` and `POST /api/session` needs the session cookie; `/metrics` also takes HTTP Basic.",
        openapi_url="/api/openapi.json",
        docs_url=None,  # FastAPI's pages load their scripts from another host
        redoc_url=None,
        max_body_size=_MAX_BODY_BYTES,
    )
    app_routes = (_session_routes(state, authority, hub), _state_routes(clock, hub, state, health, elsewhere), _probe_routes(health))
    for router in (*routers, *app_routes):
        app.include_router(router)
    _add_page(app)
    problems.install(app, state.clean)
    return Gate(app, authority, state.site.console)


def _session_routes(state: LiveState, authority: Authority, hub: Hub) -> APIRouter:
    router = APIRouter(tags=["session"])
    refusals: dict[int | str, dict[str, object]] = {status: {"model": Problem} for status in (401, 429, 503)}

    @router.post("/api/session", responses=refusals)
    async def log_in(credentials: Credentials, request: Request, response: Response) -> SessionAnswer:
        """Log in: sets the session cookie."""
        try:
            login = await authority.login(credentials.user, credentials.password, request.state.client)
        except LoginRefused:
            raise HTTPException(401, "wrong name or password") from None
        except LoginLocked as error:
            raise HTTPException(429, str(error), {"retry-after": str(round(error.wait_s) + 1)}) from None
        except TooManyChecks:
            raise HTTPException(503, "too many logins at once, try again", {"retry-after": "2"}) from None
        old = request.state.session
        if old is not None:  # who logs in again leaves the session before
            authority.logout(old)
            hub.close_session(old)
        console = state.site.console
        secure = request.url.scheme == "https" or console.public_url.lower().startswith("https://")
        response.set_cookie(
            COOKIE, login.token, max_age=round(console.session_hours * 3600), httponly=True, samesite="strict", secure=secure
        )
        return SessionAnswer(user=login.session.user)

    @router.get("/api/session")
    async def get_session(request: Request) -> SessionAnswer:
        """Who is logged in; 401: nobody."""
        return SessionAnswer(user=request.state.user)

    @router.delete("/api/session", status_code=204)
    async def log_out(request: Request, response: Response) -> None:
        """Log out: ends the session and closes its live sockets."""
        session = request.state.session
        if session is not None:
            authority.logout(session)
            hub.close_session(session)
        response.delete_cookie(COOKIE, httponly=True, samesite="strict")

    return router


def _state_routes(clock: Clock, hub: Hub, state: LiveState, health: HealthOf, elsewhere: Elsewhere) -> APIRouter:
    router = APIRouter(prefix="/api", tags=["state"])

    @router.get("/site")
    async def get_site(request: Request) -> SiteAnswer:
        """The site: channels, rules' geometry; no addresses, no secrets."""
        return site_answer(state.site, request.state.user)

    @router.get("/status")
    async def get_status() -> StatusAnswer:
        """What every channel and service is doing, also in other processes."""
        here = [_service_answer(state, name, item) for name, item in health().items()]
        services = (*here, *(_service_answer(state, one.name, one.health, one.process) for one in elsewhere.services()))
        return StatusAnswer(now_ns=clock.now_ns(), ok=all(service.ok for service in services), channels=state.statuses(), services=services)

    @router.get(
        "/channels/{channel}/live.jpg",
        response_class=Response,
        responses={200: {"content": {"image/jpeg": {}}}, 404: {"model": Problem}},
    )
    async def get_live_picture(channel: Annotated[str, PathParameter(max_length=48)]) -> Response:
        """The latest live picture of a channel. `X-Capture-Ns`: when the camera took it."""
        latest = await hub.pictures.latest(channel)
        if latest is None:
            raise HTTPException(404, "this channel has shown no picture yet")
        picture, jpeg = latest
        return Response(jpeg, media_type="image/jpeg", headers={"x-capture-ns": str(picture.capture_ns)})

    @router.websocket("/live")
    async def live(socket: WebSocket) -> None:
        await hub.serve(socket)

    return router


def _service_answer(state: LiveState, name: str, health: Health, process: str = "") -> ServiceAnswer:
    details = {key: state.clean(value) if isinstance(value, str) else value for key, value in health.details.items()}
    return ServiceAnswer(name=name, process=process, ok=health.ok, summary=state.clean(health.summary), details=details)


def _probe_routes(health: HealthOf) -> APIRouter:
    router = APIRouter(tags=["probes"])

    @router.get("/healthz", response_model=HealthAnswer, responses={503: {"model": HealthAnswer}})
    async def healthz() -> JSONResponse:
        """Whether every service of this process makes progress. Open to all, so it says nothing else."""
        ok = all(item.ok for item in health().values())
        return JSONResponse(HealthAnswer(status="ok" if ok else "degraded").model_dump(), 200 if ok else 503)

    @router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    async def get_metrics() -> Response:
        """Prometheus text format."""
        return Response(exposition(), headers={"content-type": CONTENT_TYPE_LATEST})

    return router


def _add_page(app: FastAPI) -> None:
    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(STATIC / "index.html")

    @app.get("/login", include_in_schema=False)
    async def login_page() -> FileResponse:
        return FileResponse(STATIC / "login.html")

    @app.get("/favicon.ico", include_in_schema=False)
    async def icon() -> FileResponse:
        return FileResponse(STATIC / "public" / "icon.svg", media_type="image/svg+xml")

    # What the login page needs is open to all; the rest of the page is not.
    app.mount("/public", StaticFiles(directory=STATIC / "public"), name="public")
    app.mount("/static", StaticFiles(directory=STATIC / "app"), name="static")
