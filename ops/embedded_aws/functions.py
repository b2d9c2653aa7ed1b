"""Bridges of Lambda: when a function is ready, and how asynchronous events reach it."""

import json
import re
import threading
from collections import defaultdict
from contextvars import ContextVar
from typing import Any

from ops.embedded_aws.shapes import State

ASYNCHRONOUS_CONCURRENCY = 4


def make_functions_active_at_once() -> None:
    """MiniStack keeps a function "Pending" for half a second after each change, to resemble AWS.

    Chalice waits with botocore's waiter, which looks again only after 5 s: seven functions deploy in 36 s
    instead of 1 s. AWS really is slow there, so nothing that holds on AWS is lost by being quick. Setting
    MiniStack's delay to 0 is not enough: the change would still be another thread's, and often come too late.
    """
    from ministack.services import lambda_svc

    def activate(name: str, _delay: float) -> None:
        lambda_svc._functions[name]["config"].update(
            State="Active",
            StateReason="",
            StateReasonCode="",
            LastUpdateStatus="Successful",
            LastUpdateStatusReason="",
            LastUpdateStatusReasonCode="",
        )

    lambda_svc._schedule_state_transition = activate


def queue_asynchronous_events() -> None:
    """MiniStack starts a process for every asynchronous event at once, and SNS calls a function only once.

    On AWS both kinds of event lie in a queue of the function's until there is concurrency for them, and are
    tried three times (Lambda Developer Guide, "How Lambda handles errors and retries with asynchronous
    invocation"). Three hundred uploads at once would be three hundred interpreters here; so that many per
    function run side by side as suits a laptop, and SNS hands its events over like everybody else.
    """
    from ministack.services import lambda_svc, sns

    asynchronous: ContextVar[bool] = ContextVar("asynchronous", default=False)
    turns: defaultdict[str, threading.BoundedSemaphore] = defaultdict(
        lambda: threading.BoundedSemaphore(ASYNCHRONOUS_CONCURRENCY)
    )
    execute, invoke = lambda_svc._execute_function, lambda_svc.invoke_async_with_retry

    def execute_in_turn(function: State, event: State) -> State:
        if not asynchronous.get():
            return execute(function, event)  # type: ignore[no-any-return]
        with turns[function["config"]["FunctionArn"]]:
            return execute(function, event)  # type: ignore[no-any-return]

    def invoke_in_turn(function: State, event: State) -> None:
        mark = asynchronous.set(True)  # the thread that is started inherits it
        try:
            invoke(function, event)
        finally:
            asynchronous.reset(mark)

    def deliver_to_lambda(endpoint: str, envelope: str, _topic: str, subscription: str, *_: Any) -> None:
        function, config, _name = lambda_svc._get_func_record_for_ref(endpoint)
        if function and config:
            record = {
                "EventVersion": "1.0",
                "EventSubscriptionArn": subscription,
                "EventSource": "aws:sns",
                "Sns": json.loads(envelope),
            }
            invoke_in_turn(lambda_svc._execution_record_for_config(function, config), {"Records": [record]})

    lambda_svc._execute_function = execute_in_turn
    lambda_svc.invoke_async_with_retry = invoke_in_turn
    sns._deliver_to_lambda = deliver_to_lambda


def name_errors_of_functions() -> None:
    """MiniStack calls every error of a function `Runtime.HandlerError`.

    On AWS `errorType` is the name of the exception's class, and `Runtime.ExitError` where the process has
    died (Lambda Developer Guide, "Lambda function errors"). Retry and Catch of Step Functions go by it.
    """
    from ministack.services import lambda_svc

    execute = lambda_svc._execute_function_warm

    def execute_and_name(*arguments: Any) -> State:
        answer: State = execute(*arguments)
        body = answer.get("body")
        if answer.get("error") and isinstance(body, dict) and body.get("errorType") == "Runtime.HandlerError":
            body["errorType"] = error_type(body.get("errorMessage", ""), answer.get("log", ""))
        return answer

    lambda_svc._execute_function_warm = execute_and_name


def tell_functions_their_handler() -> None:
    """MiniStack sets no `_HANDLER`.

    On AWS every function finds its handler there (Lambda Developer Guide, "Defined runtime environment
    variables"); those that answer no requests go by it.
    """
    from ministack.core import lambda_runtime

    credentials = lambda_runtime.execution_credentials

    def credentials_and_handler(config: State) -> State:
        return {**credentials(config), "_HANDLER": config["Handler"]}

    lambda_runtime.execution_credentials = credentials_and_handler


def error_type(message: str, log: str) -> str:
    """The class of the error whose traceback is the last thing in a log."""
    if message == "Worker process died":
        return "Runtime.ExitError"
    _, _, traceback = log.rpartition("Traceback (most recent call last):\n")
    raised = next((line for line in traceback.splitlines() if line and not line.startswith(" ")), "")
    found = re.match(r"(?:\w+\.)*(\w+)(?::|$)", raised)
    return found[1] if found else "Runtime.HandlerError"
