"""Bridges of S3: large objects are read, and put together from their parts, without stopping all else."""

import asyncio
import functools
import mmap
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from ops.embedded_aws.shapes import Response, State

LARGE_BYTES = 16 * 1024 * 1024
SENT_AT_ONCE = 256 * 1024
SIGN_OF_LIFE_SECONDS = 3.0


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


def _piece(body: bytes, *, more: bool) -> dict[str, Any]:
    return {"type": "http.response.body", "body": body, "more_body": more}
