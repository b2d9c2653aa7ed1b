"""The execution policy of every function, made for one stage's own resources.

`Place` is where something can be done, `GRANTS` is who may do what there; the rest turns these two tables
into IAM policy documents. Chalice takes one file per function, without variables, so they are generated
for a stage once its resources are known.

Some choices in the table need a reason:
- Whoever reads an object may list the bucket, because S3 answers 403 instead of 404 for a missing key to
  callers who may not (GetObject, "Permissions").
- Whoever deletes on condition may read, as S3 compares the etag on the caller's behalf.
- Whoever copies an object may read its tags and write them: S3 copies those along, and refuses the copy of a
  tagged object (one that a virus scanner has marked, say) to who may not.
- Whoever queues a job may read what a scan for malware has found in its file, and so may who signs its
  download. Nobody may write tags under an open prefix.
- Whoever writes a final prefix may abort there: objects over 5 GB are moved in parts, and a move that fails
  takes its parts back.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Self, TypedDict

from chalicelib.settings import Settings

APP = "waybill"

# The HTTP handler is the one function that Chalice names without a suffix.
HTTP_HANDLER = "api_handler"


def function_name(stage: str, function: str, app: str = APP) -> str:
    """The name under which Chalice deploys a function, which `app.py` knows by its handler's."""
    return f"{app}-{stage}" if function == HTTP_HANDLER else f"{app}-{stage}-{function}"


class Statement(TypedDict):
    """One statement of a policy document; every one of ours allows."""

    Sid: str
    Effect: str
    Action: list[str]
    Resource: list[str]


class Policy(TypedDict):
    """A policy document, as IAM takes it."""

    Version: str
    Statement: list[Statement]


@dataclass(frozen=True)
class Prefixes:
    """The bucket's key prefixes, each with its closing slash."""

    uploads: str = "uploads/"
    incoming: str = "incoming/"
    processed: str = "processed/"
    rejected: str = "rejected/"
    failed: str = "failed/"

    @classmethod
    def of(cls, settings: Settings) -> Self:
        return cls(
            uploads=settings.upload_prefix,
            incoming=settings.incoming_prefix,
            processed=settings.processed_prefix,
            rejected=settings.rejected_prefix,
            failed=settings.failed_prefix,
        )


@dataclass(frozen=True)
class Resources:
    """The resources of one stage: names, except for what an ARN needs around them."""

    partition: str
    region: str
    account: str
    app: str
    stage: str
    bucket: str
    jobs_table: str
    events_table: str
    webhooks_table: str
    deliveries_table: str
    queue: str
    deliveries_queue: str
    deliveries_dead_letter_queue: str
    failed_events_queue: str
    topic: str
    state_machine: str
    traced: bool = False
    """Whether AWS X-Ray is on."""
    prefixes: Prefixes = field(default_factory=Prefixes)

    @classmethod
    def from_outputs(
        cls, stage: str, outputs: Mapping[str, str], prefixes: Prefixes | None = None, app: str = APP
    ) -> Self:
        """From the outputs of infra/template.yaml: `{"BucketName": …, "QueueUrl": …, "TopicArn": …, …}`.

        Raises KeyError, naming the output, when one is missing.
        """
        _, partition, _, region, account, topic = outputs["TopicArn"].split(":", 5)
        return cls(
            partition=partition,
            region=region,
            account=account,
            app=app,
            stage=stage,
            bucket=outputs["BucketName"],
            jobs_table=outputs["JobsTable"],
            events_table=outputs["EventsTable"],
            webhooks_table=outputs["WebhooksTable"],
            deliveries_table=outputs["DeliveriesTable"],
            queue=outputs["QueueUrl"].rsplit("/", 1)[-1],
            deliveries_queue=outputs["DeliveriesQueueUrl"].rsplit("/", 1)[-1],
            deliveries_dead_letter_queue=outputs["DeliveriesDeadLetterQueueUrl"].rsplit("/", 1)[-1],
            failed_events_queue=outputs["FailedEventsQueueUrl"].rsplit("/", 1)[-1],
            topic=topic,
            state_machine=outputs["StateMachineArn"].rsplit(":", 1)[-1],
            traced=outputs.get("Tracing") == "true",
            prefixes=prefixes or Prefixes(),
        )

    def function_name(self, function: str) -> str:
        return function_name(self.stage, function, self.app)


