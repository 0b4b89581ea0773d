"""`serve`: predictions, requests of people, and pages; `main` registers it."""

from __future__ import annotations

from typing import Annotated

import typer

from interlock.cli.arguments import HERE, Env, Folder


def serve(
    port: Annotated[int, typer.Option(help="the port; 0 picks a free one")] = 8210,
    host: Annotated[str, typer.Option(help="the address to listen on")] = "127.0.0.1",
    require_tokens: Annotated[
        bool | None,
        typer.Option(
            help="let nobody act without a token (default: on once there is a token,"
            " and off this machine)"
        ),
    ] = None,
    public_read: Annotated[
        bool, typer.Option("--public-read", help="with tokens required: let everybody look")
    ] = False,
    folder: Folder = HERE,
    environment: Env = "prod",
) -> None:
    """Answer predictions and flags, take requests, and show the pages, until stopped."""
    from interlock.web.api.people import Rules
    from interlock.web.server import serve as run_server

    rules = Rules(require_tokens, public_read)
    run_server(folder.resolve(), environment, host, port, rules)
