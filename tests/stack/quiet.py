"""What no log may hold, whatever ran: every stack of a test process is searched before it stops."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from ops.stack import LocalStack

MARK = "hush-7f3a9c"
"""Stands in contents, names of files and queries of webhooks that tests send."""

SECRETS = {
    "a token": re.compile(r"eyJ[\w-]{8,}\.eyJ[\w-]{8,}"),
    "a signed URL": re.compile(r"X-Amz-(Signature|Credential|Security-Token)=", re.IGNORECASE),
    "a policy": re.compile(r"eyJleHBpcmF0aW9u|eyJjb25kaXRpb25z"),  # {"expiration…, {"conditions… in Base64
    "a webhook's secret": re.compile(r"whsec_[A-Za-z0-9+/]{8}"),
    "what was marked": re.compile(MARK),
}


def function_logs(stack: LocalStack) -> dict[str, str]:
    """What each function has written, as CloudWatch Logs has it."""
    logs = stack.client("logs")
    groups = logs.describe_log_groups()["logGroups"]
    return {
        group["logGroupName"]: "\n".join(
            event["message"]
            for page in logs.get_paginator("filter_log_events").paginate(logGroupName=group["logGroupName"])
            for event in page["events"]
        )
        for group in groups
    }


def all_logs(stack: LocalStack) -> dict[str, str]:
    files = {log.name: log.read_text(errors="replace") for log in stack.log_dir.iterdir()}
    return files | function_logs(stack)


def leaks(logs: dict[str, str]) -> list[str]:
    """Where which secret stands; not the secret itself, as what is found here is printed."""
    return [
        f"{name}, line {number}: {what}"
        for name, text in logs.items()
        for number, line in enumerate(text.splitlines(), start=1)
        for what, secret in SECRETS.items()
        if secret.search(line)
    ]


@contextmanager
def searched_when_stopped() -> Iterator[Callable[[], list[str]]]:
    """Have every stack searched before it stops; what is yielded tells what was found."""
    found: list[str] = []
    stop = LocalStack.stop

    def search_and_stop(stack: LocalStack) -> None:
        try:
            if stack.outputs:
                found.extend(leaks(all_logs(stack)))
        except Exception as error:  # a test has killed it: its files are all there is
            logs = {log.name: log.read_text(errors="replace") for log in stack.log_dir.glob("*.log")}
            found.extend(leaks(logs))
            del error
        finally:
            stop(stack)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LocalStack, "stop", search_and_stop)
        yield lambda: found
