"""The way of one job, from its claim to its end, whatever comes in between.

moto ignores `CopySourceIfMatch`; `flow.Calls` keeps it in S3's place.
"""

import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from chalicelib import consumer, pipeline, sandbox, scratch, storage
from chalicelib.batch import BatchIncomplete
from chalicelib.errors import DecodeFailed, DecodeStalled, NotFound, NoTurn, RetryLater, WaybillError
from chalicelib.filetypes import HEAD_BYTES, FileType
from chalicelib.jobs import Job, Status
from chalicelib.messages import Message
from chalicelib.processors import REGISTRY, Result, Source
from chalicelib.sandbox.pool import Pool
from chalicelib.settings import GiB, Settings
from chalicelib.storage import Original
from tests.unit.flow import Flow

OLD, NEW = b"the old content\n", b"the newer content\n"


@pytest.fixture
def flow(aws: Settings, monkeypatch: pytest.MonkeyPatch) -> Flow:
    return Flow(aws, monkeypatch)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Original]:
    """Every original that gets opened."""
    originals: list[Original] = []

    def open_original(settings: Settings, job: Job) -> Original:
        originals.append(real(settings, job))
        return originals[-1]

    real = storage.open_original
    monkeypatch.setattr(storage, "open_original", open_original)
    return originals


def work_on(flow: Flow, key: str) -> Job:
    """What a message about the present state of the job sets off."""
    job = flow.job(key)
    pipeline.run(flow.settings, Message(job.owner, job.job_id, job.etag))
    return flow.job(key)


def place(flow: Flow, key: str, prefix: str) -> str:
    return storage.final_key(prefix, flow.job(key))


def processing(monkeypatch: pytest.MonkeyPatch, process: Callable[[Source], Result]) -> None:
    """Have text files processed like this."""
    monkeypatch.setitem(REGISTRY, "text", process)


def is_closed(original: Original) -> bool:
    body: Any = original.body
    return bool(body._raw_stream.closed)


def bytes_read(original: Original) -> int:
    body: Any = original.body
    return int(body._amount_read)


def failing_with(error: Exception) -> Callable[[Source], Result]:
    def process(_: Source) -> Result:
        raise error

    return process


def finding(monkeypatch: pytest.MonkeyPatch, metadata: dict[str, str]) -> None:
    """Have S3 give originals these metadata, which the SDK would not send."""
    real = storage._open
    monkeypatch.setattr(storage, "_open", lambda *given: replace(real(*given), metadata=metadata))
    monkeypatch.setattr(storage, "_marked", lambda *_: {})


class TestTheWholeWay:
    def test_text(self, flow: Flow) -> None:
        key = flow.new_key("notes.txt", owner="alice")
        job = flow.run(key, "café\r\n".encode(), ContentType="text/x-notes")
        assert (job.status, job.stage, job.progress, job.attempts) == (
            Status.COMPLETED,
            "finished",
            100,
            1,
        )
        assert (job.content_type, job.detected_type) == ("text/x-notes", "text/plain")
        assert (job.error, job.expires_at) == (None, None)
        assert job.metadata["encoding"] == "utf-8"
        output = f"processed/alice/{job.job_id}/outputs/text.txt"
        assert [o["key"] for o in job.outputs] == [output]
        assert job.key == f"processed/alice/{job.job_id}/notes.txt"
        assert flow.objects() == {job.key: "café\r\n".encode(), output: "café\n".encode()}
        assert flow.published_ids() == [flow.event_id(job)]

    def test_json(self, flow: Flow) -> None:
        job = flow.run(flow.new_key("order.json"), b'{"id": "o-1", "total": 19.90}')
        assert (job.status, job.detected_type, job.outputs) == (Status.COMPLETED, "application/json", [])
        assert list(flow.objects()) == [job.key]
        assert list(flow.events()) == ["o-1"]

    def test_anything_else_is_kept_with_its_checksum(self, flow: Flow) -> None:
        body = b"\x7fELF\x00\x01\x02"
        job = flow.run(flow.new_key("program.txt"), body)
        assert (job.status, job.detected_type) == (Status.COMPLETED, "application/x-elf")
        assert job.metadata == {"sha256": hashlib.sha256(body).hexdigest()}
        assert flow.objects() == {job.key: body}

    def test_a_drop(self, flow: Flow) -> None:
        flow.upload("incoming/till/2026/order.json", b'{"id": "o-1"}')
        flow.consume()
        (job,) = flow.jobs("till")
        assert job.status is Status.COMPLETED
        assert flow.objects() == {f"processed/till/{job.job_id}/order.json": b'{"id": "o-1"}'}
        assert list(flow.events("till")) == ["o-1"]

    def test_the_steps_come_in_the_order_that_a_crash_forgives(self, flow: Flow) -> None:
        key = flow.new_key("order.json")
        flow.upload(key, b'{"id": "o-1", "n": 123456789012345678901234567890123456789}')
        flow.calls.made.clear()
        flow.consume()
        assert flow.calls.made == [
            "UpdateItem",  # claim
            "GetObject",
            "CopyObject",
            "PutObject",  # output
            "PutItem",  # event of the file
            "UpdateItem",  # finish
            "Publish",
            "DeleteObject",
        ]

    def test_retention_gives_the_record_an_end(self, flow: Flow) -> None:
        flow.settings = replace(flow.settings, retention_days=2)
        job = flow.run(flow.new_key("notes.txt"), OLD)
        assert job.expires_at == int(flow.clock()) + 2 * 86_400


