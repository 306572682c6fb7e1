"""Whether the server lives and can work, for load balancers without a token; metrics with one.

Without a token nobody learns more than yes or no.
"""

import asyncio
from typing import Annotated

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response

from evomerge.api.context import Here, Principal
from evomerge.api.openapi import READ
from evomerge.observe.health import readiness
from evomerge.observe.metrics import CONTENT_TYPE

router = APIRouter(tags=["health"])


@router.get("/healthz")
def healthz() -> dict[str, str]:
    """The process answers."""
    return {"status": "ok"}


@router.get("/readyz")
async def readyz(here: Here) -> JSONResponse:
    """Store, schema and cluster answer; 503 and the names of those that do not."""
    checks = await asyncio.to_thread(readiness, here.store, here.settings.queue.address)
    content = {check.name: "ok" if check.ok else "failed" for check in checks}
    return JSONResponse(content, 200 if all(check.ok for check in checks) else 503)


@router.get("/metrics", response_class=Response)
def metrics(here: Here, who: Annotated[Principal, READ]) -> Response:
    """Metrics in Prometheus' text format."""
    return Response(here.metrics.render(), media_type=CONTENT_TYPE)
