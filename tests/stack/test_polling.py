"""Asking again and again is cheap, and counting is right: through both front doors."""

import pytest

from ops.stack import LocalStack
from tests.stack.user import User


@pytest.fixture(params=["chalice local", "API Gateway"])
def user(request: pytest.FixtureRequest, stack: LocalStack) -> User:
    return User(stack, stack.gateway_url if request.param == "API Gateway" else "")


def test_an_unchanged_job_is_not_sent_again(user: User) -> None:
    job = user.ended(user.upload(b"polled")["jobId"])

    for path in (f"/jobs/{job['jobId']}", "/jobs?limit=5"):
        first = user.call("GET", path)
        again = user.call("GET", path, **{"If-None-Match": first.headers["ETag"]})
        other = user.call("GET", path, **{"If-None-Match": '"another"'})

        assert (again.status, again.body) == (304, b"")
        assert (other.status, other.body) == (200, first.body)


def test_the_stats_are_those_of_the_jobs(user: User) -> None:
    user.ended(user.upload(b"counted")["jobId"])
    user.ended(user.upload(b"")["jobId"])

    stats, jobs = user.call("GET", "/stats").json, user.all_jobs()

    assert stats["total"] == {"jobs": len(jobs), "bytes": sum(job["size"] for job in jobs)}
    for status, counted in stats["byStatus"].items():
        assert counted["jobs"] == len([job for job in jobs if job["status"] == status])
