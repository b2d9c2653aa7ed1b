"""Amazon Transcribe: what the state machine asks it for, and what is made of the answer.

The state machine calls StartTranscriptionJob with `start_input` and waits. The answer is an object in the
bucket, under `answer_key`, until `fetch` has made a transcript of it.
"""

import hashlib
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from chalicelib import clients, keys, storage
from chalicelib.errors import DecodeFailed, NotFound
from chalicelib.jobs import Job
from chalicelib.settings import MiB, Settings
from chalicelib.transcription import formats
from chalicelib.transcription.amazon_result import read

MAX_ANSWER_BYTES = 32 * MiB
"""Three times what four hours of speech have, which is all that Amazon Transcribe takes in one job."""

ANSWERS = "_answers"
"""Where owners have their folders; the name of none begins like this (see `keys.owner_segment`)."""


def start_input(settings: Settings, media_key: str, job_id: str, run: int) -> dict[str, Any]:
    """The parameters of StartTranscriptionJob (Amazon Transcribe API Reference) for an output of a job's run.

    Twice the same ones are answered with ConflictException: the job is then under way.
    """
    language = settings.transcribe_language
    return {
        "TranscriptionJobName": job_name(settings, media_key, job_id, run),
        "Media": {"MediaFileUri": f"s3://{settings.bucket}/{media_key}"},
        "OutputBucketName": settings.bucket,
        "OutputKey": answer_key(settings, media_key, job_id, run),
        **({"LanguageCode": language} if language else {"IdentifyLanguage": True}),
    }


def job_name(settings: Settings, media_key: str, job_id: str, run: int) -> str:
    """Unique within the AWS account, which stages may share; always the same for the same run."""
    return f"waybill-{_digest(settings, media_key)}-{job_id}-{run}"


def answer_key(settings: Settings, media_key: str, job_id: str, run: int) -> str:
    """OutputKey takes no `@` nor `=`, which an owner may have: a digest stands in the owner's place."""
    return f"{settings.processed_prefix}{ANSWERS}/{_digest(settings, media_key)}/{job_id}-{run}.json"


def _digest(settings: Settings, media_key: str) -> str:
    return hashlib.sha256(f"{settings.bucket}\0{media_key}".encode()).hexdigest()[:16]


def fetch(settings: Settings, job: Job, key: str) -> list[dict[str, Any]]:
    """Make the transcript of the answer that lies on a key, as outputs of the job, and delete the answer.

    What the job's `outputs` hold of them. A second time the answer is gone, and they are as they were made.

    Raises:
        DecodeFailed: the answer is none (`transcript_unreadable`) or too large (`transcript_too_large`).
        NotFound: there is no answer, and there are no outputs made of one (`transcript_missing`).
    """
    s3 = clients.s3()
    try:
        answer = s3.get_object(Bucket=settings.bucket, Key=key)
    except s3.exceptions.ClientError as error:
        if clients.http_status(error) != 404:
            raise
        return _made_before(settings, job)
    with answer["Body"] as body:
        raw = body.read(MAX_ANSWER_BYTES + 1)
    if len(raw) > MAX_ANSWER_BYTES:
        raise DecodeFailed("The transcript is too large.", code="transcript_too_large")
    transcript = read(raw, settings.transcribe_language)
    with TemporaryDirectory() as directory:
        made = formats.write(transcript, Path(directory))
        outputs = [storage.put_output(settings, job, output) for output in made]
    storage.remove(settings, key, answer["ETag"].strip('"'))
    return outputs


def _made_before(settings: Settings, job: Job) -> list[dict[str, Any]]:
    """The answer goes only when all of them are there."""
    outputs = []
    for name, content_type in formats.NAMES.items():
        key = keys.output_key(settings, job.owner, job.job_id, name)
        found = storage.head(settings, key)
        if found is None:
            raise NotFound("Amazon Transcribe has left no result.", code="transcript_missing")
        outputs.append(
            {"name": name, "contentType": content_type, "size": found["ContentLength"], "key": key}
        )
    return outputs
