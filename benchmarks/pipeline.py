"""The whole way of a file on the local stack, beside S3 → function → queue → function, doing nothing.

Both run on the same embedded AWS, which is one Python process: its time is in every figure here, and AWS is
quicker at most of what it does. The files are a few words of text, put by the same client.
"""

import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from statistics import median
from typing import Any

from benchmarks import chain, cpu
from benchmarks.bench import Bench
from benchmarks.chain import Chain
from benchmarks.comparison import WALL, Comparison, Rounds, by_turns
from chalicelib import keys
from ops.stack import LocalStack

FILES = 250
"""Of a round, four of which make a thousand."""
RATE_ROUNDS = 4
LATENCY_ROUNDS = 30
PUTTERS = 8
PATIENCE = 120.0
LOOK_EVERY = 0.004

BODY = b"A delivery of forty crates, signed for at the quay.\n" * 20


def stack_of(bench: Bench) -> LocalStack:
    return bench.shared("stack", partial(LocalStack, state_dir=bench.scratch / "stack"))


def chain_of(bench: Bench) -> Chain:
    return bench.shared("chain", partial(chain.deployed, stack_of(bench), bench.scratch))


class Ours:
    """Waybill: a file put under `uploads/`, and the job that the ledger then has."""

    def __init__(self, stack: LocalStack) -> None:
        self.bucket: str = stack.outputs["BucketName"]
        self._table: str = stack.outputs["JobsTable"]
        self._dynamodb = stack.client("dynamodb")

    def new_key(self) -> str:
        return f"uploads/{keys.NOBODY}/{keys.new_job_id()}/words.txt"

    def has_ended(self, key: str) -> bool:
        owner, job_id = key.split("/")[1:3]
        item: Any = self._dynamodb.get_item(
            TableName=self._table,
            Key={"owner": {"S": owner}, "jobId": {"S": job_id}},
            ProjectionExpression="#status",
            ExpressionAttributeNames={"#status": "status"},
            ConsistentRead=True,
        )
        return bool(item.get("Item", {}).get("status", {}).get("S") == "COMPLETED")


class Theirs:
    """The chain: a file put into its bucket, and what its second function has noted."""

    def __init__(self, chain: Chain) -> None:
        self.bucket = chain.bucket
        self._chain = chain

    def new_key(self) -> str:
        return f"{uuid.uuid4()}.txt"

    def has_ended(self, key: str) -> bool:
        return key in self._chain.ended()


def _latency(stack: LocalStack, way: Ours | Theirs) -> float:
    """From the end of the PUT to the end of the way, in milliseconds."""
    key = way.new_key()
    stack.client("s3").put_object(Bucket=way.bucket, Key=key, Body=BODY)
    begun = time.perf_counter()
    _wait(lambda: way.has_ended(key))
    return (time.perf_counter() - begun) * 1000


def _compare_latency(bench: Bench) -> Rounds:
    stack = stack_of(bench)
    ours, theirs = Ours(stack), Theirs(chain_of(bench))
    return by_turns(
        bench,
        partial(_latency, stack, ours),
        partial(_latency, stack, theirs),
        rounds=LATENCY_ROUNDS,
        warm_up=5,
    )


def _rate(stack: LocalStack, way: Ours | Theirs) -> float:
    """Files a second, from the first PUT to the end of the last file's way."""
    put = partial(stack.client("s3").put_object, Bucket=way.bucket, Body=BODY)
    names = [way.new_key() for _ in range(FILES)]
    begun = time.perf_counter()
    with ThreadPoolExecutor(PUTTERS) as pool:
        list(pool.map(lambda key: put(Key=key), names))
    open_keys = list(names)

    def all_ended() -> bool:
        # The last ones that were put mostly end last: one that is open costs one look.
        while open_keys and way.has_ended(open_keys[-1]):
            open_keys.pop()
        return not open_keys

    _wait(all_ended, every=0.1)
    return FILES / (time.perf_counter() - begun)


def _compare_rate(bench: Bench) -> Rounds:
    stack = stack_of(bench)
    ours, theirs = Ours(stack), Theirs(chain_of(bench))
    of_aws: dict[Ours | Theirs, list[float]] = {ours: [], theirs: []}

    def measure(way: Ours | Theirs) -> float:
        before = cpu.spent_by(stack.aws_pid)
        rate = _rate(stack, way)
        of_aws[way].append((cpu.spent_by(stack.aws_pid) - before) / FILES)
        return rate

    rounds = by_turns(bench, partial(measure, ours), partial(measure, theirs), rounds=RATE_ROUNDS)
    note = (
        f"the embedded AWS alone is busy for {median(of_aws[ours]):.0f} ms of CPU with each file of ours, "
        f"and for {median(of_aws[theirs]):.1f} ms with one of the chain's"
    )
    return Rounds(rounds.ours, rounds.theirs, note)


def _wait(look: Callable[[], bool], every: float = LOOK_EVERY) -> None:
    """
    Raises:
        TimeoutError: after `PATIENCE` seconds.
    """
    deadline = time.monotonic() + PATIENCE
    while not look():
        if time.monotonic() > deadline:
            raise TimeoutError(f"The files have not come to their end within {PATIENCE:.0f} s.")
        time.sleep(every)


COMPARISONS = (
    Comparison(
        "pipeline_latency",
        ours="from the end of the PUT to COMPLETED, warm",
        theirs="S3 → function → queue → function, doing nothing",
        unit=WALL,
        compare=_compare_latency,
        goal="≤ 2",
    ),
    Comparison(
        "pipeline_rate",
        ours="1,000 small files, 250 at once, to the last COMPLETED",
        theirs="the same files through the chain that does nothing",
        unit="files per s",
        compare=_compare_rate,
        goal="≥ 0.5",
    ),
)
