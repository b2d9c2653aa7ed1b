"""What one file uses of AWS, in Waybill and in the plain designs that people start from.

Waybill's calls, invocations and write units are counted (`calls.json`, held to the code by a test). How long
functions take and how much they log is assumed, here and nowhere else, and is the same for all designs:
`AssumedTimes`. Every design does the same for a file: a signed URL, one read of its status, and on the way of
the file a record, a move to its final prefix, and an announcement. The client's own PUT is in all of them.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
COUNTED: Mapping[str, Any] = json.loads((HERE / "calls.json").read_text(encoding="utf-8"))
MONTH = 730
"""Hours."""
ALARMS = 41
"""Of infra/template.yaml, with `Monitoring` as it is by default."""
METRICS = 25
"""Custom ones, of a stage that is used as most are: docs/operations.md."""


@dataclass(frozen=True)
class AssumedTimes:
    """Of a function that is warm; cold starts are few in a million files."""

    call: float = 0.015
    """Seconds of one AWS call within the region."""
    light_work: float = 0.020
    """Seconds of CPU for one light file."""
    answer: float = 0.005
    """Seconds of CPU for one HTTP request."""
    log_gb: float = 3e-6
    """Gigabytes that the functions on one file's way log, Lambda's own lines among them."""


@dataclass(frozen=True)
class Use:
    """So much of something that has a price, for one file or for a month."""

    price: str
    amount: float


@dataclass(frozen=True)
class Design:
    name: str
    per_file: tuple[Use, ...]
    per_month: tuple[Use, ...] = ()
    in_use: tuple[Use, ...] = ()
    """A month more, as soon as files come at all."""
    assumes: str = ""


TIMES = AssumedTimes()

PRICE_OF_CALL: Mapping[str, tuple[Use, ...]] = {
    **dict.fromkeys(("s3.PutObject", "s3.CopyObject", "s3.ListObjectsV2"), (Use("s3.write", 1),)),
    **dict.fromkeys(("s3.GetObject", "s3.HeadObject"), (Use("s3.read", 1),)),
    "s3.DeleteObject": (),  # free of charge
    # Half a unit each: less than 4 KB, and read as it may be a moment later; GetItem of a job reads as it is.
    "dynamodb.Query": (Use("dynamodb.read", 0.5),),
    "dynamodb.GetItem": (Use("dynamodb.read", 1),),
    **dict.fromkeys(("dynamodb.PutItem", "dynamodb.UpdateItem", "dynamodb.BatchWriteItem"), ()),  # by units
    "sns.Publish": (Use("sns.publish", 1),),
    **dict.fromkeys(("sqs.SendMessageBatch", "sqs.DeleteMessageBatch"), (Use("sqs.request", 1),)),
    "stepfunctions.StartExecution": (),  # by transitions
}


def memory_gb(function: str) -> float:
    """As the function is deployed."""
    config = json.loads((HERE.parent / ".chalice" / "config.json").read_text(encoding="utf-8"))
    return float(config["lambda_functions"][function]["lambda_memory_size"]) / 1024


def invoked(gb: float, seconds: float, share: float = 1) -> tuple[Use, Use]:
    """One invocation, of which a file has its share."""
    return Use("lambda.request", share), Use("lambda.gb_second", gb * seconds * share)


def asked_for() -> tuple[Use, ...]:
    """A URL, and later the status; both through API Gateway."""
    gb = memory_gb("api_handler")
    return (
        Use("api.request", 2),
        *invoked(gb, TIMES.answer),
        *invoked(gb, TIMES.answer + TIMES.call),
        Use("dynamodb.read", 1),
        Use("s3.write", 1),  # the client's PUT
    )


def calls(work: str) -> Iterator[Use]:
    for name, count in COUNTED[work]["calls"].items():
        yield from (Use(use.price, use.amount * count) for use in PRICE_OF_CALL[name])
    yield Use("dynamodb.write", COUNTED[work]["writeUnits"])


def waybill(work: str, name: str, batch: int) -> Design:
    """`batch` files come with one invocation of the consumer, which works on them side by side."""
    counted = COUNTED[work]["calls"]
    of_others = 3  # PutItem and SendMessageBatch of on_upload, Query of notify
    waiting = TIMES.call * (sum(counted.values()) - of_others)
    per_file = (
        *asked_for(),
        *calls(work),
        *invoked(memory_gb("on_upload"), 2 * TIMES.call),
        *invoked(memory_gb("consume"), waiting + batch * TIMES.light_work, 1 / batch),
        *invoked(memory_gb("notify"), TIMES.call),
        Use("sqs.request", 2 / batch),  # the mapping receives and deletes
        Use("logs.gb", TIMES.log_gb),
    )
    assumes = f"{batch} files to an invocation of the consumer" if batch > 1 else "one file at a time"
    return Design(name, per_file, idle(), seen(), assumes)


def idle() -> tuple[Use, ...]:
    """Two mappings of five pollers ask their queues every 20 seconds; the sweep comes every 5 minutes."""
    sweeps = MONTH * 12
    return (
        Use("sqs.request", 2 * 5 * 3 * 60 * MONTH),
        Use("lambda.request", sweeps),
        Use("lambda.gb_second", sweeps * memory_gb("sweep") * 0.2),
        Use("s3.write", sweeps * 2),
        Use("cloudwatch.alarm_month", ALARMS),
        Use("cloudwatch.dashboard_month", 1),
        Use("cloudwatch.metric_month", 1),  # SweepFinds
    )


def seen() -> tuple[Use, ...]:
    """What a stage tells of itself: each metric under each set of dimensions, those of a usual month."""
    return (Use("cloudwatch.metric_month", METRICS - 1),)


def heavy(minutes: float = 5) -> Design:
    """A recording: the light way to the state machine, seven states, and so long in a container."""
    hours = minutes / 60
    per_file = (
        *asked_for(),
        *calls("heavy"),
        *invoked(memory_gb("on_upload"), 2 * TIMES.call),
        *invoked(memory_gb("consume"), 4 * TIMES.call),
        *(
            use
            for step in ("validate", "detect", "finish")
            for use in invoked(memory_gb(step), 4 * TIMES.call)
        ),
        *invoked(memory_gb("notify"), TIMES.call),
        Use("s3.write", 2),  # outputs
        Use("sqs.request", 2),
        Use("states.transition", 7),
        Use("fargate.vcpu_hour", 2 * hours),
        Use("fargate.gb_hour", 8 * hours),
        Use("fargate.disk_gb_hour", 30 * hours),
        Use("ipv4.hour", hours),
        Use("logs.gb", 2 * TIMES.log_gb),
    )
    return Design(
        "Waybill, a recording", per_file, idle(), seen(), f"{minutes:g} minutes of a container, 2 vCPU, 8 GB"
    )


def plain() -> Iterator[Design]:
    """Fresh from tutorials, doing the same for a file: GET, COPY, DELETE, one or two writes, a publish."""
    moved = (Use("s3.read", 1), Use("s3.write", 1), Use("sns.publish", 1))
    whole = 5 * TIMES.call + TIMES.light_work
    yield Design(
        "S3 → Lambda, status by Scan",
        (
            *asked_for(),
            *moved,
            *invoked(0.5, whole),
            Use("dynamodb.write", 2),
            Use("dynamodb.read", ceil(100_000 * 500 / 4096) / 2 / 100),
            Use("logs.gb", TIMES.log_gb / 3),
        ),
        assumes="512 MB; once in 100 files somebody lists jobs, which scans 100,000 records of 500 bytes",
    )
    yield Design(
        "FastAPI and a poller on one t3.small",
        (*moved, Use("s3.write", 1)),
        (
            Use("ec2.t3.small_hour", MONTH),
            Use("ipv4.hour", MONTH),
            Use("ebs.gb_month", 20),
            Use("s3.write", MONTH * 3600 / 5),
        ),
        assumes="records on its disk, the bucket is listed every 5 s; "
        "no second machine, no load balancer, no backup",
    )
    yield Design(
        "Step Functions Standard for each file",
        (
            *asked_for(),
            *moved,
            *(use for _ in range(5) for use in invoked(0.25, TIMES.call + TIMES.light_work / 5)),
            Use("states.transition", 7),
            Use("dynamodb.write", 4),
            Use("logs.gb", TIMES.log_gb * 2),
        ),
        assumes="EventBridge starts it; five functions of 256 MB, seven states",
    )
    yield Design(
        "a Fargate task for each file",
        (
            *asked_for(),
            *moved,
            Use("dynamodb.write", 3),
            Use("fargate.vcpu_hour", 0.25 / 60),
            Use("fargate.gb_hour", 0.5 / 60),
            Use("ipv4.hour", 1 / 60),
            Use("logs.gb", TIMES.log_gb / 3),
        ),
        assumes="EventBridge starts it; the smallest task, and the one minute that is always paid",
    )


def designs() -> list[Design]:
    return [
        waybill("light", "Waybill, busy", 10),
        waybill("light", "Waybill, quiet", 1),
        waybill("data", "Waybill, 10 events in a file", 10),
        *plain(),
        heavy(),
    ]
