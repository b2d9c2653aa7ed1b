"""The `chalice` command as a child process: `python -m ops.chalice_child [FD] --project-dir DIR local …`.

FD is the descriptor of a socket that listens already, for `chalice local` to serve.
"""

import json
import os
import socket
import sys
from typing import Any

from chalice.cli import main
from chalice.config import Config
from chalice.constants import DEFAULT_HANDLER_NAME
from chalice.local import ChaliceRequestHandler, ThreadedHTTPServer

from ops import gateway_responses
from ops.children import when_parent_is_gone
from ops.package import packager

HTTP_VARIABLES = "WAYBILL_HTTP_VARIABLES"
"""Environment variable with settings for the HTTP handler alone, as JSON: they shall be in no file."""


def send_responses_whole() -> None:
    """`chalice local` writes header and body one by one, and Nagle's algorithm holds the second back.

    On a kept-alive connection that is 44 ms for each request. Both attributes are socketserver's own.
    """
    ChaliceRequestHandler.disable_nagle_algorithm = True
    ChaliceRequestHandler.wbufsize = -1


def know_all_methods() -> None:
    """Those that Chalice leaves out would meet the server's own 501 page, not a 405 like all others."""
    handler: Any = ChaliceRequestHandler
    handler.do_QUERY = handler.do_TRACE = handler.do_PATCH


def serve_on(listening: socket.socket) -> None:
    """Where `chalice local` would take a socket of its own, it gets this one."""

    def adopt(server: ThreadedHTTPServer) -> None:
        server.socket.close()
        server.socket = listening
        server.server_address = listening.getsockname()
        server.server_name, server.server_port = server.server_address[:2]

    unbound: Any = ThreadedHTTPServer
    unbound.server_bind = adopt


def give_the_http_handler(variables: dict[str, str]) -> None:
    """These settings come on top of what the configuration file has for that function."""
    unbound: Any = Config
    merged = unbound.environment_variables.fget

    def environment_variables(config: Config) -> dict[str, str]:
        own = variables if config.function_name == DEFAULT_HANDLER_NAME else {}
        return {**merged(config), **own}

    unbound.environment_variables = property(environment_variables)


if __name__ == "__main__":
    when_parent_is_gone(lambda: os._exit(1))
    send_responses_whole()
    know_all_methods()
    packager.install()
    gateway_responses.install()
    give_the_http_handler(json.loads(os.environ.pop(HTTP_VARIABLES, "{}")))
    if sys.argv[1:2] and sys.argv[1].isdigit():
        serve_on(socket.socket(fileno=int(sys.argv.pop(1))))
    # `-m` puts this checkout first on the path; the app must come from the project directory alone.
    sys.path.pop(0)
    sys.exit(main())
