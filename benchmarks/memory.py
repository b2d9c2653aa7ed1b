"""The worker: the most memory that it holds for a large file, beside what it holds for a small one."""

import re
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from benchmarks import cloud, cpu
from benchmarks.bench import Bench
from benchmarks.cloud import Cloud
from benchmarks.comparison import Comparison, Rounds, by_turns
from chalicelib import executions
from chalicelib.ledger import Claim, open_ledger
from ops.state import CHECKOUT

MiB = 1024 * 1024
SMALL, LARGE = 2 * MiB, 2048 * MiB


def _peak(there: Cloud, bench: Bench, size: int) -> float:
    """In MiB. The kernel's high-water mark (VmHWM, proc_pid_status(5)): no peak is missed between looks."""
    owner, job_id = _waiting_job(there, size)
    scratch = bench.scratch / "worker"
    scratch.mkdir(exist_ok=True)
    env = cpu.plain_environment(**there.variables) | {"TMPDIR": str(scratch)}
    most = 0
    with subprocess.Popen(
        [sys.executable, "-m", "worker", owner, job_id, "1"],
        cwd=CHECKOUT,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as worker:
        status = Path(f"/proc/{worker.pid}/status")
        while worker.poll() is None:
            found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text())
            most = max(most, int(found[1]) if found else 0)
            time.sleep(0.01)
        assert worker.stdout
        said = worker.stdout.read()
    if worker.returncode:
        raise RuntimeError(f"the worker ended with status {worker.returncode}:\n{said[-2000:]}")
    return most / 1024


def _waiting_job(there: Cloud, size: int) -> tuple[str, str]:
    """A job under its execution's lease, as the consumer leaves it to the state machine."""
    record = there.upload(b"", filename="much.bin")
    item = record["s3"]["object"]
    s3 = there.stack.client("s3")
    with tempfile.TemporaryFile() as file:
        file.truncate(size)
        s3.upload_fileobj(file, there.settings.bucket, item["key"])
    head = s3.head_object(Bucket=there.settings.bucket, Key=item["key"])
    item |= {"eTag": head["ETag"].strip('"'), "size": size}
    there.enter([record])
    _, owner, job_id, _ = item["key"].split("/")
    ledger = open_ledger(there.settings)
    claim, job = ledger.claim(owner, job_id, item["eTag"])
    assert claim is Claim.TAKEN
    assert job
    executions.hand_over(there.settings, ledger, job)
    return owner, job_id


def _compare(bench: Bench) -> Rounds:
    with cloud.opened(bench) as there:
        large, small = partial(_peak, there, bench, LARGE), partial(_peak, there, bench, SMALL)
        return by_turns(bench, large, small, rounds=1, warm_up=0)


COMPARISONS = (
    Comparison(
        "memory_growth",
        ours="the worker's peak memory with a file of 2 GiB",
        theirs="with one of 2 MiB",
        unit="MiB",
        compare=_compare,
        goal="≤ 1.2",
    ),
)
