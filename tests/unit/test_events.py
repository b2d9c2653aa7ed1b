"""The events table: what comes in as data, exactly, and in its latest version."""

import json
import math
import time
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from chalicelib import events, pipeline
from chalicelib.errors import Unavailable
from chalicelib.jobs import Job, Status, queued
from chalicelib.messages import Message
from chalicelib.processors import Event
from chalicelib.settings import Settings
from tests.unit.flow import Flow, upload_at

JOB_ID = "01936b2e-7c1a-7d3e-8f00-0123456789ab"
KEY = f"uploads/_/{JOB_ID}/orders.json"


@pytest.fixture
def flow(aws: Settings, monkeypatch: pytest.MonkeyPatch) -> Flow:
    return Flow(aws, monkeypatch)


def job_at(uploaded_at: str, sequencer: str = "0A", key: str = KEY) -> Job:
    upload = upload_at(key, sequencer=sequencer, uploaded_at=uploaded_at)
    return queued(upload, run=1, created_at=uploaded_at, now=uploaded_at)


def stored(flow: Flow, body: bytes | str, name: str = "orders.json", owner: str = "_") -> dict[str, Any]:
    """The events of an owner, by `pk`, once a file of this content has gone all the way through."""
    key = flow.new_key(name, owner=owner)
    job = flow.run(key, body.encode() if isinstance(body, str) else body)
    assert job.status is Status.COMPLETED, job.error
    return flow.events(owner)


class TestOneFile:
    def test_a_document_is_one_event_under_its_own_id(self, flow: Flow) -> None:
        key = flow.new_key("order.json", owner="alice")
        job = flow.run(key, b'{"id": "o-1", "total": 19.90}')
        assert flow.events("alice") == {
            "o-1": {
                "owner": "alice",
                "pk": "o-1",
                "version": events.version_of(job),
                "jobId": job.job_id,
                "sourceKey": key,
                "uploadedAt": job.uploaded_at,
                "data": {"id": "o-1", "total": Decimal("19.90")},
            }
        }

    @pytest.mark.parametrize(
        "body", ['{"n": 1}', '{"id": null}', '{"id": ""}', '{"id": {}}', "7", '"x"', "true"]
    )
    def test_a_document_without_an_id_is_kept_under_its_key(self, flow: Flow, body: str) -> None:
        key = flow.new_key("order.json")
        flow.run(key, body.encode())
        assert list(flow.events()) == [key]
        assert flow.events()[key]["data"] == json.loads(body)

    def test_the_json_null_is_an_event_like_others(self, flow: Flow) -> None:
        (row,) = stored(flow, "null").values()
        assert "data" in row
        assert row["data"] is None

    @pytest.mark.parametrize(
        ("name", "body"),
        [
            ("orders.json", '[{"id": "a", "n": 1}, {"n": 2}, {"id": 3.0, "n": 3}, null]'),
            ("orders.ndjson", '{"id": "a", "n": 1}\n{"n": 2}\n{"id": 3.0, "n": 3}\nnull\n'),
        ],
    )
    def test_an_array_and_ndjson_are_many_events(self, flow: Flow, name: str, body: str) -> None:
        key = flow.new_key(name)
        flow.run(key, body.encode())
        assert {pk: row["data"] for pk, row in flow.events().items()} == {
            "a": {"id": "a", "n": 1},
            f"{key}#1": {"n": 2},
            "3.0": {"id": 3, "n": 3},
            f"{key}#3": None,
        }

    def test_the_last_of_an_id_within_one_file_wins(self, flow: Flow) -> None:
        body = '[{"id": "a", "n": 1}, {"id": "b", "n": 2}, {"id": "a", "n": 3}]'
        rows = stored(flow, body)
        assert {pk: row["data"]["n"] for pk, row in rows.items()} == {"a": 3, "b": 2}
        assert flow.calls.count("PutItem") == 3  # the ledger's, and one for each id

    def test_an_empty_array_is_no_event(self, flow: Flow) -> None:
        assert stored(flow, "[]") == {}

    def test_more_events_than_writers_all_arrive(self, flow: Flow) -> None:
        count = 3 * events.WRITERS + 1
        rows = stored(flow, json.dumps([{"id": f"e{n}", "n": n} for n in range(count)]))
        assert {pk: row["data"]["n"] for pk, row in rows.items()} == {f"e{n}": n for n in range(count)}

    def test_a_key_as_long_as_s3_takes_still_gives_every_event_one_of_its_own(self, flow: Flow) -> None:
        key = "incoming/till/" + "x" * (1024 - len("incoming/till/.json")) + ".json"
        flow.upload(key, b"[1, 2]")
        flow.consume()
        (job,) = flow.jobs("till")
        assert job.status is Status.COMPLETED
        rows = flow.events("till")
        assert {pk: row["data"] for pk, row in rows.items()} == {f"{job.job_id}#0": 1, f"{job.job_id}#1": 2}
        assert {row["sourceKey"] for row in rows.values()} == {key}


