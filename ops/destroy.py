"""`python -m ops destroy`: a stage of Waybill taken down.

First the functions, their API, triggers and roles, then the stack. Bucket, tables and undelivered events
stay, and a later deployment takes them in again; only with --delete-data do they go as well.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from chalicelib.settings import MIN_SECRET_BYTES
from ops import deployed
from ops.cloudformation import Stack, StackFailed
from ops.deploy import chalice, checks, kept, target
from ops.deploy.config import SECRET, StageConfig
from ops.deploy.refusal import Failed, Refused
from ops.deploy.target import Target
from ops.deployment import CannotLook, errors_in_one_line
from ops.policies import APP, GRANTS, function_name
from ops.state import CHECKOUT

Say = Callable[[str], None]

TOLD_EVERY = 10_000
"""Objects, between two lines of progress."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--stage", default="dev", help="which (default: dev)")
    parser.add_argument(
        "--delete-data",
        action="store_true",
        help="delete the bucket with all files, the tables, queues and logs as well",
    )
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument(
        "--project-dir",
        type=Path,
        default=CHECKOUT,
        help="where it was deployed from (default: this checkout)",
    )


def run(options: argparse.Namespace) -> int:
    """0 when it is gone; 1 when something could not be deleted; 2 when nothing was touched."""
    where = f"stage {options.stage} on AWS"
    try:
        with errors_in_one_line(where):
            there = target.find(options.stage, options.project_dir.resolve())
            checks.right_place(there, StageConfig(there.project, there.stage))
            if not options.yes:
                _ask(there, data=options.delete_data)
    except (Refused, CannotLook) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except (KeyboardInterrupt, EOFError):
        print("Nothing was touched.", file=sys.stderr)
        return 130
    removal = Removal(there, lambda line: print(line, flush=True))
    try:
        with errors_in_one_line(where):
            removal.run(data=options.delete_data)
    except (Failed, CannotLook, StackFailed) as error:
        print(f"error: {error}\nOnce that is mended, the same command goes on from there.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted. The same command goes on from there.", file=sys.stderr)
        return 130
    return 0


def _ask(there: Target, *, data: bool) -> None:
    """
    Raises:
        Refused: the answer is not the stage's name, or there is nobody to ask.
    """
    what = "with all its files, records and undelivered events" if data else "but not its files and records"
    if not sys.stdin.isatty():
        raise Refused(f"this deletes {there.where}, {what}: say YES=1 (--yes) where nobody can be asked")
    print(f"This deletes {there.where}, {what}.")
    if input(f"Type {there.stage} to go on: ").strip() != there.stage:
        raise Refused("that was not its name; nothing was touched")


class Removal:
    """`say` is told every step when it begins, and every line of what it does."""

    def __init__(self, target: Target, say: Say) -> None:
        self._target = target
        self._say = say

    def run(self, *, data: bool) -> None:
        """
        Raises:
            Failed, StackFailed: something could not be deleted; the same command goes on.
        """
        with self._step("functions, API and triggers, by chalice delete"):
            self.functions()
        with self._step("the stack of infra/template.yaml"):
            cloudformation = self._target.client("cloudformation")
            stack = Stack(cloudformation, self._target.stack_name, pause=self._target.pause, say=self._line)
            if stack.status() is None:
                self._line("was gone already")
            stack.delete()
        if data:
            with self._step("files, records, queues and logs"):
                self.data()
            self._say("All of it is gone.")
            return
        resources = self._target.template["Resources"]
        stay = [
            kept.name_of(self._target, resources[one["LogicalResourceId"]]) for one in kept.find(self._target)
        ]
        what = f"{', '.join(stay)}, and the logs. A deployment takes them in again." if stay else "nothing."
        self._say(f"Gone. What is kept: {what}")

    def functions(self) -> None:
        """Chalice goes by its notes, which may be on another machine: so they are completed first."""
        notes = deployed.complete(
            self._target.project, self._target.stage, self._target.client, to_delete=True
        )
        if not notes:
            self._line("were gone already")
            return
        # It imports the app, whose settings may be gone, or no longer right; nothing of them is used.
        config = StageConfig(self._target.project, self._target.stage)
        variables = checks.names_to_come(self._target) | config.variables()
        some = {"AUTH_MODE": "jwt", "JWT_JWKS_URL": "", SECRET: "-" * MIN_SECRET_BYTES}
        chalice.run("delete", self._target, http_variables=variables | some, say=self._line)

    def data(self) -> None:
        for one in kept.find(self._target):
            (identifier,) = one["ResourceIdentifier"].values()
            match one["ResourceType"]:
                case "AWS::S3::Bucket":
                    self._delete_bucket(identifier)
                case "AWS::DynamoDB::Table":
                    self._target.client("dynamodb").delete_table(TableName=identifier)
                case "AWS::SQS::Queue":
                    self._target.client("sqs").delete_queue(QueueUrl=identifier)
            self._line(f"{one['LogicalResourceId']}  {identifier}")
        logs = self._target.client("logs")
        for function in GRANTS:
            try:
                logs.delete_log_group(
                    logGroupName=f"/aws/lambda/{function_name(self._target.stage, function)}"
                )
            except logs.exceptions.ResourceNotFoundException:
                continue

    def _delete_bucket(self, bucket: str) -> None:
        """With every version of every object, and the parts of uploads that nobody completed."""
        s3 = self._target.client("s3")
        gone = 0
        for some in _versions(s3, bucket):
            answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": some, "Quiet": True})
            if failed := answer.get("Errors"):
                raise Failed(f"{failed[0]['Key']} in {bucket} could not be deleted: {failed[0]['Message']}")
            if (gone + len(some)) // TOLD_EVERY > gone // TOLD_EVERY:
                self._line(f"{gone + len(some):,} objects")
            gone += len(some)
        for page in s3.get_paginator("list_multipart_uploads").paginate(Bucket=bucket):
            for upload in page.get("Uploads", []):
                s3.abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])
        s3.delete_bucket(Bucket=bucket)

    def _line(self, line: str) -> None:
        self._say(f"       {line}")

    @contextmanager
    def _step(self, what: str) -> Iterator[None]:
        self._say(f"{APP}-{self._target.stage}: {what}")
        yield


def _versions(s3: Any, bucket: str) -> Iterator[list[dict[str, str]]]:
    """A thousand at most at a time, as DeleteObjects takes them."""
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
        found = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
        if found:
            yield [{"Key": one["Key"], "VersionId": one["VersionId"]} for one in found]
