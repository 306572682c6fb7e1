"""Whether the server lives (`/healthz`) and can work (`/readyz`): for load balancers, without a token."""

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from evomerge.api.context import Here

router = APIRouter(tags=["health"])


@router.get("/healthz")
def healthz() -> dict[str, str]:
    """The process answers."""
    return {"status": "ok"}


@router.get("/readyz")
def readyz(here: Here) -> JSONResponse:
    """The store answers. 503 where it does not; nobody is told why who has no token."""
    try:
        here.store.has_tokens()
    except Exception:
        return JSONResponse({"status": "the store does not answer"}, 503)
    return JSONResponse({"status": "ok"})