VALUES: list[Any] = [
    "",
    "a\u0000b",
    "\U0001f69a é",
    [],
    {},
    [[]],
    [{}],
    {"a": [None, True, {"b": ""}]},
    {" ": 1, "#": 2},
]


class TestExactness:
    @pytest.mark.parametrize(
        "text",
        [
            "0.1",
            "19.90",
            "-0.0",
            "9007199254740993",
            "12345678901234567890123456789012345678",
            "0.12345678901234567890123456789012345678",
            "1" + "0" * 120,
            "1e-128",
            "9.9999999999999999999999999999999999999e125",
        ],
    )
    def test_a_number_is_kept_to_its_last_digit(self, flow: Flow, text: str) -> None:
        (row,) = stored(flow, f'{{"id": "n", "value": {text}}}').values()
        assert row["data"]["value"] == Decimal(text)

    @pytest.mark.parametrize("value", VALUES, ids=repr)
    def test_every_other_value_is_kept_as_it_is(self, flow: Flow, value: Any) -> None:
        (row,) = stored(flow, json.dumps({"id": "v", "value": value})).values()
        assert row["data"]["value"] == value


BY_REFERENCE = {
    "too large": json.dumps({"id": "x", "text": "é" * 200_000}, ensure_ascii=False),
    "39 digits": '{"id": "x", "n": 123456789012345678901234567890123456789}',
    "below the smallest number": '{"id": "x", "n": 1e-131}',
    "above the largest number": '{"id": "x", "n": 1e126}',
    "40 deep": '{"id": "x", "a": ' + "[" * 40 + "]" * 40 + "}",
    "an empty attribute name": '{"id": "x", "a": {"": 1}}',
    "half a surrogate pair": '{"id": "x", "a": "\\ud83d"}',
}


class TestByReference:
    """What an item cannot hold is kept in S3, to the very byte."""

    @pytest.mark.parametrize("text", BY_REFERENCE.values(), ids=BY_REFERENCE)
    def test_the_item_says_where_it_is(self, flow: Flow, text: str) -> None:
        key = flow.new_key("orders.json")
        job = flow.run(key, f'[{{"id": "inline"}}, {text}]'.encode())
        rows = flow.events()
        reference = f"processed/_/{job.job_id}/outputs/event-1.json"
        assert rows["x"]["dataRef"] == {"bucket": flow.settings.bucket, "key": reference}
        assert "data" not in rows["x"]
        assert rows["inline"]["data"] == {"id": "inline"}
        assert flow.content(reference).decode() == text
        assert [output["key"] for output in job.outputs] == [reference]

    def test_a_later_file_takes_it_back_into_the_item(self, flow: Flow) -> None:
        stored(flow, BY_REFERENCE["39 digits"])
        flow.clock.advance(1)
        row = stored(flow, '{"id": "x", "n": 1}')["x"]
        assert row["data"] == {"id": "x", "n": 1}
        assert "dataRef" not in row


