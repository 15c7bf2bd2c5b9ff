"""The process that serves an application: it closes idle connections, and ends within a bound."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import uvicorn

if TYPE_CHECKING:
    from fastapi import FastAPI

IDLE_SECONDS = 15.0
"""A connection without a request is closed after this time, also if half of a request has come."""
SHUTDOWN_SECONDS = 120
"""Requests that have come are answered for at most this long after the process is told to end."""


class Server(uvicorn.Server):
    """A server that also closes connections on which no request ever comes.

    uvicorn counts the idle time only after an answer, and any byte stops the count.

    Parameters
    ----------
    config : uvicorn.Config
    idle_seconds : float

    """

    def __init__(self, config: uvicorn.Config, idle_seconds: float = IDLE_SECONDS) -> None:
        super().__init__(config)
        self.idle_seconds = idle_seconds
        self.idle: dict[tuple[Any, Any], float] = {}
        """Since when each connection is idle, after which request."""

    async def on_tick(self, counter: int) -> bool:
        """Close connections that have been idle for too long; uvicorn calls this often."""
        now = time.monotonic()
        connections = ((c, getattr(c, "cycle", None)) for c in self.server_state.connections)
        # A new dict, so that closed connections are forgotten.
        self.idle = {
            (connection, request): self.idle.get((connection, request), now)
            for connection, request in connections
            if request is None or request.response_complete
        }
        for (connection, _), since in self.idle.items():
            if now - since > self.idle_seconds:
                connection.transport.close()
        return await super().on_tick(counter)


def serve(app: FastAPI, host: str = "127.0.0.1", port: int = 8000) -> None:
    """Serve an application until SIGINT or SIGTERM; requests that have come are still answered.

    Parameters
    ----------
    app : FastAPI
        What `http.create_app` returned, which bounds the time that a request's body may take.
    host : str
    port : int
        0 picks a free one.

    Examples
    --------
    ```python
    serve(create_app(DomainAdapter.from_pretrained("model")), port=8000)
    ```

    """
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        access_log=False,
        # Always the same, whatever else is installed; connections change to nothing else.
        http="h11",
        ws="none",
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )
    Server(config).run()
