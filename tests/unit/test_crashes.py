"""The crash sweep: die before or behind every single AWS call, and come to the same end all the same.

A file is sent on its way again and again: the first time it is cut off at the first call, then at the second,
and so on until it gets through. After each cut AWS does what it does: events and messages come again, leases
run out, the sweep comes round. Then everything must be as if nothing had happened. Faults are swept likewise:
the call fails, for good as far as the SDK is concerned, and the process lives on.

What moto cannot show: `CopySourceIfMatch`, which `flow.Calls` keeps in S3's place.
"""

import itertools
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import pytest

from chalicelib import consumer, events, keys, outputs, storage
from chalicelib.jobs import Job, Status
from chalicelib.settings import Settings
from tests.unit.flow import Flow, Killed

BIG = "1" * 39  # one digit more than an item's number can have
NOT_JSON = b'{"id": '


@dataclass
class Journey:
    """One file of an owner of its own, how it travels, and how it has to end."""

    key: str
    body: bytes
    steps: list[Callable[[], object]]
    """What is spoilt; in the end all of it is done once more."""
    status: Status = Status.COMPLETED
    outputs: dict[str, bytes] | None = None
    rows: dict[str, Any] | None = None
    """The data of the events that come of it; True stands for a reference."""


def json_file(flow: Flow, number: int) -> Journey:
    a, b = f"{number}-a", f"{number}-b"
    big = f'{{"id": "{b}", "big": {BIG}}}'
    body = f'[{{"id": "{a}", "n": 1}}, {big}]'.encode()
    key = flow.new_key("order é + %.json", owner=f"o{number}")
    return Journey(
        key,
        body,
        [arriving(flow, key, body), flow.consume],
        outputs={"event-1.json": big.encode()},
        rows={a: {"id": a, "n": 1}, b: True},
    )


def text_file(flow: Flow, number: int) -> Journey:
    key, body = flow.new_key("notes.txt", owner=f"o{number}"), b"one\r\ntwo\r\n"
    return Journey(key, body, [arriving(flow, key, body), flow.consume], outputs={"text.txt": b"one\ntwo\n"})


def broken_file(flow: Flow, number: int) -> Journey:
    key = flow.new_key("order.json", owner=f"o{number}")
    return Journey(key, NOT_JSON, [arriving(flow, key, NOT_JSON), flow.consume], Status.REJECTED)


def drop(flow: Flow, number: int) -> Journey:
    key, body = f"incoming/o{number}/order.json", b'{"n": 1}'
    return Journey(key, body, [arriving(flow, key, body), flow.consume], rows={key: {"n": 1}})


def beside_a_poison_message(flow: Flow, number: int) -> Journey:
    """The batch fails for its neighbour's sake, so that the handler deletes and returns by itself."""
    journey = text_file(flow, number)
    journey.steps.insert(1, lambda: flow.send("poison"))
    return journey


def without_its_event(flow: Flow, number: int) -> Journey:
    journey = text_file(flow, number)
    flow.put(journey.key, journey.body)
    flow.let_pass_until_swept()
    journey.steps = [flow.sweep, flow.consume]
    return journey


def given_up(flow: Flow, number: int) -> Journey:
    """Every worker was lost: the sweep has it ended."""
    journey = text_file(flow, number)
    flow.upload(journey.key, journey.body)
    flow.messages().clear()
    job = flow.job(journey.key)
    for _ in range(flow.settings.max_attempts):
        flow.ledger.claim(job.owner, job.job_id, job.etag)
        flow.let_pass_until_swept()
    return replace(journey, steps=[flow.sweep, flow.consume], status=Status.FAILED, outputs=None)


def arriving(flow: Flow, key: str, body: bytes) -> Callable[[], None]:
    event = flow.put(key, body)
    return lambda: flow.intake(event)


SPOILERS: dict[str, Callable[[Flow, int], None]] = {
    "dies before": lambda flow, number: flow.calls.kill("before", number),
    "dies behind": lambda flow, number: flow.calls.kill("after", number),
    "server error": lambda flow, number: flow.calls.fail(number, "server error"),
    "answer lost": lambda flow, number: flow.calls.fail(number, "answer lost"),
}


@pytest.fixture
def flow(aws: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Flow]:
    """One thread at a time, so that the calls of all journeys come in the same order."""
    monkeypatch.setattr(consumer, "BATCH", 1)
    monkeypatch.setattr(events, "WRITERS", 1)
    monkeypatch.setattr(outputs, "WRITERS", 1)
    flow = Flow(aws, monkeypatch)
    flow.new_process()
    yield flow
    flow.new_process()


