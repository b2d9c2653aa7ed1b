"""What goes wrong in the load run: poison on the queue, events that come again, workers that are killed.

Each mishap has its place in the order of the files, by the seed; what it meets there is a matter of time.
"""

import json
import os
import random
import signal
import subprocess
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

from ops.stack import LocalStack

POISON = (
    "not JSON",
    "[]",
    json.dumps({"v": 99, "owner": "_"}),
    json.dumps({"v": 1, "bucket": "somebody-elses", "owner": "_", "jobId": "x", "etag": "e"}),
    "{" * 100_000,
)

# Of a hundred files, how many come with it.
KILLS, REPEATS, POISONED = 3, 10, 1


class Mishaps:
    """`counts` says what has happened."""

    def __init__(self, stack: LocalStack, seed: int, *, kills: bool = True) -> None:
        self.counts: Counter[str] = Counter()
        self._stack = stack
        self._random = random.Random(f"mishaps {seed}")
        self._kills = kills
        self._known: list[Mapping[str, Any]] = []

    def before(self, number: int) -> None:
        """What happens before the file of this number is sent."""
        of_hundred = self._random.random() * 100, self._random.random() * 100, self._random.random() * 100
        if of_hundred[0] < POISONED or number == 0:
            self._poison()
        if of_hundred[1] < REPEATS:
            self._repeat()
        if self._kills and (of_hundred[2] < KILLS or number == 20):
            self._kill()

    def knows(self, item: Mapping[str, Any]) -> None:
        """A job as the ledger has it, whose event may come again."""
        self._known.append(item)

    def _poison(self) -> None:
        self._stack.client("sqs").send_message(
            QueueUrl=self._stack.outputs["QueueUrl"], MessageBody=self._random.choice(POISON)
        )
        self.counts["poison"] += 1

    def _repeat(self) -> None:
        """Have an event of S3 come to its function once more."""
        if not self._known:
            return
        item = self._random.choice(self._known[-200:])
        function = "on_incoming" if item["sourceKey"]["S"].startswith("incoming/") else "on_upload"
        record = {
            "eventTime": item["uploadedAt"]["S"],
            "s3": {
                "bucket": {"name": self._stack.outputs["BucketName"]},
                "object": {
                    "key": quote_plus(item["sourceKey"]["S"], safe="/"),
                    "size": int(item["size"]["N"]),
                    "eTag": item["etag"]["S"],
                    "sequencer": item["sequencer"]["S"],
                },
            },
        }
        self._stack.client("lambda").invoke(
            FunctionName=f"waybill-local-{function}",
            InvocationType="Event",
            Payload=json.dumps({"Records": [record]}).encode(),
        )
        self.counts["repeated"] += 1

    def _kill(self) -> None:
        """A function's process, or one of a decoder, gone in the middle of whatever it does."""
        functions, decoders = _processes(self._stack.state_dir)
        victims = decoders if decoders and self._random.random() < 0.3 else functions
        if victims:
            with suppress(ProcessLookupError):
                os.kill(self._random.choice(victims), signal.SIGKILL)
                self.counts["killed"] += 1


def _processes(state_dir: Path) -> tuple[list[int], list[int]]:
    """The functions' processes, which name the stack's directory, and those that they have started."""
    listed = subprocess.run(
        ["ps", "-A", "-ww", "-o", "pid=", "-o", "ppid=", "-o", "args="],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    lines = [line.split(maxsplit=2) for line in listed]
    place = f"{state_dir.resolve()}/aws/tmp/ministack-lambda-"
    functions = sorted(int(pid) for pid, _parent, command in lines if place in command)
    return functions, sorted(int(pid) for pid, parent, _command in lines if int(parent) in functions)
