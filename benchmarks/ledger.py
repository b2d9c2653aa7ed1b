"""`GET /jobs?limit=50`, of an owner with very many jobs beside one with few.

What is measured is this side: CPU from the question to the answer's JSON, and how many items were read for
it. The embedded AWS goes through all items of a partition for each query, where DynamoDB goes straight to the
first one of a page: its time says nothing of AWS, and is only reported.
"""

import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from benchmarks import cloud
from benchmarks.bench import Bench
from benchmarks.cloud import Cloud
from benchmarks.comparison import CPU, Comparison, Rounds, by_turns
from chalicelib import clients, jobs, keys, listings
from chalicelib.jobs import Job, Status
from chalicelib.jsontext import to_json

OWNERS = {"many": 100_000, "few": 100}
QUERY = {"limit": "50"}
ROUNDS = 9
WRITERS, AT_ONCE = 4, 25


def _compare(bench: Bench) -> Rounds:
    with cloud.opened(bench) as there:
        for owner, count in OWNERS.items():
            _fill(there, owner, count)
        waited: dict[str, list[float]] = {owner: [] for owner in OWNERS}
        read: dict[str, int] = {}

        def note(owner: str, parsed: dict[str, Any], **_: Any) -> None:
            read[owner] += parsed["ScannedCount"]

        def ask(owner: str) -> float:
            read[owner] = 0
            heard = partial(note, owner)
            events = clients.dynamodb().meta.events
            events.register("after-call.dynamodb.Query", heard, unique_id="benchmark")
            cpu_begun, begun = time.thread_time(), time.perf_counter()
            answer = listings.page(there.settings, owner, QUERY)
            to_json(answer)
            spent = time.thread_time() - cpu_begun
            waited[owner].append(time.perf_counter() - begun)
            events.unregister("after-call.dynamodb.Query", unique_id="benchmark")
            assert len(answer["jobs"]) == int(QUERY["limit"])
            return spent * 1000

        rounds = by_turns(bench, partial(ask, "many"), partial(ask, "few"), rounds=ROUNDS)
        many, few = (min(waited[owner]) * 1000 for owner in OWNERS)
    note_of = (
        f"items read: {read['many']} and {read['few']}; by the clock, with the embedded AWS, which goes "
        f"through the whole partition: {many:.0f} and {few:.0f} ms"
    )
    return Rounds(rounds.ours, rounds.theirs, note_of)


def _fill(there: Cloud, owner: str, count: int) -> None:
    """Ended jobs, as a busy owner has them."""
    dynamodb = there.stack.client("dynamodb")
    table = there.settings.jobs_table

    one = jobs.to_item(_job(owner))

    def put(first: int) -> None:
        ids = [keys.new_job_id() for _ in range(min(AT_ONCE, count - first))]
        puts = [{"PutRequest": {"Item": one | {"jobId": {"S": job_id}}}} for job_id in ids]
        dynamodb.batch_write_item(RequestItems={table: puts})

    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(put, range(0, count, AT_ONCE)))


def _job(owner: str) -> Job:
    job_id, moment = keys.new_job_id(), "2026-11-21T10:00:00.000Z"
    folder = f"processed/{owner}/{job_id}"
    return Job(
        owner=owner,
        job_id=job_id,
        status=Status.COMPLETED,
        run=1,
        key=f"{folder}/holiday.jpg",
        source_key=f"uploads/{owner}/{job_id}/holiday.jpg",
        filename="holiday.jpg",
        etag="9b2cf535f27731c974343645a3985328",
        size=2_191_958,
        uploaded_at=moment,
        created_at=moment,
        updated_at=moment,
        attempts=1,
        stage="finished",
        progress=100,
        content_type="image/jpeg",
        detected_type="image/jpeg",
        outputs=[
            {"name": name, "contentType": kind, "size": size, "key": f"{folder}/outputs/{name}"}
            for name, kind, size in (
                ("thumbnail.webp", "image/webp", 27_680),
                ("preview.jpg", "image/jpeg", 466_075),
            )
        ],
        metadata={"width": 4000, "height": 3000, "format": "jpeg", "frames": 1, "dominantColor": "#6b5f7a"},
        started_at=moment,
        finished_at=moment,
    )


COMPARISONS = (
    Comparison(
        "ledger_list",
        ours="GET /jobs?limit=50 of an owner with 100,000 jobs",
        theirs="of one with 100",
        unit=CPU,
        compare=_compare,
        goal="≤ 1.2",
    ),
)
