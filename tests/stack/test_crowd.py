"""Many files at once, and workers killed among them: every one ends, and ends once."""

import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ops.stack import LocalStack
from tests.stack.user import ENDED, User, eventually, http_call, subscribed

FILES = 300


def ledger_of(user: User, job_ids: set[str]) -> dict[str, Any]:
    return {i["jobId"]["S"]: i for i in user.items("JobsTable") if i["jobId"]["S"] in job_ids}


def open_jobs(user: User, job_ids: set[str]) -> int:
    found = ledger_of(user, job_ids)
    return len(job_ids) - sum(1 for item in found.values() if item["status"]["S"] in ENDED)


def check_all_ended_once(user: User, job_ids: set[str], events: list[Any]) -> None:
    ledger = ledger_of(user, job_ids)
    assert Counter(item["status"]["S"] for item in ledger.values()) == {"COMPLETED": len(job_ids)}
    assert {item["run"]["N"] for item in ledger.values()} == {"1"}
    originals = Counter(key.split("/")[2] for key in user.keys("processed/") if "/outputs/" not in key)
    assert {job_id: originals[job_id] for job_id in job_ids} == dict.fromkeys(job_ids, 1)
    eventually(
        lambda: not [key for key in user.keys("uploads/") if key.split("/")[2] in job_ids],
        "nothing is left under uploads/",
    )
    published = {event["id"] for event in events if event["subject"] in job_ids}
    assert published == {f"{job_id}-completed-1" for job_id in job_ids}


def test_three_hundred_files_at_once_all_end_once(stack: LocalStack, figure: Callable[[str], None]) -> None:
    user = User(stack)
    signed = [user.presign(filename=f"{n}.txt") for n in range(FILES)]
    with subscribed(stack, "crowd") as take:
        began = time.monotonic()
        with ThreadPoolExecutor(8) as pool:
            puts = pool.map(
                lambda one: http_call("PUT", one["uploadUrl"], one["jobId"].encode()).status, signed
            )
            assert set(puts) == {200}
        job_ids = {one["jobId"] for one in signed}
        eventually(lambda: open_jobs(user, job_ids) == 0, "all jobs ended", patience=120)
        elapsed = time.monotonic() - began
        events = take()

    rate = FILES / elapsed
    figure(f"{FILES} files at once: {elapsed:.1f} s from the first PUT to the last COMPLETED, {rate:.0f}/s")
    check_all_ended_once(user, job_ids, events)


def consumers(stack: LocalStack) -> list[int]:
    """The processes in which the embedded AWS runs the consumer now: those with decoders for children."""
    commands, parents = {}, {}
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            commands[int(process.name)] = (process / "cmdline").read_text().split("\0")
            status = (process / "stat").read_text().rpartition(")")[2].split()
            parents[int(process.name)] = int(status[1])
    decoders = [pid for pid, command in commands.items() if "chalicelib.sandbox.inside" in command]
    place = f"{stack.state_dir}/aws/tmp/ministack-lambda-"
    return [
        pid
        for pid in {parents.get(decoder, 0) for decoder in decoders}
        if any(word.startswith(place) for word in commands.get(pid, []))
    ]


def kill(pids: Iterable[int]) -> int:
    """How many of them lived to be killed."""
    killed = 0
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            killed += 1
    return killed


@contextmanager
def impatient(stack: LocalStack) -> Iterator[None]:
    """Short leases and a short visibility timeout: a killed worker's work comes back within seconds."""
    functions, sqs = stack.client("lambda"), stack.client("sqs")
    queue = stack.outputs["QueueUrl"]
    name = "waybill-local-consume"
    environment = functions.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
    visibility = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["VisibilityTimeout"])["Attributes"]
    functions.update_function_configuration(
        FunctionName=name, Environment={"Variables": environment | {"LEASE_SECONDS": "5"}}
    )
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"VisibilityTimeout": "6"})
    try:
        yield
    finally:
        sqs.set_queue_attributes(QueueUrl=queue, Attributes=visibility)
        functions.update_function_configuration(FunctionName=name, Environment={"Variables": environment})


def test_workers_killed_in_the_middle_of_their_batches_lose_nothing(stack: LocalStack) -> None:
    user = User(stack)
    user.ended(user.upload(b"a warm worker to begin with")["jobId"])
    job_ids: set[str] = set()
    kills = 0
    with subscribed(stack, "killed") as take, impatient(stack):
        while kills < 3 and len(job_ids) < 300:
            job_ids.update(user.upload(b"survivor %d" % n, filename=f"{n}.txt")["jobId"] for n in range(20))
            # On a busy machine the worker may be through before anybody has looked: then with more of them.
            eventually(lambda: consumers(stack) or not open_jobs(user, job_ids), "a worker is running")
            kills += kill(consumers(stack))
        eventually(lambda: open_jobs(user, job_ids) == 0, "all jobs ended", patience=120)
        # A worker that is killed behind the ledger leaves the announcement to whoever gets its message next.
        events: list[Any] = []

        def all_announced() -> bool:
            events.extend(take())
            return {event["subject"] for event in events} >= job_ids

        eventually(all_announced, "all ends are announced")

    assert kills > 0
    check_all_ended_once(user, job_ids, events)
