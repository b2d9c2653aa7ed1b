"""Speech that Amazon Transcribe recognises, between the work on a file and its end.

    find_speech ▶ StartTranscriptionJob ▶ wait … GetTranscriptionJob ▶ fetch_transcript

The two ends are functions; what is between them the state machine does by itself (see infra/template.yaml).
A transcript is an extra: without one the job ends as well, and its metadata says what became of it.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from chalicelib import storage
from chalicelib.errors import DecodeFailed, NotFound
from chalicelib.jobs import Ending, Job, Status
from chalicelib.ledger import Ledger
from chalicelib.settings import Settings
from chalicelib.transcription import amazon

SOUND = ("audio.m4a", "video.mp4")
"""What is made of recordings, and holds what is said in them."""


def request(settings: Settings, job: Job) -> dict[str, Any] | None:
    """The parameters of StartTranscriptionJob; None where there is nothing to listen to."""
    if settings.transcriber != "amazon" or job.verdict is None:
        return None
    ending = Ending.from_verdict(job.verdict)
    keys = [output["key"] for output in ending.outputs if output["name"] in SOUND]
    if ending.status is not Status.COMPLETED or not keys:
        return None
    return amazon.start_input(settings, keys[0], job.job_id, job.run)


def fetch(settings: Settings, ledger: Ledger, job: Job, told: Mapping[str, Any]) -> None:
    """Put the transcript among the job's outputs, or say that there is none.

    Args:
        told: what the state machine knows: `speech.request`, and `transcript.status` where it heard of one.
    """
    assert job.verdict is not None, "speech is only looked for in what has been worked on"
    ending = Ending.from_verdict(job.verdict)
    key = told["speech"]["request"]["OutputKey"]
    about: dict[str, Any] = {"source": "amazon"}
    made: list[dict[str, Any]] = []
    if told.get("transcript", {}).get("status") == "COMPLETED":
        try:
            made = amazon.fetch(settings, job, key)
        except (DecodeFailed, NotFound) as error:
            about["error"] = error.code
    else:
        about["error"] = "transcript_failed"
    names = {output["name"] for output in made}
    outputs = [output for output in ending.outputs if output["name"] not in names] + made
    metadata = {**ending.metadata, "transcript": about}
    ledger.decide(job, replace(ending, outputs=outputs, metadata=metadata))


def forget(settings: Settings, told: Mapping[str, Any]) -> None:
    """Delete an answer that nobody waits for any more."""
    key = told["speech"]["request"]["OutputKey"]
    if found := storage.head(settings, key):
        storage.remove(settings, key, found["ETag"].strip('"'))
