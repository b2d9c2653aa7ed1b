"""The routes under /s3: Companion's contract, so that Uppy's AwsS3 plugin works with this API as it is.

Paths, names and shapes are Companion's own; `/s3/sign` is what the plugin's `signRequest` asks from its
version 6 on.
"""

from typing import Any

from chalicelib import answers, api, lazy, schemas
from chalicelib.api import Call
from chalicelib.routes import Routes

with lazy.imports():
    from chalicelib import multipart, signing, uploads


def declare(route: Routes) -> None:
    @route.get(
        "/s3/params", query=schemas.S3_PARAMS_QUERY, answer=answers.SIGNED_FORM, also=answers.OVER_QUOTA
    )
    def s3_params(call: Call) -> Any:
        """Sign an upload as a form."""
        return uploads.params(call.settings, call.owner, call.query, call.base_url)

    @route.post("/s3/multipart", body=schemas.MULTIPART, answer=answers.MULTIPART, also=answers.OVER_QUOTA)
    def begin_multipart(call: Call) -> Any:
        """Begin an upload in parts."""
        return multipart.create(call.settings, call.owner, call.body, call.base_url)

    @route.get("/s3/multipart/{upload_id}", query=schemas.MULTIPART_QUERY, answer=answers.PARTS)
    def list_parts(call: Call, upload_id: str) -> Any:
        """The parts that have arrived."""
        return multipart.list_parts(call.settings, call.owner, upload_id, call.query["key"])

    @route.delete(
        "/s3/multipart/{upload_id}", query=schemas.MULTIPART_QUERY, answer=answers.ABORTED_MULTIPART
    )
    def abort_multipart(call: Call, upload_id: str) -> Any:
        """Give an upload in parts up."""
        return multipart.abort(call.settings, call.owner, upload_id, call.query["key"])

    @route.get(
        "/s3/multipart/{upload_id}/batch", query=schemas.MULTIPART_BATCH_QUERY, answer=answers.SIGNED_PARTS
    )
    def sign_parts(call: Call, upload_id: str) -> Any:
        """Sign several parts."""
        numbers, key = call.query["partNumbers"], call.query["key"]
        return multipart.sign_batch(call.settings, call.owner, upload_id, numbers, key)

    @route.post(
        "/s3/multipart/{upload_id}/complete",
        body=schemas.MULTIPART_PARTS,
        query=schemas.MULTIPART_QUERY,
        max_body=api.MAX_PARTS_BODY,
        answer=answers.COMPLETED_MULTIPART,
    )
    def complete_multipart(call: Call, upload_id: str) -> Any:
        """Put the parts together."""
        key, parts = call.query["key"], call.body["parts"]
        return multipart.complete(call.settings, call.owner, upload_id, key, parts, call.base_url)

    @route.get(
        "/s3/multipart/{upload_id}/{part_number}",
        query=schemas.MULTIPART_PART_QUERY,
        answer=answers.SIGNED_PART,
    )
    def sign_part(call: Call, upload_id: str, part_number: str) -> Any:
        """Sign one part."""
        return multipart.sign_part(call.settings, call.owner, upload_id, part_number, **call.query)

    @route.post(
        "/s3/sign",
        body=schemas.SIGN,
        answer=answers.SIGNED_REQUEST,
        also=answers.NO_SUCH_UPLOAD | answers.OVER_QUOTA,
    )
    def sign_request(call: Call) -> Any:
        """Sign one request of an uploader that speaks to S3 itself."""
        return signing.sign(call.settings, call.owner, call.body)
