"""What the API answers, as JSON Schema: for `GET /openapi.json`, and for the tests that hold the API to it.

A schema with an `$id` becomes a component of the document under that name, wherever it stands in another.
Each says all there is: an answer with a field that is not declared here is a mistake.
"""

from typing import Any

from chalicelib.schemas import STATUS, Schema


def _object(
    required: dict[str, Any], optional: dict[str, Any] | None = None, *, name: str | None = None
) -> dict[str, Any]:
    return {
        **({"$id": name} if name else {}),
        "type": "object",
        "additionalProperties": False,
        "required": list(required),
        "properties": required | (optional or {}),
    }


_TEXT: Schema = {"type": "string"}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_BYTES: Schema = {"type": "integer", "minimum": 0, "description": "bytes"}
_SECONDS: Schema = {"type": "integer", "minimum": 1, "description": "seconds"}
_TIME: Schema = {"type": "string", "format": "date-time"}
_URL: Schema = {"type": "string", "format": "uri"}
_UUID: Schema = {"type": "string", "format": "uuid"}
_TEXTS: Schema = {"type": "object", "additionalProperties": _TEXT}

ERROR = _object(
    {
        "error": {**_TEXT, "description": "a code to match on"},
        "message": {**_TEXT, "description": "for a person: what to do about it"},
    },
    {
        "field": {**_TEXT, "description": "the field that is to blame"},
        "requestId": {**_TEXT, "description": "under which our log has the rest of it"},
    },
    name="Error",
)

JOB = _object(
    {
        "jobId": _UUID,
        "owner": _TEXT,
        "status": STATUS,
        "stage": _TEXT,
        "progress": {"type": "integer", "minimum": 0, "maximum": 100},
        "filename": _TEXT,
        "size": _BYTES,
        "key": {**_TEXT, "description": "where the original is now"},
        "sourceKey": {**_TEXT, "description": "where it came in"},
        "attempts": _COUNT,
        "outputs": {
            "type": "array",
            "items": _object(
                {"name": _TEXT, "contentType": _TEXT, "size": _BYTES, "key": _TEXT}, name="Output"
            ),
        },
        "declared": {
            **_TEXTS,
            "description": "the `metadata` that were sent along with the file; empty until the job has ended",
        },
        "metadata": {"type": "object", "description": "what was found out about the file"},
        "createdAt": _TIME,
        "updatedAt": _TIME,
    },
    {
        "contentType": {**_TEXT, "description": "as declared"},
        "detectedType": {**_TEXT, "description": "by its bytes"},
        "error": _object({"code": _TEXT, "message": _TEXT}),
        "startedAt": _TIME,
        "finishedAt": _TIME,
    },
    name="Job",
)

JOBS = _object({"jobs": {"type": "array", "items": JOB}, "cursor": {"type": ["string", "null"]}}, name="Jobs")

SIGNED_UPLOAD = _object(
    {
        "uploadUrl": _URL,
        "s3Key": _TEXT,
        "jobId": _UUID,
        "method": {"enum": ["PUT", "POST"]},
        "headers": _TEXTS,
        "fields": _TEXTS,
        "expiresIn": _SECONDS,
        "statusUrl": _URL,
    },
    name="SignedUpload",
)

# Companion's names, as `@uppy/aws-s3` reads them.

SIGNED_FORM = _object(
    {
        "method": {"const": "POST"},
        "url": _URL,
        "fields": _TEXTS,
        "expires": _SECONDS,
        "jobId": _UUID,
        "statusUrl": _URL,
    },
    name="SignedForm",
)

MULTIPART = _object(
    {"key": _TEXT, "uploadId": _TEXT, "bucket": _TEXT, "jobId": _UUID, "statusUrl": _URL},
    name="BegunMultipart",
)

PARTS = {
    "type": "array",
    "items": _object(
        {
            "PartNumber": {"type": "integer", "minimum": 1},
            "ETag": _TEXT,
            "Size": _BYTES,
            "LastModified": _TIME,
        },
        {"ChecksumSHA256": {**_TEXT, "description": "in Base64, of a part that was signed with its sha256"}},
        name="Part",
    ),
}

