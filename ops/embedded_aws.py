"""The embedded AWS: MiniStack, in a process of its own, with IAM enforced.

    python -m ops.embedded_aws --port 4566 --state-dir DIR

It listens on 127.0.0.1 only and keeps everything below DIR, so that the next start finds it again. It stops
cleanly on SIGTERM, on SIGINT, or when its standard input ends, which is how it notices that whoever started
it is gone, whatever the reason.

The few places where MiniStack differs from AWS in a way that matters here are bridged in this file and
nowhere else, one function each, with the reason. `tests/stack/test_embedded_aws.py` runs the same probe
against MiniStack as it comes and against this module, and fails when a bridge can be deleted.
"""

import argparse
import asyncio
import base64
import functools
import hashlib
import json
import logging
import mmap
import os
import shutil
import signal
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any, NoReturn

from ops.children import when_parent_is_gone

HOST = "127.0.0.1"

# What functions may inherit from the machine: MiniStack hands its own environment on to them.
INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR")

CHECKPOINT_SECONDS = 2.0
CHECKPOINT_SHARE = 0.05
CLOSE_SECONDS = 2.0
ASYNCHRONOUS_CONCURRENCY = 4

LARGE_BYTES = 16 * 1024 * 1024
SENT_AT_ONCE = 256 * 1024
SIGN_OF_LIFE_SECONDS = 3.0

Response = tuple[int, dict[str, str], Any]
State = dict[str, Any]


def environment(port: int, state_dir: Path, inherited: Mapping[str, str]) -> dict[str, str]:
    """MiniStack's settings, and nothing of the surrounding shell but INHERITED.

    A stray AWS_PROFILE, AWS_ENDPOINT_URL or proxy of the user would otherwise reach the functions.
    """
    return {
        **{name: inherited[name] for name in INHERITED if name in inherited},
        "TMPDIR": str(state_dir / "tmp"),
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "GATEWAY_PORT": str(port),
        "BIND_HOST": HOST,
        "MINISTACK_HOST": HOST,
        "AUTH": "true",
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        "PERSIST_STATE": "1",
        "STATE_DIR": str(state_dir / "state"),
        "S3_PERSIST": "1",
        "S3_DATA_DIR": str(state_dir / "s3"),
    }


# --- The bridges --------------------------------------------------------------------------------------------


def make_functions_active_at_once() -> None:
    """MiniStack keeps a function "Pending" for half a second after each change, to resemble AWS.

    Chalice waits with botocore's waiter, which looks again only after 5 s: seven functions deploy in 36 s
    instead of 1 s. AWS really is slow there, so nothing that holds on AWS is lost by being quick. Setting
    MiniStack's delay to 0 is not enough: the change would still be another thread's, and often come too late.
    """
    from ministack.services import lambda_svc

    def activate(name: str, _delay: float) -> None:
        lambda_svc._functions[name]["config"].update(
            State="Active",
            StateReason="",
            StateReasonCode="",
            LastUpdateStatus="Successful",
            LastUpdateStatusReason="",
            LastUpdateStatusReasonCode="",
        )

    lambda_svc._schedule_state_transition = activate


def serve_rest_api_definitions() -> None:
    """MiniStack has no ImportRestApi (it makes an API without routes) and no PutRestApi (it refuses).

    They are the two calls by which `chalice deploy` brings the routes, at the first and at every later
    deployment (API Gateway, REST API reference, ImportRestApi and PutRestApi).
    """
    from ministack.services import apigateway_v1

    unbridged = apigateway_v1.handle_request

    async def handle_request(
        method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, Any]
    ) -> Response:
        match method, path.strip("/").split("/"):
            case "POST", ["restapis"] if "mode" in query:
                return _import_rest_api(json.loads(body), query)
            case "PUT", ["restapis", api_id]:
                return _put_rest_api(api_id, json.loads(body))
        response: Response = await unbridged(method, path, headers, body, query)
        return response

    apigateway_v1.handle_request = handle_request


def _import_rest_api(definition: State, query: dict[str, Any]) -> Response:
    from ministack.services import apigateway_v1 as v1

    _, _, body = v1._create_rest_api(
        {
            "name": definition.get("info", {}).get("title", "unnamed"),
            "endpointConfiguration": {"types": query.get("endpointConfigurationTypes", ["EDGE"])},
        }
    )
    api_id = json.loads(body)["id"]
    _define_rest_api(api_id, definition)
    return 201, *v1._get_rest_api(api_id)[1:]


def _put_rest_api(api_id: str, definition: State) -> Response:
    """`mode=overwrite`: the API keeps its id, stages and deployments, and everything defined goes."""
    from ministack.services import apigateway_v1 as v1

    if api_id in v1._rest_apis:
        root = next(resource for resource in v1._resources[api_id].values() if resource["path"] == "/")
        root["resourceMethods"] = {}
        v1._resources[api_id] = {root["id"]: root}
        v1._authorizers_v1[api_id] = {}
        _define_rest_api(api_id, definition)
    response: Response = v1._get_rest_api(api_id)
    return response


