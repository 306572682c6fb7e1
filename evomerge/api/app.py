"""`make_app`: the application of one server, from its parts."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import APIRouter, FastAPI

from evomerge import __version__
from evomerge.api import errors
from evomerge.api.context import Context
from evomerge.api.rates import Limiter
from evomerge.api.routes import answers, health, login, people, searches, steer, system, work
from evomerge.api.settings import ServerSettings
from evomerge.api.shield import Shield
from evomerge.observe.metrics import Metrics
from evomerge.queue.scheduler import Scheduler
from evomerge.resources import data_folder
from evomerge.store import open_store

_ROUTERS = (system, searches, steer, answers, work, people)


def make_app(
    store_url: str | os.PathLike[str] | None, settings: ServerSettings, *, schedule: bool = False
) -> FastAPI:
    """The API under /api/v1, and the dashboard at /. Opens the store, which has to be there.

    Args:
        schedule: whether this server also runs searches, from start to end of the application.
    """
    store = open_store(store_url, create=False)
    here = Context(store, settings, Limiter(settings.rates), Metrics(store))
    folder = settings.log_folder or data_folder() / "server"
    scheduler = (
        Scheduler(store, settings.queue, folder, settings.export_folder) if schedule else None
    )

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        if scheduler is not None:
            scheduler.start()
        yield
        if scheduler is not None:
            await asyncio.to_thread(scheduler.stop)
        store.close()

    app = FastAPI(
        title="evomerge",
        description="Evolutionary merge search for language models.",
        version=__version__,
        openapi_url=None,  # behind a token, as everything: routes/system.py
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.evomerge = here
    errors.install(app)
    for module in (health, login, *_ROUTERS):
        app.include_router(module.router)
    app.include_router(_pages())
    app.add_middleware(Shield, here=here)
    return app


def _pages() -> APIRouter:
    """The dashboard, which is written against this package and so loaded when it is needed."""
    from evomerge.dashboard import make_router

    return make_router()
