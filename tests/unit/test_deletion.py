"""Deleting a job: whatever happens at the same time, and wherever it is cut off, nothing of it is left."""

import contextlib
from collections.abc import Callable
from typing import Any

import pytest

from chalicelib import deletion, keys, retries
from chalicelib.batch import BatchIncomplete
from chalicelib.errors import NotFound
from chalicelib.jobs import Order, Status, timestamp
from chalicelib.settings import Settings
from tests.unit.flow import Flow, Killed, When, upload_at

STEPS = ("UpdateItem", "GetObject", "CopyObject", "PutObject", "Publish", "DeleteObject")


@pytest.fixture
def flow(aws: Settings, monkeypatch: pytest.MonkeyPatch) -> Flow:
    made = Flow(aws, monkeypatch)
    monkeypatch.setattr(deletion, "CHECK_AFTER", 0)  # nobody waits here
    for module in (deletion, retries):
        monkeypatch.setattr(module, "open_ledger", made._open_ledger)
    return made


def job_id_of(flow: Flow, key: str) -> str:
    place = keys.parse(flow.settings, key)
    assert place is not None
    assert place.job_id is not None
    return place.job_id


def delete(flow: Flow, key: str) -> None:
    deletion.delete(flow.settings, keys.NOBODY, job_id_of(flow, key))


def consume_each(flow: Flow) -> None:
    """One message after the other: moto does not keep two conditional writes apart."""
    for record in list(flow.messages()):
        with contextlib.suppress(BatchIncomplete):
            flow.consume([record])


def settle(flow: Flow) -> None:
    """Let everything come that may still come: messages, and the sweep, more than once."""
    for _ in range(3):
        flow.clock.advance(1)
        consume_each(flow)
        flow.let_pass_until_swept()
        flow.sweep()


def assert_gone(flow: Flow, key: str) -> None:
    assert flow.objects() == {}
    assert flow.jobs() == []
    with pytest.raises(NotFound):
        flow.ledger.get(keys.NOBODY, job_id_of(flow, key))


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_deletion_in_the_middle_of_the_work_wins(flow: Flow, when: When, step: str) -> None:
    key = flow.new_key("notes.txt")
    flow.upload(key, b"some text")
    flow.calls.meanwhile(when, step, lambda: delete(flow, key))

    with contextlib.suppress(BatchIncomplete):
        flow.consume()
    assert flow.job(key).status is Status.DELETED
    settle(flow)

    assert_gone(flow, key)


def test_a_worker_that_comes_too_late_takes_back_what_it_wrote(flow: Flow) -> None:
    key = flow.new_key("notes.txt")
    flow.upload(key, b"some text")
    flow.calls.meanwhile("after", "CopyObject", lambda: delete(flow, key))

    flow.consume()

    assert_gone(flow, key)
    assert flow.published() == []


def queued(flow: Flow, key: str) -> None:
    flow.upload(key, b"some text")


def ended(flow: Flow, key: str) -> None:
    flow.run(key, b"some text")


@pytest.mark.parametrize("made", [queued, ended])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_deletion_cut_off_anywhere_leaves_all_or_nothing(
    flow: Flow, when: When, made: Callable[[Flow, str], None]
) -> None:
    """The caller does not ask again, and the functions do the rest."""
    for number in range(30):
        key = flow.new_key("notes.txt")
        made(flow, key)
        flow.calls.kill(when, number)
        with contextlib.suppress(Killed):
            delete(flow, key)
        came = flow.new_process()
        settle(flow)

        job = flow.job(key)
        if job.status is Status.DELETED:
            assert_gone(flow, key)
        else:
            assert job.status is Status.COMPLETED
            assert set(flow.objects()) == {job.key, job.outputs[0]["key"]}
            delete(flow, key)
        if not came:
            break
    assert number > 4


def test_asking_again_does_what_was_left_undone(flow: Flow) -> None:
    key = flow.new_key("notes.txt")
    flow.run(key, b"some text")
    flow.calls.kill("before", 3)
    with pytest.raises(Killed):
        delete(flow, key)
    flow.new_process()
    assert flow.objects() != {}

    delete(flow, key)

    assert_gone(flow, key)


