"""Waybill, as a map: every route and every event handler, a line or two each. The work is in `chalicelib/`.

client ── POST /presign ──▶ presign       signs a URL, writes nothing
client ── PUT bytes ──────▶ S3 uploads/
S3 ───────────────────────▶ on_upload     job QUEUED in the ledger, message on the queue
queue ────────────────────▶ consume       claim → validate → detect → process → finish
finish ── SNS ────────────▶ notify        a message for each webhook
queue ────────────────────▶ deliver       the event goes to the webhook, again and again if need be
schedule ─────────────────▶ sweep         what still lies under uploads/ is work not done
"""

from typing import Any

from chalice.app import Chalice, CloudWatchEvent, Rate, Response, S3Event, SNSEvent, SQSEvent

from chalicelib import (
    answers,
    api,
    consumer,
    deadline,
    deletion,
    downloads,
    intake,
    keys,
    ledger,
    listings,
    multipart,
    openapi,
    page,
    retries,
    schemas,
    settings,
    signing,
    stats,
    sweeper,
    uploads,
)
from chalicelib.api import Call
from chalicelib.routes import Routes
from chalicelib.webhooks import deliveries, fan_out, journal, registry, trial

config = settings.get()

app = Chalice(app_name="waybill")
app.register_middleware(api.one_error_shape, "http")
route = Routes(app)


# --- HTTP -------------------------------------------------------------------------------------------------


@route.post("/presign", body=schemas.PRESIGN, answer=answers.SIGNED_UPLOAD)
def presign(call: Call) -> Any:
    """Sign an upload."""
    return uploads.presign(call.settings, call.owner, call.body, call.base_url)


@route.get("/s3/params", query=schemas.S3_PARAMS_QUERY, answer=answers.SIGNED_FORM)
def s3_params(call: Call) -> Any:
    """Sign an upload as a form."""
    return uploads.params(call.settings, call.owner, call.query, call.base_url)


@route.post("/s3/multipart", body=schemas.MULTIPART, answer=answers.MULTIPART)
def begin_multipart(call: Call) -> Any:
    """Begin an upload in parts."""
    return multipart.create(call.settings, call.owner, call.body, call.base_url)


@route.get("/s3/multipart/{upload_id}", query=schemas.MULTIPART_QUERY, answer=answers.PARTS)
def list_parts(call: Call, upload_id: str) -> Any:
    """The parts that have arrived."""
    return multipart.list_parts(call.settings, call.owner, upload_id, call.query["key"])


@route.delete("/s3/multipart/{upload_id}", query=schemas.MULTIPART_QUERY, answer=answers.ABORTED_MULTIPART)
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


@route.post("/s3/sign", body=schemas.SIGN, answer=answers.SIGNED_REQUEST, also=answers.NO_SUCH_UPLOAD)
def sign_request(call: Call) -> Any:
    """Sign one request of an uploader that speaks to S3 itself."""
    return signing.sign(call.settings, call.owner, call.body)


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


@route.post("/webhooks", body=schemas.WEBHOOK, answer=answers.NEW_WEBHOOK, status=201)
def register_webhook(call: Call) -> Any:
    """Have the ends of the caller's jobs sent to a URL."""
    return registry.register(call.settings, call.owner, call.body)


@route.get("/webhooks", answer=answers.WEBHOOKS)
def list_webhooks(call: Call) -> Any:
    """The caller's webhooks, without their secrets."""
    return registry.listing(call.settings, call.owner)


@route.delete("/webhooks/{webhook_id}", status=204)
def remove_webhook(call: Call, webhook_id: str) -> Any:
    """Send nothing more to one of the caller's webhooks."""
    registry.remove(call.settings, call.owner, webhook_id)


@route.post("/webhooks/{webhook_id}/rotate", answer=answers.ROTATED_WEBHOOK, also=answers.ROTATED_MEANWHILE)
def rotate_webhook_secret(call: Call, webhook_id: str) -> Any:
    """Give a webhook a new secret; the old one signs beside it for a day."""
    return registry.rotate(call.settings, call.owner, webhook_id)


@route.post("/webhooks/{webhook_id}/enable", answer=answers.WEBHOOK)
def enable_webhook(call: Call, webhook_id: str) -> Any:
    """Send again to a webhook that was disabled."""
    return registry.enable(call.settings, call.owner, webhook_id)


@route.post("/webhooks/{webhook_id}/test", answer=answers.TRIAL)
def test_webhook(call: Call, webhook_id: str) -> Any:
    """Send a test event to a webhook, and say what came of it."""
    return trial.send(call.settings, call.owner, webhook_id)


@route.get("/webhooks/{webhook_id}/deliveries", query=schemas.DELIVERIES_QUERY, answer=answers.DELIVERIES)
def list_deliveries(call: Call, webhook_id: str) -> Any:
    """The attempts to deliver to a webhook, newest first."""
    return journal.page(call.settings, call.owner, webhook_id, call.query)


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


@app.on_sqs_message(queue=config.queue_name, batch_size=10)
def consume(event: SQSEvent) -> None:
    """The work on a batch of jobs, side by side."""
    consumer.consume(config, event.to_dict(), deadline.seconds_left(event))


@app.on_sns_message(topic=config.topic_arn)
def notify(event: SNSEvent) -> None:
    """The end of a job becomes a delivery for each of its owner's webhooks."""
    fan_out.notify(config, event.to_dict())


@app.on_sqs_message(queue=config.deliveries_queue_name, batch_size=10, maximum_concurrency=20)
def deliver(event: SQSEvent) -> None:
    """Deliveries to webhooks, side by side."""
    deliveries.deliver(config, event.to_dict(), deadline.seconds_left(event))


@app.schedule(Rate(5, unit=Rate.MINUTES))
def sweep(event: CloudWatchEvent) -> None:
    """Whatever got stuck is pushed on."""
    sweeper.sweep(config, deadline.seconds_left(event))