def _define_rest_api(api_id: str, definition: State) -> None:
    """Fill an API without routes from a Swagger document, using the parser of MiniStack's CloudFormation.

    That parser reads no more of an integration than type, method and URI. A CORS preflight is a MOCK
    integration, whose answer is all in its templates and responses, so each is put again in full.
    """
    from ministack.services import apigateway_v1 as v1

    v1._rest_apis[api_id]["binaryMediaTypes"] = definition.get("x-amazon-apigateway-binary-media-types", [])
    authorizers = v1._import_security_schemes(api_id, definition)
    for path, item in definition.get("paths", {}).items():
        v1._import_path_item(api_id, path, item, authorizers, definition.get("security"))
        resource_id = next(i for i, resource in v1._resources[api_id].items() if resource["path"] == path)
        for method, operation in item.items():
            integration = operation.get("x-amazon-apigateway-integration")
            if method in v1._OPENAPI_HTTP_METHODS and integration:
                _put_whole_integration(api_id, resource_id, method.upper(), integration)


def _put_whole_integration(api_id: str, resource_id: str, method: str, integration: State) -> None:
    from ministack.services import apigateway_v1 as v1

    upper_case = {"type", "passthroughBehavior", "contentHandling"}
    v1._put_integration(
        api_id,
        resource_id,
        method,
        {name: value.upper() if name in upper_case else value for name, value in integration.items()},
    )
    for pattern, response in integration.get("responses", {}).items():
        v1._put_integration_response(
            api_id,
            resource_id,
            method,
            response["statusCode"],
            {**response, "selectionPattern": "" if pattern == "default" else pattern},
        )


def authorize_batches_as_single_calls() -> None:
    """MiniStack asks for leave to do `sqs:SendMessageBatch` and the like, which are no actions of IAM.

    On AWS the permission for the single call covers the batch call (Amazon SQS Developer Guide, "Amazon SQS
    API permissions"; the Service Authorization Reference lists no batch actions).
    """
    from ministack.core import iam_actions

    unbridged = iam_actions.extract_iam_action

    def extract_iam_action(service: str, *request: Any) -> str | None:
        action: str | None = unbridged(service, *request)
        return action.removesuffix("Batch") if action and service in ("sqs", "sns") else action

    iam_actions.extract_iam_action = extract_iam_action


def verify_checksums_of_forms() -> None:
    """MiniStack verifies the checksum of a PUT, and takes a form whatever its checksum field says.

    S3 compares the two and answers 400 BadDigest (Amazon S3 API Reference, "POST Object",
    `x-amz-checksum-sha256`).
    """
    from ministack.services import s3

    unbridged = s3._post_object

    def post_object(bucket_name: str, body: bytes, headers: dict[str, str]) -> Response:
        form = s3._parse_multipart_form(headers.get("content-type", ""), body)
        fields: dict[str, bytes] = {name.lower(): value for name, _, _, value in form}
        declared = fields.get("x-amz-checksum-sha256")
        actual = base64.b64encode(hashlib.sha256(fields.get("file", b"")).digest())
        response: Response = (
            s3._error("BadDigest", "The SHA256 you specified did not match the calculated checksum.", 400)
            if declared is not None and declared != actual
            else unbridged(bucket_name, body, headers)
        )
        return response

    s3._post_object = post_object


def queue_asynchronous_events() -> None:
    """MiniStack starts a process for every asynchronous event at once, and SNS calls a function only once.

    On AWS both kinds of event lie in a queue of the function's until there is concurrency for them, and are
    tried three times (Lambda Developer Guide, "How Lambda handles errors and retries with asynchronous
    invocation"). Three hundred uploads at once would be three hundred interpreters here; so that many per
    function run side by side as suits a laptop, and SNS hands its events over like everybody else.
    """
    from ministack.services import lambda_svc, sns

    asynchronous: ContextVar[bool] = ContextVar("asynchronous", default=False)
    turns: defaultdict[str, threading.BoundedSemaphore] = defaultdict(
        lambda: threading.BoundedSemaphore(ASYNCHRONOUS_CONCURRENCY)
    )
    execute, invoke = lambda_svc._execute_function, lambda_svc.invoke_async_with_retry

    def execute_in_turn(function: State, event: State) -> State:
        if not asynchronous.get():
            return execute(function, event)  # type: ignore[no-any-return]
        with turns[function["config"]["FunctionArn"]]:
            return execute(function, event)  # type: ignore[no-any-return]

    def invoke_in_turn(function: State, event: State) -> None:
        mark = asynchronous.set(True)  # the thread that is started inherits it
        try:
            invoke(function, event)
        finally:
            asynchronous.reset(mark)

    def deliver_to_lambda(endpoint: str, envelope: str, _topic: str, subscription: str, *_: Any) -> None:
        function, config, _name = lambda_svc._get_func_record_for_ref(endpoint)
        if function and config:
            record = {
                "EventVersion": "1.0",
                "EventSubscriptionArn": subscription,
                "EventSource": "aws:sns",
                "Sns": json.loads(envelope),
            }
            invoke_in_turn(lambda_svc._execution_record_for_config(function, config), {"Records": [record]})

    lambda_svc._execute_function = execute_in_turn
    lambda_svc.invoke_async_with_retry = invoke_in_turn
    sns._deliver_to_lambda = deliver_to_lambda


