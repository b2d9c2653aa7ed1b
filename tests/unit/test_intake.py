"""From S3's events to jobs and messages."""

import copy
import json
from typing import Any
from urllib.parse import quote

import pytest

from chalicelib import clients, keys
from chalicelib.errors import Unavailable
from chalicelib.jobs import Job, Status, timestamp
from chalicelib.settings import Settings
from tests.unit.flow import Flow, refusal


@pytest.fixture
def flow(aws: Settings, monkeypatch: pytest.MonkeyPatch) -> Flow:
    return Flow(aws, monkeypatch)


def queued_ids(flow: Flow) -> list[str]:
    return [json.loads(record["body"])["jobId"] for record in flow.messages()]


def altered(event: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """The event with other fields in its record's `s3.object`."""
    changed = copy.deepcopy(event)
    changed["Records"][0]["s3"]["object"] |= fields
    return changed


class TestPresignedKeys:
    def test_an_upload_becomes_a_queued_job_and_a_message(self, flow: Flow) -> None:
        key = flow.new_key("order.json", owner="alice")
        event = flow.put(key, b"{}")
        flow.intake(event)
        job = flow.job(key)
        s3_object = event["Records"][0]["s3"]["object"]
        assert (job.owner, job.status, job.run) == ("alice", Status.QUEUED, 1)
        assert (job.key, job.source_key, job.filename) == (key, key, "order.json")
        assert (job.etag, job.size) == (s3_object["eTag"], 2)
        assert job.sequencer == s3_object["sequencer"]
        assert job.uploaded_at == timestamp(flow.clock())
        assert queued_ids(flow) == [job.job_id]

    def test_it_costs_two_calls(self, flow: Flow) -> None:
        flow.upload(flow.new_key("order.json"), b"{}")
        assert flow.calls.made == ["PutItem", "SendMessageBatch"]

    def test_the_time_of_the_upload_is_the_events(self, flow: Flow) -> None:
        key = flow.new_key("order.json")
        event = flow.put(key, b"{}")
        event["Records"][0]["eventTime"] = "2026-01-02T03:04:05.678Z"
        flow.intake(event)
        assert flow.job(key).uploaded_at == "2026-01-02T03:04:05.678Z"

    def test_sequencers_are_compared_without_regard_to_case(self, flow: Flow) -> None:
        key = flow.new_key("order.json")
        event = flow.put(key, b"{}")
        flow.intake(altered(event, sequencer="00aB"))
        flow.intake(altered(event, sequencer="00AC", eTag="newer"))
        flow.intake(altered(event, sequencer="00ab", eTag="older"))
        assert flow.job(key).etag == "newer"

    @pytest.mark.parametrize("absent", ["missing", None, ""])
    def test_an_event_without_a_sequencer_is_as_good(self, flow: Flow, absent: str | None) -> None:
        key = flow.new_key("order.json")
        event = flow.put(key, b"{}")
        if absent == "missing":
            del event["Records"][0]["s3"]["object"]["sequencer"]
        else:
            event = altered(event, sequencer=absent)
        flow.intake(event)
        assert flow.job(key).sequencer == ""
        flow.intake(event)
        assert flow.job(key).run == 1


class TestTheSameEventAgain:
    def test_while_the_job_is_queued_it_is_queued_again_and_not_entered_again(self, flow: Flow) -> None:
        key = flow.new_key("order.json")
        event = flow.put(key, b"{}")
        flow.intake(event, event)
        before = flow.job(key)
        flow.clock.advance(1)
        flow.intake(event)
        assert flow.job(key) == before
        assert queued_ids(flow) == [before.job_id] * 3
        assert len(flow.jobs()) == 1

    @pytest.mark.parametrize("then", ["claimed", "ended"])
    def test_later_on_it_changes_and_queues_nothing(self, flow: Flow, then: str) -> None:
        key = flow.new_key("order.json")
        event = flow.put(key, b"{}")
        flow.intake(event)
        if then == "ended":
            flow.consume()
        else:
            flow.messages().clear()
            flow.ledger.claim("_", flow.job(key).job_id, flow.job(key).etag)
        before = flow.job(key)
        flow.intake(event)
        assert flow.job(key) == before
        assert queued_ids(flow) == []

    def test_an_older_event_after_a_newer_one_changes_and_queues_nothing(self, flow: Flow) -> None:
        key = flow.new_key("order.json")
        older, newer = flow.put(key, b"{}"), flow.put(key, b"[]")
        flow.intake(newer)
        before = flow.job(key)
        flow.messages().clear()
        flow.intake(older)
        assert flow.job(key) == before
        assert queued_ids(flow) == []

    def test_a_crash_before_the_message_is_mended_by_the_next_delivery(self, flow: Flow) -> None:
        key = flow.new_key("order.json")
        event = flow.put(key, b"{}")
        flow.calls.fail(1, "server error")  # 0 is the ledger, 1 the queue
        with pytest.raises(Unavailable):
            flow.intake(event)
        assert queued_ids(flow) == []
        flow.clock.advance(1)
        flow.intake(event)
        assert queued_ids(flow) == [flow.job(key).job_id]
        assert flow.job(key).run == 1

    def test_late_for_what_the_sweep_has_entered_since_it_changes_nothing(self, flow: Flow) -> None:
        """Of two uploads in one second; a listing tells whole seconds, and no sequencer."""
        key = flow.new_key("order.json")
        late = altered(flow.put(key, b"{}"), sequencer="0A")
        flow.put(key, b'{"id": "order-1"}')
        flow.let_pass_until_swept()
        flow.sweep()
        flow.consume()
        before = flow.job(key)

        flow.intake(late)

        assert (before.status, before.sequencer) == (Status.COMPLETED, "")
        assert flow.job(key) == before
        assert queued_ids(flow) == []


class TestANewerUpload:
    @pytest.mark.parametrize("meanwhile", ["queued", "claimed", "ended"])
    def test_is_the_next_run_of_the_same_job(self, flow: Flow, meanwhile: str) -> None:
        key = flow.new_key("order.json")
        flow.upload(key, b'{"n": 1}')
        first = flow.job(key)
        if meanwhile == "ended":
            flow.consume()
        elif meanwhile == "claimed":
            flow.ledger.claim("_", first.job_id, first.etag)
        flow.messages().clear()
        flow.upload(key, b'{"n": 2}')
        second = flow.job(key)
        assert (second.status, second.run, second.job_id) == (Status.QUEUED, 2, first.job_id)
        assert second.etag != first.etag
        assert queued_ids(flow) == [first.job_id]
        assert len(flow.jobs()) == 1

    def test_of_the_very_same_content_is_a_run_of_its_own_too(self, flow: Flow) -> None:
        key = flow.new_key("order.json")
        flow.run(key, b"{}")
        flow.upload(key, b"{}")
        assert (flow.job(key).status, flow.job(key).run) == (Status.QUEUED, 2)


class TestDrops:
    """Keys that carry no job id: `incoming/`, and whatever somebody copied into `uploads/` by hand."""

    @pytest.mark.parametrize(
        ("key", "owner", "filename"),
        [
            ("incoming/till-7/2026/order.json", "till-7", "order.json"),
            ("incoming/order.json", "_", "order.json"),
            ("uploads/order.json", "_", "order.json"),
            ("uploads/alice/order.json", "alice", "order.json"),
            ("uploads/alice/not-a-job-id/order.json", "alice", "order.json"),
            ("uploads/Zoë & Co/order.json", "Zo=C3=AB=20=26=20Co", "order.json"),
            # Under incoming/ nothing is presigned, whatever it looks like.
            ("incoming/alice/01936b2e-7c1a-7d3e-8f00-0123456789ab/order.json", "alice", "order.json"),
        ],
    )
    def test_the_owner_is_the_first_folder(self, flow: Flow, key: str, owner: str, filename: str) -> None:
        flow.upload(key, b"{}")
        (job,) = flow.jobs(owner)
        assert (job.key, job.source_key, job.filename) == (key, key, filename)
        assert keys.is_job_id(job.job_id)
        assert job.job_id not in key
        assert queued_ids(flow) == [job.job_id]

    @pytest.mark.parametrize("key", ["incoming/till/order.json", "uploads/bob/é + %.json"])
    def test_the_event_again_and_the_sweep_arrive_at_the_same_job(self, flow: Flow, key: str) -> None:
        event = flow.put(key, b"{}")
        flow.intake(event)
        flow.intake(event)
        (job,) = flow.jobs("till" if "till" in key else "bob")
        flow.let_pass_until_swept()
        assert flow.sweep() == {"queued_again": 1}
        assert queued_ids(flow) == [job.job_id] * 3

    def test_the_sweep_first_and_the_event_late_are_the_same_job_too(self, flow: Flow) -> None:
        event = flow.put("incoming/till/order.json", b"{}")
        flow.let_pass_until_swept()
        assert flow.sweep() == {"entered": 1}
        flow.intake(event)
        (job,) = flow.jobs("till")
        assert job.run == 1

    def test_ids_of_drops_sort_by_the_time_of_their_upload(self, flow: Flow) -> None:
        flow.upload("incoming/till/order.json", b"{}")
        (job,) = flow.jobs("till")
        head = flow.s3.head_object(Bucket=flow.settings.bucket, Key=job.key)
        assert int(job.job_id.replace("-", "")[:12], 16) == int(head["LastModified"].timestamp()) * 1000

    def test_other_content_on_the_same_key_is_another_job(self, flow: Flow) -> None:
        flow.upload("incoming/till/order.json", b"{}")
        flow.upload("incoming/till/order.json", b"[]")
        assert len(flow.jobs("till")) == 2

    def test_the_same_content_on_another_key_or_of_another_owner_is_another_job(self, flow: Flow) -> None:
        for key in ("incoming/a/order.json", "incoming/a/copy.json", "incoming/b/order.json"):
            flow.upload(key, b"{}")
        assert len(flow.jobs("a")) == 2
        assert {job.job_id for job in flow.jobs("a")}.isdisjoint(job.job_id for job in flow.jobs("b"))

    @pytest.mark.parametrize("fate", ["removed", "replaced"])
    def test_an_event_of_what_is_not_there_any_more_is_no_work(self, flow: Flow, fate: str) -> None:
        event = flow.put("incoming/till/order.json", b"{}")
        if fate == "removed":
            flow.s3.delete_object(Bucket=flow.settings.bucket, Key="incoming/till/order.json")
        else:
            flow.put("incoming/till/order.json", b"[]")
        flow.intake(event)
        assert flow.jobs("till") == []
        assert queued_ids(flow) == []

    def test_a_bucket_that_does_not_answer_is_no_reason_to_forget_the_drop(self, flow: Flow) -> None:
        event = flow.put("incoming/till/order.json", b"{}")
        flow.calls.fail(0, "server error")
        with pytest.raises(Unavailable):
            flow.intake(event)
        flow.intake(event)
        assert len(flow.jobs("till")) == 1


NAMES = [
    "with space.json",
    "plus+sign.json",
    "100%.json",
    "%41.json",
    "%2B.json",
    "%25.json",
    "caf\u00e9.json",
    "caf\u00e9 + 50%.json",
    "\U0001f69a.json",
    "a=b&c?d#e;f.json",
    "100%+ \u00e9 \U0001f69a.json",
]


class TestKeys:
    @pytest.mark.parametrize("name", NAMES)
    def test_a_presigned_key_is_decoded_once(self, flow: Flow, name: str) -> None:
        key = flow.new_key(name)
        flow.upload(key, b"{}")
        job = flow.job(key)
        assert (job.key, job.filename) == (key, name)
        flow.consume()
        assert flow.job(key).status is Status.COMPLETED
        assert list(flow.objects()) == [f"processed/_/{job.job_id}/{name}"]

    @pytest.mark.parametrize("name", NAMES)
    def test_a_dropped_key_is_decoded_once(self, flow: Flow, name: str) -> None:
        flow.upload(f"incoming/till/{name}", b"{}")
        (job,) = flow.jobs("till")
        assert (job.key, job.filename) == (f"incoming/till/{name}", name)
        flow.consume()
        (job,) = flow.jobs("till")
        assert job.status is Status.COMPLETED
        assert list(flow.objects()) == [f"processed/till/{job.job_id}/{name}"]

    def test_a_space_may_come_as_plus_or_as_percent_20(self, flow: Flow) -> None:
        key = flow.new_key("a b.json")
        event = flow.put(key, b"{}")
        flow.intake(event, altered(event, key=quote(key)))
        assert flow.job(key).filename == "a b.json"
        assert len(flow.jobs()) == 1

    @pytest.mark.parametrize(
        "key",
        [
            "uploads/",
            "uploads/alice/",
            "incoming/till/",
            "processed/alice/x.json",
            "elsewhere/x.json",
            "x.json",
            "uploadsX/x.json",
        ],
    )
    def test_folder_markers_and_other_prefixes_are_no_work(self, flow: Flow, key: str) -> None:
        flow.upload(key, b"")
        assert flow.calls.made == []

    def test_another_buckets_objects_are_no_work(self, flow: Flow) -> None:
        event = flow.put(flow.new_key("a.json"), b"{}")
        event["Records"][0]["s3"]["bucket"]["name"] = "another"
        flow.intake(event)
        assert flow.calls.made == []


class TestSeveralRecords:
    def test_each_is_entered(self, flow: Flow) -> None:
        names = [flow.new_key(f"{n}.json") for n in range(3)]
        flow.intake(*(flow.put(key, b"{}") for key in names), flow.put("incoming/till/x.json", b"{}"))
        assert len(queued_ids(flow)) == 4
        assert len(flow.jobs()) == 3
        assert len(flow.jobs("till")) == 1

    def test_one_that_fails_stops_no_other_and_all_come_again(self, flow: Flow) -> None:
        names = [flow.new_key(f"{n}.json") for n in range(3)]
        events = [flow.put(key, b"{}") for key in names]
        flow.calls.fail(2, "throttled")  # the ledger, for the second record
        with pytest.raises(Unavailable, match="1 records"):
            flow.intake(*events)
        entered = [flow.job(names[0]), flow.job(names[2])]
        assert sorted(queued_ids(flow)) == sorted(job.job_id for job in entered)
        flow.intake(*events)
        assert {job.run for job in flow.jobs()} == {1}
        assert set(queued_ids(flow)) == {job.job_id for job in flow.jobs()}
        assert len(flow.jobs()) == 3


GOOD_OBJECT = {"key": "incoming/a.json", "eTag": "e", "size": 1, "sequencer": "0A"}
MALFORMED: list[Any] = [
    None,
    7,
    "text",
    [],
    {},
    {"s3": None},
    {"s3": {"object": []}, "eventTime": "2026-01-02T03:04:05.000Z"},
    {"s3": {"object": GOOD_OBJECT}, "eventTime": "2026-01-02T03:04:05.000Z"},
    {"s3": {"object": GOOD_OBJECT, "bucket": "b"}, "eventTime": "2026-01-02T03:04:05.000Z"},
    {"s3": {"object": GOOD_OBJECT, "bucket": {"name": "b"}}},
    {"s3": {"object": GOOD_OBJECT, "bucket": {"name": "b"}}, "eventTime": "yesterday"},
    {"s3": {"object": GOOD_OBJECT, "bucket": {"name": "b"}}, "eventTime": 0},
    *(
        {
            "s3": {"object": GOOD_OBJECT | wrong, "bucket": {"name": "b"}},
            "eventTime": "2026-01-02T03:04:05.000Z",
        }
        for wrong in ({"key": None}, {"key": 7}, {"size": "many"}, {"size": None})
    ),
    *(
        {
            "s3": {
                "object": {k: v for k, v in GOOD_OBJECT.items() if k != missing},
                "bucket": {"name": "b"},
            },
            "eventTime": "2026-01-02T03:04:05.000Z",
        }
        for missing in ("key", "eTag", "size")
    ),
]


class TestWhatIsNoRecord:
    @pytest.mark.parametrize("record", MALFORMED, ids=str)
    def test_it_is_passed_over_and_its_neighbour_is_entered(self, flow: Flow, record: Any) -> None:
        key = flow.new_key("a.json")
        event = flow.put(key, b"{}")
        flow.intake({"Records": [record]}, event)
        assert queued_ids(flow) == [flow.job(key).job_id]

    @pytest.mark.parametrize(
        "event",
        [
            {},
            {"Records": []},
            {
                "Service": "Amazon S3",
                "Event": "s3:TestEvent",
                "Time": "2026-01-02T03:04:05.678Z",
                "Bucket": "waybill-test",
                "RequestId": "5582815E1AEA5ADF",
                "HostId": "8cLeGAmw098X5cv4Zkwcmo8vvZa3eH3eKxsPzbB9wrR",
            },
        ],
    )
    def test_s3s_test_event_and_an_empty_one_are_no_work(self, flow: Flow, event: dict[str, Any]) -> None:
        from chalicelib import intake

        intake.on_objects_created(flow.settings, event)
        assert flow.calls.made == []


def test_a_job_that_could_not_be_read_is_not_taken_for_new(flow: Flow) -> None:
    key = flow.new_key("a.json")
    flow.run(key, b"{}")
    before: Job = flow.job(key)
    clients.dynamodb().meta.events.register(
        "before-call.dynamodb.PutItem", lambda **_: refusal(400, "ProvisionedThroughputExceededException")
    )
    with pytest.raises(Unavailable):
        flow.upload(key, b"[]")
    assert flow.job(key) == before
