"""The ledger: every arrow of its graph, every arrow that is not in it, and writes that come late or twice."""

import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from chalicelib import clients, keys
from chalicelib.errors import LeaseLost, NotFound
from chalicelib.jobs import Ending, Job, Order, Status, timestamp
from chalicelib.ledger import Claim, Ledger
from chalicelib.settings import Settings
from tests.unit.conftest import ACCOUNT, make_resources
from tests.unit.fake.aws import FakeAws, installed
from tests.unit.flow import Clock, repeat_once, upload_at

JOB_ID = "01936b2e-7c1a-7d3e-8f00-0123456789ab"
KEY = f"uploads/alice/{JOB_ID}/order.json"
FIRST = upload_at(KEY, etag="e1", sequencer="0A")
SECOND = upload_at(KEY, etag="e2", sequencer="0B")

LEASE = 60
LIVE = [status for status in Status if status is not Status.DELETED]
ENDS = (Status.COMPLETED, Status.REJECTED, Status.FAILED)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(aws: Settings, clock: Clock) -> Ledger:
    return Ledger(clients.dynamodb(), aws.jobs_table, lease_seconds=LEASE, clock=clock)


@pytest.fixture
def quick_ledger(settings: Settings, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    """In memory, for who asks thousands of times; `test_fake.py` holds it against moto."""
    with installed(FakeAws(settings.region, ACCOUNT), settings.region, monkeypatch):
        make_resources(settings)
        yield Ledger(clients.dynamodb(), settings.jobs_table, lease_seconds=LEASE, clock=clock)


def claimed(ledger: Ledger, etag: str = "e1") -> Job:
    claim, job = ledger.claim("alice", JOB_ID, etag)
    assert claim is Claim.TAKEN
    assert job is not None
    return job


def ending(status: Status = Status.COMPLETED, **more: Any) -> Ending:
    return Ending(status, KEY.replace("uploads/", f"{status.lower()}/"), **more)


def brought_to(ledger: Ledger, status: Status) -> Job:
    """The job, entered and brought to a status the usual way."""
    job, _ = ledger.record(FIRST)
    if status is not Status.QUEUED:
        job = claimed(ledger)
    return ledger.finish(job, ending(status)) if status.ended else job


class TestEntering:
    def test_an_upload_is_queued(self, ledger: Ledger, clock: Clock) -> None:
        job, relation = ledger.record(FIRST)
        assert relation is Order.NEWER
        assert (job.status, job.run, job.created_at) == (Status.QUEUED, 1, timestamp(clock()))
        assert ledger.find("alice", JOB_ID) == job

    @pytest.mark.parametrize("status", LIVE)
    def test_the_same_event_again_changes_nothing(self, ledger: Ledger, clock: Clock, status: Status) -> None:
        before = brought_to(ledger, status)
        clock.advance(5)
        assert ledger.record(FIRST) == (before, Order.SAME)
        assert ledger.find("alice", JOB_ID) == before

    @pytest.mark.parametrize("status", LIVE)
    def test_a_newer_upload_opens_the_job_again_as_its_next_run(
        self, ledger: Ledger, clock: Clock, status: Status
    ) -> None:
        before = brought_to(ledger, status)
        clock.advance(5)
        job, relation = ledger.record(SECOND)
        assert relation is Order.NEWER
        assert (job.status, job.run, job.etag, job.attempts) == (Status.QUEUED, 2, "e2", 0)
        assert (job.created_at, job.updated_at) == (before.created_at, timestamp(clock()))
        assert (job.lease, job.finished_at, job.error) == (None, None, None)
        assert ledger.find("alice", JOB_ID) == job

    @pytest.mark.parametrize("status", LIVE)
    def test_an_older_event_changes_nothing(self, ledger: Ledger, status: Status) -> None:
        before = brought_to(ledger, status)
        older = upload_at(KEY, etag="e0", sequencer="09FFFFFF")
        assert ledger.record(older) == (before, Order.OLDER)
        assert ledger.find("alice", JOB_ID) == before

    def test_two_newer_uploads_end_with_the_newest_whichever_event_comes_first(self, ledger: Ledger) -> None:
        third = upload_at(KEY, etag="e3", sequencer="0C")
        for upload in (FIRST, third, SECOND):
            ledger.record(upload)
        job = ledger.get("alice", JOB_ID)
        assert (job.etag, job.run) == ("e3", 2)

    def test_a_newer_upload_between_our_read_and_our_write_is_not_undone(
        self, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ledger.record(FIRST)
        third = upload_at(KEY, etag="e3", sequencer="0C")
        put, others = ledger._put, [lambda: ledger.record(third)]

        def put_late(job: Job, condition: str, values: dict[str, Any]) -> Job | None:
            if "run" in condition and others:
                others.pop()()
            return put(job, condition, values)

        monkeypatch.setattr(ledger, "_put", put_late)
        job, relation = ledger.record(SECOND)
        assert (job.etag, relation) == ("e3", Order.OLDER)
        assert ledger.get("alice", JOB_ID).etag == "e3"

    def test_a_job_that_vanishes_meanwhile_is_entered_anew(
        self, ledger: Ledger, aws: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ledger.record(FIRST)
        put = ledger._put

        def put_late(job: Job, condition: str, values: dict[str, Any]) -> Job | None:
            if "run" in condition:  # as when its time to live ends
                key: Any = {"owner": {"S": "alice"}, "jobId": {"S": JOB_ID}}
                clients.dynamodb().delete_item(TableName=aws.jobs_table, Key=key)
            return put(job, condition, values)

        monkeypatch.setattr(ledger, "_put", put_late)
        job, relation = ledger.record(SECOND)
        assert relation is Order.NEWER
        assert ledger.get("alice", JOB_ID) == job


class TestClaiming:
    def test_a_queued_job_is_taken_with_a_lease(self, ledger: Ledger, clock: Clock) -> None:
        ledger.record(FIRST)
        job = claimed(ledger)
        assert (job.status, job.stage, job.attempts) == (Status.PROCESSING, "processing", 1)
        assert job.lease
        assert job.lease_until == int(clock()) + LEASE
        assert job.started_at == timestamp(clock())
        assert ledger.find("alice", JOB_ID) == job

    def test_a_running_lease_keeps_others_out(self, ledger: Ledger, clock: Clock) -> None:
        ledger.record(FIRST)
        job = claimed(ledger)
        clock.now = job.lease_until
        assert ledger.claim("alice", JOB_ID, "e1") == (Claim.BUSY, job)

    def test_a_lease_that_ran_out_is_taken_over(self, ledger: Ledger, clock: Clock) -> None:
        ledger.record(FIRST)
        first = claimed(ledger)
        clock.now = first.lease_until + 1
        second = claimed(ledger)
        assert second.lease != first.lease
        assert second.attempts == 2

    def test_a_released_lease_is_free_at_once_and_the_reason_is_kept(self, ledger: Ledger) -> None:
        ledger.record(FIRST)
        reason = {"code": "s3_down", "message": "S3 was down."}
        assert ledger.release(claimed(ledger), reason)
        again = claimed(ledger)
        assert (again.attempts, again.error) == (2, reason)

    @pytest.mark.parametrize("times", [1, 2], ids=["once", "repeated by the SDK"])
    def test_a_claim_that_tried_nothing_is_not_counted_and_keeps_the_last_error(
        self, ledger: Ledger, clock: Clock, times: int
    ) -> None:
        ledger.record(FIRST)
        reason = {"code": "s3_down", "message": "S3 was down."}
        ledger.release(claimed(ledger), reason)
        clock.advance(1)
        job = claimed(ledger)
        for _ in range(times):
            assert ledger.release(job, tried=False)
        found = ledger.find(job.owner, job.job_id)
        assert found is not None
        assert (found.attempts, found.lease_until, found.error) == (1, 0, reason)

    @pytest.mark.parametrize("status", ENDS)
    def test_an_ended_job_is_not_taken(self, ledger: Ledger, clock: Clock, status: Status) -> None:
        ended = brought_to(ledger, status)
        clock.advance(10 * LEASE)
        assert ledger.claim("alice", JOB_ID, "e1") == (Claim.ENDED, ended)
        assert ledger.find("alice", JOB_ID) == ended

    def test_a_message_of_older_content_finds_its_run_superseded(self, ledger: Ledger) -> None:
        ledger.record(FIRST)
        job, _ = ledger.record(SECOND)
        assert ledger.claim("alice", JOB_ID, "e1") == (Claim.SUPERSEDED, job)

    def test_a_job_that_is_not_there_is_gone(self, ledger: Ledger) -> None:
        assert ledger.claim("alice", JOB_ID, "e1") == (Claim.GONE, None)
        assert ledger.find("alice", JOB_ID) is None

    def test_another_owner_claims_nothing(self, ledger: Ledger) -> None:
        ledger.record(FIRST)
        assert ledger.claim("bob", JOB_ID, "e1") == (Claim.GONE, None)


class TestFinishing:
    @pytest.mark.parametrize("status", ENDS)
    def test_the_holder_of_the_lease_ends_the_job(self, ledger: Ledger, clock: Clock, status: Status) -> None:
        ledger.record(FIRST)
        job = claimed(ledger)
        clock.advance(3)
        error = None if status is Status.COMPLETED else {"code": "c", "message": "m"}
        ended = ledger.finish(job, ending(status, detected_type="text/plain", error=error))
        assert ended == replace(
            job,
            status=status,
            stage="finished",
            progress=100,
            key=ending(status).key,
            detected_type="text/plain",
            error=error,
            finished_at=timestamp(clock()),
            updated_at=timestamp(clock()),
            open_since=None,
        )
        assert ledger.find("alice", JOB_ID) == ended

    def test_success_wipes_out_the_error_of_an_earlier_attempt(self, ledger: Ledger) -> None:
        ledger.record(FIRST)
        ledger.release(claimed(ledger), {"code": "s3_down", "message": "S3 was down."})
        assert ledger.finish(claimed(ledger), ending()).error is None

    def test_the_late_write_of_a_worker_whose_lease_was_taken_over_loses(
        self, ledger: Ledger, clock: Clock
    ) -> None:
        ledger.record(FIRST)
        slow = claimed(ledger)
        clock.advance(LEASE + 1)
        quick = claimed(ledger)
        with pytest.raises(LeaseLost):
            ledger.finish(slow, ending(Status.FAILED))
        assert ledger.find("alice", JOB_ID) == quick
        ended = ledger.finish(quick, ending())
        with pytest.raises(LeaseLost):
            ledger.finish(slow, ending(Status.FAILED))
        assert ledger.find("alice", JOB_ID) == ended

    def test_a_lease_that_ran_out_still_ends_the_job_while_nobody_else_came(
        self, ledger: Ledger, clock: Clock
    ) -> None:
        ledger.record(FIRST)
        slow = claimed(ledger)
        clock.advance(10 * LEASE)
        assert ledger.finish(slow, ending()).status is Status.COMPLETED

    def test_the_late_write_after_a_newer_upload_loses(self, ledger: Ledger) -> None:
        ledger.record(FIRST)
        slow = claimed(ledger)
        job, _ = ledger.record(SECOND)
        with pytest.raises(LeaseLost):
            ledger.finish(slow, ending())
        assert ledger.find("alice", JOB_ID) == job

    @pytest.mark.parametrize("status", ENDS)
    @pytest.mark.parametrize("other", ENDS)
    def test_an_end_is_final(self, ledger: Ledger, clock: Clock, status: Status, other: Status) -> None:
        ledger.record(FIRST)
        job = claimed(ledger)
        ended = ledger.finish(job, ending(status))
        clock.advance(5)
        if status is other:  # its own write, sent again by the SDK: success, and nothing changes
            assert ledger.finish(job, ending(other)) == ended
        else:
            with pytest.raises(LeaseLost):
                ledger.finish(job, ending(other))
        assert ledger.find("alice", JOB_ID) == ended

    def test_a_job_that_is_only_queued_cannot_be_ended(self, ledger: Ledger) -> None:
        job, _ = ledger.record(FIRST)
        with pytest.raises(LeaseLost):
            ledger.finish(replace(job, lease="made-up"), ending())
        assert ledger.find("alice", JOB_ID) == job

    def test_a_job_that_vanished_cannot_be_ended(self, ledger: Ledger) -> None:
        job, _ = ledger.record(FIRST)
        with pytest.raises(LeaseLost):
            ledger.finish(replace(job, owner="bob", lease="made-up"), ending())
        assert ledger.find("bob", JOB_ID) is None

    def test_retention_sets_the_end_of_the_record_and_no_retention_sets_none(
        self, aws: Settings, clock: Clock
    ) -> None:
        for days, expected in ((0, None), (2, int(clock()) + 2 * 86_400)):
            ledger = Ledger(
                clients.dynamodb(), aws.jobs_table, lease_seconds=LEASE, retention_days=days, clock=clock
            )
            upload = replace(FIRST, job_id=keys.new_job_id())
            ledger.record(upload)
            _, job = ledger.claim(upload.owner, upload.job_id, "e1")
            assert job is not None
            assert job.expires_at is None
            assert ledger.finish(job, ending()).expires_at == expected


class TestReleasing:
    @pytest.mark.parametrize("status", ENDS)
    def test_what_has_ended_is_not_released(self, ledger: Ledger, status: Status) -> None:
        ledger.record(FIRST)
        job = claimed(ledger)
        ended = ledger.finish(job, ending(status))
        assert not ledger.release(job, {"code": "c", "message": "m"})
        assert ledger.find("alice", JOB_ID) == ended

    def test_what_another_worker_holds_is_not_released(self, ledger: Ledger, clock: Clock) -> None:
        ledger.record(FIRST)
        slow = claimed(ledger)
        clock.advance(LEASE + 1)
        quick = claimed(ledger)
        assert not ledger.release(slow)
        assert ledger.find("alice", JOB_ID) == quick


class TestRenewing:
    def test_an_open_job_has_all_its_tries_again_and_nothing_else_changes(
        self, ledger: Ledger, clock: Clock
    ) -> None:
        ledger.record(FIRST)
        ledger.release(claimed(ledger))
        seen = ledger.get("alice", JOB_ID)
        clock.advance(5)
        assert ledger.renew(seen)
        assert ledger.find("alice", JOB_ID) == replace(seen, attempts=0, updated_at=timestamp(clock()))

    def test_a_job_that_has_been_claimed_since_it_was_read_is_left_alone(
        self, ledger: Ledger, clock: Clock
    ) -> None:
        seen, _ = ledger.record(FIRST)
        clock.advance(5)
        now = claimed(ledger)
        assert not ledger.renew(seen)
        assert ledger.find("alice", JOB_ID) == now

    @pytest.mark.parametrize("status", ENDS)
    def test_an_ended_job_is_left_alone(self, ledger: Ledger, clock: Clock, status: Status) -> None:
        ended = brought_to(ledger, status)
        clock.advance(5)
        assert not ledger.renew(ended)
        assert ledger.find("alice", JOB_ID) == ended


class TestTouching:
    def test_a_job_is_marked_as_looked_after_and_nothing_else_changes(
        self, ledger: Ledger, clock: Clock
    ) -> None:
        job, _ = ledger.record(FIRST)
        clock.advance(5)
        assert ledger.touch(job)
        assert ledger.find("alice", JOB_ID) == replace(job, updated_at=timestamp(clock()))

    def test_only_one_of_two_who_read_the_same_job_may_touch_it(self, ledger: Ledger, clock: Clock) -> None:
        job, _ = ledger.record(FIRST)
        clock.advance(5)
        assert ledger.touch(job)
        clock.advance(5)
        assert not ledger.touch(job)

    @pytest.mark.parametrize("status", ENDS)
    def test_a_job_that_has_ended_meanwhile_is_not_touched(self, ledger: Ledger, status: Status) -> None:
        """Within the same millisecond, its time does not tell."""
        seen = brought_to(ledger, Status.PROCESSING)
        ended = ledger.finish(seen, ending(status))
        assert not ledger.touch(seen)
        assert ledger.find("alice", JOB_ID) == ended

    def test_a_job_that_has_moved_on_is_not_touched(self, ledger: Ledger) -> None:
        seen, _ = ledger.record(FIRST)
        now, _ = ledger.record(SECOND)  # within the same millisecond
        assert not ledger.touch(seen)
        assert ledger.find("alice", JOB_ID) == now


class TestReopening:
    @pytest.mark.parametrize("status", ENDS)
    def test_an_ended_job_is_opened_as_its_next_run(self, ledger: Ledger, status: Status) -> None:
        ended = brought_to(ledger, status)
        job = ledger.reopen(ended, FIRST)
        assert job is not None
        assert (job.status, job.run, job.attempts, job.key) == (Status.QUEUED, 2, 0, KEY)
        assert job.created_at == ended.created_at
        assert ledger.find("alice", JOB_ID) == job

    @pytest.mark.parametrize("status", [Status.QUEUED, Status.PROCESSING])
    def test_open_work_is_not_opened_again(self, ledger: Ledger, status: Status) -> None:
        job = brought_to(ledger, status)
        assert ledger.reopen(job, SECOND) is None
        assert ledger.find("alice", JOB_ID) == job

    def test_a_job_that_has_moved_on_is_not_opened_again(self, ledger: Ledger) -> None:
        ended = brought_to(ledger, Status.COMPLETED)
        ledger.record(SECOND)
        again = ledger.finish(claimed(ledger, "e2"), ending())
        assert ledger.reopen(ended, FIRST) is None
        assert ledger.find("alice", JOB_ID) == again


class TestTheSdkRepeatsACallWhoseAnswerWasLost:
    """The second try then meets the condition that the first one broke."""

    def test_entering(self, ledger: Ledger) -> None:
        repeat_once(clients.dynamodb(), "PutItem")
        job, relation = ledger.record(FIRST)
        assert (job.status, job.run, relation) == (Status.QUEUED, 1, Order.NEWER)

    def test_entering_a_newer_upload(
        self, ledger: Ledger, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ledger.record(FIRST)
        clock.advance(1)
        put = ledger._put

        def put_repeatedly(job: Job, condition: str, values: dict[str, Any]) -> Job | None:
            if "run" in condition:
                repeat_once(clients.dynamodb(), "PutItem")
            return put(job, condition, values)

        monkeypatch.setattr(ledger, "_put", put_repeatedly)
        job, relation = ledger.record(SECOND)
        assert (job.status, job.run, job.etag, relation) == (Status.QUEUED, 2, "e2", Order.NEWER)
        assert ledger.get("alice", JOB_ID) == job

    def test_claiming(self, ledger: Ledger) -> None:
        ledger.record(FIRST)
        repeat_once(clients.dynamodb(), "UpdateItem")
        claim, job = ledger.claim("alice", JOB_ID, "e1")
        assert claim is Claim.TAKEN
        assert job is not None
        assert job.attempts == 1

    def test_finishing(self, ledger: Ledger) -> None:
        ledger.record(FIRST)
        job = claimed(ledger)
        repeat_once(clients.dynamodb(), "UpdateItem")
        assert ledger.finish(job, ending()).status is Status.COMPLETED

    def test_releasing(self, ledger: Ledger) -> None:
        ledger.record(FIRST)
        job = claimed(ledger)
        repeat_once(clients.dynamodb(), "UpdateItem")
        assert ledger.release(job)

    def test_touching(self, ledger: Ledger, clock: Clock) -> None:
        job, _ = ledger.record(FIRST)
        clock.advance(1)
        repeat_once(clients.dynamodb(), "UpdateItem")
        assert ledger.touch(job)

    def test_renewing(self, ledger: Ledger, clock: Clock) -> None:
        job, _ = ledger.record(FIRST)
        clock.advance(1)
        repeat_once(clients.dynamodb(), "UpdateItem")
        assert ledger.renew(job)

    def test_reopening(self, ledger: Ledger) -> None:
        ended = brought_to(ledger, Status.FAILED)
        repeat_once(clients.dynamodb(), "PutItem")
        job = ledger.reopen(ended, FIRST)
        assert job is not None
        assert job.run == 2


class TestReading:
    def test_owners_see_only_their_own(self, ledger: Ledger) -> None:
        ledger.record(FIRST)
        assert ledger.get("alice", JOB_ID).job_id == JOB_ID
        with pytest.raises(NotFound) as anothers:
            ledger.get("bob", JOB_ID)
        with pytest.raises(NotFound) as nobodys:
            ledger.get("bob", keys.new_job_id())
        assert anothers.value.body() == nobodys.value.body()
        assert anothers.value.code == "job_not_found"

    @pytest.mark.parametrize("job_id", ["", "no-id", "x" * 5000, JOB_ID.upper()])
    def test_what_is_no_id_is_not_found_without_asking(
        self, ledger: Ledger, monkeypatch: pytest.MonkeyPatch, job_id: str
    ) -> None:
        monkeypatch.setattr(ledger, "find", lambda *_: pytest.fail("asked the table"))
        with pytest.raises(NotFound):
            ledger.get("alice", job_id)


ARROWS = {
    (Status.QUEUED, Status.PROCESSING),
    (Status.PROCESSING, Status.PROCESSING),
    *((Status.PROCESSING, end) for end in ENDS),
}
"""The arrows of the drawing within one run."""

ACTS = ("claim", "finish", "finish", "release", "sleep", "touch", "read", "reopen", "upload")


@pytest.mark.parametrize("seed", range(20))
def test_whatever_workers_and_sweeps_do_in_whatever_order_the_job_moves_along_the_graph(
    quick_ledger: Ledger, clock: Clock, seed: int
) -> None:
    ledger, chance = quick_ledger, random.Random(seed)
    ledger.record(FIRST)
    sequencer = 0x0A
    holds: dict[str, Job] = {}
    seen = ledger.get("alice", JOB_ID)
    before = seen
    for _ in range(60):
        worker = chance.choice(["a", "b"])
        held = holds.get(worker)
        act = chance.choice(ACTS)
        if act == "claim":
            etag = chance.choice(["e1", f"e{sequencer}", before.etag])
            claim, job = ledger.claim("alice", JOB_ID, etag)
            if claim is Claim.TAKEN and job is not None:
                holds[worker] = job
        elif act == "finish" and held is not None:
            still_its = (before.lease, before.status) == (held.lease, Status.PROCESSING)
            try:
                ledger.finish(held, ending(chance.choice(ENDS)))
            except LeaseLost:
                assert not still_its
            else:
                assert before.lease == held.lease
        elif act == "release" and held is not None:
            ledger.release(held)
        elif act == "sleep":
            clock.advance(chance.choice([1, LEASE + 1]))
        elif act == "touch":
            ledger.touch(seen)
        elif act == "read":
            seen = before
        elif act == "reopen":
            ledger.reopen(seen, replace(FIRST, etag=seen.etag, sequencer=""))
        elif act == "upload" and chance.random() < 0.3:
            sequencer += 1
            ledger.record(upload_at(KEY, etag=f"e{sequencer}", sequencer=f"{sequencer:02X}"))
        after = ledger.get("alice", JOB_ID)
        if after.run == before.run:
            assert after.status is before.status or (before.status, after.status) in ARROWS
            assert after.etag == before.etag
            assert not before.status.ended or replace(after, updated_at="") == replace(before, updated_at="")
        else:
            assert (after.run, after.status, after.attempts) == (before.run + 1, Status.QUEUED, 0)
        before = after
