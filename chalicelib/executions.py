"""Heavy work, on its way to the state machine: one execution for each run of a job.

    lease to the execution ▶ StartExecution ▶ the message is done

The execution's name follows from job and run, and is the token of its lease. So the lease comes first: the
execution's first step asks for it. Should this process end between the two, the message comes again, finds
the job under the lease of an execution, and starts that one: a name starts once, however often it is asked
for. The sweep sends such a message as well where nothing has been heard of a job for a while.
"""

import json

from chalicelib import clients
from chalicelib.jobs import Job
from chalicelib.ledger import Ledger
from chalicelib.settings import Settings
from chalicelib.telemetry import log

MARGIN = 600
"""Seconds by which a lease outlasts its execution: nobody else is at the job while that may still write."""

AT_WORK = ("RUNNING", "PENDING_REDRIVE")
"""The states of an execution that has not ended for good."""


def name(job_id: str, run: int) -> str:
    """Of the execution for a run, and of its lease; at most 80 letters, digits, - and _ (StartExecution)."""
    return f"{job_id}-{run}"


def holds(job: Job) -> bool:
    """Whether the lease on a job is an execution's."""
    return job.lease == name(job.job_id, job.run)


def hand_over(settings: Settings, ledger: Ledger, claimed: Job) -> Job:
    """Have the state machine go on with a claimed job; the job under its lease.

    Raises:
        LeaseLost: the job is another worker's, or a newer upload's, by now.
    """
    execution = name(claimed.job_id, claimed.run)
    job = ledger.hand_over(claimed, execution, settings.workflow_seconds + MARGIN)
    log("job.handed_over", run=job.run)
    return job


def start(settings: Settings, job: Job) -> bool:
    """Start the execution that holds a job, if that has not been done; False where it has ended already."""
    states = clients.stepfunctions()
    arn = str(settings.state_machine_arn)
    execution = name(job.job_id, job.run)
    # Step Functions compares the input of a name that it knows: nothing in here may change from call to call.
    asked = {"owner": job.owner, "jobId": job.job_id, "run": str(job.run)}
    try:
        states.start_execution(stateMachineArn=arn, name=execution, input=json.dumps(asked))
    except states.exceptions.ExecutionAlreadyExists:
        found = states.describe_execution(executionArn=arn_of(arn, execution))
        return found["status"] in AT_WORK
    return True


def arn_of(state_machine_arn: str, execution: str) -> str:
    """Service Authorization Reference, "AWS Step Functions"."""
    head, _, machine = state_machine_arn.rpartition(":stateMachine:")
    return f"{head}:execution:{machine}:{execution}"
