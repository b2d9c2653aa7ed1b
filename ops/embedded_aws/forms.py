"""Bridge of S3: objects that a browser sends as a form."""

import base64
import hashlib

from ops.embedded_aws.shapes import Response


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