SIGNED_PART = _object(
    {"url": _URL, "expires": _SECONDS},
    {"headers": {**_TEXTS, "description": "to send with a part that was signed with its sha256"}},
    name="SignedPart",
)

SIGNED_PARTS = _object({"presignedUrls": _TEXTS, "expires": _SECONDS}, name="SignedParts")

COMPLETED_MULTIPART = _object(
    {"location": _URL, "key": _TEXT, "bucket": _TEXT, "jobId": _UUID, "statusUrl": _URL},
    name="CompletedMultipart",
)

ABORTED_MULTIPART = _object({})

SIGNED_REQUEST = _object(
    {"url": _URL, "key": _TEXT, "headers": _TEXTS, "expires": _SECONDS}, name="SignedRequest"
)

OVER_QUOTA = {429: "Too much of the caller's is open already: `Retry-After` says when to ask again."}

NO_SUCH_UPLOAD = {404: "The caller has no such upload."}

SIGNED_DOWNLOAD = _object({"url": _URL, "expiresIn": _SECONDS}, name="SignedDownload")

ELSEWHERE_OR_NOT_YET = {
    302: "The file, for a client that does not ask for JSON.",
    409: "The job has not ended, or its original is not known to be clean.",
}

NOT_TO_BE_RETRIED = {409: "It has not failed, or its original is gone."}

_VOLUME = _object({"jobs": _COUNT, "bytes": _BYTES}, name="Volume")

STATS = _object({"total": _VOLUME, "byStatus": _object(dict.fromkeys(STATUS["enum"], _VOLUME))}, name="Stats")

HEALTH = _object({"status": {"const": "ok"}})

PAGE: dict[str, Any] = {"type": "string", "description": "the upload page"}

OPENAPI = {"type": "object", "required": ["openapi", "info", "paths"]}

_WEBHOOK: dict[str, Any] = {
    "id": _TEXT,
    "url": _TEXT,
    "types": {"type": "array", "items": _TEXT},
    "createdAt": _TIME,
}

_WEBHOOK_NOW: dict[str, Any] = {
    "previousSecretUntil": {**_TIME, "description": "until then the secret that was replaced signs as well"},
    "disabled": {
        **_object({"at": _TIME, "reason": {**_TEXT, "description": "`gone`: it has answered 410"}}),
        "description": "nothing is sent to it until it is enabled",
    },
}

_SECRET = {"secret": {**_TEXT, "description": "shown this once"}}

WEBHOOK = _object(_WEBHOOK, _WEBHOOK_NOW, name="RegisteredWebhook")

NEW_WEBHOOK = _object(_WEBHOOK | _SECRET, name="NewWebhook")

ROTATED_WEBHOOK = _object(_WEBHOOK | _SECRET, _WEBHOOK_NOW, name="RotatedWebhook")

ROTATED_MEANWHILE = {409: "Another rotation came in between."}

WEBHOOKS = _object({"webhooks": {"type": "array", "items": WEBHOOK}}, name="Webhooks")

_MILLISECONDS: Schema = {"type": "integer", "minimum": 0, "description": "milliseconds"}

_OUTCOME = {
    "status": {"type": "integer", "description": "of the answer"},
    "reason": {**_TEXT, "description": "why there was no answer, such as timeout"},
}

TRIAL = _object(
    {"delivered": {"type": "boolean"}, "durationMs": _MILLISECONDS, "eventId": _TEXT},
    _OUTCOME,
    name="TestedWebhook",
)

DELIVERIES = _object(
    {
        "deliveries": {
            "type": "array",
            "items": _object(
                {
                    "at": _TIME,
                    "eventId": _TEXT,
                    "eventType": _TEXT,
                    "subject": {**_TEXT, "description": "the job; of a test, the webhook"},
                    "attempt": {"type": "integer", "minimum": 1},
                    "delivered": {"type": "boolean"},
                    "durationMs": _MILLISECONDS,
                    "givenUp": {"type": "boolean", "description": "it failed, and no attempt follows"},
                },
                {**_OUTCOME, "nextAttemptAt": _TIME},
                name="Delivery",
            ),
        },
        "cursor": {"type": ["string", "null"]},
    },
    name="Deliveries",
)
