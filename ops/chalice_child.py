"""The `chalice` command as a child process: `python -m ops.chalice_child --project-dir DIR deploy …`."""

import os
import sys

from chalice.cli import main
from chalice.local import ChaliceRequestHandler

from ops.children import when_parent_is_gone


def send_responses_whole() -> None:
    """`chalice local` writes header and body one by one, and Nagle's algorithm holds the second back.

    On a kept-alive connection that is 44 ms for each request. Both attributes are socketserver's own.
    """
    ChaliceRequestHandler.disable_nagle_algorithm = True
    ChaliceRequestHandler.wbufsize = -1


if __name__ == "__main__":
    when_parent_is_gone(lambda: os._exit(1))
    send_responses_whole()
    # `-m` puts this checkout first on the path; the app must come from the project directory alone.
    sys.path.pop(0)
    sys.exit(main())
