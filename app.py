"""Waybill, as a map: every route and every event handler, a line or two each. The work is in `chalicelib/`.

client ── POST /presign ──▶ presign       signs a URL, writes nothing
client ── PUT bytes ──────▶ S3 uploads/
S3 ───────────────────────▶ on_upload     job QUEUED in the ledger, message on the queue
queue ────────────────────▶ consume       claim → validate → detect → process → finish
                              └ heavy work: Step Functions → the same stages, one function each
finish ── SNS ────────────▶ notify        a message for each webhook
queue ────────────────────▶ deliver       the event goes to the webhook, again and again if need be
schedule ─────────────────▶ sweep         what still lies under uploads/ is work not done
"""

import gc
from typing import Any

from chalice.app import Chalice, CloudWatchEvent, Rate, Response, S3Event, SNSEvent, SQSEvent

from chalicelib import answers, api, companion, deadline, invocation, keys, lazy, scans, schemas, settings
from chalicelib.api import Call
from chalicelib.routes import Routes
from chalicelib.webhooks import routes as webhooks

with lazy.imports():
    from chalicelib import (
        consumer,
        deletion,
        downloads,
        intake,
        ledger,
        listings,
        openapi,
        page,
        retries,
        stats,
        sweeper,
        uploads,
        workflow,
    )
    from chalicelib.webhooks import deliveries, fan_out

config = settings.get()

app = Chalice(app_name="waybill")
app.api.binary_types = []  # files go to S3; here it is all text
app.register_middleware(invocation.told)
app.register_middleware(api.one_error_shape, "http")
route = Routes(app)


# --- HTTP -------------------------------------------------------------------------------------------------


@route.post("/presign", body=schemas.PRESIGN, answer=answers.SIGNED_UPLOAD, also=answers.OVER_QUOTA)
def presign(call: Call) -> Any:
    """Sign an upload."""
    return uploads.presign(call.settings, call.owner, call.body, call.base_url)


companion.declare(route)  # /s3/…: the routes that uploaders for Companion speak to


@route.get("/jobs", query=schemas.JOBS_QUERY, answer=answers.JOBS, etag=True)
def list_jobs(call: Call) -> Any:
    """The caller's jobs, newest first."""
    return listings.page(call.settings, call.owner, call.query)


@route.get("/jobs/{job_id}", answer=answers.JOB, etag=True)
def get_job(call: Call, job_id: str) -> Any:
    """One of the caller's jobs."""
    return ledger.open_ledger(call.settings).get(call.owner, job_id).view()


@route.delete("/jobs/{job_id}", status=204)
def delete_job(call: Call, job_id: str) -> Any:
    """Delete a job and every object of it."""
    deletion.delete(call.settings, call.owner, job_id)


@route.post("/jobs/{job_id}/retry", answer=answers.JOB, also=answers.NOT_TO_BE_RETRIED)
def retry_job(call: Call, job_id: str) -> Any:
    """Have another go at a job that has failed."""
    return retries.retry(call.settings, call.owner, job_id).view()


@route.get(
    "/jobs/{job_id}/files/{name}",
    answer=answers.SIGNED_DOWNLOAD,
    also=answers.ELSEWHERE_OR_NOT_YET,
)
def download(call: Call, job_id: str, name: str) -> Any:
    """A file of a job: its original, or what was made of it."""
    return downloads.sign(call.settings, call.owner, job_id, name).response(call.headers.get("accept", ""))


@route.get("/stats", answer=answers.STATS)
def show_stats(call: Call) -> Any:
    """How many jobs and bytes the caller has, by status."""
    return stats.count(call.settings, call.owner)


webhooks.declare(route)  # /webhooks…: who is told of the end of a job


@route.open("/health", answer=answers.HEALTH)
def health() -> Any:
    """Alive; calls no AWS service."""
    return {"status": "ok"}


@route.open("/openapi.json", answer=answers.OPENAPI)
def describe() -> Any:
    """This API, as OpenAPI 3.1."""
    return openapi.document(app.routes, api.here(app), authenticated=config.auth_mode != "none")


