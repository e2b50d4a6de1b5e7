"""Errors as answers: every one is JSON with a `detail` that says what is wrong, and none repeats what was sent."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import FastAPI, Request
from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from shared.domain.errors import VedetteError

_RETRY = {"retry-after": "10"}


def install(app: FastAPI, clean: Callable[[str], str]) -> None:
    """Add the handlers. `clean`: takes secrets out of a text."""

    @app.exception_handler(VedetteError)
    async def unavailable(_: Request, error: VedetteError) -> JSONResponse:
        """What a service could not do now: its store is away, mostly."""
        return JSONResponse({"detail": clean(str(error))}, 503, _RETRY)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        # FastAPI's own answer repeats the input: a password, for one.
        found = [{key: problem[key] for key in ("type", "loc", "msg")} for problem in error.errors()]
        return JSONResponse({"detail": jsonable_encoder(found)}, 422)

    @app.exception_handler(Exception)
    async def failed(_: Request, error: Exception) -> JSONResponse:
        """A fault of ours; the server logs it with its place."""
        return JSONResponse({"detail": f"the recorder failed ({type(error).__name__}); its log says where"}, 500)
