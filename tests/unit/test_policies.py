"""ops/policies.py: what each function may do, pinned by a golden file.

When a policy is meant to change, regenerate the golden file, and read its diff:

    PYTHONPATH=. .venv/bin/python tests/unit/test_policies.py
"""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from ops.policies import ASYNCHRONOUS, GRANTS, Policy, Prefixes, Resources, policy, write

GOLDEN = Path(__file__).parent / "golden" / "policies-local.json"

KINDS = ("", "table/", "log-group:/aws/lambda/", "stateMachine:", "execution:")

LOCAL = Resources.from_outputs(
    "local",
    {
        "BucketName": "waybill-local-000000000000",
        "JobsTable": "waybill-local-jobs",
        "EventsTable": "waybill-local-events",
        "WebhooksTable": "waybill-local-webhooks",
        "DeliveriesTable": "waybill-local-deliveries",
        "DeliveriesQueueUrl": "http://127.0.0.1:4566/000000000000/waybill-local-deliveries",
        "DeliveriesDeadLetterQueueUrl": "http://127.0.0.1:4566/000000000000/waybill-local-deliveries-dead",
        "FailedEventsQueueUrl": "http://127.0.0.1:4566/000000000000/waybill-local-failed-events",
        "QueueUrl": "http://127.0.0.1:4566/000000000000/waybill-local-jobs",
        "DeadLetterQueueUrl": "http://127.0.0.1:4566/000000000000/waybill-local-jobs-dead",
        "TopicArn": "arn:aws:sns:us-east-1:000000000000:waybill-local-events",
        "StateMachineArn": "arn:aws:states:us-east-1:000000000000:stateMachine:waybill-local-heavy",
        "Transcriber": "pocketsphinx",
    },
)


def policies() -> dict[str, Policy]:
    return {function: policy(function, LOCAL) for function in GRANTS}


def allowed(function: str, resources: Resources = LOCAL) -> set[tuple[str, str]]:
    """Every (action, resource) that the function's policy allows."""
    return {
        (action, resource)
        for statement in policy(function, resources)["Statement"]
        for action in statement["Action"]
        for resource in statement["Resource"]
    }


def test_the_policies_are_the_golden_ones() -> None:
    assert policies() == json.loads(GOLDEN.read_text(encoding="utf-8"))


@pytest.mark.parametrize("function", GRANTS)
def test_every_action_is_named_in_full_and_belongs_to_its_resource(function: str) -> None:
    for action, resource in allowed(function):
        service, name = action.split(":")
        assert re.fullmatch(r"[A-Z][A-Za-z]+", name)
        assert resource.split(":")[2] == service


@pytest.mark.parametrize("function", GRANTS)
def test_every_resource_is_the_stages_own(function: str) -> None:
    for _, resource in allowed(function):
        kind, _, name = resource.split(":", 5)[5].rpartition("waybill-local")
        assert kind in KINDS
        # A wildcard right here would match the names of the stage local2, too.
        assert not name.startswith("*")


@pytest.mark.parametrize("function", GRANTS)
def test_a_wildcard_stands_only_for_keys_below_a_prefix_and_for_streams_of_a_log_group(function: str) -> None:
    for _, resource in allowed(function):
        assert "?" not in resource
        stem, star, rest = resource.partition("*")
        assert rest == ""
        assert not star or re.search(
            r"(/(uploads|incoming|processed|rejected|failed)/|^arn:aws:logs:.*:|:execution:waybill-local-heavy:)$",
            stem,
        )


@pytest.mark.parametrize("function", GRANTS)
def test_every_statement_allows_and_has_its_own_sid(function: str) -> None:
    document = policy(function, LOCAL)
    sids = [statement["Sid"] for statement in document["Statement"]]
    assert document["Version"] == "2012-10-17"
    assert {statement["Effect"] for statement in document["Statement"]} == {"Allow"}
    assert len(set(sids)) == len(sids)
    assert all(re.fullmatch(r"[A-Za-z0-9]+", sid) for sid in sids)