@route.open("/", answer=answers.PAGE, media_type="text/html")
def index() -> Response:
    """The upload page."""
    return page.answer(config, api.headers(app))


route.mistake(
    "/", ["POST", "PUT"], allow="GET", message="This is the root of the API: POST to {here}/presign instead."
)
route.mistake(
    "/presign",
    ["GET", "PUT"],
    allow="POST",
    message="An upload URL is asked for with POST: curl -X POST {here}/presign. "
    "The file itself is then PUT to the uploadUrl of the answer.",
)


# --- Events -----------------------------------------------------------------------------------------------


@app.on_s3_event(bucket=config.bucket, prefix=config.upload_prefix, events=["s3:ObjectCreated:*"])
def on_upload(event: S3Event) -> None:
    """An object under uploads/ becomes a queued job."""
    intake.on_objects_created(config, event.to_dict())


@app.on_s3_event(
    bucket=config.bucket,
    prefix=config.incoming_prefix,
    suffix=keys.INCOMING_SUFFIX,
    events=["s3:ObjectCreated:*"],
)
def on_incoming(event: S3Event) -> None:
    """A document that a machine dropped into incoming/ becomes a queued job."""
    intake.on_objects_created(config, event.to_dict())


@app.on_cw_event(scans.event_pattern(config))
def on_scan(event: CloudWatchEvent) -> None:
    """The verdict on a file is there: its job is queued."""
    intake.on_scanned(config, event.to_dict())


@app.on_sqs_message(queue=config.queue_name, batch_size=10, maximum_concurrency=config.consume_concurrency)
def consume(event: SQSEvent) -> None:
    """The work on a batch of jobs, side by side."""
    consumer.consume(config, event.to_dict(), deadline.seconds_left(event))


# --- Heavy work: the steps of the state machine in infra/template.yaml ------------------------------------


@app.lambda_function()
def validate(event: dict[str, Any], _context: Any) -> dict[str, str]:
    """Whether the file is one to be worked on."""
    return workflow.validate(config, event)


@app.lambda_function()
def detect(event: dict[str, Any], _context: Any) -> dict[str, str]:
    """Whether what the file is may be worked on."""
    return workflow.detect(config, event)


@app.lambda_function()
def process(event: dict[str, Any], _context: Any) -> dict[str, str]:
    """What takes its time, where no container does it (see `worker/`)."""
    return workflow.process(config, event)


@app.lambda_function()
def find_speech(event: dict[str, Any], _context: Any) -> dict[str, Any]:
    """What Amazon Transcribe is to be asked."""
    return workflow.find_speech(config, event)


@app.lambda_function()
def fetch_transcript(event: dict[str, Any], _context: Any) -> dict[str, str]:
    """What Amazon Transcribe has answered."""
    return workflow.fetch_transcript(config, event)


@app.lambda_function()
def finish(event: dict[str, Any], _context: Any) -> dict[str, str]:
    """The end of the job, as its verdict says."""
    return workflow.finish(config, event)


@app.lambda_function()
def fail(event: dict[str, Any], _context: Any) -> dict[str, str]:
    """The end of a job of which a step has been tried for the last time."""
    return workflow.fail(config, event)


# --- What follows, and what is overdue --------------------------------------------------------------------


@app.on_sns_message(topic=config.topic_arn)
def notify(event: SNSEvent) -> None:
    """The end of a job becomes a delivery for each of its owner's webhooks."""
    fan_out.notify(config, event.to_dict())


@app.on_sqs_message(
    queue=config.deliveries_queue_name, batch_size=10, maximum_concurrency=config.deliver_concurrency
)
def deliver(event: SQSEvent) -> None:
    """Deliveries to webhooks, side by side."""
    deliveries.deliver(config, event.to_dict(), deadline.seconds_left(event))


@app.schedule(Rate(5, unit=Rate.MINUTES))
def sweep(event: CloudWatchEvent) -> None:
    """Whatever got stuck is pushed on."""
    sweeper.sweep(config, deadline.seconds_left(event))


gc.freeze()  # what is loaded stays: it need not be looked through for garbage time and again
