"""The application under `/api/v1`, and its description."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from interlock import __version__
from interlock.change.token import SCOPES
from interlock.errors import InterlockError
from interlock.web.api import acts, lookback, looks, problems, proofs, works
from interlock.web.api.limits import Limited, Limits
from interlock.web.api.people import Backing
from interlock.web.api.saying import with_problem

PREFIX = "/api/v1"
PARTS = (looks, acts, works, lookback, proofs)
_SILENT: Any = {
    "tracing": False, "metrics": False, "logs": False, "operation_spans": False,
    "auto_configure": False,
}  # fmt: skip
_SAYS = """\
What the commands of Interlock do, over HTTP. The JSON is that of `--json`.

A token stands for a person: `Authorization: Bearer il_...`. What a request does is done
under that name. Every request that does something carries an `Idempotency-Key`; sent
again, it is answered again and not done again. Every no is a problem (RFC 9457) with the
code of the error in `type`, each objection, and what to do next."""


def control_api() -> FastAPI:
    """The routes, without anything to stand on: enough to describe them."""
    # No pages of documentation: they would load scripts of others.
    app = FastAPI(
        title="Interlock", version=__version__, description=_SAYS, docs_url=None, redoc_url=None,
        openapi_url=f"{PREFIX}/openapi.json", telemetry=_SILENT, redirect_slashes=False,
        exception_handlers={
            InterlockError: problems.refused, HTTPException: problems.http_error,
            RequestValidationError: problems.misunderstood, Exception: problems.broken,
        },
    )  # fmt: skip
    for part in PARTS:
        app.include_router(part.router, prefix=PREFIX, generate_unique_id_function=_name)
    app.openapi = lambda: described(app)  # type: ignore[method-assign]  # the documented way
    return app


def _name(route: Any) -> str:
    return str(route.name)


def described(app: FastAPI) -> dict[str, Any]:
    """OpenAPI of the routes, with the shape of a problem; made once."""
    if app.openapi_schema is None:
        made = get_openapi(
            title=app.title, version=app.version, description=app.description, routes=app.routes
        )
        named = scopes()
        for ways in made["paths"].values():
            for way in ways.values():
                way["x-interlock-scope"] = named[way["operationId"]]
        app.openapi_schema = with_problem(made)
    return app.openapi_schema


def scopes() -> dict[str, str]:
    """By the name of a route, the scope that a token needs for it."""
    routes = [one for part in PARTS for one in part.router.routes if isinstance(one, APIRoute)]
    return {route.name: _scope(route.dependant) for route in routes}


def _scope(dependant: Any) -> str:
    below = [_scope(one) for one in dependant.dependencies]
    said = getattr(dependant.call, "__doc__", None) or ""
    return next((one for one in (said, *below) if one in SCOPES), "")


def api_app(backing: Backing, limits: Limits | None = None) -> ASGIApp:
    """The control API over an opened project, to be mounted beside the pages."""
    app = control_api()
    app.state.backing = backing
    return Limited(app, limits)


def schema() -> Mapping[str, Any]:
    """The description of the API, as `interlock api schema` prints it."""
    return described(control_api())
