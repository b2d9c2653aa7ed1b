"""Waybill, as a map: every route and every event handler, a line or two each. The work is in `chalicelib/`.

client ── POST /presign ──▶ presign       signs a URL, writes nothing
client ── PUT bytes ──────▶ S3 uploads/
S3 ───────────────────────▶ on_upload     job QUEUED in the ledger, message on the queue
queue ────────────────────▶ consume       claim → validate → detect → process → finish
finish ── SNS ────────────▶ notify        webhooks
schedule ─────────────────▶ sweep         what still lies under uploads/ is work not done
"""

from collections.abc import Callable
from typing import Any

from chalice.app import Chalice, CloudWatchEvent, Rate, Response, S3Event, SNSEvent, SQSEvent

from chalicelib import (
    answers,
    api,
    consumer,
    deletion,
    deliveries,
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
    webhooks,
)

config = settings.get()

app = Chalice(app_name="waybill")
app.register_middleware(api.one_error_shape, "http")


# --- HTTP -------------------------------------------------------------------------------------------------


@app.route("/presign", methods=["POST"], content_types=api.ANY_TYPE, cors=api.CORS)
@api.endpoint(app, body=schemas.PRESIGN, answer=answers.SIGNED_UPLOAD)
def presign(call: api.Call) -> Any:
    """Sign an upload."""
    return uploads.presign(call.settings, call.owner, call.body, call.base_url)


@app.route("/s3/params", methods=["GET"], cors=api.CORS)
@api.endpoint(app, query=schemas.S3_PARAMS_QUERY, answer=answers.SIGNED_FORM)
def s3_params(call: api.Call) -> Any:
    """Sign an upload as a form."""
    return uploads.params(call.settings, call.owner, call.query, call.base_url)


@app.route("/s3/multipart", methods=["POST"], content_types=api.ANY_TYPE, cors=api.CORS)
@api.endpoint(app, body=schemas.MULTIPART, answer=answers.MULTIPART)
def begin_multipart(call: api.Call) -> Any:
    """Begin an upload in parts."""
    return multipart.create(call.settings, call.owner, call.body, call.base_url)


@app.route("/s3/multipart/{upload_id}", methods=["GET"], cors=api.CORS)
@api.endpoint(app, query=schemas.MULTIPART_QUERY, answer=answers.PARTS)
def list_parts(call: api.Call, upload_id: str) -> Any:
    """The parts that have arrived."""
    return multipart.list_parts(call.settings, call.owner, upload_id, call.query["key"])


@app.route("/s3/multipart/{upload_id}", methods=["DELETE"], cors=api.CORS)
@api.endpoint(app, query=schemas.MULTIPART_QUERY, answer=answers.ABORTED_MULTIPART)
def abort_multipart(call: api.Call, upload_id: str) -> Any:
    """Give an upload in parts up."""
    return multipart.abort(call.settings, call.owner, upload_id, call.query["key"])


@app.route("/s3/multipart/{upload_id}/batch", methods=["GET"], cors=api.CORS)
@api.endpoint(app, query=schemas.MULTIPART_BATCH_QUERY, answer=answers.SIGNED_PARTS)
def sign_parts(call: api.Call, upload_id: str) -> Any:
    """Sign several parts."""
    numbers, key = call.query["partNumbers"], call.query["key"]
    return multipart.sign_batch(call.settings, call.owner, upload_id, numbers, key)


@app.route("/s3/multipart/{upload_id}/complete", methods=["POST"], content_types=api.ANY_TYPE, cors=api.CORS)
@api.endpoint(
    app,
    body=schemas.MULTIPART_PARTS,
    query=schemas.MULTIPART_QUERY,
    max_body=api.MAX_PARTS_BODY,
    answer=answers.COMPLETED_MULTIPART,
)
def complete_multipart(call: api.Call, upload_id: str) -> Any:
    """Put the parts together."""
    key, parts = call.query["key"], call.body["parts"]
    return multipart.complete(call.settings, call.owner, upload_id, key, parts, call.base_url)


@app.route("/s3/multipart/{upload_id}/{part_number}", methods=["GET"], cors=api.CORS)
@api.endpoint(app, query=schemas.MULTIPART_QUERY, answer=answers.SIGNED_PART)
def sign_part(call: api.Call, upload_id: str, part_number: str) -> Any:
    """Sign one part."""
    return multipart.sign_part(call.settings, call.owner, upload_id, part_number, call.query["key"])


@app.route("/s3/sign", methods=["POST"], content_types=api.ANY_TYPE, cors=api.CORS)
@api.endpoint(
    app, body=schemas.SIGN, answer=answers.SIGNED_REQUEST, also={404: "The caller has no such upload."}
)
def sign_request(call: api.Call) -> Any:
    """Sign one request of an uploader that speaks to S3 itself."""
    return signing.sign(call.settings, call.owner, call.body)


@app.route("/jobs", methods=["GET"], cors=api.CORS)
@api.endpoint(app, query=schemas.JOBS_QUERY, answer=answers.JOBS, etag=True)
def list_jobs(call: api.Call) -> Any:
    """The caller's jobs, newest first."""
    return listings.page(call.settings, call.owner, call.query)