def test_the_tombstone_says_nothing_of_the_file_and_does_not_stay_for_ever(flow: Flow) -> None:
    key = flow.new_key("secret-plans.txt")
    flow.run(key, b"some text", Metadata={"plan": "secret"})

    delete(flow, key)

    tombstone = flow.job(key)
    assert "secret" not in repr(tombstone)
    assert (tombstone.outputs, tombstone.metadata, tombstone.detected_type) == ([], {}, None)
    assert tombstone.expires_at == int(flow.clock()) + 15 * 86_400


@pytest.mark.parametrize("made", [queued, ended])
def test_a_late_event_changes_nothing(flow: Flow, made: Callable[[Flow, str], None]) -> None:
    key = flow.new_key("notes.txt")
    event = flow.put(key, b"some text")
    flow.intake(event)
    if made is ended:
        flow.consume()
    flow.clock.advance(1)
    delete(flow, key)

    flow.intake(event)
    settle(flow)

    assert_gone(flow, key)


def test_an_event_that_was_never_seen_is_late_as_well(flow: Flow) -> None:
    """A second upload, whose event comes after the deletion that took it along."""
    key = flow.new_key("notes.txt")
    flow.upload(key, b"some text")
    event = flow.put(key, b"newer text")
    flow.clock.advance(1)
    delete(flow, key)

    flow.intake(event)
    settle(flow)

    assert_gone(flow, key)


def test_what_is_uploaded_after_that_is_a_new_file(flow: Flow) -> None:
    key = flow.new_key("notes.txt")
    flow.run(key, b"some text")
    delete(flow, key)
    flow.clock.advance(5)

    flow.upload(key, b"some text")
    consume_each(flow)

    job = flow.job(key)
    assert job.status is Status.COMPLETED
    assert flow.content(job.key) == b"some text"


@pytest.mark.parametrize("call", [0, 1, 2])
def test_what_is_uploaded_in_the_middle_of_a_deletion_goes_with_it(flow: Flow, call: int) -> None:
    """Or else there would be a job that has COMPLETED, and no file of it."""
    key = flow.new_key("notes.txt")
    flow.run(key, b"some text")

    def come_again() -> None:
        flow.clock.advance(1)
        flow.run(key, b"newer text")

    for _ in range(call):
        flow.calls.meanwhile("before", "ListObjectsV2", lambda: None)
    flow.calls.meanwhile("before", "ListObjectsV2", come_again)

    delete(flow, key)

    settle(flow)
    assert_gone(flow, key)


def test_of_a_deleted_job_only_the_time_counts(flow: Flow) -> None:
    key = flow.new_key("notes.txt")
    flow.upload(key, b"some text")
    delete(flow, key)
    deleted_at = flow.job(key).updated_at

    before = upload_at(key, etag="new", sequencer="FF", uploaded_at=deleted_at)
    assert flow.ledger.record(before)[1] is Order.OLDER
    after = upload_at(key, etag="new", sequencer="01", uploaded_at=timestamp(flow.clock() + 1))
    assert flow.ledger.record(after)[1] is Order.NEWER


def test_a_deletion_between_read_and_write_of_a_newer_upload_is_not_undone(flow: Flow) -> None:
    key = flow.new_key("notes.txt")
    flow.upload(key, b"some text")
    event: Any = flow.put(key, b"newer text")
    flow.clock.advance(1)
    flow.calls.meanwhile("after", "PutItem", lambda: delete(flow, key))

    flow.intake(event)
    settle(flow)

    assert_gone(flow, key)


def test_the_neighbours_are_left_alone(flow: Flow) -> None:
    mine, others = flow.new_key("a.txt"), flow.new_key("a.txt", owner="alice")
    for key in (mine, others):
        flow.upload(key, b"some text")
    flow.consume()
    before = {key: body for key, body in flow.objects().items() if "/alice/" in key}

    delete(flow, mine)
    with pytest.raises(NotFound):
        deletion.delete(flow.settings, "alice", job_id_of(flow, mine))
    with pytest.raises(NotFound):
        delete(flow, others)

    assert flow.objects() == before != {}