class Place(Enum):
    """A resource, or a part of one: the service it belongs to and its name within that service's ARNs."""

    BUCKET = ("s3", "{r.bucket}")
    UPLOADS = ("s3", "{r.bucket}/{r.prefixes.uploads}*")
    INCOMING = ("s3", "{r.bucket}/{r.prefixes.incoming}*")
    PROCESSED = ("s3", "{r.bucket}/{r.prefixes.processed}*")
    REJECTED = ("s3", "{r.bucket}/{r.prefixes.rejected}*")
    FAILED = ("s3", "{r.bucket}/{r.prefixes.failed}*")
    JOBS = ("dynamodb", "table/{r.jobs_table}")
    OPEN_JOBS = ("dynamodb", "table/{r.jobs_table}/index/open-jobs")
    EVENTS = ("dynamodb", "table/{r.events_table}")
    WEBHOOKS = ("dynamodb", "table/{r.webhooks_table}")
    DELIVERIES = ("dynamodb", "table/{r.deliveries_table}")
    QUEUE = ("sqs", "{r.queue}")
    DELIVERIES_QUEUE = ("sqs", "{r.deliveries_queue}")
    DELIVERIES_DEAD_LETTER_QUEUE = ("sqs", "{r.deliveries_dead_letter_queue}")
    FAILED_EVENTS_QUEUE = ("sqs", "{r.failed_events_queue}")
    TOPIC = ("sns", "{r.topic}")
    STATE_MACHINE = ("states", "stateMachine:{r.state_machine}")
    EXECUTIONS = ("states", "execution:{r.state_machine}:*")

    @property
    def service(self) -> str:
        return self.value[0]

    def arn(self, resources: Resources) -> str:
        name = self.value[1].format(r=resources)
        # Bucket names are unique in the world; their ARNs carry neither region nor account.
        owner = ":" if self.service == "s3" else f"{resources.region}:{resources.account}"
        return f"arn:{resources.partition}:{self.service}:{owner}:{name}"


@dataclass(frozen=True)
class Grant:
    """Leave to do `actions`, separated by spaces, in `places`, all of one service."""

    sid: str
    actions: str
    places: tuple[Place, ...]

    def statement(self, resources: Resources) -> Statement:
        service = self.places[0].service
        return {
            "Sid": self.sid,
            "Effect": "Allow",
            "Action": [f"{service}:{action}" for action in self.actions.split()],
            "Resource": [place.arn(resources) for place in self.places],
        }


OPEN = (Place.UPLOADS, Place.INCOMING)
ENDED = (Place.PROCESSED, Place.REJECTED, Place.FAILED)


def _working(*written: Place) -> tuple[Grant, ...]:
    """A step of the state machine, and the final prefixes that its verdict may have the original moved to.

    It is read wherever it lies, as an earlier try may have moved it; a job that is deleted meanwhile leaves
    nothing behind, under any of them.
    """
    copied = tuple(place for place in ENDED if written != (place,))  # what lies there already is not copied
    return (
        Grant("AdvanceJobs", "GetItem UpdateItem", (Place.JOBS,)),
        Grant("TellMissingFromForbidden", "ListBucket", (Place.BUCKET,)),
        Grant("ReadFiles", "GetObject", (*OPEN, *ENDED)),
        Grant("ReadTags", "GetObjectTagging", (*OPEN, *copied)),
        Grant("WriteResults", "PutObject PutObjectTagging AbortMultipartUpload", written),
        Grant("RemoveDeleted", "DeleteObject", ENDED),
    )


END = (
    *_working(Place.FAILED),
    Grant("RemoveMoved", "DeleteObject", OPEN),
    Grant("AnnounceEnds", "Publish", (Place.TOPIC,)),
)
"""A step that ends a job, as its verdict says; without one, the job has failed."""

