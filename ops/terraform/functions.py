"""What `chalice package --pkg-format terraform` makes of app.py, made fit for today's Terraform.

Chalice's file holds the functions, their roles, triggers and the API. What is done to it here:

- its `terraform` block goes, which wants Terraform below 1.4 and the AWS provider below 5, and so does its
  `null_data_source`, to which nothing refers;
- rules of EventBridge are named after app and stage as well; Chalice names them after the function alone, and
  two stages of one account would share them;
- the API's stage becomes a resource of its own: version 6 of the provider has none in a deployment;
- queues are told that the functions report what failed of a batch (`FunctionResponseTypes`), for which
  Chalice has no word;
- the package is sent once, to the bucket of the stack, where Terraform would send it for every function, and
  one after another;
- everything waits for the stack and the log groups of main.tf, and the bucket's notifications for leave to
  call functions: S3 takes none without it;
- what is secret comes from variables, so that it is in no file.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from ops.policies import ASYNCHRONOUS, HTTP_HANDLER

Resources = dict[str, dict[str, dict[str, Any]]]

STACK = "aws_cloudformation_stack.waybill"
PACKAGE = "aws_s3_object.package"
LOG_GROUPS = "aws_cloudwatch_log_group.function"


def made_valid(chalice: Mapping[str, Any], prefix: str, secrets: Iterable[str]) -> dict[str, Any]:
    """Chalice's file for Terraform, as a file of this module.

    Args:
        chalice: the contents of chalice.tf.json.
        prefix: what all names begin with, `<app>-<stage>`.
        secrets: the variables of the functions that Terraform is told when it runs.
    """
    resources: Resources = {kind: dict(named) for kind, named in chalice["resource"].items()}
    _name_rules(resources, prefix)
    _report_failures(resources)
    _give_the_api_a_stage(resources, prefix)
    _take_the_package_from_the_bucket(resources)
    _wait_for_the_stack(resources)
    _notify_who_may_be_called(resources)
    _ask_for_secrets(resources, set(secrets))
    data = {kind: named for kind, named in chalice["data"].items() if kind != "null_data_source"}
    return {
        "//": "Made by `python -m ops terraform`, from `chalice package`; changes here are lost.",
        "variable": {name.lower(): _secret_variable(name) for name in sorted(secrets)},
        "locals": chalice["locals"] | {"functions": _names(resources)},
        "data": data,
        "resource": resources,
    }


def hand_failed_events_over(resources: Resources, queue_arn: str) -> None:
    """What an asynchronous function was given three times in vain goes to this queue."""
    resources["aws_lambda_function_event_invoke_config"] = {
        name: {
            "function_name": f"${{aws_lambda_function.{name}.function_name}}",
            "destination_config": {"on_failure": {"destination": queue_arn}},
            # Lambda's defaults, said once, so that no plan finds them anew.
            "maximum_event_age_in_seconds": 6 * 3600,
            "maximum_retry_attempts": 2,
            # Lambda asks whether the role may send there.
            "depends_on": [f"aws_iam_role_policy.{name}_role"],
        }
        for name in ASYNCHRONOUS
    }


def leave_the_scanner_its_events(resources: Resources) -> None:
    """Terraform replaces all that the bucket tells of, and so what GuardDuty has turned on to hear of objects
    (GuardDuty User Guide, "Create or update IAM role policy")."""
    for notification in resources["aws_s3_bucket_notification"].values():
        notification["eventbridge"] = True


def limit_requests(resources: Resources, rate: float, burst: int) -> None:
    """Requests a second, and at once, for each method of each path."""
    resources["aws_api_gateway_method_settings"] = {
        "rest_api": {
            "rest_api_id": "${aws_api_gateway_rest_api.rest_api.id}",
            "stage_name": "${aws_api_gateway_stage.rest_api.stage_name}",
            "method_path": "*/*",
            "settings": {"throttling_rate_limit": rate, "throttling_burst_limit": burst},
        }
    }


def _names(resources: Resources) -> dict[str, str]:
    """The functions by the names of their handlers: those under which they are deployed."""
    return {name: body["function_name"] for name, body in resources["aws_lambda_function"].items()}


def _name_rules(resources: Resources, prefix: str) -> None:
    for rule in resources.get("aws_cloudwatch_event_rule", {}).values():
        if not rule["name"].startswith(f"{prefix}-"):
            rule["name"] = f"{prefix}-{rule['name']}"


def _report_failures(resources: Resources) -> None:
    for mapping in resources["aws_lambda_event_source_mapping"].values():
        mapping["function_response_types"] = ["ReportBatchItemFailures"]


def _give_the_api_a_stage(resources: Resources, prefix: str) -> None:
    api = resources["aws_api_gateway_rest_api"]["rest_api"]
    api["name"] = prefix
    deployment = resources["aws_api_gateway_deployment"]["rest_api"]
    name = deployment.pop("stage_name")
    deployment.pop("stage_description", None)
    # A deployment is a picture of the API: another one is taken whenever the API changes.
    settings = json.dumps({**api, "body": None}, sort_keys=True)
    deployment["triggers"] = {
        "body": "${sha1(local.chalice_api_swagger)}",
        "settings": hashlib.sha1(settings.encode(), usedforsecurity=False).hexdigest(),
    }
    traced = resources["aws_lambda_function"][HTTP_HANDLER].get("tracing_config", {}).get("mode") == "Active"
    resources["aws_api_gateway_stage"] = {
        "rest_api": {
            "rest_api_id": "${aws_api_gateway_rest_api.rest_api.id}",
            "deployment_id": "${aws_api_gateway_deployment.rest_api.id}",
            "stage_name": name,
            "xray_tracing_enabled": traced,
        }
    }


def _take_the_package_from_the_bucket(resources: Resources) -> None:
    for function in resources["aws_lambda_function"].values():
        del function["filename"]
        function |= {"s3_bucket": f"${{{PACKAGE}.bucket}}", "s3_key": f"${{{PACKAGE}.key}}"}


def _wait_for_the_stack(resources: Resources) -> None:
    """Triggers name functions, and functions wait for both, so that all of it does."""
    for function in resources["aws_lambda_function"].values():
        function["depends_on"] = [*function.get("depends_on", []), STACK, LOG_GROUPS]


def _notify_who_may_be_called(resources: Resources) -> None:
    """PutBucketNotificationConfiguration asks each function at once (S3 User Guide, "Granting permissions to
    publish event notification messages to a destination")."""
    of_s3 = [
        f"aws_lambda_permission.{name}"
        for name, permission in resources["aws_lambda_permission"].items()
        if permission["principal"].startswith("s3.")
    ]
    for notification in resources["aws_s3_bucket_notification"].values():
        notification["depends_on"] = of_s3


def _ask_for_secrets(resources: Resources, secrets: set[str]) -> None:
    for function in resources["aws_lambda_function"].values():
        variables = function.get("environment", {}).get("variables", {})
        for name in secrets & variables.keys():
            variables[name] = f"${{var.{name.lower()}}}"


def _secret_variable(name: str) -> dict[str, Any]:
    return {
        "description": f"{name} of the functions; set it as TF_VAR_{name.lower()}.",
        "type": "string",
        "sensitive": True,
    }
