"""Ports of this machine, held from the moment they are chosen.

A port that is found free and let go may be somebody else's by the time a child listens on it, and then every
request meant for the child is answered by a stranger: another local stack, say. So the socket listens here,
and the child gets the socket.
"""

import errno
import os
import socket

from ops.embedded_aws import HOST
from ops.state import StackError

BACKLOG = 128


def listen(port: int, variable: str, address: str = HOST) -> socket.socket:
    """A socket that listens on `port`, or on any free one where that is 0.

    Raises:
        StackError: the port is in use, and `variable` of `make run` names another; or it cannot be had.
    """
    try:
        return socket.create_server((address, port), backlog=BACKLOG)
    except OverflowError:
        raise StackError(f"there is no port {port}: {variable} takes one up to 65535") from None
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise StackError(
                f"port {port} is in use; take another: make run {variable}={port + 1}"
            ) from error
        reason = os.strerror(error.errno or 0)
        raise StackError(
            f"cannot listen on {address}, port {port} ({reason}); {variable} names another"
        ) from error
