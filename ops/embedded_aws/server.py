"""What speaks HTTP for the embedded AWS: uvicorn, with a parser in C.

MiniStack comes with Hypercorn, whose parser is written in Python; with it the process is busy for a fifth
longer with each call of a small file.
"""

import asyncio
import logging
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

KEEP_ALIVE_SECONDS = 75
"""Longer than clients pause: who writes into a connection that is just being closed, fails."""

CLOSE_SECONDS = 1


class Server(uvicorn.Server):
    """Serves an ASGI application on a socket until it is told to stop; signals are whoever starts it's."""

    def __init__(self, app: Callable[..., Any]) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http="httptools",
                ws="none",
                lifespan="on",
                log_config=None,
                log_level=logging.WARNING,
                access_log=False,
                server_header=False,
                date_header=False,  # MiniStack has its own
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=CLOSE_SECONDS,
            )
        )

    def start(self, listening: socket.socket) -> asyncio.Task[None]:
        return asyncio.create_task(self.serve([listening]))

    def stop(self) -> None:
        self.should_exit = True

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