ASYNCHRONOUS = ("on_upload", "on_incoming", "on_scan", "notify", "sweep")
"""Functions that nobody waits for: what fails of their events is told to the queue of failed events."""

GRANTS: Mapping[str, tuple[Grant, ...]] = {
    "api_handler": (
        Grant("SignUploads", "PutObject AbortMultipartUpload ListMultipartUploadParts", (Place.UPLOADS,)),
        Grant("TellMissingFromForbidden", "ListBucket", (Place.BUCKET,)),
        Grant("ReadFiles", "GetObject", (*OPEN, *ENDED)),
        Grant("ReadVerdicts", "GetObjectTagging", (Place.UPLOADS, *ENDED)),
        Grant("DeleteFiles", "DeleteObject", (*OPEN, *ENDED)),
        Grant("KeepJobs", "GetItem PutItem Query UpdateItem", (Place.JOBS,)),
        Grant("CountOpenJobs", "Query", (Place.OPEN_JOBS,)),
        Grant("QueueJobs", "SendMessage", (Place.QUEUE,)),
        Grant("KeepWebhooks", "GetItem PutItem UpdateItem Query DeleteItem", (Place.WEBHOOKS,)),
        Grant("KeepLogOfDeliveries", "BatchWriteItem Query", (Place.DELIVERIES,)),
    ),
    "on_upload": (
        Grant("TellMissingFromForbidden", "ListBucket", (Place.BUCKET,)),
        Grant("InspectArrivals", "GetObject GetObjectTagging", (Place.UPLOADS,)),
        Grant("RecordJobs", "PutItem", (Place.JOBS,)),
        Grant("QueueJobs", "SendMessage", (Place.QUEUE,)),
    ),
    "on_incoming": (
        Grant("TellMissingFromForbidden", "ListBucket", (Place.BUCKET,)),
        Grant("InspectArrivals", "GetObject GetObjectTagging", (Place.INCOMING,)),
        Grant("RecordJobs", "PutItem", (Place.JOBS,)),
        Grant("QueueJobs", "SendMessage", (Place.QUEUE,)),
    ),
    "on_scan": (
        Grant("TellMissingFromForbidden", "ListBucket", (Place.BUCKET,)),
        Grant("InspectScanned", "GetObject GetObjectTagging", OPEN),
        Grant("RecordJobs", "PutItem", (Place.JOBS,)),
        Grant("QueueJobs", "SendMessage", (Place.QUEUE,)),
    ),
    "consume": (
        Grant(
            "TakeMessages",
            "ReceiveMessage DeleteMessage ChangeMessageVisibility GetQueueAttributes",
            (Place.QUEUE,),
        ),
        Grant("AdvanceJobs", "GetItem UpdateItem", (Place.JOBS,)),
        Grant("StoreEvents", "PutItem", (Place.EVENTS,)),
        Grant("TellMissingFromForbidden", "ListBucket", (Place.BUCKET,)),
        Grant("ReadFiles", "GetObject GetObjectTagging", (*OPEN, *ENDED)),
        Grant("WriteResults", "PutObject PutObjectTagging AbortMultipartUpload", ENDED),
        Grant("RemoveMovedAndDeleted", "DeleteObject", (*OPEN, *ENDED)),
        Grant("AnnounceEnds", "Publish", (Place.TOPIC,)),
        Grant("HandHeavyWorkOver", "StartExecution", (Place.STATE_MACHINE,)),
        Grant("LookForExecutions", "DescribeExecution", (Place.EXECUTIONS,)),
    ),
    "validate": _working(Place.REJECTED),
    "detect": _working(Place.REJECTED, Place.FAILED),
    "process": (*_working(*ENDED), Grant("StoreEvents", "PutItem", (Place.EVENTS,))),
    "find_speech": (
        Grant("AdvanceJobs", "GetItem UpdateItem", (Place.JOBS,)),
        Grant("TellMissingFromForbidden", "ListBucket", (Place.BUCKET,)),
        Grant("RemoveDeleted", "DeleteObject", ENDED),
    ),
    "fetch_transcript": (
        Grant("AdvanceJobs", "GetItem UpdateItem", (Place.JOBS,)),
        Grant("TellMissingFromForbidden", "ListBucket", (Place.BUCKET,)),
        Grant("ReadAnswers", "GetObject", (Place.PROCESSED,)),
        Grant("WriteTranscripts", "PutObject", (Place.PROCESSED,)),
        Grant("RemoveAnswersAndDeleted", "DeleteObject", ENDED),
    ),
    "finish": END,
    "fail": END,
    "notify": (
        Grant("FindWebhooks", "Query", (Place.WEBHOOKS,)),
        Grant("QueueDeliveries", "SendMessage", (Place.DELIVERIES_QUEUE,)),
    ),
    "deliver": (
        Grant(
            "TakeMessages",
            "ReceiveMessage DeleteMessage ChangeMessageVisibility GetQueueAttributes",
            (Place.DELIVERIES_QUEUE,),
        ),
        Grant("BuryDeliveries", "SendMessage", (Place.DELIVERIES_DEAD_LETTER_QUEUE,)),
        Grant("FindAndDisableWebhooks", "GetItem UpdateItem", (Place.WEBHOOKS,)),
        Grant("LogDeliveries", "BatchWriteItem", (Place.DELIVERIES,)),
    ),
    "sweep": (
        Grant("FindOpenWork", "ListBucket", (Place.BUCKET,)),
        Grant("ReadFiles", "GetObject", (*OPEN, Place.FAILED)),
        Grant("ReadVerdicts", "GetObjectTagging", OPEN),
        Grant("RemoveMovedAndDeleted", "DeleteObject", (*OPEN, *ENDED)),
        Grant("RecordJobs", "GetItem PutItem UpdateItem", (Place.JOBS,)),
        Grant("QueueJobs", "SendMessage", (Place.QUEUE,)),
        Grant("AnnounceEnds", "Publish", (Place.TOPIC,)),
    ),
}