class TestDeclared:
    """What was attached to a file with `metadata` is found again in its job."""

    @pytest.mark.parametrize(("body", "status"), [(b'{"id": "o-1"}', "COMPLETED"), (b"{", "REJECTED")])
    def test_it_is_in_the_ended_job_and_in_its_event(self, flow: Flow, body: bytes, status: str) -> None:
        key = flow.new_key("order.json")
        flow.upload(key, body, Metadata={"order": "7", "shop": "two words"})
        assert flow.job(key).view()["declared"] == {}
        flow.consume()
        view = flow.job(key).view()
        (event,) = flow.published()
        assert (view["status"], view["declared"]) == (status, {"order": "7", "shop": "two words"})
        assert event["data"]["declared"] == view["declared"]

    def test_there_is_none_where_nothing_was_attached(self, flow: Flow) -> None:
        assert flow.run(flow.new_key("notes.txt"), OLD).view()["declared"] == {}

    def test_our_own_marks_are_not_shown(self, flow: Flow) -> None:
        sent = {"waybill-size": str(len(OLD)), "waybill-etag": "0", "waybill": "mine", "order": "7"}
        assert flow.run(flow.new_key("notes.txt"), OLD, Metadata=sent).declared == {
            "waybill": "mine",
            "order": "7",
        }

    @pytest.mark.parametrize(
        "found",
        [
            {"name": "=?UTF-8?Q?M=C3=BCller?="},
            {"name": "=?no-charset?B?#?="},
            {"name": "MÃ¼ller", "other": "\x00\x7f\xff"},
            {"name": ""},
            {"größe": "7"},
            {"x" * 1024: "7"},
        ],
    )
    def test_it_is_as_s3_gives_it(
        self, flow: Flow, monkeypatch: pytest.MonkeyPatch, found: dict[str, str]
    ) -> None:
        finding(monkeypatch, found)
        job = flow.run(flow.new_key("notes.txt"), OLD)
        (event,) = flow.published()
        assert (job.status, job.declared) == (Status.COMPLETED, found)
        assert event["data"]["declared"] == found

    def test_a_value_without_a_name_is_left_out(self, flow: Flow, monkeypatch: pytest.MonkeyPatch) -> None:
        finding(monkeypatch, {"": "nameless", "order": "7"})
        job = flow.run(flow.new_key("notes.txt"), OLD)
        assert (job.status, job.declared) == (Status.COMPLETED, {"order": "7"})

    def test_a_new_upload_replaces_it(self, flow: Flow) -> None:
        key = flow.new_key("notes.txt")
        flow.run(key, OLD, Metadata={"order": "7"})
        flow.upload(key, NEW)
        assert flow.job(key).declared == {}
        flow.consume()
        assert (flow.job(key).run, flow.job(key).declared) == (2, {})

    def test_it_is_told_again_from_the_copy_when_the_first_try_was_cut_off_behind_that(
        self, flow: Flow
    ) -> None:
        key = flow.new_key("notes.txt")
        flow.upload(key, OLD, Metadata={"order": "7"})
        storage.copy(
            flow.settings,
            flow.job(key),
            storage.open_original(flow.settings, flow.job(key)),
            place(flow, key, "processed/"),
        )
        flow.s3.delete_object(Bucket=flow.settings.bucket, Key=key)
        flow.consume()
        assert (flow.job(key).status, flow.job(key).declared) == (Status.COMPLETED, {"order": "7"})

    def test_a_failed_job_has_it_as_well_unless_its_file_was_gone(
        self, flow: Flow, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        flow.settings = replace(flow.settings, max_attempts=1)
        processing(monkeypatch, failing_with(OSError("no space left on device")))
        job = flow.run(flow.new_key("notes.txt"), OLD, Metadata={"order": "7"})
        assert (job.status, job.declared) == (Status.FAILED, {"order": "7"})

        key = flow.new_key("notes.txt")
        flow.upload(key, OLD, Metadata={"order": "7"})
        flow.s3.delete_object(Bucket=flow.settings.bucket, Key=key)
        flow.consume()
        assert (flow.job(key).status, flow.job(key).view()["declared"]) == (Status.FAILED, {})


class TestRejected:
    @pytest.mark.parametrize(
        ("declared", "status"), [("4", "COMPLETED"), ("5", "REJECTED"), ("x", "REJECTED")]
    )
    def test_what_came_in_parts_is_as_large_as_was_declared(
        self, flow: Flow, declared: str, status: str
    ) -> None:
        job = flow.run(flow.new_key("notes.txt"), b"four", Metadata={"waybill-size": declared})

        assert job.status == status
        assert (job.error or {}).get("code") == (None if status == "COMPLETED" else "size_mismatch")

    @pytest.mark.parametrize(
        ("name", "body", "code"),
        [
            ("order.json", b'{"id": 1,\n "n": }', "invalid_json"),
            ("order.json", b"\xff\xfe\x00", "broken_encoding"),
            ("notes.txt", b"", "empty_file"),
            ("notes.txt", b"x" * 101, "too_large"),
        ],
    )
    def test_a_file_that_is_not_acceptable_ends_at_once(
        self, flow: Flow, opened: list[Original], name: str, body: bytes, code: str
    ) -> None:
        flow.settings = replace(flow.settings, max_upload_bytes=100)
        key = flow.new_key(name)
        job = flow.run(key, body)
        assert (job.status, job.attempts, job.outputs) == (Status.REJECTED, 1, [])
        assert job.error is not None
        assert job.error["code"] == code
        assert flow.objects() == {place(flow, key, "rejected/"): body}
        assert flow.published_ids() == [flow.event_id(job)]
        assert flow.messages() == []
        assert flow.events() == {}
        assert all(is_closed(original) for original in opened)

    def test_the_uploader_is_told_where_it_broke(self, flow: Flow) -> None:
        job = flow.run(flow.new_key("order.json"), b'{"id": 1,\n "n": }')
        assert job.error is not None
        assert "line 2, column 7" in job.error["message"]
        (event,) = flow.published()
        assert event["data"]["error"] == job.error

    def test_too_large_is_told_without_reading_it(self, flow: Flow, opened: list[Original]) -> None:
        flow.settings = replace(flow.settings, max_upload_bytes=100)
        flow.run(flow.new_key("notes.txt"), b"x" * 101)
        (original,) = opened
        assert bytes_read(original) == 0


class TestAllowed:
    """What the file is decides, and no decoder sees what is not allowed."""

    @pytest.mark.parametrize(
        "only",
        [{"allowed_families": ("image", "pdf")}, {"allowed_types": ("application/json", "image/*")}],
        ids=["families", "types"],
    )
    def test_what_is_not_allowed_reaches_no_decoder(
        self, flow: Flow, monkeypatch: pytest.MonkeyPatch, only: Any
    ) -> None:
        flow.settings = replace(flow.settings, **only)
        monkeypatch.setattr(sandbox, "run", failing_with(AssertionError()))
        key = flow.new_key("photo.jpg")
        job = flow.run(key, OLD, ContentType="image/jpeg")
        assert (job.status, job.detected_type) == (Status.REJECTED, "text/plain")
        assert job.error is not None
        assert job.error["code"] == "type_not_allowed"
        (allowed,) = only.values()
        assert job.error["message"] == f"The file is text/plain; allowed are: {', '.join(allowed)}."
        assert flow.objects() == {place(flow, key, "rejected/"): OLD}

    def test_not_even_where_it_is_too_large_to_be_read(self, flow: Flow) -> None:
        flow.settings = replace(flow.settings, allowed_families=("image",), light_limit_bytes=1)
        assert flow.run(flow.new_key("notes.txt"), OLD).status is Status.REJECTED

    def test_what_is_allowed_is_processed(self, flow: Flow) -> None:
        flow.settings = replace(flow.settings, allowed_families=("text",), allowed_types=("text/*",))
        assert flow.run(flow.new_key("notes.txt"), OLD).outputs

    def test_a_family_without_a_processor_is_kept_with_its_checksum(
        self, flow: Flow, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(pipeline, "detect", lambda *_: FileType("hologram", "hologram/x-3d"))
        job = flow.run(flow.new_key("a.holo"), OLD)
        assert (job.status, job.detected_type) == (Status.COMPLETED, "hologram/x-3d")
        assert job.metadata == {"sha256": hashlib.sha256(OLD).hexdigest()}


class TestLargerThanLight:
    def test_only_its_beginning_is_read(self, flow: Flow, opened: list[Original]) -> None:
        flow.settings = replace(flow.settings, light_limit_bytes=HEAD_BYTES)
        body = b"{" + b" " * HEAD_BYTES
        job = flow.run(flow.new_key("huge.json"), body)
        (original,) = opened
        assert bytes_read(original) == HEAD_BYTES
        assert is_closed(original)
        assert (job.status, job.detected_type) == (Status.COMPLETED, "application/json")
        assert (job.outputs, job.metadata) == ([], {})
        assert flow.objects() == {job.key: body}

    def test_up_to_the_limit_it_is_processed(self, flow: Flow) -> None:
        flow.settings = replace(flow.settings, light_limit_bytes=len(OLD))
        assert flow.run(flow.new_key("notes.txt"), OLD).outputs
        assert not flow.run(flow.new_key("notes.txt"), OLD + b"!").outputs

    def test_what_is_on_disk_at_a_time_is_bounded(self, flow: Flow, monkeypatch: pytest.MonkeyPatch) -> None:
        held: list[int] = []

        def process(source: Source) -> Result:
            held.append(scratch._room()._held)
            return Result(metadata={"size": len(source.read())})

        processing(monkeypatch, process)
        flow.run(flow.new_key("notes.txt"), OLD)
        assert held == [len(OLD)]
        assert scratch._room()._held == 0

    def test_the_original_is_read_once(self, flow: Flow, opened: list[Original]) -> None:
        body = b"x" * (3 * HEAD_BYTES) + b"\n"
        job = flow.run(flow.new_key("notes.txt"), body)
        (original,) = opened
        assert bytes_read(original) == len(body)
        assert job.metadata["characters"] == len(body)
        assert flow.calls.count("GetObject") == 1


@pytest.fixture
def sandboxed(aws: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Flow]:
    """Text files are the names of behaviours, and real children of the sandbox behave so."""
    pool = Pool(2, GiB, "tests.unit.hostile:REGISTRY")
    monkeypatch.setattr("chalicelib.sandbox.pool.shared", lambda _: pool)
    yield Flow(aws, monkeypatch, sandboxed=True)
    pool.close()


class TestInTheSandbox:
    def test_what_is_made_there_arrives(self, sandboxed: Flow) -> None:
        key = sandboxed.new_key("notes.txt")
        job = sandboxed.run(key, b"make")
        folder = f"processed/_/{job.job_id}/outputs/"
        assert sandboxed.objects() == {
            job.key: b"make",
            folder + "small.txt": b"from memory",
            folder + "big.bin": b"from a file",
        }
        assert [(o["name"], o["contentType"], o["size"]) for o in job.outputs] == [
            ("small.txt", "text/plain; charset=utf-8", 11),
            ("big.bin", "application/octet-stream", 11),
        ]
        rows = sandboxed.events()
        assert rows[f"{key}#1"]["dataRef"]["key"] == folder + "big.bin"
        assert rows["a"]["data"] == {"n": Decimal("1.10"), "t": "é\u2028"}

    @pytest.mark.parametrize(
        ("behaviour", "code"),
        [
            ("segfault", "decode_crashed"),
            ("leave", "decode_crashed"),
            ("eat", "decode_out_of_memory"),
            ("link", "decode_crashed"),
        ],
    )
    def test_what_kills_a_decoder_fails_at_once_and_alone(
        self, sandboxed: Flow, behaviour: str, code: str
    ) -> None:
        good, bad = sandboxed.new_key("a.txt"), sandboxed.new_key("b.txt")
        sandboxed.upload(good, b"tell")
        sandboxed.upload(bad, behaviour.encode())
        sandboxed.consume()
        assert sandboxed.job(good).status is Status.COMPLETED
        failed = sandboxed.job(bad)
        assert (failed.status, failed.attempts) == (Status.FAILED, 1)
        assert failed.error is not None
        assert failed.error["code"] == code
        assert place(sandboxed, bad, "failed/") in sandboxed.objects()
        assert sandboxed.event_id(failed) in sandboxed.published_ids()
        assert sandboxed.messages() == []

    def test_a_rejection_is_told_as_the_processor_put_it(self, sandboxed: Flow) -> None:
        job = sandboxed.run(sandboxed.new_key("a.txt"), b"reject")
        assert job.status is Status.REJECTED
        assert job.error == {"code": "broken_line", "message": "Line 3 is no good: mend it."}

    def test_an_unexpected_exception_is_tried_again(self, sandboxed: Flow) -> None:
        key = sandboxed.new_key("a.txt")
        sandboxed.upload(key, b"stumble")
        with pytest.raises(RetryLater):
            work_on(sandboxed, key)
        error = sandboxed.job(key).error
        assert error is not None
        assert error["code"] == "processing_failed"

    def test_ten_that_hang_come_back_in_time_and_only_those_that_were_tried_have_been(
        self, sandboxed: Flow, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Two children, and not even time for a second round: the function's own end must not be met."""
        monkeypatch.setattr(sandbox, "wall_seconds", lambda _: 3.0)
        monkeypatch.setattr(consumer, "LEAST", 1.0)
        sandboxed.settings = replace(sandboxed.settings, max_attempts=2)
        keys = [sandboxed.new_key("a.txt") for _ in range(10)]
        for key in keys:
            sandboxed.upload(key, b"sleep")
        with pytest.raises(BatchIncomplete, match="10 of 10"):
            consumer.consume(sandboxed.settings, {"Records": sandboxed.messages()}, lambda: 0.0)
        jobs = [sandboxed.job(key) for key in keys]
        assert {(job.status, job.lease_until) for job in jobs} == {(Status.PROCESSING, 0)}
        assert sorted(job.attempts for job in jobs) == [0] * 8 + [1] * 2
        assert {job.error["code"] for job in jobs if job.error} == {"decode_timeout"}


class TestStalled:
    @pytest.fixture
    def outcome(self, monkeypatch: pytest.MonkeyPatch) -> Callable[[Exception], None]:
        def set_to(error: Exception) -> None:
            def run(*_: Any, **__: Any) -> Result:
                raise error

            monkeypatch.setattr(sandbox, "run", run)

        return set_to

    def test_a_hang_that_may_be_the_machine_s_is_tried_again_and_fails_in_the_end(
        self, flow: Flow, outcome: Callable[[Exception], None]
    ) -> None:
        flow.settings = replace(flow.settings, max_attempts=2)
        outcome(DecodeStalled("It takes too long."))
        key = flow.new_key("notes.txt")
        flow.upload(key, OLD)
        with pytest.raises(RetryLater):
            work_on(flow, key)
        job = work_on(flow, key)
        assert (job.status, job.attempts) == (Status.FAILED, 2)
        assert job.error == {"code": "decode_timeout", "message": "It takes too long."}

    def test_a_file_that_fails_by_itself_is_not_tried_again(
        self, flow: Flow, outcome: Callable[[Exception], None]
    ) -> None:
        outcome(DecodeFailed("It takes too long.", code="decode_timeout"))
        job = flow.run(flow.new_key("notes.txt"), OLD)
        assert (job.status, job.attempts) == (Status.FAILED, 1)

    def test_a_file_that_had_no_turn_was_not_tried_however_often(
        self, flow: Flow, outcome: Callable[[Exception], None]
    ) -> None:
        key = flow.new_key("notes.txt")
        flow.upload(key, OLD)
        outcome(DecodeStalled("It takes too long."))
        with pytest.raises(RetryLater):
            work_on(flow, key)
        outcome(NoTurn("All were at work."))
        for _ in range(flow.settings.max_attempts + 1):
            with pytest.raises(RetryLater) as caught:
                work_on(flow, key)
            assert caught.value.after == pipeline.NO_TURN
        job = flow.job(key)
        assert (job.status, job.attempts, job.lease_until) == (Status.PROCESSING, 1, 0)
        assert job.error is not None
        assert job.error["code"] == "decode_timeout"

    def test_without_room_on_disk_nothing_is_even_opened(self, flow: Flow, opened: list[Original]) -> None:
        key = flow.new_key("notes.txt")
        flow.upload(key, OLD)
        job = flow.job(key)
        message = Message(job.owner, job.job_id, job.etag)
        with scratch.place(scratch.ROOM), pytest.raises(RetryLater):
            pipeline.run(flow.settings, message, time.monotonic())
        assert opened == []
        assert flow.job(key).attempts == 0
        assert work_on(flow, key).status is Status.COMPLETED


class TestMessagesThatComeLate:
    @pytest.mark.parametrize("body", [b"{}", b"{"], ids=["completed", "rejected"])
    def test_an_ended_job_is_announced_again_and_nothing_else(self, flow: Flow, body: bytes) -> None:
        key = flow.new_key("order.json")
        ended = flow.run(key, body)
        objects, events = flow.objects(), flow.events()
        flow.calls.made.clear()
        flow.clock.advance(1000)
        assert work_on(flow, key) == ended
        assert flow.calls.made == ["UpdateItem", "Publish", "DeleteObject"]
        assert (flow.objects(), flow.events()) == (objects, events)
        first, second = flow.published()
        assert first["id"] == second["id"] == flow.event_id(ended)
        assert first["time"] == second["time"]
        assert len(flow.calls.endings) == 1

    def test_an_ended_jobs_leftover_is_deleted(self, flow: Flow) -> None:
        key = flow.new_key("order.json")
        flow.run(key, b"{}")
        flow.put(key, b"{}")
        work_on(flow, key)
        assert list(flow.objects()) == [place(flow, key, "processed/")]

    def test_an_ended_jobs_newer_upload_is_not_deleted(self, flow: Flow) -> None:
        key = flow.new_key("order.json")
        flow.run(key, b"{}")
        flow.put(key, b"[]")
        work_on(flow, key)
        assert flow.content(key) == b"[]"

    def test_a_superseded_runs_message_does_nothing(self, flow: Flow) -> None:
        key = flow.new_key("order.json")
        flow.upload(key, b"{}")
        late = flow.job(key)
        flow.upload(key, b"[]")
        before = flow.job(key)
        flow.calls.made.clear()
        pipeline.run(flow.settings, Message(late.owner, late.job_id, late.etag))
        assert flow.calls.made == ["UpdateItem"]
        assert flow.job(key) == before

    def test_a_message_without_a_job_does_nothing(self, flow: Flow) -> None:
        pipeline.run(flow.settings, Message("_", "01936b2e-7c1a-7d3e-8f00-0123456789ab", "e1"))
        assert flow.calls.made == ["UpdateItem"]
        assert flow.jobs() == []

    def test_a_job_that_another_worker_holds_is_left_to_it(self, flow: Flow) -> None:
        key = flow.new_key("order.json")
        flow.upload(key, b"{}")
        job = flow.job(key)
        flow.ledger.claim(job.owner, job.job_id, job.etag)
        before = flow.job(key)
        flow.clock.advance(10)
        with pytest.raises(RetryLater) as caught:
            work_on(flow, key)
        assert flow.job(key) == before
        flow.clock.advance(caught.value.after)
        assert work_on(flow, key).status is Status.COMPLETED


class TestFailures:
    def test_a_transient_error_gives_the_lease_back_and_waits_longer_each_time(
        self, flow: Flow, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        processing(monkeypatch, failing_with(OSError("disk /secret/path is full")))
        key = flow.new_key("notes.txt")
        flow.upload(key, OLD)
        waits = []
        for attempt in range(1, flow.settings.max_attempts):
            with pytest.raises(RetryLater) as caught:
                work_on(flow, key)
            waits.append(caught.value.after)
            job = flow.job(key)
            assert (job.status, job.attempts, job.lease_until) == (Status.PROCESSING, attempt, 0)
            assert job.error is not None
            assert job.error["code"] == "processing_failed"
            assert "secret" not in str(job.view())
        assert waits == [2, 4, 8, 16]
        assert flow.published() == []
        assert list(flow.objects()) == [key]

    def test_with_its_tries_used_up_the_job_fails_and_the_world_is_told(
        self, flow: Flow, monkeypatch: pytest.MonkeyPatch, opened: list[Original]
    ) -> None:
        processing(monkeypatch, failing_with(OSError("disk full")))
        key = flow.new_key("notes.txt")
        flow.upload(key, OLD)
        for _ in range(flow.settings.max_attempts - 1):
            with pytest.raises(RetryLater):
                work_on(flow, key)
        job = work_on(flow, key)
        assert (job.status, job.attempts) == (Status.FAILED, flow.settings.max_attempts)
        assert job.error is not None
        assert job.error["code"] == "processing_failed"
        assert flow.objects() == {place(flow, key, "failed/"): OLD}
        (event,) = flow.published()
        assert event["id"] == flow.event_id(job)
        assert event["data"]["error"] == job.error
        assert all(is_closed(original) for original in opened)

    def test_a_transient_error_that_passes_leaves_no_trace(
        self, flow: Flow, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        key = flow.new_key("notes.txt")
        flow.upload(key, OLD)
        with monkeypatch.context() as broken:
            processing(broken, failing_with(OSError("disk full")))
            with pytest.raises(RetryLater):
                work_on(flow, key)
        job = work_on(flow, key)
        assert (job.status, job.attempts, job.error) == (Status.COMPLETED, 2, None)

    def test_a_permanent_error_of_ours_fails_at_once(
        self, flow: Flow, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        processing(monkeypatch, failing_with(WaybillError("Not with this licence.", code="no_licence")))
        key = flow.new_key("notes.txt")
        job = flow.run(key, OLD)
        assert (job.status, job.attempts) == (Status.FAILED, 1)
        assert job.error == {"code": "no_licence", "message": "Not with this licence."}
        assert flow.objects() == {place(flow, key, "failed/"): OLD}
        assert flow.published_ids() == [flow.event_id(job)]

    def test_a_file_that_was_removed_fails_at_once(self, flow: Flow) -> None:
        key = flow.new_key("notes.txt")
        flow.upload(key, OLD)
        flow.s3.delete_object(Bucket=flow.settings.bucket, Key=key)
        job = work_on(flow, key)
        assert (job.status, job.key, job.attempts) == (Status.FAILED, key, 1)
        assert job.error is not None
        assert job.error["code"] == "original_missing"
        assert flow.published_ids() == [flow.event_id(job)]

    def test_a_file_that_comes_back_meanwhile_is_not_swept_away_with_the_failure(self, flow: Flow) -> None:
        key = flow.new_key("notes.txt")
        flow.upload(key, OLD)
        flow.s3.delete_object(Bucket=flow.settings.bucket, Key=key)
        again: list[dict[str, Any]] = []
        flow.calls.meanwhile("after", "Publish", lambda: again.append(flow.put(key, OLD)))
        assert work_on(flow, key).status is Status.FAILED
        assert flow.content(key) == OLD
        flow.intake(*again)
        assert work_on(flow, key).status is Status.COMPLETED

    def test_workers_lost_on_every_attempt_end_with_the_next_claim(self, flow: Flow) -> None:
        key = flow.new_key("notes.txt")
        flow.upload(key, OLD)
        for _ in range(flow.settings.max_attempts):
            job = flow.job(key)
            flow.ledger.claim(job.owner, job.job_id, job.etag)
            flow.clock.advance(flow.settings.lease_seconds + 1)
        job = work_on(flow, key)
        assert (job.status, job.attempts) == (Status.FAILED, flow.settings.max_attempts + 1)
        assert job.error is not None
        assert job.error["code"] == "worker_lost"
        assert flow.objects() == {place(flow, key, "failed/"): OLD}
        assert flow.published_ids() == [flow.event_id(job)]

    def test_a_lost_worker_does_not_hide_the_error_of_the_attempt_before(
        self, flow: Flow, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        flow.settings = replace(flow.settings, max_attempts=2)
        processing(monkeypatch, failing_with(OSError("disk full")))
        key = flow.new_key("notes.txt")
        flow.upload(key, OLD)
        with pytest.raises(RetryLater):
            work_on(flow, key)
        job = flow.job(key)
        flow.ledger.claim(job.owner, job.job_id, job.etag)
        flow.clock.advance(flow.settings.lease_seconds + 1)
        error = work_on(flow, key).error
        assert error is not None
        assert error["code"] == "processing_failed"

    def test_workers_lost_over_a_file_that_is_gone_end_as_well(self, flow: Flow) -> None:
        flow.settings = replace(flow.settings, max_attempts=1)
        key = flow.new_key("notes.txt")
        flow.upload(key, OLD)
        job = flow.job(key)
        flow.ledger.claim(job.owner, job.job_id, job.etag)
        flow.clock.advance(flow.settings.lease_seconds + 1)
        flow.s3.delete_object(Bucket=flow.settings.bucket, Key=key)
        job = work_on(flow, key)
        assert (job.status, job.key) == (Status.FAILED, key)


class TestTheLastAttempt:
    """Where an attempt fails behind the ledger, the job has ended all the same, and must not end twice."""

    @pytest.fixture(autouse=True)
    def _one_attempt(self, flow: Flow) -> None:
        flow.settings = replace(flow.settings, max_attempts=1)

    @pytest.mark.parametrize(
        ("fault", "number"),
        [("answer lost", 5), ("throttled", 6), ("answer lost", 6), ("server error", 7), ("answer lost", 7)],
        ids=["finish", "publish", "publish, answer lost", "delete", "delete, answer lost"],
    )
    def test_it_is_announced_by_the_next_message_and_lies_in_one_place(
        self, flow: Flow, fault: str, number: int
    ) -> None:
        key = flow.new_key("notes.txt")
        flow.upload(key, OLD)
        flow.calls.made.clear()
        flow.calls.fail(number - 1, fault)
        with pytest.raises(RetryLater):
            work_on(flow, key)
        job = work_on(flow, key)
        assert job.status is Status.COMPLETED
        assert set(flow.objects()) == {job.key, f"processed/_/{job.job_id}/outputs/text.txt"}
        assert set(flow.published_ids()) == {flow.event_id(job)}
        assert [status for _, status in flow.calls.endings] == ["COMPLETED"]


class TestAnotherWorker:
    def test_a_late_worker_writes_nothing_into_the_job_and_deletes_nothing(
        self, flow: Flow, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        key = flow.new_key("notes.txt")
        flow.upload(key, OLD)
        quick: list[Job] = []

        def process(source: Source) -> Result:
            if not quick:  # the first worker hangs here until its lease has run out, and a second one is done
                flow.clock.advance(flow.settings.lease_seconds + 1)
                quick.append(flow.job(key))
                quick.append(work_on(flow, key))
            return Result(metadata={"size": len(source.read())})

        processing(monkeypatch, process)
        with pytest.raises(RetryLater):  # its copy finds the file gone; the message will find the job ended
            work_on(flow, key)
        assert flow.job(key) == quick[1]
        assert (quick[1].status, quick[1].attempts) == (Status.COMPLETED, 2)
        assert flow.objects() == {quick[1].key: OLD}
        assert len(flow.published_ids()) == 1

    def test_a_lease_lost_behind_the_copy_is_no_error(self, flow: Flow) -> None:
        key = flow.new_key("notes.txt")
        flow.upload(key, OLD)

        def take_over() -> None:
            flow.clock.advance(flow.settings.lease_seconds + 1)
            job = flow.job(key)
            flow.ledger.claim(job.owner, job.job_id, job.etag)

        flow.calls.meanwhile("after", "CopyObject", take_over)
        assert work_on(flow, key).status is Status.PROCESSING
        assert flow.published() == []
        assert flow.content(key) == OLD


class TestANewerUploadMidway:
    def test_between_open_and_copy_the_run_steps_aside(self, flow: Flow) -> None:
        key = flow.new_key("notes.txt")
        flow.upload(key, OLD)
        newer: list[dict[str, Any]] = []
        flow.calls.meanwhile("before", "CopyObject", lambda: newer.append(flow.put(key, NEW)))
        job = work_on(flow, key)
        assert (job.status, job.lease_until) == (Status.PROCESSING, 0)
        assert flow.objects() == {key: NEW}
        assert flow.published() == []
        flow.intake(*newer)
        job = work_on(flow, key)
        assert (job.status, job.run) == (Status.COMPLETED, 2)
        assert flow.objects() == {job.key: NEW, f"processed/_/{job.job_id}/outputs/text.txt": NEW}
        assert flow.published_ids() == [flow.event_id(job)]

    def test_before_open_the_run_steps_aside(self, flow: Flow) -> None:
        key = flow.new_key("notes.txt")
        flow.upload(key, OLD)
        flow.put(key, NEW)
        job = work_on(flow, key)
        assert (job.status, job.lease_until) == (Status.PROCESSING, 0)
        assert flow.objects() == {key: NEW}
        assert flow.published() == []

    def test_between_copy_and_delete_both_contents_have_their_run(self, flow: Flow) -> None:
        key = flow.new_key("notes.txt")
        flow.upload(key, OLD)
        newer: list[dict[str, Any]] = []
        flow.calls.meanwhile("after", "CopyObject", lambda: newer.append(flow.put(key, NEW)))
        first = work_on(flow, key)
        assert (first.status, first.run) == (Status.COMPLETED, 1)
        assert flow.content(first.key) == OLD
        assert flow.content(key) == NEW
        flow.intake(*newer)
        second = work_on(flow, key)
        assert (second.status, second.run) == (Status.COMPLETED, 2)
        assert flow.objects() == {second.key: NEW, f"processed/_/{second.job_id}/outputs/text.txt": NEW}
        assert flow.published_ids() == [flow.event_id(first), flow.event_id(second)]

    def test_while_it_is_processed_the_newer_runs_outputs_stay(
        self, flow: Flow, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        key = flow.new_key("notes.txt")
        flow.upload(key, OLD)
        real = REGISTRY["text"]

        def process(source: Source) -> Result:
            result = real(source)
            if source.read() == OLD:  # the first run is still at it when the second has come and gone
                flow.clock.advance(1)
                flow.upload(key, NEW)
                work_on(flow, key)
            return result

        processing(monkeypatch, process)
        with pytest.raises(RetryLater):
            work_on(flow, key)
        job = flow.job(key)
        assert (job.status, job.run) == (Status.COMPLETED, 2)
        assert flow.objects() == {job.key: NEW, f"processed/_/{job.job_id}/outputs/text.txt": NEW}
        assert flow.published_ids() == [flow.event_id(job)]

    @pytest.mark.parametrize("moment", ["CopyObject", "UpdateItem", "Publish", "DeleteObject"])
    def test_the_very_same_content_again_is_never_lost(self, flow: Flow, moment: str) -> None:
        key = flow.new_key("notes.txt")
        flow.upload(key, OLD)
        again: list[dict[str, Any]] = []

        def upload_at_that_moment() -> None:
            flow.calls.meanwhile("before", moment, lambda: again.append(flow.put(key, OLD)))

        flow.calls.meanwhile("after", "GetObject", upload_at_that_moment)
        work_on(flow, key)
        assert flow.objects("processed/")[place(flow, key, "processed/")] == OLD
        flow.intake(*again)
        job = work_on(flow, key)
        assert (job.status, job.run) == (Status.COMPLETED, 2)
        assert flow.objects() == {job.key: OLD, f"processed/_/{job.job_id}/outputs/text.txt": OLD}
        assert flow.published_ids()[-1] == flow.event_id(job)

    def test_content_that_failed_and_comes_again_is_found_where_it_was_set_aside(
        self, flow: Flow, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        key = flow.new_key("notes.txt")
        again: list[dict[str, Any]] = []
        # The second upload comes right before the first one's object is deleted, and goes with it.
        flow.calls.meanwhile("before", "DeleteObject", lambda: again.append(flow.put(key, OLD)))
        with monkeypatch.context() as broken:
            processing(broken, failing_with(WaybillError("Not yet.")))
            assert flow.run(key, OLD).status is Status.FAILED
        flow.intake(*again)
        job = work_on(flow, key)
        assert (job.status, job.run) == (Status.COMPLETED, 2)
        assert flow.content(job.key) == OLD


class TestADropThatIsReplaced:
    """Its key carries no job id: the newer upload is a job of its own."""

    KEY = "incoming/till/latest.json"

    def both(self, flow: Flow, moment: str | None) -> tuple[Job, Job]:
        flow.upload(self.KEY, b'{"id": "a"}')
        if moment is None:
            flow.upload(self.KEY, b'{"id": "b", "n": 2}')
        else:
            flow.calls.meanwhile("before", moment, lambda: flow.upload(self.KEY, b'{"id": "b", "n": 2}'))
        while flow.messages():
            flow.consume()
        older, newer = sorted(flow.jobs("till"), key=lambda job: job.size)
        return older, newer

    @pytest.mark.parametrize("moment", [None, "GetObject", "CopyObject"])
    def test_before_it_was_set_aside_its_job_ends_without_it(self, flow: Flow, moment: str | None) -> None:
        older, newer = self.both(flow, moment)
        assert (older.status, older.key) == (Status.FAILED, self.KEY)
        assert older.error is not None
        assert older.error["code"] == "superseded"
        assert newer.status is Status.COMPLETED
        assert flow.objects() == {newer.key: b'{"id": "b", "n": 2}'}
        assert list(flow.events("till")) == ["b"]
        assert sorted(flow.published_ids()) == sorted([flow.event_id(older), flow.event_id(newer)])

    @pytest.mark.parametrize("moment", ["Publish", "DeleteObject"])
    def test_behind_that_both_are_completed(self, flow: Flow, moment: str) -> None:
        older, newer = self.both(flow, moment)
        assert (older.status, newer.status) == (Status.COMPLETED, Status.COMPLETED)
        assert flow.objects() == {older.key: b'{"id": "a"}', newer.key: b'{"id": "b", "n": 2}'}

    def test_in_other_hands_by_then_it_is_theirs_to_end(self, flow: Flow) -> None:
        flow.upload(self.KEY, b'{"id": "a"}')
        (job,) = flow.jobs("till")

        def replaced_and_taken_over() -> None:
            flow.put(self.KEY, b"[]")
            flow.clock.advance(flow.settings.lease_seconds + 1)
            flow.ledger.claim(job.owner, job.job_id, job.etag)

        flow.calls.meanwhile("before", "CopyObject", replaced_and_taken_over)
        flow.consume()
        (job,) = flow.jobs("till")
        assert (job.status, job.attempts) == (Status.PROCESSING, 2)
        assert flow.published() == []

    def test_a_crash_behind_the_copy_loses_it_not(self, flow: Flow) -> None:
        flow.upload(self.KEY, b'{"id": "a"}')
        (job,) = flow.jobs("till")
        storage.copy(
            flow.settings,
            job,
            storage.open_original(flow.settings, job),
            storage.final_key("processed/", job),
        )
        flow.put(self.KEY, b"[]")
        flow.consume()
        (job,) = flow.jobs("till")
        assert job.status is Status.COMPLETED
        assert flow.content(job.key) == b'{"id": "a"}'
        assert flow.content(self.KEY) == b"[]"


def test_a_missing_file_is_no_reason_to_try_again() -> None:
    assert not pipeline.may_pass(NotFound("gone"))
    assert not pipeline.may_pass(WaybillError("no"))
    assert pipeline.may_pass(RetryLater("later", after=1))
    assert pipeline.may_pass(OSError("disk full"))