def read_large_objects_by_the_piece() -> None:
    """MiniStack reads all of an object whatever range of it is asked for, and holds an answer twice.

    Nobody else is served meanwhile: of 2 GiB, the first 64 KiB took half a minute on a busy machine, and a
    copy in parts would read all of it for each of them. So large objects are mapped, and sent in pieces.
    """
    from ministack.core.responses import StreamingResponse
    from ministack.services import s3

    read_body, get_object = s3._read_body, s3._get_object

    def map_body(bucket: str, key: str, record: State) -> bytes | mmap.mmap:
        held = record.get("body") is not None or record["size"] < LARGE_BYTES
        if held or not (path := s3._object_disk_path(bucket, key)):
            return read_body(bucket, key, record)  # type: ignore[no-any-return]
        with Path(path).open("rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def get_in_pieces(*request: Any) -> Response:
        status, headers, body = get_object(*request)
        if not isinstance(body, mmap.mmap):
            return status, headers, body

        async def run(send: Callable[..., Any], _receive: object) -> None:
            for start in range(0, len(body), SENT_AT_ONCE):
                end = start + SENT_AT_ONCE
                await send(_piece(body[start:end], more=end < len(body)))

        return status, headers, StreamingResponse(run)

    s3._read_body = map_body
    s3._get_object = get_in_pieces


def _piece(body: bytes, *, more: bool) -> dict[str, Any]:
    return {"type": "http.response.body", "body": body, "more_body": more}


def complete_large_uploads_beside_other_requests() -> None:
    """MiniStack serves nobody else while it puts the parts of an upload together, and answers after that.

    S3 answers soon, and sends white space until it is done, so that no client gives the call up (Amazon S3
    API Reference, CompleteMultipartUpload). Here that takes 5 to 10 seconds for every gigabyte. The event
    waits for the end: MiniStack sends it before the object is in its file.
    """
    from ministack.core.responses import StreamingResponse
    from ministack.services import s3

    unbridged, fire_event = s3.handle_request, s3._fire_s3_event_async
    under_way: dict[str, asyncio.Task[Response]] = {}
    waiting: ContextVar[list[Callable[[], None]] | None] = ContextVar("waiting", default=None)

    def fire_in_time(*event: Any, **more: Any) -> None:
        if (events := waiting.get()) is None:
            fire_event(*event, **more)
        else:
            events.append(functools.partial(fire_event, *event, **more))

    def complete(request: Coroutine[Any, Any, Response]) -> Response:
        events: list[Callable[[], None]] = []
        waiting.set(events)
        try:
            return asyncio.run(request)
        finally:
            for fire in events:
                fire()

    async def handle_request(
        method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, Any], **more: Any
    ) -> Response:
        request = unbridged(method, path, headers, body, query, **more)
        upload_id = s3._qp(query, "uploadId") if method == "POST" else ""
        parts = s3._multipart_uploads.get(upload_id, {"parts": {}})["parts"].values()
        if sum(part["size"] for part in parts) < LARGE_BYTES:
            response: Response = await request
            return response
        if upload_id in under_way:  # somebody asks again
            request.close()
        else:
            under_way[upload_id] = asyncio.create_task(asyncio.to_thread(complete, request))
            under_way[upload_id].add_done_callback(lambda _: under_way.pop(upload_id))
        task = under_way[upload_id]
        await asyncio.wait({task}, timeout=SIGN_OF_LIFE_SECONDS)
        if task.done():
            return task.result()

        async def run(send: Callable[..., Any], _receive: object) -> None:
            await send(_piece(s3.XML_DECL, more=True))
            while not task.done():
                await send(_piece(b" ", more=True))
                await asyncio.wait({task}, timeout=SIGN_OF_LIFE_SECONDS)
            _, _, answer = task.result()
            await send(_piece(answer.removeprefix(s3.XML_DECL), more=False))

        return 200, {"Content-Type": "application/xml"}, StreamingResponse(run)

    s3.handle_request = handle_request
    s3._fire_s3_event_async = fire_in_time


