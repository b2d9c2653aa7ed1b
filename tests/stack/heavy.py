"""What tests of heavy work share: files that take a while, and the worker as a process of its own."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ops.stack import LocalStack
from ops.state import CHECKOUT
from tests.stack.test_least_privilege import without
from tests.stack.user import User, eventually, http_call

ROWS = 400_000


@contextmanager
def eager_stack(directory: Path) -> Iterator[LocalStack]:
    """One to which anything above 1 KiB is heavy, and that waits little between two tries."""
    with LocalStack(state_dir=directory, variables={"LIGHT_LIMIT_BYTES": "1024"}) as running:
        configure(running, {"stepfunctions._SFN_WAIT_SCALE": 0.05})
        yield running


def slow_table(rows: int = ROWS) -> bytes:
    """A CSV file that keeps a processor busy for some seconds."""
    line = "{0},name {0},{0}.5,2026-01-02,some words that are the same in every row\n"
    return b"number,name,price,day,words\n" + "".join(line.format(n) for n in range(rows)).encode()


def held(user: User, job_id: str) -> Any:
    """The job, once it is its execution's."""

    def look() -> Any:
        item = item_of(user, job_id)
        return item if item and item.get("lease", {}).get("S", "").startswith(job_id) else None

    return eventually(look, f"job {job_id} is handed over")


def item_of(user: User, job_id: str) -> Any:
    return (
        user.stack.client("dynamodb")
        .get_item(
            TableName=user.stack.outputs["JobsTable"],
            Key={"owner": {"S": "_"}, "jobId": {"S": job_id}},
            ConsistentRead=True,
        )
        .get("Item")
    )


def configure(stack: LocalStack, values: dict[str, Any]) -> None:
    """Settings of the embedded AWS itself."""
    answer = http_call("POST", f"{stack.endpoint_url}/_ministack/config", json.dumps(values).encode())
    assert sorted(answer.json["applied"]) == sorted(values), answer.body


@contextmanager
def waiting(user: User, body: bytes, **wish: Any) -> Iterator[Any]:
    """A job that has been handed over, and that no execution has begun with; one does afterwards."""
    with without(user.stack, "consume", "states:StartExecution"):
        signed = user.upload(body, **wish)
        held(user, signed["jobId"])
        yield signed
    nudge(user, signed["jobId"])


def start(stack: LocalStack, case: str, job_id: str) -> None:
    """The execution of a job's first run, as a test case of the mocked services has it."""
    stack.client("stepfunctions").start_execution(
        stateMachineArn=f"{stack.outputs['StateMachineArn']}#{case}",
        name=f"{job_id}-1",
        input=json.dumps({"owner": "_", "jobId": job_id, "run": "1"}),
    )


def nudge(user: User, job_id: str) -> None:
    """Have the job's message come once more, as the sweep does."""
    message = {
        "v": 1,
        "owner": "_",
        "jobId": job_id,
        "bucket": user.bucket,
        "etag": item_of(user, job_id)["etag"]["S"],
    }
    user.stack.client("sqs").send_message(
        QueueUrl=user.stack.outputs["QueueUrl"], MessageBody=json.dumps(message)
    )


def at_work(user: User, job_id: str) -> None:
    """Return as soon as its execution processes the job, which the consumer has looked at before."""
    held(user, job_id)
    eventually(lambda: (user.job(job_id) or {}).get("stage") == "processing", f"job {job_id} is in work")


def executions(stack: LocalStack, job_id: str) -> dict[str, str]:
    """Of a job: run to status."""
    found = stack.client("stepfunctions").list_executions(stateMachineArn=stack.outputs["StateMachineArn"])
    return {
        entry["name"].removeprefix(f"{job_id}-"): entry["status"]
        for entry in found["executions"]
        if entry["name"].startswith(job_id)
    }


def processes(part: str) -> list[int]:
    """Those that have something in their command line."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdigit() and part in process.joinpath("cmdline").read_bytes().decode():
                found.append(int(process.name))
        except (OSError, UnicodeDecodeError):
            continue
    return found


def process_function(stack: LocalStack) -> list[int]:
    """The processes of the function that does heavy work here."""
    return [
        pid
        for pid in processes("waybill-local-process")
        if str(stack.state_dir) in Path(f"/proc/{pid}/cmdline").read_text()
    ]


class Worker:
    """`python -m worker`, with leave to do what its role allows and a directory of its own for scratch."""

    def __init__(self, stack: LocalStack, directory: Path) -> None:
        self.scratch = directory / "scratch"
        self.scratch.mkdir()
        config = json.loads((stack.app_dir / ".chalice" / "config.json").read_text())
        iam = stack.client("iam")
        name = f"worker-{os.getpid()}-{directory.name}"
        iam.create_user(UserName=name)
        policy = (stack.app_dir / ".chalice" / "policy-local-process.json").read_text()
        iam.put_user_policy(UserName=name, PolicyName="process", PolicyDocument=policy)
        key = iam.create_access_key(UserName=name)["AccessKey"]
        self.env = {
            "PATH": os.environ["PATH"],
            "TMPDIR": str(self.scratch),
            **config["stages"]["local"]["environment_variables"],
            "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
        }

    @contextmanager
    def started(self, *arguments: str, **env: str) -> Iterator["subprocess.Popen[str]"]:
        process = subprocess.Popen(
            [sys.executable, "-m", "worker", *arguments],
            cwd=CHECKOUT,
            env={**self.env, **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            yield process
        finally:
            process.kill()
            process.communicate()

    def run(self, *arguments: str, **env: str) -> tuple[int, str]:
        """Its exit status, and what it had to say."""
        with self.started(*arguments, **env) as process:
            output, errors = process.communicate(timeout=120)
            return process.returncode, output + errors

    def leftovers(self) -> list[str]:
        return sorted(path.name for path in self.scratch.iterdir())

    def decoders(self) -> list[int]:
        """The processes of a sandbox that this worker has started."""
        marker = f"TMPDIR={self.scratch}".encode()
        found = []
        for pid in processes("chalicelib.sandbox.inside"):
            try:
                if marker in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                    found.append(pid)
            except OSError:
                continue
        return found


def kill(*pids: int) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
