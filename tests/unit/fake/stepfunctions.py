"""Step Functions, as far as anything here uses it: executions that are started once, and looked at.

Nothing runs by itself: `Stage.run_executions` takes their steps, when a test says so.
"""

from dataclasses import dataclass, field
from typing import Any

from tests.unit.fake.errors import Refused


@dataclass(frozen=True)
class Execution:
    input: str
    status: str = "RUNNING"
    at: str = "validate"
    """The step that is next."""
    told: dict[str, Any] = field(default_factory=dict)
    """What steps have left for those behind them."""


class StepFunctions:
    def __init__(self) -> None:
        self.executions: dict[str, Execution] = {}
        """By ARN."""

    def copy(self) -> "StepFunctions":
        made = StepFunctions()
        made.executions = dict(self.executions)
        return made

    def start_execution(self, request: Any) -> Any:
        """A name starts once; the same input again is no error while it runs (StartExecution)."""
        machine = request["stateMachineArn"].replace(":stateMachine:", ":execution:")
        arn = f"{machine}:{request['name']}"
        known = self.executions.setdefault(arn, Execution(request["input"]))
        if (known.status, known.input) != ("RUNNING", request["input"]):
            raise Refused(400, "ExecutionAlreadyExists")
        return {"executionArn": arn}

    def describe_execution(self, request: Any) -> Any:
        found = self.executions.get(request["executionArn"])
        if found is None:
            raise Refused(400, "ExecutionDoesNotExist")
        return {"executionArn": request["executionArn"], "status": found.status, "input": found.input}
