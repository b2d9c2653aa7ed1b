"""What is set after `chalice deploy`: with patience for what it has just made, and for nothing else."""

from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from ops import finish
from ops.policies import ASYNCHRONOUS

QUEUE = "arn:aws:sqs:eu-central-1:123456789012:waybill-dev-failed-events"


class Lambda:
    """Refuses changes as scripted, then takes them."""

    class exceptions:
        class ResourceNotFoundException(Exception):
            pass

    def __init__(self, *refusals: tuple[str, str]) -> None:
        self._refusals: Iterator[tuple[str, str]] = iter(refusals)
        self.changed: list[dict[str, Any]] = []

    def list_event_source_mappings(self, FunctionName: str) -> Any:
        return {"EventSourceMappings": [{"UUID": FunctionName}]}

    def get_function_event_invoke_config(self, **_: str) -> Any:
        raise self.exceptions.ResourceNotFoundException

    def update_event_source_mapping(self, **change: Any) -> None:
        self._change(change)

    def put_function_event_invoke_config(self, **change: Any) -> None:
        self._change(change)

    def _change(self, change: dict[str, Any]) -> None:
        for code, message in self._refusals:
            raise ClientError({"Error": {"Code": code, "Message": message}}, "Change")
        self.changed.append(change)


def test_a_mapping_that_is_still_being_created_is_waited_for() -> None:
    in_use = ("ResourceInUseException", "Cannot update the event source mapping because it is in use.")
    functions = Lambda(in_use, in_use)

    told = list(finish.report_failures_of_batches(lambda _: functions, "dev", pause=0))

    assert [change["UUID"] for change in functions.changed] == ["waybill-dev-consume", "waybill-dev-deliver"]
    assert len(told) == 2


@pytest.mark.parametrize(
    "refusal",
    [
        ("InvalidParameterValueException", "The function's execution role does not have permissions"),
        ("ResourceConflictException", "An update is in progress for resource"),
    ],
)
def test_a_role_or_a_function_that_has_not_settled_is_waited_for(refusal: tuple[str, str]) -> None:
    functions = Lambda(refusal)

    told = list(finish.keep_failed_events(lambda _: functions, "dev", QUEUE, pause=0))

    assert len(told) == len(functions.changed) == len(ASYNCHRONOUS)


def test_what_waiting_cannot_mend_is_told_at_once() -> None:
    functions = Lambda(("AccessDeniedException", "no leave"))

    with pytest.raises(ClientError, match="no leave"):
        list(finish.report_failures_of_batches(lambda _: functions, "dev", pause=0))
