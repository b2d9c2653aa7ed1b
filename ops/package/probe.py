"""In a clean interpreter, with nothing on its path but an unpacked package: does it start, and at what cost?

    python -I -S probe.py ROOT presign|consume|everything [HANDLER …]

Prints one line of JSON, `{"cpu": seconds}`. Whatever goes wrong is an exception: a module that is not there,
a source that is compiled because its byte code is missing or for another version, a file that is opened for
writing, a connection to anything.
"""

import importlib
import json
import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

SERVICES = ("dynamodb", "s3", "sns", "sqs", "stepfunctions")


class NotAllowed(Exception):
    """Something that Lambda does not let a function do, or that costs it its start."""


def watch(root: str) -> None:
    """From here on; audit hooks stay until the end."""

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "compile" and str(arguments[1]).startswith(root):
            raise NotAllowed(
                f"{arguments[1]} is compiled: it has no byte code for {sys.implementation.cache_tag}"
            )
        if event == "open" and str(arguments[0]).startswith(root):
            flags = arguments[2] or 0
            if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                raise NotAllowed(f"{arguments[0]} is opened for writing")
        if event == "os.mkdir" and str(arguments[0]).startswith(root):
            raise NotAllowed(f"{arguments[0]} is made")
        if event in ("socket.connect", "socket.getaddrinfo"):
            raise NotAllowed(f"a connection is made: {arguments[-1]}")

    sys.addaudithook(hook)


def presign(_root: Path) -> None:
    """To the first signed URL."""
    app = importlib.import_module("app")
    token = os.environ["PROBE_TOKEN"]
    request = {
        "httpMethod": "POST",
        "resource": "/presign",
        "path": "/presign",
        "requestContext": {
            "httpMethod": "POST",
            "resourcePath": "/presign",
            "path": "/api/presign",
            "identity": {},
        },
        "headers": {"authorization": f"Bearer {token}", "host": "abc.execute-api.us-east-1.amazonaws.com"},
        "multiValueQueryStringParameters": None,
        "pathParameters": None,
        "stageVariables": None,
        "body": None,
        "isBase64Encoded": False,
    }
    answer = app.app(
        request, SimpleNamespace(aws_request_id="probe", get_remaining_time_in_millis=lambda: 29_000)
    )
    if answer["statusCode"] != 200:
        raise NotAllowed(f"POST /presign answers {answer['statusCode']}: {answer['body']}")


def consume(_root: Path) -> None:
    """To where the first message can be worked on: boto3 is there, and every client that work may need."""
    importlib.import_module("app")
    clients = importlib.import_module("chalicelib.clients")
    for service in SERVICES:
        getattr(clients, service)()


def everything(root: Path) -> None:
    """All handlers, all modules of ours, all that the package has, and a picture through the sandbox."""
    import pkgutil  # here, as what this file imports for itself counts in no start

    presign(root)
    consume(root)
    app = importlib.import_module("app")
    for handler in sys.argv[3:]:
        if not callable(getattr(app, handler)):
            raise NotAllowed(f"app.{handler} is no handler")
    for module in pkgutil.walk_packages([str(root / "chalicelib")], "chalicelib."):
        importlib.import_module(module.name)
    for module in pkgutil.iter_modules([str(root)]):
        importlib.import_module(module.name)
    _make_thumbnail()


def _make_thumbnail() -> None:
    import tempfile

    base: Any = importlib.import_module("chalicelib.processors.base")
    sandbox: Any = importlib.import_module("chalicelib.sandbox")
    vips: Any = importlib.import_module("pyvips")
    with tempfile.TemporaryDirectory() as directory:
        picture, scratch = Path(directory, "picture.png"), Path(directory, "scratch")
        scratch.mkdir()
        vips.Image.black(640, 480, bands=3).write_to_file(str(picture))
        caps = base.Caps(events=1, rows=1, pixels=1_000_000, pages=1)
        made = sandbox.run(
            "image",
            base.Source(picture, "picture.png", "image/png", scratch, caps),
            owner="_",
            cpu_seconds=30,
            memory_bytes=1024**3,
        )
    names = sorted(output.name for output in made.outputs)
    if names != ["preview.jpg", "thumbnail.webp"]:
        raise NotAllowed(f"of a picture it makes {names}")


if __name__ == "__main__":
    unpacked = Path(sys.argv[1])
    if not sys.flags.isolated or not sys.flags.no_site:
        raise SystemExit("probe.py runs with -I -S: elsewhere it would find what the package lacks")
    if sys.argv[2] == "everything":
        watch(str(unpacked))
    sys.path.insert(0, str(unpacked))
    {"presign": presign, "consume": consume, "everything": everything}[sys.argv[2]](unpacked)
    print(json.dumps({"cpu": time.process_time()}))
