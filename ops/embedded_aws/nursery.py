"""Processes of functions, forked from one that has loaded the AWS SDK already: `nursery.py FD ROOM`.

Run as a file, so that nothing of this checkout is on the path of a function. Over the socket FD it is asked
for a process, with the three descriptors that are to be its standard streams, and answers with the process's
id. ROOM is nothing but room for the command line of a function's process, which tells whose it is.
"""

import array
import ctypes
import gc
import json
import os
import runpy
import signal
import socket
import sys
from pathlib import Path
from typing import Any

MAX_REQUEST_BYTES = 1 << 17
STREAMS = 3

SERVICES = ("s3", "dynamodb", "sqs", "sns", "stepfunctions")
"""Whose clients functions here make; others are described to them when they ask."""


def main() -> None:
    asked = socket.socket(fileno=int(sys.argv[1]))
    load_the_sdk()
    gc.freeze()  # what is here stays shared with every process that is forked
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody asks how one of them ended
    while True:
        request, streams = receive(asked)
        if not request:
            return
        process = os.fork()
        if process == 0:
            asked.close()
            become_function(json.loads(request), streams)
            return
        for stream in streams:
            os.close(stream)
        asked.send(str(process).encode())


def receive(asked: socket.socket) -> tuple[bytes, list[int]]:
    descriptors = array.array("i")
    request, ancillary, _flags, _address = asked.recvmsg(
        MAX_REQUEST_BYTES, socket.CMSG_SPACE(STREAMS * descriptors.itemsize)
    )
    for _level, _type, data in ancillary:
        descriptors.frombytes(data)
    return request, list(descriptors)


def load_the_sdk() -> None:
    """What takes a function longest at its start: modules, and the descriptions of the services.

    Sessions of one process share what they have read of those, as clients of one session always do.
    """
    import boto3.session
    import botocore.loaders
    import botocore.session

    read: Any = botocore.loaders.create_loader()
    names: Any = botocore.session
    names.create_loader = lambda _path: read
    session: Any = boto3.session.Session("-", "-", region_name="us-east-1")
    for service in SERVICES:
        session.client(service)


def become_function(request: dict[str, object], streams: list[int]) -> None:
    """Run the script as an interpreter of its own would."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    arguments, environment = request["arguments"], request["environment"]
    assert isinstance(arguments, list)
    assert isinstance(environment, dict)
    rename(arguments)
    os.chdir(str(request["directory"]))
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = arguments[1:]
    sys.path[:0] = [str(Path(sys.argv[0]).parent)]
    runpy.run_path(sys.argv[0], run_name="__main__")


def rename(arguments: list[str]) -> None:
    """Have `ps` show this command line, written over the one that this process was started with (proc(5))."""
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    begin, end = int(fields[45]), int(fields[46])
    line = "\0".join(arguments).encode()[: end - begin - 1]
    ctypes.memmove(begin, line.ljust(end - begin, b"\0"), end - begin)


if __name__ == "__main__":
    main()
