"""One CloudFormation stack, brought to what its template says, whatever state it was left in.

Every change is a change set first, which says what it would do, and can be thrown away.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ClientError

CHANGE_SET = "waybill-deploy"

UNMADE = "REVIEW_IN_PROGRESS"
"""There is a change set that would create the stack, and nothing else of it."""

HOPELESS = (
    "ROLLBACK_COMPLETE",
    "ROLLBACK_FAILED",
    "CREATE_FAILED",
    "DELETE_FAILED",
    "IMPORT_ROLLBACK_COMPLETE",
    "IMPORT_ROLLBACK_FAILED",
)
"""A stack that never came to be, or is half gone: it takes no update, only its deletion. An import is only
ever how a stack begins, so that one which was taken back has left nothing but what was there before."""

NOTHING = ("didn't contain changes", "No updates are to be performed")


EARLY = "EarlyValidation"
"""In the reason of a change set that was found to be impossible before it was tried; what is wrong only its
events say (AWS CloudFormation User Guide, "Validate stack deployments")."""


class StackFailed(Exception):
    """CloudFormation has not done it; the message is one line that says why."""


@dataclass(frozen=True)
class ChangeSet:
    """What would be done: `Changes` as DescribeChangeSet has them."""

    id: str
    creates: bool
    """The stack is not there before."""
    changes: Sequence[Mapping[str, Any]] = field(default_factory=tuple)


class Stack:
    """`pause` lies between two looks, `patience` is for a change: seconds. `say` is told what takes long."""

    def __init__(
        self,
        client: Any,
        name: str,
        *,
        pause: float = 3.0,
        patience: float = 3600.0,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.name = name
        self._id = name  # its ARN, once that is known: a stack that is gone has no name
        self._client = client
        self._pause = pause
        self._patience = patience
        self._say = say

    def status(self) -> str | None:
        """None where there is no stack."""
        try:
            (found,) = self._client.describe_stacks(StackName=self.name)["Stacks"]
        except ClientError as error:
            if "does not exist" in str(error):
                return None
            raise
        status: str = found["StackStatus"]
        return None if status == "DELETE_COMPLETE" else status

    def outputs(self) -> dict[str, str]:
        (found,) = self._client.describe_stacks(StackName=self.name)["Stacks"]
        return {output["OutputKey"]: output["OutputValue"] for output in found.get("Outputs", [])}

    def settle(self) -> None:
        """Wait for whatever is under way, and clear away what takes no update.

        What of a stack was created and is to be kept stays: that is its resources' own policy.
        """
        status = self._settled()
        if status == "UPDATE_ROLLBACK_FAILED":
            self._say("an earlier change could not be taken back; CloudFormation tries again")
            self._client.continue_update_rollback(StackName=self.name)
            status = self._settled()
            if status == "UPDATE_ROLLBACK_FAILED":
                raise StackFailed(f"{self.name} cannot be taken back to what it was: {self._first_failure()}")
        if status in HOPELESS:
            self._say(f"an earlier attempt left the stack in {status}; it is deleted")
            self.delete()

    def propose(
        self,
        body: str,
        parameters: Mapping[str, str],
        *,
        tags: Mapping[str, str] | None = None,
        imports: Sequence[Mapping[str, Any]] = (),
    ) -> ChangeSet | None:
        """A change set that is ready to be carried out; None where there is nothing to change.

        Args:
            imports: resources that exist already, as `ResourcesToImport` has them; the template has to hold
                these and no other new ones.

        Raises:
            StackFailed: CloudFormation does not take the template, or the parameters.
        """
        status = self.status()
        creates = status in (None, UNMADE)
        kind = "IMPORT" if imports else "CREATE" if creates else "UPDATE"
        # One that was cut off before it was carried out is in the way of its successor.
        if status is not None:
            self._client.delete_change_set(StackName=self.name, ChangeSetName=CHANGE_SET)
        request: dict[str, Any] = {
            "StackName": self.name,
            "ChangeSetName": CHANGE_SET,
            "ChangeSetType": kind,
            "TemplateBody": body,
            "Parameters": [
                {"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()
            ],
            "Capabilities": ["CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"],
        }
        if tags:
            request["Tags"] = [{"Key": name, "Value": value} for name, value in tags.items()]
        if imports:
            request["ResourcesToImport"] = list(imports)
        elif creates:
            request["OnStackFailure"] = "DELETE"
        try:
            answer = self._client.create_change_set(**request)
        except ClientError as error:
            raise StackFailed(f"infra/template.yaml was refused: {_message(error)}") from None
        made, self._id = answer["Id"], answer["StackId"]
        described = self._described(made)
        change_set = ChangeSet(made, creates, described["Changes"])
        if described["Status"] == "FAILED":
            reason = described.get("StatusReason", "")
            if EARLY in reason:
                reason = self._found_early(made) or reason
            self.discard(change_set)
            if any(said in reason for said in NOTHING):
                return None
            raise StackFailed(f"infra/template.yaml was refused: {reason}")
        return change_set

    def carry_out(self, change_set: ChangeSet) -> None:
        """
        Raises:
            StackFailed: and everything is as it was before.
        """
        began = self._latest_event()
        self._client.execute_change_set(StackName=self.name, ChangeSetName=change_set.id)
        status = self._settled()
        if status is None or "ROLLBACK" in status or status.endswith("_FAILED"):
            raise StackFailed(f"infra/template.yaml failed: {self._first_failure(since=began)}")

    def discard(self, change_set: ChangeSet) -> None:
        """Leave no trace: a stack that only its change set has made goes with it."""
        self._client.delete_change_set(StackName=self.name, ChangeSetName=change_set.id)
        if change_set.creates and self.status() == UNMADE:
            self.delete()

    def delete(self) -> None:
        """
        Raises:
            StackFailed: something of it could not be deleted.
        """
        if self.status() is None:
            return
        began = self._latest_event()
        self._client.delete_stack(StackName=self.name)
        if self._settled() is not None:
            why = self._first_failure(since=began)
            raise StackFailed(f"the stack {self.name} could not be deleted: {why}")

    def _settled(self) -> str | None:
        """The status, once nothing is under way; every change of a resource is told."""
        told: set[str] = set()
        until = time.monotonic() + self._patience
        while True:
            status = self.status()
            under_way = status is not None and status.endswith("_IN_PROGRESS") and status != UNMADE
            if not under_way:
                return status
            if status not in told:
                self._say(f"{self.name}: {status.replace('_', ' ').lower()}" if status else "")
                told.add(str(status))
            if time.monotonic() > until:
                raise StackFailed(f"{self.name} is in {status} for too long; look at its events")
            time.sleep(self._pause)

    def _described(self, change_set: str) -> dict[str, Any]:
        """Of a change set that CloudFormation is done with."""
        while True:
            pages = self._client.get_paginator("describe_change_set").paginate(
                StackName=self.name, ChangeSetName=change_set
            )
            found: list[dict[str, Any]] = list(pages)
            if found[0]["Status"] not in ("CREATE_PENDING", "CREATE_IN_PROGRESS"):
                return {**found[0], "Changes": [one for page in found for one in page.get("Changes", [])]}
            time.sleep(self._pause)

    def _found_early(self, change_set: str) -> str:
        """Empty where nobody may look, or there is nothing to see."""
        found: dict[str, None] = {}
        with suppress(ClientError):
            answer = self._client.describe_events(ChangeSetName=change_set, Filters={"FailedEvents": True})
            for event in answer["OperationEvents"]:
                if event.get("ValidationFailureMode") == "FAIL":
                    found[f"{event.get('LogicalResourceId')}: {event.get('ValidationStatusReason')}"] = None
        return "; ".join(found)

    def _events(self) -> Iterator[dict[str, Any]]:
        """The latest first; a page holds a hundred, and a creation that is taken back has several."""
        pages = self._client.get_paginator("describe_stack_events").paginate(StackName=self._id)
        with suppress(ClientError):
            for page in pages:
                yield from page["StackEvents"]

    def _latest_event(self) -> str:
        return next((event["EventId"] for event in self._events()), "")

    def _first_failure(self, since: str = "") -> str:
        """What went wrong first, after the event of this id; what follows is often only cancelled."""
        first = ""
        for event in self._events():
            if event["EventId"] == since:
                break
            if event["ResourceStatus"].endswith("_FAILED"):
                first = f"{event['LogicalResourceId']}: {event.get('ResourceStatusReason', '')}"
        return first or f"see the events of the stack {self.name}"


def _message(error: ClientError) -> str:
    return " ".join(str(error.response["Error"].get("Message", error)).split())
