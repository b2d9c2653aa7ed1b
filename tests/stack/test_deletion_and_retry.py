"""A job is deleted, or gets another go: by the owner's own hand, whatever the rest of the stack is doing."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from ops.stack import LocalStack
from tests.stack.test_least_privilege import without
from tests.stack.user import User, eventually, http_call, subscribed

PREFIXES = ("uploads", "processed", "rejected", "failed")


@pytest.fixture(params=["chalice local", "API Gateway"])
def user(request: pytest.FixtureRequest, stack: LocalStack) -> User:
    return User(stack, stack.gateway_url if request.param == "API Gateway" else "")


def objects_of(user: User, job_id: str) -> list[str]:
    return [key for prefix in PREFIXES for key in user.keys(f"{prefix}/_/{job_id}/")]


def failed_job(user: User, body: bytes = b'{"id": "retried", "n": 1}') -> Any:
    """A job that fails for a reason that goes away."""
    with without(user.stack, "consume", "dynamodb:PutItem"):
        signed = user.upload(body, filename="order.json")
        one_attempt_left(user, signed["jobId"])
        job = user.ended(signed["jobId"])
    assert job["status"] == "FAILED"
    eventually(lambda: not user.keys(signed["s3Key"]), "the failed original is set aside")
    return job


def one_attempt_left(user: User, job_id: str) -> None:
    """The back-off between attempts is minutes in all: count on from the first."""

    def tried() -> bool:
        job = user.job(job_id)
        return bool(job) and job["attempts"] >= 1

    eventually(tried, "the first attempt")
    user.stack.client("dynamodb").update_item(
        TableName=user.stack.outputs["JobsTable"],
        Key={"owner": {"S": "_"}, "jobId": {"S": job_id}},
        UpdateExpression="SET attempts = :n",
        ExpressionAttributeValues={":n": {"N": "4"}},
    )


class TestDelete:
    @pytest.mark.parametrize("body", [b"some text", b'{"broken": }', b'{"id": "kept"}'])
    def test_an_ended_job_goes_with_every_object_of_it(self, user: User, body: bytes) -> None:
        job = user.ended(user.upload(body, filename="a.json")["jobId"])
        url = user.call("GET", f"/jobs/{job['jobId']}/files/original", Accept="application/json").json["url"]
        assert http_call("GET", url).status == 200

        answer = user.call("DELETE", f"/jobs/{job['jobId']}")

        assert (answer.status, answer.body) == (204, b"")
        assert objects_of(user, job["jobId"]) == []
        assert http_call("GET", url).status == 404
        for method, path in (
            ("GET", ""),
            ("GET", "/files/original"),
            ("POST", "/retry"),
        ):
            assert user.call(method, f"/jobs/{job['jobId']}{path}").status == 404
        assert job["jobId"] not in {one["jobId"] for one in user.all_jobs()}

    def test_deleting_again_is_as_good(self, user: User) -> None:
        job = user.ended(user.upload(b"twice")["jobId"])

        answers = [user.call("DELETE", f"/jobs/{job['jobId']}").status for _ in range(3)]

        assert answers == [204, 204, 204]

    def test_an_unknown_job_is_a_404(self, user: User) -> None:
        for job_id in ("01936b2e-7c1a-7d3e-8f00-0123456789ab", "none"):
            answer = user.call("DELETE", f"/jobs/{job_id}")

            assert (answer.status, answer.json["error"]) == (404, "job_not_found")

    def test_a_job_in_work_is_gone_at_once_and_for_good(self, user: User) -> None:
        with without(user.stack, "consume", "s3:PutObject"):
            signed = user.upload(b"in the middle of it")
            eventually(lambda: (user.job(signed["jobId"]) or {}).get("status") == "PROCESSING", "in work")

            assert user.call("DELETE", f"/jobs/{signed['jobId']}").status == 204

            assert user.job(signed["jobId"]) is None
            assert objects_of(user, signed["jobId"]) == []
        user.ended(user.upload(b"marker")["jobId"])
        assert user.job(signed["jobId"]) is None
        assert objects_of(user, signed["jobId"]) == []

    def test_a_file_that_lies_elsewhere_goes_as_well(self, user: User) -> None:
        with without(user.stack, "consume", "s3:PutObject"):
            user.put("uploads/loose.txt", b"dropped by hand")

            def found() -> Any:
                return next((j for j in user.all_jobs() if j["sourceKey"] == "uploads/loose.txt"), None)

            job = eventually(found, "the loose file has a job")
            assert user.call("DELETE", f"/jobs/{job['jobId']}").status == 204

            assert user.keys("uploads/loose.txt") == []

    def test_a_late_event_of_a_deleted_job_does_not_bring_it_back(self, user: User) -> None:
        signed = user.upload(b"deleted")
        user.ended(signed["jobId"])
        item = next(i for i in user.items("JobsTable") if i["jobId"]["S"] == signed["jobId"])
        user.call("DELETE", f"/jobs/{signed['jobId']}")

        user.deliver_again(signed["s3Key"], item)

        user.ended(user.upload(b"marker")["jobId"])
        assert user.job(signed["jobId"]) is None
        assert objects_of(user, signed["jobId"]) == []

    def test_a_new_file_on_a_url_that_is_still_good_is_a_new_file(self, user: User) -> None:
        signed = user.upload(b"deleted")
        user.ended(signed["jobId"])
        user.call("DELETE", f"/jobs/{signed['jobId']}")

        assert http_call("PUT", signed["uploadUrl"], b"sent after that").status == 200

        job = user.ended(signed["jobId"])
        assert (job["status"], user.object(job["key"])) == ("COMPLETED", b"sent after that")


class TestRetry:
    def test_a_failed_job_is_run_once_more_and_only_once(self, user: User) -> None:
        with subscribed(user.stack, "retried") as take:
            job = failed_job(user)

            answer = user.retry(job["jobId"])

            assert answer.status == 200
            assert answer.json["status"] in ("QUEUED", "PROCESSING", "COMPLETED")
            done = eventually(lambda: completed(user, job["jobId"]), "the second run is done")
            assert done["attempts"] == 1
            eventually(lambda: objects_of(user, job["jobId"]) == [done["key"]], "the original is there, once")
            events = {event["id"] for event in take() if event["subject"] == job["jobId"]}
        assert events == {f"{job['jobId']}-failed-1", f"{job['jobId']}-completed-2"}

    def test_many_retries_at_once_are_one_run(self, user: User) -> None:
        job = failed_job(user)

        with ThreadPoolExecutor(4) as pool:
            statuses = list(pool.map(lambda _: user.retry(job["jobId"]).status, range(4)))

        assert 200 in statuses
        assert set(statuses) <= {200, 409}  # the second where the run was through already
        eventually(lambda: completed(user, job["jobId"]), "the second run is done")
        item = next(i for i in user.items("JobsTable") if i["jobId"]["S"] == job["jobId"])
        assert item["run"] == {"N": "2"}

    def test_only_a_failed_job_is_retried(self, user: User) -> None:
        for body, status in ((b"fine", "COMPLETED"), (b'{"broken": }', "REJECTED")):
            job = user.ended(
                user.upload(body, filename="a.json" if status == "REJECTED" else "a.txt")["jobId"]
            )

            answer = user.call("POST", f"/jobs/{job['jobId']}/retry")

            assert (answer.status, answer.json["error"]) == (409, "not_failed")
            assert status in answer.json["message"]

    def test_an_unknown_job_is_a_404(self, user: User) -> None:
        answer = user.call("POST", "/jobs/01936b2e-7c1a-7d3e-8f00-0123456789ab/retry")

        assert (answer.status, answer.json["error"]) == (404, "job_not_found")


def completed(user: User, job_id: str) -> Any:
    job = user.job(job_id)
    return job if job and job["status"] == "COMPLETED" else None
