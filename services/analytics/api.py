"""HTTP of analytics. No authentication here: the console includes it behind its own."""

from __future__ import annotations

from typing import Protocol

from fastapi import APIRouter
from pydantic import BaseModel

from services.analytics.core.counts import RuleCounts


class Counted(BaseModel):
    """Totals of one counting rule. `since_ns`: when its day began, `as_of_ns`: up to when it is true; UTC nanoseconds."""

    channel: str
    rule: str
    enter: int
    leave: int
    stay: int
    since_ns: int
    as_of_ns: int = 0


class CountsAnswer(BaseModel):
    counts: list[Counted]


class CountsSource(Protocol):
    """What this API needs of the service."""

    async def totals(self) -> list[RuleCounts]: ...


def router(service: CountsSource) -> APIRouter:
    """Routes under /api."""
    routes = APIRouter(prefix="/api", tags=["analytics"])

    @routes.get("/counts")
    async def counts() -> CountsAnswer:
        """People counting: today's totals of every counting rule."""
        return CountsAnswer(
            counts=[
                Counted(channel=c.channel, rule=c.rule, enter=c.enter, leave=c.leave, stay=c.stay, since_ns=c.since_ns, as_of_ns=c.as_of_ns)
                for c in await service.totals()
            ]
        )

    return routes