@app.route("/jobs/{job_id}", methods=["GET"], cors=api.CORS)
@api.endpoint(app, answer=answers.JOB, etag=True)
def get_job(call: api.Call, job_id: str) -> Any:
    """One of the caller's jobs."""
    return ledger.open_ledger(call.settings).get(call.owner, job_id).view()


@app.route("/jobs/{job_id}", methods=["DELETE"], cors=api.CORS)
@api.endpoint(app, status=204)
def delete_job(call: api.Call, job_id: str) -> Any:
    """Delete a job and every object of it."""
    deletion.delete(call.settings, call.owner, job_id)


@app.route("/jobs/{job_id}/retry", methods=["POST"], content_types=api.ANY_TYPE, cors=api.CORS)
@api.endpoint(app, answer=answers.JOB, also={409: "It has not failed, or its original is gone."})
def retry_job(call: api.Call, job_id: str) -> Any:
    """Have another go at a job that has failed."""
    return retries.retry(call.settings, call.owner, job_id).view()


@app.route("/jobs/{job_id}/files/{name}", methods=["GET"], cors=api.CORS)
@api.endpoint(
    app,
    answer=answers.SIGNED_DOWNLOAD,
    also={302: "The file, for a client that does not ask for JSON.", 409: "The job has not ended."},
)
def download(call: api.Call, job_id: str, name: str) -> Any:
    """A file of a job: its original, or what was made of it."""
    return downloads.sign(call.settings, call.owner, job_id, name).response(call.headers.get("accept", ""))


@app.route("/stats", methods=["GET"], cors=api.CORS)
@api.endpoint(app, answer=answers.STATS)
def show_stats(call: api.Call) -> Any:
    """How many jobs and bytes the caller has, by status."""
    return stats.count(call.settings, call.owner)


@app.route("/webhooks", methods=["POST"], content_types=api.ANY_TYPE, cors=api.CORS)
@api.endpoint(app, body=schemas.WEBHOOK, answer=answers.NEW_WEBHOOK, status=201)
def register_webhook(call: api.Call) -> Any:
    """Have the ends of the caller's jobs sent to a URL."""
    return webhooks.register(call.settings, call.owner, dict(call.body))


@app.route("/webhooks", methods=["GET"], cors=api.CORS)
@api.endpoint(app, answer=answers.WEBHOOKS)
def list_webhooks(call: api.Call) -> Any:
    """The caller's webhooks, without their secrets."""
    return webhooks.listing(call.settings, call.owner)


@app.route("/webhooks/{webhook_id}", methods=["DELETE"], cors=api.CORS)
@api.endpoint(app, status=204)
def remove_webhook(call: api.Call, webhook_id: str) -> Any:
    """Send nothing more to one of the caller's webhooks."""
    webhooks.remove(call.settings, call.owner, webhook_id)


@app.route("/health", methods=["GET"], cors=api.CORS)
@api.described(answers.HEALTH)
def health() -> Any:
    """Alive; calls no AWS service."""
    return {"status": "ok"}


@app.route("/openapi.json", methods=["GET"], cors=api.CORS)
@api.described(answers.OPENAPI)
def describe() -> Any:
    """This API, as OpenAPI 3.1."""
    return openapi.document(app.routes, api.here(app), authenticated=config.auth_mode != "none")


@app.route("/", methods=["GET"], cors=api.CORS)
@api.described(answers.PAGE, media_type="text/html")
def index() -> Response:
    """The upload page."""
    return page.answer(config, api.headers(app))


@app.route("/", methods=["POST", "PUT"], content_types=api.ANY_TYPE, cors=api.CORS)
@api.mistake
def sent_to_root() -> Response:
    """The URL of the stage alone is a common mistake."""
    return api.wrong_method(app, "This is the root of the API: POST to {here}/presign instead.", allow="GET")


@app.route("/presign", methods=["GET", "PUT"], content_types=api.ANY_TYPE, cors=api.CORS)
@api.mistake
def not_posted_to_presign() -> Response:
    """API Gateway would answer an undeclared method with "Missing Authentication Token"."""
    return api.wrong_method(
        app,
        "An upload URL is asked for with POST: curl -X POST {here}/presign. "
        "The file itself is then PUT to the uploadUrl of the answer.",
        allow="POST",
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
    consumer.consume(config, event.to_dict(), seconds_left(event))


@app.on_sns_message(topic=config.topic_arn)
def notify(event: SNSEvent) -> None:
    """The end of a job goes to its owner's webhooks."""
    deliveries.notify(config, event.to_dict())


@app.schedule(Rate(5, unit=Rate.MINUTES))
def sweep(event: CloudWatchEvent) -> None:
    """Whatever got stuck is pushed on."""
    sweeper.sweep(config, seconds_left(event))


def seconds_left(event: Any) -> Callable[[], float]:
    """Until Lambda cuts the function off."""
    return lambda: event.context.get_remaining_time_in_millis() / 1000