class TestVersions:
    EARLY, LATE = "2026-01-02T12:00:00.000Z", "2026-01-02T12:00:00.001Z"

    def put(self, flow: Flow, job: Job, value: Any) -> None:
        events.store(flow.settings, job, [Event("x", 0, json.dumps(value))], {})

    def test_a_later_file_replaces_what_an_earlier_one_brought(self, flow: Flow) -> None:
        stored(flow, '{"id": "x", "n": 1, "old": true}')
        flow.clock.advance(1)
        assert stored(flow, '{"id": "x", "n": 2}')["x"]["data"] == {"id": "x", "n": 2}

    def test_an_earlier_file_that_is_done_later_replaces_nothing(self, flow: Flow) -> None:
        early, late = flow.new_key("early.json"), flow.new_key("late.json")
        first = flow.put(early, b'[{"id": "x", "n": 1}, {"id": "y", "n": 1}]')
        flow.clock.advance(1)
        flow.run(late, b'{"id": "x", "n": 2}')
        flow.intake(first)
        flow.consume()
        assert flow.job(early).status is Status.COMPLETED
        assert {pk: row["data"]["n"] for pk, row in flow.events().items()} == {"x": 2, "y": 1}

    @pytest.mark.parametrize("order", ["as they came", "the other way round"])
    def test_time_decides_between_files_and_the_sequencer_within_one_key(
        self, flow: Flow, order: str
    ) -> None:
        newest_last = [
            job_at(self.EARLY, "FF"),
            job_at(self.LATE, "0A"),
            job_at(self.LATE, "0A01"),
            job_at(self.LATE, "0B"),
        ]
        jobs = newest_last if order == "as they came" else newest_last[::-1]
        for job in jobs:
            self.put(flow, job, job.uploaded_at + job.sequencer)
        assert flow.events()["x"]["data"] == self.LATE + "0B"

    def test_the_same_file_again_writes_the_same(self, flow: Flow) -> None:
        job = job_at(self.EARLY)
        self.put(flow, job, "first try")
        self.put(flow, job, "second try")
        assert flow.events()["x"]["data"] == "second try"

    def test_owners_ids_never_meet(self, flow: Flow) -> None:
        stored(flow, '{"id": "x", "n": 1}', owner="alice")
        stored(flow, '{"id": "x", "n": 2}', owner="bob")
        assert flow.events("alice")["x"]["data"]["n"] == 1
        assert flow.events("bob")["x"]["data"]["n"] == 2

    def test_a_table_that_does_not_answer_is_an_error_and_not_a_lost_event(self, flow: Flow) -> None:
        flow.calls.fail(0, "throttled")
        with pytest.raises(Exception, match="ThrottlingException"):
            self.put(flow, job_at(self.EARLY), 1)

    def test_a_second_upload_on_the_same_key_replaces_the_events_of_the_first(self, flow: Flow) -> None:
        key = flow.new_key("orders.json")
        flow.run(key, b'{"n": 1}')
        flow.clock.advance(1)
        flow.run(key, b'{"n": 2}')
        assert {pk: row["data"]["n"] for pk, row in flow.events().items()} == {key: 2}


def test_versions_of_jobs_that_differ_in_nothing_but_padding_are_equal() -> None:
    job = job_at(TestVersions.EARLY, "0A")
    assert events.version_of(job) == events.version_of(replace(job, sequencer="0A000"))


class TestTime:
    def test_what_would_take_too_long_is_given_up_and_says_so(self, flow: Flow) -> None:
        many = [Event(f"e{number}", number, "1") for number in range(50)]

        with pytest.raises(Unavailable) as caught:
            events.store(flow.settings, job_at("2026-05-04T10:00:00.000Z"), many, {}, time.monotonic() - 1)

        assert caught.value.code == "out_of_time"
        assert flow.events() == {}

    def test_a_file_that_never_has_the_time_fails_in_the_end_and_says_why(self, flow: Flow) -> None:
        flow.settings = replace(flow.settings, max_attempts=1)
        key = flow.new_key("order.json")
        flow.upload(key, b'{"id": "late"}')
        (record,) = flow.messages()

        pipeline.run(flow.settings, Message.parse(record["body"], flow.settings.bucket), -math.inf)

        job = flow.job(key)
        assert (job.status, (job.error or {})["code"]) == (Status.FAILED, "out_of_time")


def test_what_a_listing_found_is_later_than_what_events_told_of_the_same_second() -> None:
    """A newer upload whose event got lost must not lose to the one before it."""
    told = job_at("2026-05-04T10:00:05.678Z", "0A")
    listed = job_at("2026-05-04T10:00:05.000Z", "")
    next_one = job_at("2026-05-04T10:00:06.000Z", "0B")

    assert events.version_of(told) < events.version_of(listed) < events.version_of(next_one)
