"""The event that tells the world of an ended job, and publishing it.

Whoever wants to know subscribes to the topic: functions, queues, e-mail. The attributes beside the message
let a subscription filter without reading it.
"""

from typing import Any

from chalicelib import clients
from chalicelib.jobs import Job
from chalicelib.jsontext import to_json
from chalicelib.settings import Settings

MESSAGE_LIMIT = 262_144
"""Bytes of a message with its attributes (Amazon SNS API Reference, `Publish`)."""

_MAY_BE_LONG = ("metadata", "outputs", "error")


def event(settings: Settings, job: Job) -> dict[str, Any]:
    """An ended job as a CloudEvent (CloudEvents 1.0.2, section "Context Attributes").

    The id is the same however often the event is sent, and differs from run to run of the job.

    Raises:
        ValueError: the job has not ended.
    """
    if not job.status.ended:
        raise ValueError(f"Job {job.job_id} is {job.status}: only an ended job is an event.")
    return {
        "specversion": "1.0",
        "id": f"{job.job_id}-{job.status.lower()}-{job.run}",
        "source": f"/waybill/{settings.bucket}",
        "type": job.status.event_type,
        "subject": job.job_id,
        "time": job.finished_at or job.updated_at,
        "datacontenttype": "application/json",
        "data": job.view(),
    }


def publish(settings: Settings, job: Job) -> None:
    """Send the job's event to the topic, shortened to what a message can hold."""
    happened = event(settings, job)
    # E-mail subscribers read the subject, and the SDK's own event class demands one. ASCII, up to 100.
    subject = f"Waybill job {job.status.lower()}: {job.job_id}"
    attributes = {"type": happened["type"], "owner": job.owner, "mediaType": _media_type(job)}
    beside = subject + "".join(f"{name}String{text}" for name, text in attributes.items())
    clients.sns().publish(
        TopicArn=settings.topic_arn,
        Subject=subject,
        Message=_fitted(happened, MESSAGE_LIMIT - len(beside.encode())),
        MessageAttributes={
            name: {"DataType": "String", "StringValue": text} for name, text in attributes.items()
        },
    )


def _media_type(job: Job) -> str:
    """Without parameters, as a filter compares the whole text; never empty, as SNS refuses that."""
    declared = (job.content_type or "").partition(";")[0].strip().lower()
    return job.detected_type or declared or "application/octet-stream"


def _fitted(event: dict[str, Any], room: int) -> str:
    """The event's JSON in at most `room` bytes.

    Where it is longer, the longest of the job's open-ended fields go, one at a time, and `data.omitted` names
    them: `GET /jobs/{jobId}` still has them all.
    """
    text = to_json(event)
    omitted: list[str] = []
    while len(text.encode()) > room and (left := [f for f in _MAY_BE_LONG if f in event["data"]]):
        longest = max(left, key=lambda field: len(to_json(event["data"][field])))
        omitted.append(longest)
        kept = {name: value for name, value in event["data"].items() if name != longest}
        event = event | {"data": kept | {"omitted": omitted}}
        text = to_json(event)
    return text
