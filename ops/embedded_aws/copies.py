"""Bridge of S3: copies on a condition."""

from ops.embedded_aws.shapes import Response


def keep_conditions_of_copies() -> None:
    """MiniStack looks at the condition on what is copied, and not at the one on what the copy replaces.

    S3 keeps `If-None-Match` and `If-Match` of a copy as it does those of a PUT (Amazon S3 API Reference,
    CopyObject). Without, two that put a file back at once both succeed, and each is an upload of its own.
    """
    from ministack.services import s3

    unbridged = s3._copy_object

    def copy_object(bucket_name: str, key: str, headers: dict[str, str]) -> Response:
        replaced = (s3._ensure_bucket(bucket_name) or {"objects": {}})["objects"].get(key)
        refused: Response | None = s3._check_put_preconditions(headers, replaced)
        return refused or unbridged(bucket_name, key, headers)

    s3._copy_object = copy_object