@pytest.mark.parametrize(
    ("function", "group"),
    [
        ("api_handler", "/aws/lambda/waybill-local"),
        ("consume", "/aws/lambda/waybill-local-consume"),
        ("on_upload", "/aws/lambda/waybill-local-on_upload"),
    ],
)
def test_a_function_writes_only_its_own_logs(function: str, group: str) -> None:
    logs = {(action, arn) for action, arn in allowed(function) if action.startswith("logs:")}
    own = f"arn:aws:logs:us-east-1:000000000000:log-group:{group}:*"
    assert logs == {
        ("logs:CreateLogGroup", own),
        ("logs:CreateLogStream", own),
        ("logs:PutLogEvents", own),
    }


def test_what_fails_of_asynchronous_events_can_be_reported_and_nobody_else_writes_there() -> None:
    queue = "arn:aws:sqs:us-east-1:000000000000:waybill-local-failed-events"
    assert {function for function in GRANTS if ("sqs:SendMessage", queue) in allowed(function)} == set(
        ASYNCHRONOUS
    )


def test_the_api_puts_files_nowhere_but_where_uploads_come_in() -> None:
    puts = {grant for grant in allowed("api_handler") if grant[0].startswith("s3:Put")}
    uploads = "arn:aws:s3:::waybill-local-000000000000/uploads/*"
    assert puts == {("s3:PutObject", uploads)}


@pytest.mark.parametrize("function", GRANTS)
def test_no_function_tags_open_work(function: str) -> None:
    """Whoever signs uploads could else be made to sign for a tag which says that the file is clean."""
    tagging = {resource for action, resource in allowed(function) if action == "s3:PutObjectTagging"}
    assert not any(f"/{prefix}/" in resource for resource in tagging for prefix in ("uploads", "incoming"))


@pytest.mark.parametrize("function", GRANTS)
def test_no_function_can_delete_or_overwrite_the_wrong_side(function: str) -> None:
    """What enters files or tells of them deletes none; open work is only written by who signs uploads."""
    bucket = "arn:aws:s3:::waybill-local-000000000000"
    ended = (f"{bucket}/processed/*", f"{bucket}/rejected/*", f"{bucket}/failed/*")
    for action, resource in allowed(function):
        if action == "s3:DeleteObject":
            assert function in ("api_handler", "consume", "sweep", "finish", "fail") or resource in ended
        if action == "s3:PutObject" and function != "api_handler":
            assert resource in ended


def test_the_prefixes_and_the_partition_are_the_deployments() -> None:
    elsewhere = replace(LOCAL, partition="aws-cn", region="cn-north-1", prefixes=Prefixes(uploads="in/"))
    assert allowed("api_handler", elsewhere) >= {
        ("s3:PutObject", "arn:aws-cn:s3:::waybill-local-000000000000/in/*"),
        ("dynamodb:Query", "arn:aws-cn:dynamodb:cn-north-1:000000000000:table/waybill-local-jobs"),
    }


def test_a_missing_output_is_named() -> None:
    outputs = {"TopicArn": "arn:aws:sns:eu-west-1:111122223333:waybill-dev-events"}
    with pytest.raises(KeyError, match="BucketName"):
        Resources.from_outputs("dev", outputs)


def test_one_file_is_written_for_each_function(tmp_path: Path) -> None:
    files = write(tmp_path, "local", LOCAL)
    assert sorted(files) == sorted(tmp_path.iterdir())
    assert {path.name: json.loads(path.read_text(encoding="utf-8")) for path in files} == {
        f"policy-local-{function}.json": document for function, document in policies().items()
    }


def test_another_stages_resources_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"'dev'.*'local'"):
        write(tmp_path, "dev", LOCAL)
    assert not list(tmp_path.iterdir())


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps(policies(), indent=2) + "\n", encoding="utf-8")
