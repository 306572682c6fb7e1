"""`make_app`: the application of one server, from its parts."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from evomerge import __version__
from evomerge.api import errors
from evomerge.api.context import Context
from evomerge.api.limits import Limiter
from evomerge.api.routes import health, login
from evomerge.api.settings import ServerSettings
from evomerge.api.shield import Shield
from evomerge.store import open_store


def make_app(store_url: str | os.PathLike[str] | None, settings: ServerSettings) -> FastAPI:
    """The API under /api/v1, and the dashboard at /. Opens the store, which has to be there."""
    here = Context(open_store(store_url, create=False), settings, Limiter(settings.rates))

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        here.store.close()

    app = FastAPI(
        title="evomerge",
        version=__version__,
        openapi_url="/api/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.evomerge = here
    errors.install(app)
    app.include_router(health.router)
    app.include_router(login.router)
    app.add_middleware(Shield, here=here)
    return app
