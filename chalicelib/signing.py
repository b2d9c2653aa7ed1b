"""One request to S3 at a time, signed for uploaders that speak to S3 themselves.

Uppy's S3 plugin from 6.0 on is one: what its `signRequest` is given is the body here, and what it has to
return is the answer (`@uppy/aws-s3`, `s3-client/types.ts`). Nothing is written, and AWS is not called.
"""

from collections.abc import Mapping
from typing import Any

from chalicelib import clients, multipart, sigv4, uploads
from chalicelib.declared import SINGLE_LIMIT, Declared
from chalicelib.errors import BadRequest
from chalicelib.settings import Settings


def sign(settings: Settings, owner: str, wish: Mapping[str, Any]) -> dict[str, Any]:
    """`{"url", "key", "headers", "expires"}` for the request that the wish describes.

        PUT                           a file in one request         } the server chooses the key;
        POST                          begin an upload in parts      } the wish's names the file
        PUT     uploadId partNumber   one part
        GET     uploadId              the parts that have arrived
        POST    uploadId              put them together
        DELETE  uploadId              give the upload up

    With a `size`, which Uppy does not give by itself, S3 takes a file or part of this length alone; a client
    sends `Content-Length` by itself, so that it is not among the `headers`. Without, a file that is larger
    than the deployment takes is rejected when it arrives.

    Raises:
        BadRequest: no uploader makes such a request, or the deployment takes no such file.
        NotFound: the caller has no such upload.
    """
    method, upload_id = wish["method"], wish.get("uploadId")
    size = int(wish["size"]) if "size" in wish else None
    headers: dict[str, str] = {}
    if upload_id is None:
        if method not in ("PUT", "POST"):
            raise BadRequest("uploadId: is missing.", field="uploadId")
        named = wish["key"].rsplit("/", 1)[-1]
        declared = Declared(filename=named or None, content_type=wish.get("contentType") or None, size=size)
        declared.admit(settings, limit=SINGLE_LIMIT if method == "PUT" else multipart.OBJECT_LIMIT)
        _, key = uploads.new_key(settings, owner, declared)
        headers = declared.headers()
        query = {} if method == "PUT" else {"uploads": ""}
    else:
        key = wish["key"]
        query = {"uploadId": multipart.own(settings, owner, upload_id, key)}
        if method == "PUT":
            if "partNumber" not in wish:
                raise BadRequest("partNumber: is missing.", field="partNumber")
            Declared(size=size).admit(settings, limit=SINGLE_LIMIT)
            query = {"partNumber": str(int(wish["partNumber"])), **query}
    length = {"Content-Length": str(size)} if size is not None and method == "PUT" else {}
    url = sigv4.presign(
        method,
        settings.location,
        key,
        credentials=clients.credentials(),
        expires_in=settings.expires_in,
        headers=headers | length,
        query=query,
    )
    return {"url": url, "key": key, "headers": headers, "expires": settings.expires_in}