def redelivery(flow: Flow, journey: Journey) -> None:
    """Events and messages come again, and nothing else has to."""
    flow.let_pass_until_swept()
    for step in journey.steps:
        with suppress(Exception):
            step()
    empty_the_queue(flow)


def sweep_alone(flow: Flow, _journey: Journey) -> None:
    """Events and messages are lost for good."""
    flow.messages().clear()
    for _ in range(2):
        flow.let_pass_until_swept()
        flow.sweep()
        empty_the_queue(flow)


def empty_the_queue(flow: Flow) -> None:
    for _ in range(5):
        flow.clock.advance(flow.settings.lease_seconds + 1)
        messages = flow.messages()
        messages[:] = [record for record in messages if record["body"] != "poison"]  # to the dead letters
        if not messages:
            return
        with suppress(Exception):
            flow.consume()
    pytest.fail("The queue does not get empty.")


Recovery = Callable[[Flow, Journey], None]

EVERYTHING: list[tuple[str, Recovery]] = [
    ("dies before", redelivery),
    ("dies before", sweep_alone),
    ("dies behind", redelivery),
    ("dies behind", sweep_alone),
    ("server error", redelivery),
    ("answer lost", redelivery),
]
ONE_OF_EACH: list[tuple[str, Recovery]] = [
    ("dies before", sweep_alone),
    ("dies behind", redelivery),
    ("server error", redelivery),
]
SWEEPS = [
    *itertools.product([json_file, beside_a_poison_message], EVERYTHING),
    *itertools.product([broken_file, drop, without_its_event, given_up], ONE_OF_EACH),
]


@pytest.mark.parametrize(
    ("journey_of", "spoiler", "recovery"),
    [(journey_of, *how) for journey_of, how in SWEEPS],
    ids=lambda part: part if isinstance(part, str) else part.__name__,
)
def test_whatever_call_is_spoilt_it_all_ends_as_if_nothing_had_happened(
    flow: Flow,
    journey_of: Callable[[Flow, int], Journey],
    spoiler: str,
    recovery: Recovery,
) -> None:
    spoilt: list[str] = []
    for number in itertools.count():
        journey = journey_of(flow, number)
        begin = len(flow.calls.made)
        SPOILERS[spoiler](flow, number)
        came = False
        for step in journey.steps:
            with suppress(Exception, Killed):
                step()
            if not came and flow.calls.triggered:
                came = flow.new_process()
        calls = flow.calls.made[begin:]
        flow.new_process()
        recovery(flow, journey)
        try:
            check(flow, journey)
        except AssertionError as error:
            error.add_note(f"{spoiler}: call {number} of {calls}")
            raise
        if not came:
            break
        spoilt.append(calls[number])
    assert spoilt == calls, "not every call of the undisturbed journey has been spoilt"
    assert len(spoilt) >= 5


def check(flow: Flow, journey: Journey) -> None:
    job = ended_job(flow, journey)
    assert (job.status, job.run) == (journey.status, 1)
    assert [end for end in flow.calls.endings if end[0] == job.job_id] == [(job.job_id, job.status)]
    check_objects(flow, journey, job)
    assert flow.published_ids(job.job_id), "the end was announced"
    assert set(flow.published_ids(job.job_id)) == {flow.event_id(job)}
    rows = {
        pk: row.get("data", "dataRef" in row)
        for pk, row in flow.events(job.owner).items()
        if row["jobId"] == job.job_id
    }
    assert rows == (journey.rows or {})


def ended_job(flow: Flow, journey: Journey) -> Job:
    place = keys.parse(flow.settings, journey.key)
    assert place is not None
    (job,) = [job for job in flow.jobs(place.owner) if job.source_key == journey.key]
    return job


def check_objects(flow: Flow, journey: Journey, job: Job) -> None:
    prefix = f"{job.status.lower()}/".replace("completed/", "processed/")
    expected = {storage.final_key(prefix, job): journey.body}
    for name, body in (journey.outputs or {}).items():
        expected[f"processed/{job.owner}/{job.job_id}/outputs/{name}"] = body
    there = flow.object_keys()
    assert {key: flow.content(key) for key in there if job.job_id in key} == expected
    assert [key for key in there if key.startswith(("uploads/", "incoming/"))] == []
    for key in there:  # out of the way of the next journey
        flow.s3.delete_object(Bucket=flow.settings.bucket, Key=key)
