"""The requests that reach the embedded AWS."""

from collections.abc import Callable
from typing import Any


class Requests:
    """Counts the requests that pass through to the ASGI application."""

    def __init__(self, app: Callable[..., Any]) -> None:
        self.served = 0
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.served += 1
        await self._app(scope, receive, send)
