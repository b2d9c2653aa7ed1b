"""The whole way of a file on the local stack, beside S3 → function → queue → function, doing nothing.

Both run on the same embedded AWS, which is one Python process: its time is in every figure here, and AWS is
quicker at most of what it does. The files are a few words of text, put by the same client.
"""

import json
import time
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from statistics import median

from benchmarks import chain, cpu
from benchmarks.bench import Bench
from benchmarks.chain import Chain
from benchmarks.comparison import WALL, Comparison, Rounds, by_turns
from benchmarks.growing import Growing
from chalicelib import keys
from ops.stack import LocalStack

FILES = 250
"""Of a round, four of which make a thousand."""
RATE_ROUNDS = 4
LATENCY_ROUNDS = 30
PUTTERS = 8
PATIENCE = 120.0
LOOK_EVERY = 0.02

SETTLING = 0.3
"""Seconds after an end in which what follows it is done, so that it does not weigh on the next: the
announcement, the deletion of the open object, and the look for webhooks."""

BODY = b"A delivery of forty crates, signed for at the quay.\n" * 20


def stack_of(bench: Bench) -> LocalStack:
    return bench.shared("stack", partial(LocalStack, state_dir=bench.scratch / "stack"))


def chain_of(bench: Bench) -> Chain:
    return bench.shared("chain", partial(chain.deployed, stack_of(bench), bench.scratch))


class Ours:
    """Waybill: a file put under `uploads/`, and the line of the log that says when the ledger had its end."""

    def __init__(self, stack: LocalStack) -> None:
        self.bucket: str = stack.outputs["BucketName"]
        self._log = Growing(stack.log_dir / "aws.log")
        self._ended: dict[str, float] = {}

    def new_key(self) -> str:
        return f"uploads/{keys.NOBODY}/{keys.new_job_id()}/words.txt"

    def ended(self) -> dict[str, float]:
        for line in self._log.lines():
            if '"event": "job.ended"' in line and (told := json.loads(line))["Status"] == "COMPLETED":
                self._ended[told["jobId"]] = told["_aws"]["Timestamp"] / 1000
        return self._ended

    @staticmethod
    def name(key: str) -> str:
        return key.split("/")[2]


class Theirs:
    """The chain: a file put into its bucket, and the line that its second function writes at once."""

    def __init__(self, chain: Chain) -> None:
        self.bucket = chain.bucket
        self._seen = Growing(chain.seen)
        self._ended: dict[str, float] = {}

    def new_key(self) -> str:
        return f"{uuid.uuid4()}.txt"

    def ended(self) -> dict[str, float]:
        for line in self._seen.lines():
            key, moment = line.split(" ")
            self._ended[key] = float(moment)
        return self._ended

    @staticmethod
    def name(key: str) -> str:
        return key


def _latency(stack: LocalStack, way: Ours | Theirs) -> float:
    """From the end of the PUT to the end of the way, in milliseconds."""
    time.sleep(SETTLING)
    key = way.new_key()
    stack.client("s3").put_object(Bucket=way.bucket, Key=key, Body=BODY)
    begun = time.time()
    return (_ends(way, [key])[0] - begun) * 1000


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
    begun = time.time()
    with ThreadPoolExecutor(PUTTERS) as pool:
        list(pool.map(lambda key: put(Key=key), names))
    return FILES / (max(_ends(way, names)) - begun)


def _compare_rate(bench: Bench) -> Rounds:
    stack = stack_of(bench)
    ours, theirs = Ours(stack), Theirs(chain_of(bench))
    of_aws: dict[Ours | Theirs, list[float]] = {ours: [], theirs: []}

    def measure(way: Ours | Theirs) -> float:
        before = cpu.spent_by(stack.aws_pid)
        rate = _rate(stack, way)
        time.sleep(SETTLING)
        of_aws[way].append((cpu.spent_by(stack.aws_pid) - before) / FILES)
        return rate

    rounds = by_turns(bench, partial(measure, ours), partial(measure, theirs), rounds=RATE_ROUNDS)
    note = (
        f"the embedded AWS alone is busy for {median(of_aws[ours]):.0f} ms of CPU with each file of ours, "
        f"and for {median(of_aws[theirs]):.1f} ms with one of the chain's"
    )
    return Rounds(rounds.ours, rounds.theirs, note)


def _ends(way: Ours | Theirs, put: Sequence[str]) -> list[float]:
    """When each of these keys came to its end, as `time.time` gives it.

    Both sides have written that down themselves. It is read from files: who asked the embedded AWS would have
    it work for the question.

    Raises:
        TimeoutError: after `PATIENCE` seconds.
    """
    names = [way.name(key) for key in put]
    deadline = time.monotonic() + PATIENCE
    while not (ended := way.ended()).keys() >= set(names):
        if time.monotonic() > deadline:
            raise TimeoutError(f"The files have not come to their end within {PATIENCE:.0f} s.")
        time.sleep(LOOK_EVERY)
    return [ended[name] for name in names]


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