def move_to_port(port: int, state_dir: Path) -> None:
    """MiniStack keeps a queue under its URL, and so under the port it was created on.

    After a restart on another port no event source mapping finds its queue, and the outputs of a stack name
    addresses that are gone. So the address is renewed in what was saved, before it is loaded.
    """
    remembered = state_dir / "address"
    address = f"{HOST}:{port}/"
    if remembered.exists() and (former := remembered.read_text()) != address:
        for saved in (state_dir / "state").glob("*.json"):
            moved = saved.with_suffix(".moved")
            moved.write_text(saved.read_text().replace(former, address))
            moved.replace(saved)
    remembered.write_text(address)


def checkpoint_state(requests: "Requests") -> Callable[[], float]:
    """MiniStack writes its state (all but the objects of S3) only when it is stopped cleanly.

    A kill -9 or a power cut would lose tables and queues while the objects stay. The returned function writes
    it whenever requests were served since the last time, and says how long to wait before the next call: long
    enough that saving never takes more than CHECKPOINT_SHARE of the time.
    """
    saved = requests.served

    def checkpoint() -> float:
        nonlocal saved
        if requests.served == saved:
            return CHECKPOINT_SECONDS
        saved = requests.served
        begun = time.monotonic()
        save_state()
        return max(CHECKPOINT_SECONDS, (time.monotonic() - begun) / CHECKPOINT_SHARE)

    return checkpoint


def save_state() -> None:
    """Write the state of all services, each file whole or not at all."""
    from ministack import app
    from ministack.core import persistence

    persistence.save_all({name: _steady(copy) for name, copy in app._build_persistence_save_dict().items()})


def _steady(copy: Callable[[], State]) -> Callable[[], State]:
    """Copying a dictionary fails while a thread adds to it, and MiniStack would leave out the service."""

    def copied() -> State:
        for _ in range(50):
            with suppress(RuntimeError):
                return copy()
            time.sleep(0.001)
        return copy()

    return copied


# --- The process --------------------------------------------------------------------------------------------


class Requests:
    """Counts the requests that pass through to the ASGI application."""

    def __init__(self, app: Callable[..., Any]) -> None:
        self.served = 0
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.served += 1
        await self._app(scope, receive, send)


async def serve(port: int) -> None:
    """Serve until asked to stop, save, and end the process."""
    from hypercorn.asyncio import serve as hypercorn_serve
    from hypercorn.config import Config
    from ministack.app import app

    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    when_parent_is_gone(lambda: loop.call_soon_threadsafe(stopping.set))

    make_functions_active_at_once()
    serve_rest_api_definitions()
    authorize_batches_as_single_calls()
    verify_checksums_of_forms()
    queue_asynchronous_events()
    read_large_objects_by_the_piece()
    complete_large_uploads_beside_other_requests()
    requests = Requests(app)
    checkpoint = checkpoint_state(requests)

    config = Config()
    config.bind = [f"{HOST}:{port}"]
    config.keep_alive_timeout = 75
    config.graceful_timeout = CLOSE_SECONDS / 2
    config.errorlog = logging.getLogger("hypercorn.error")
    # One line for each of some sixty services, at every checkpoint.
    logging.getLogger("persistence").setLevel(logging.WARNING)
    serving = asyncio.create_task(hypercorn_serve(requests, config, shutdown_trigger=stopping.wait))
    stopped = asyncio.create_task(stopping.wait())
    pause = CHECKPOINT_SECONDS
    while not (serving.done() or stopped.done()):
        await asyncio.wait({serving, stopped}, timeout=pause, return_when=asyncio.FIRST_COMPLETED)
        pause = checkpoint()
    # Python 3.12 and later wait here for every open connection, so there is an end to it.
    await asyncio.wait({serving}, timeout=CLOSE_SECONDS)
    if serving.done():
        serving.result()
    save_state()
    leave()


def leave() -> NoReturn:
    """End now, and with this process every Lambda worker and whatever a worker started.

    An ordinary exit waits for the threads in which functions run, up to the functions' own timeouts.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    if os.getpgrp() == os.getpid():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.killpg(0, signal.SIGTERM)
    os._exit(0)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m ops.embedded_aws", description="Run the embedded AWS.")
    parser.add_argument("--port", type=int, default=4566)
    parser.add_argument("--state-dir", type=Path, required=True)
    options = parser.parse_args()
    state_dir: Path = options.state_dir.resolve()
    # Unpacked functions of a run that was killed.
    shutil.rmtree(state_dir / "tmp", ignore_errors=True)
    (state_dir / "tmp").mkdir(parents=True)
    move_to_port(options.port, state_dir)
    settings = environment(options.port, state_dir, os.environ)
    os.environ.clear()
    os.environ.update(settings)
    asyncio.run(serve(options.port))


if __name__ == "__main__":
    main()
