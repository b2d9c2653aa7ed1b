"""The state machine of infra/template.yaml, read as Step Functions reads it, under either worker."""

import json
from collections.abc import Collection
from importlib.resources import files
from typing import Any

import pytest

from chalicelib.settings import Settings
from ops.policies import GRANTS, Resources, policy
from tests.unit.test_template import ACCOUNT, CONFIG, FARGATE, REGION, STEPS, Stack

STACKS = {
    "lambda": Stack(Stage="dev"),
    "fargate": Stack(Stage="dev", **FARGATE),
    "lambda, amazon": Stack(Stage="dev", Transcriber="amazon"),
    "fargate, amazon": Stack(Stage="dev", Transcriber="amazon", **FARGATE),
}
SPEECH = ("FindSpeech", "Transcribe", "LookForTranscript", "FetchTranscript")
FUNCTION = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:waybill-dev-"


def machine(worker: str) -> Any:
    return json.loads(STACKS[worker].resources["StateMachine"]["DefinitionString"])


def targets(state: Any) -> set[str]:
    following = {state[name] for name in ("Next", "Default") if name in state}
    return following | {branch["Next"] for branch in (*state.get("Choices", []), *state.get("Catch", []))}


@pytest.fixture(params=STACKS)
def worker(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_every_state_is_reached_and_leads_somewhere(worker: str) -> None:
    """Amazon States Language, "States": none may be unreachable, and each but the terminal ones goes on."""
    definition = machine(worker)
    states, reached, ahead = definition["States"], set(), {definition["StartAt"]}
    while ahead:
        name = ahead.pop()
        reached.add(name)
        ahead |= targets(states[name]) - reached
        assert targets(states[name]) or states[name]["Type"] in ("Succeed", "Fail")
    assert reached == set(states)


def test_every_task_is_bounded_tried_again_and_ends_in_a_failed_job(worker: str) -> None:
    definition = machine(worker)
    tasks = {name: state for name, state in definition["States"].items() if state["Type"] == "Task"}
    assert {"Validate", "Detect", "Process", "Finish", "Fail"} <= set(tasks)
    for name, task in tasks.items():
        assert task["TimeoutSeconds"] < definition["TimeoutSeconds"]
        for retry in task["Retry"]:
            assert (retry["BackoffRate"] > 1, retry["JitterStrategy"]) == (True, "FULL")
        caught = {catch["Next"] for catch in task.get("Catch", []) if catch["ErrorEquals"] == ["States.ALL"]}
        if name in SPEECH:  # an extra, whose want ends no job
            assert caught == {"Finish" if state_calls_us(task) else "FetchTranscript"}
        elif name != "Fail":
            assert [(catch["ErrorEquals"], catch["Next"]) for catch in task["Catch"]] == [
                (["States.ALL"], "Fail")
            ]


def state_calls_us(state: Any) -> bool:
    return bool(state["Resource"].startswith(FUNCTION))


def test_the_whole_has_the_time_that_leases_reckon_with(worker: str, settings: Settings) -> None:
    assert machine(worker)["TimeoutSeconds"] == settings.workflow_seconds


def test_a_file_that_has_taken_all_of_its_time_is_not_given_it_again(worker: str) -> None:
    for retry in machine(worker)["States"]["Process"]["Retry"]:
        assert not {"States.Timeout", "States.ALL", "Sandbox.Timedout"} & set(retry["ErrorEquals"])


def test_functions_have_less_time_than_their_states(worker: str) -> None:
    for state in machine(worker)["States"].values():
        name = state.get("Resource", "").removeprefix(FUNCTION)
        if name in GRANTS:
            assert CONFIG["lambda_functions"][name]["lambda_timeout"] < state["TimeoutSeconds"]


def test_the_role_may_call_exactly_the_functions_of_its_states(worker: str) -> None:
    called = {
        state["Resource"]
        for state in machine(worker)["States"].values()
        if state.get("Resource", "").startswith(FUNCTION)
    }
    statements = role(worker, "StateMachineRole")
    assert set(statements["TakeSteps"]["Resource"]) == called
    assert called <= {FUNCTION + step for step in STEPS}
    assert ("StartWorkers" in statements) == ("fargate" in worker)
    assert ("Transcribe" in statements) == ("amazon" in worker)


def test_an_action_that_knows_no_resource_is_allowed_for_all(worker: str) -> None:
    """IAM refuses it where an ARN is named (Service Authorization Reference, as cfn-lint has it)."""
    listed = files("cfnlint.data.AdditionalSpecs").joinpath("Policies.json").read_text(encoding="utf-8")
    services = json.loads(listed)
    named = {
        action
        for resource in STACKS[worker].resources.values()
        for inline in resource.get("Policies", [])
        for statement in inline["PolicyDocument"]["Statement"]
        for action in listed_in(statement["Action"])
        if statement["Resource"] != "*"
    }
    assert named
    for action in named:
        service, _, name = action.partition(":")
        assert services[service]["Actions"][name.lower()].get("Resources"), action


def listed_in(one_or_many: str | list[str]) -> list[str]:
    return [one_or_many] if isinstance(one_or_many, str) else one_or_many


def role(worker: str, name: str) -> dict[str, Any]:
    (only,) = STACKS[worker].resources[name]["Policies"]
    return {statement["Sid"]: statement for statement in only["PolicyDocument"]["Statement"]}


def test_the_container_may_do_what_the_function_may() -> None:
    resources = Resources.from_outputs("dev", STACKS["fargate"].outputs)
    function = [s for s in policy("process", resources)["Statement"] if s["Sid"] != "WriteOwnLogs"]
    assert rights(role("fargate", "WorkerRole").values()) == rights(function)


def rights(statements: Collection[Any]) -> set[tuple[str, str]]:
    """Each action with each resource: the template folds what lies in the same places into one statement."""
    assert all(set(statement) == {"Sid", "Effect", "Action", "Resource"} for statement in statements)
    return {(action, where) for s in statements for action in s["Action"] for where in s["Resource"]}


def test_the_container_is_told_enough_to_start() -> None:
    (container,) = STACKS["fargate"].resources["WorkerTask"]["ContainerDefinitions"]
    env = {variable["Name"]: variable["Value"] for variable in container["Environment"]}
    settings = Settings.for_worker(env)
    assert (settings.bucket, settings.region) == (f"waybill-dev-{ACCOUNT}", REGION)


def test_the_container_waits_for_scans_where_the_functions_do() -> None:
    task = Stack(Stage="dev", MalwareScan="guardduty", **FARGATE).resources["WorkerTask"]
    (container,) = task["ContainerDefinitions"]
    env = {variable["Name"]: variable["Value"] for variable in container["Environment"]}
    assert Settings.for_worker(env).scans_for_malware


def test_the_container_cannot_write_but_where_it_works() -> None:
    task = STACKS["fargate"].resources["WorkerTask"]
    (container,) = task["ContainerDefinitions"]
    assert container["ReadonlyRootFilesystem"] is True
    assert [mount["ContainerPath"] for mount in container["MountPoints"]] == ["/scratch"]
    assert task["EphemeralStorage"]["SizeInGiB"] == 50


def test_a_task_is_told_its_job_and_passes_roles_to_fargate_alone() -> None:
    task = machine("fargate")["States"]["Process"]
    assert task["Resource"] == "arn:aws:states:::ecs:runTask.sync"
    network = task["Parameters"]["NetworkConfiguration"]["AwsvpcConfiguration"]
    assert (network["Subnets"], network["SecurityGroups"]) == (["subnet-1", "subnet-2"], ["sg-1"])
    (override,) = task["Parameters"]["Overrides"]["ContainerOverrides"]
    assert {variable["Name"]: variable["Value.$"] for variable in override["Environment"]} == {
        "WAYBILL_OWNER": "$.owner",
        "WAYBILL_JOB_ID": "$.jobId",
        "WAYBILL_RUN": "$.run",
    }
    passing = role("fargate", "StateMachineRole")["HandRolesOn"]
    assert passing["Condition"] == {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}}
    assert len(passing["Resource"]) == 2


def test_without_fargate_there_is_nothing_of_it() -> None:
    assert not [name for name in STACKS["lambda"].resources if name.startswith("Worker")]


def test_what_an_execution_is_about_stays_out_of_its_log(worker: str) -> None:
    properties = STACKS[worker].resources["StateMachine"]
    assert properties["LoggingConfiguration"]["IncludeExecutionData"] is False


@pytest.mark.parametrize("traced", [False, True])
def test_x_ray_is_off_unless_it_is_asked_for(traced: bool) -> None:
    stack = Stack(Stage="dev", **({"Tracing": "true"} if traced else {}))
    assert stack.resources["StateMachine"]["TracingConfiguration"] == {"Enabled": traced}
    (held,) = stack.resources["StateMachineRole"]["Policies"]
    assert ("Trace" in {one["Sid"] for one in held["PolicyDocument"]["Statement"]}) is traced
