"""Whether heavy work gets on: the state machine, and its executions that hold jobs."""

import time
from collections.abc import Iterator

from chalicelib import executions
from chalicelib.jobs import Job
from ops.columns import age
from ops.deployment import Deployment
from ops.doctor.findings import Finding, Level

MAX_EXECUTIONS = 100
LONG = 3600.0
"""Seconds; most films take minutes."""


def state_machine(deployment: Deployment) -> Iterator[Finding]:
    arn = deployment.settings.state_machine_arn
    if not arn:
        what = "no state machine: sound, films and large files are kept as they are"
        yield Finding(Level.WELL, "heavy work", what)
        return
    states = deployment.client("stepfunctions")
    try:
        states.describe_state_machine(stateMachineArn=arn)
    except states.exceptions.StateMachineDoesNotExist:
        what = "the state machine is missing: sound, films and large files wait"
        why = "it has been deleted, or STATE_MACHINE_ARN names another"
        yield Finding(Level.BAD, "heavy work", what, why=why, do="deploy infra/template.yaml again")
        return
    running = states.list_executions(stateMachineArn=arn, statusFilter="RUNNING", maxResults=MAX_EXECUTIONS)[
        "executions"
    ]
    more = " or more" * (len(running) == MAX_EXECUTIONS)
    began = min((one["startDate"].timestamp() for one in running), default=0.0)
    oldest = f", the oldest for {age(time.time() - began)}" if running else ""
    yield Finding(Level.WELL, "heavy work", f"state machine: {len(running)}{more} at work{oldest}")


def trouble(deployment: Deployment, held: Job) -> str:
    """What is wrong with the execution that holds a job; empty where nothing is."""
    arn = deployment.settings.state_machine_arn
    if not arn:
        return "PROCESSING, and its execution was never started"
    states = deployment.client("stepfunctions")
    try:
        found = states.describe_execution(executionArn=executions.arn_of(arn, str(held.lease)))
    except states.exceptions.ExecutionDoesNotExist:
        return "PROCESSING, and its execution was never started"
    if found["status"] not in executions.AT_WORK:
        return "PROCESSING, and its execution has ended"
    long = time.time() - found["startDate"].timestamp() > LONG
    return "PROCESSING in an execution for over an hour" if long else ""
