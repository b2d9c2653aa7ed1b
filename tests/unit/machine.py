"""The state machine, played by hand: what Step Functions does, but when a test says so."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from chalicelib import workflow
from chalicelib.errors import RetryLater
from chalicelib.settings import Settings
from tests.unit.conftest import ACCOUNT
from tests.unit.flow import Flow, Killed, bystander

TRIES = 4
ROLE = f"arn:aws:iam::{ACCOUNT}:role/machine"
STEPS: Mapping[str, Callable[[Settings, Mapping[str, Any]], dict[str, str]]] = {
    "validate": workflow.validate,
    "detect": workflow.detect,
    "process": workflow.process,
    "finish": workflow.finish,
    "fail": workflow.fail,
}


def with_machine(settings: Settings) -> Settings:
    """The settings of a stage where everything above a hundred bytes is heavy, and the machine for it."""
    arn = bystander("stepfunctions", settings.region).create_state_machine(
        name="waybill-test-heavy", definition=json.dumps({"StartAt": "S", "States": {}}), roleArn=ROLE
    )["stateMachineArn"]
    return replace(settings, state_machine_arn=arn, light_limit_bytes=100)


class Machine:
    """Takes the steps of every execution that has been started."""

    def __init__(self, flow: Flow) -> None:
        self._flow = flow
        self._states = bystander("stepfunctions", flow.settings.region)
        self.taken: list[str] = []
        """Every step that was begun."""
        self.failing: dict[str, int] = {}
        """Steps that die before their first call, and how often."""

    def started(self) -> dict[str, str]:
        """Name of every execution to its status."""
        found = self._states.list_executions(stateMachineArn=self._flow.settings.state_machine_arn)
        return {entry["name"]: entry["status"] for entry in found["executions"]}

    def run(self) -> None:
        """Bring every execution that is running to its end."""
        found = self._states.list_executions(
            stateMachineArn=self._flow.settings.state_machine_arn, statusFilter="RUNNING"
        )
        for entry in found["executions"]:
            told = self._states.describe_execution(executionArn=entry["executionArn"])["input"]
            self.walk(json.loads(told))
            self.stop(entry["name"])

    def stop(self, name: str) -> None:
        arn = str(self._flow.settings.state_machine_arn).replace(":stateMachine:", ":execution:")
        self._states.stop_execution(executionArn=f"{arn}:{name}")

    def walk(self, told: Mapping[str, Any]) -> str:
        """As the definition in infra/template.yaml has it: the word that the last step has returned."""
        try:
            self.take("validate", told)
            word = self.take("detect", told)
            if word == workflow.ON:
                self.take("process", told)
            return self.take("finish", told) if word != workflow.ASIDE else word
        except RetryLater as error:
            return self.take("fail", {**told, "failure": {"Error": type(error).__name__}})

    def take(self, name: str, told: Mapping[str, Any]) -> str:
        """One step, tried again as often as its Retry says."""
        for tries_left in reversed(range(TRIES)):
            self.taken.append(name)
            try:
                if self.failing.get(name, 0) > 0:
                    self.failing[name] -= 1
                    raise Killed(name)
                return STEPS[name](self._flow.settings, told)["next"]
            except Killed:
                self._flow.new_process()
                if not tries_left:
                    raise RetryLater("the process died", after=0) from None
            except RetryLater:
                if not tries_left:
                    raise
        raise AssertionError