BY_LAMBDA = Grant("ReportFailedEvents", "SendMessage", (Place.FAILED_EVENTS_QUEUE,))
"""What the Lambda service does in the name of an asynchronous function; none of them asks for it itself."""


TRACE: Statement = {
    "Sid": "Trace",
    "Effect": "Allow",
    "Action": ["xray:PutTraceSegments", "xray:PutTelemetryRecords"],
    "Resource": ["*"],
}
"""What Lambda does in a function's name where X-Ray is on; X-Ray knows no resources for these two."""


def policy(function: str, resources: Resources) -> Policy:
    """The policy document of one function of app.py; KeyError for a function that has no row in the table."""
    grants = (*GRANTS[function], *[BY_LAMBDA] * (function in ASYNCHRONOUS))
    return {
        "Version": "2012-10-17",
        "Statement": [
            *(grant.statement(resources) for grant in grants),
            _own_logs(function, resources),
            *([TRACE] if resources.traced else []),
        ],
    }


def write(directory: Path, stage: str, resources: Resources) -> list[Path]:
    """Write `policy-<stage>-<function>.json` for every function into `directory`; returns the files.

    Raises ValueError when the resources are another stage's.
    """
    if stage != resources.stage:
        raise ValueError(f"policies for stage {stage!r} asked for with the resources of {resources.stage!r}")
    files = {
        directory / f"policy-{stage}-{function}.json": policy(function, resources) for function in GRANTS
    }
    for path, document in files.items():
        path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return list(files)


def _own_logs(function: str, resources: Resources) -> Statement:
    group = f"/aws/lambda/{resources.function_name(function)}"
    return {
        "Sid": "WriteOwnLogs",
        "Effect": "Allow",
        "Action": ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"],
        # With ":*" an ARN names the group and its streams, without it the group alone.
        "Resource": [
            f"arn:{resources.partition}:logs:{resources.region}:{resources.account}:log-group:{group}:*"
        ],
    }
