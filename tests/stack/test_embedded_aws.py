"""The embedded AWS: every bridge is needed, and works; and nothing of it outlives its time.

A probe says whether a server does what AWS does. MiniStack alone must fail it, or the bridge can be deleted.
"""

import asyncio
import base64
import hashlib
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from ops.children import Child
from ops.embedded_aws import HOST, environment, large_objects
from ops.embedded_aws.functions import ASYNCHRONOUS_CONCURRENCY
from ops.embedded_aws.large_objects import LARGE_BYTES
from ops.embedded_aws.saved import _steady
from ops.embedded_aws.shapes import Response
from ops.stack import client, session
from ops.state import CHECKOUT
from tests.stack.user import eventually, http_call, send_form

ORIGIN = "https://page.example"


class Server:
    """An AWS on this machine that can be stopped, killed and started again on its data."""

    def __init__(self, module: str, state_dir: Path) -> None:
        self.port = 0
        self._module = module
        self._state_dir = state_dir
        self._child: Child | None = None

    def start(self) -> None:
        """On a free port, never the one before."""
        with socket.socket() as probe:
            probe.bind((HOST, 0))
            self.port = probe.getsockname()[1]
        (self._state_dir / "tmp").mkdir(parents=True, exist_ok=True)
        self._child = Child(
            self._module,
            ["--port", str(self.port), "--state-dir", str(self._state_dir)] if "ops" in self._module else [],
            cwd=CHECKOUT,
            log=self._state_dir / "log",
            env={**environment(self.port, self._state_dir, os.environ), "SHELL_SECRET": "1"},
        )
        eventually(self._answers, "the server answers")

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex((HOST, self.port)) == 0

    @property
    def runs(self) -> bool:
        return self._child is not None and self._child.exit_code is None

    def stop(self) -> None:
        if self._child:
            self._child.stop()

    def kill(self) -> None:
        """Let it die as by kill -9, without a word to anybody."""
        os.kill(self.pid, signal.SIGKILL)
        eventually(lambda: self._child and self._child.exit_code is not None, "it is dead")

    @property
    def pid(self) -> int:
        assert self._child
        return self._child.pid

    def comes_to(self, look: Callable[[], bool]) -> bool:
        """Whether it does by itself what is looked for: MiniStack alone soon, or it never will."""
        try:
            return eventually(look, "it happens", patience=60 if "ops" in self._module else 5)
        except AssertionError:
            return False

    def has_saved(self, name: str) -> bool:
        return any(name in saved.read_text() for saved in (self._state_dir / "state").glob("*.json"))

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def client(self, service: str) -> Any:
        return client(service, self.url)

    def directory(self, name: str) -> Path:
        return Path(tempfile.mkdtemp(prefix=name, dir=self._state_dir))

    def create_function(self, name: str, code: str) -> Any:
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as package:
            package.writestr("code.py", code)
        role = self.client("iam").create_role(RoleName=name, AssumeRolePolicyDocument="{}")["Role"]
        return self.client("lambda").create_function(
            FunctionName=name,
            Runtime="python3.11",
            Handler="code.handler",
            Role=role["Arn"],
            Code={"ZipFile": archive.getvalue()},
            Timeout=60,
        )


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Server]]:
    """One of each kind: starting it takes longer than most tests."""
    made: dict[str, Server] = {}

    def empty(module: str) -> Server:
        server = made.setdefault(module, Server(module, tmp_path_factory.mktemp("server")))
        if not server.runs:
            server.start()
        assert http_call("POST", f"{server.url}/_ministack/reset").status == 200
        return server

    yield empty
    for server in made.values():
        server.stop()


@pytest.fixture
def ministack_alone(servers: Callable[[str], Server]) -> Server:
    return servers("ministack")


@pytest.fixture
def aws(servers: Callable[[str], Server]) -> Server:
    return servers("ops.embedded_aws")


# --- A REST API as `chalice deploy` describes it ------------------------------------------------------------


def operation(function_arn: str, **more: Any) -> dict[str, Any]:
    return {
        "responses": {"200": {"description": "200 response"}},
        "x-amazon-apigateway-integration": {
            "type": "aws_proxy",
            "httpMethod": "POST",
            "uri": invocation_uri(function_arn),
            "passthroughBehavior": "when_no_match",
            "contentHandling": "CONVERT_TO_TEXT",
            "responses": {"default": {"statusCode": "200"}},
        },
        **more,
    }


PREFLIGHT = {
    "responses": {"200": {"description": "200 response"}},
    "x-amazon-apigateway-integration": {
        "type": "mock",
        "requestTemplates": {"application/json": '{"statusCode": 200}'},
        "passthroughBehavior": "when_no_match",
        "contentHandling": "CONVERT_TO_TEXT",
        "responses": {
            "default": {
                "statusCode": "200",
                "responseParameters": {"method.response.header.Access-Control-Allow-Origin": f"'{ORIGIN}'"},
            }
        },
    },
}


def definition(
    paths: dict[str, Any], authorizer_arn: str = "", responses: dict[str, Any] | None = None
) -> bytes:
    gate = {
        "type": "apiKey",
        "in": "header",
        "name": "Authorization",
        "x-amazon-apigateway-authtype": "custom",
        "x-amazon-apigateway-authorizer": {"type": "token", "authorizerUri": invocation_uri(authorizer_arn)},
    }
    return json.dumps(
        {
            "swagger": "2.0",
            "info": {"version": "1.0", "title": "waybill"},
            "paths": paths,
            "securityDefinitions": {"gate": gate} if authorizer_arn else {},
            "x-amazon-apigateway-binary-media-types": ["application/octet-stream"],
            "x-amazon-apigateway-gateway-responses": responses or {},
        }
    ).encode()


def invocation_uri(arn: str) -> str:
    return f"arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/{arn}/invocations"


def paths_of(server: Server, api_id: str) -> set[str]:
    resources = server.client("apigateway").get_resources(restApiId=api_id)["items"]
    return {resource["path"] for resource in resources if resource.get("resourceMethods")}


# --- The bridges --------------------------------------------------------------------------------------------


def functions_are_active_at_once(server: Server) -> bool:
    """By the answer to the call that makes it: a look at it later may come too late on a busy machine."""
    configuration = server.create_function("any", "def handler(event, context): pass")
    return bool(configuration["State"] == "Active" and configuration["LastUpdateStatus"] == "Successful")


def import_rest_api_makes_routes(server: Server) -> bool:
    api = server.client("apigateway").import_rest_api(body=definition({"/jobs": {"get": operation("arn")}}))
    return paths_of(server, api["id"]) == {"/jobs"}


def put_rest_api_replaces_routes(server: Server) -> bool:
    gateway = server.client("apigateway")
    before, after = ({path: {"get": operation("arn")}} for path in ("/before", "/after/{id}"))
    api = gateway.import_rest_api(body=definition(before))
    try:
        gateway.put_rest_api(restApiId=api["id"], mode="overwrite", body=definition(after))
    except ClientError:
        return False
    return paths_of(server, api["id"]) == {"/after/{id}"}


def binary_media_types_are_a_list(server: Server) -> bool:
    gateway = server.client("apigateway")
    api_id = gateway.create_rest_api(name="any", binaryMediaTypes=["image/gif"])["id"]
    gateway.update_rest_api(
        restApiId=api_id,
        patchOperations=[
            {"op": "remove", "path": "/binaryMediaTypes/image~1gif"},
            {"op": "add", "path": "/binaryMediaTypes/image~1png"},
            {"op": "replace", "path": "/name", "value": "other"},
        ],
    )
    found = gateway.get_rest_api(restApiId=api_id)
    return (found["name"], found["binaryMediaTypes"]) == ("other", ["image/png"])


def a_stage_has_no_log_that_nobody_asked_for(server: Server) -> bool:
    gateway = server.client("apigateway")
    api_id = gateway.create_rest_api(name="any")["id"]
    deployment = gateway.create_deployment(restApiId=api_id)["id"]
    gateway.create_stage(restApiId=api_id, stageName="api", deploymentId=deployment)
    return "accessLogSettings" not in gateway.get_stage(restApiId=api_id, stageName="api")


def a_preflight_is_answered(server: Server) -> bool:
    """By a stack with the definition as its body: MiniStack alone has the parser, but not the call."""
    gateway = server.client("apigateway")
    body = definition({"/jobs": {"get": operation("arn"), "options": PREFLIGHT}})
    api_id = gateway.import_rest_api(body=body)["id"]
    if not paths_of(server, api_id):
        resource = {"Type": "AWS::ApiGateway::RestApi", "Properties": {"Body": json.loads(body)}}
        template = json.dumps({"Resources": {"Api": resource}})
        cloudformation = server.client("cloudformation")
        cloudformation.create_stack(StackName="preflight", TemplateBody=template)
        cloudformation.get_waiter("stack_create_complete").wait(
            StackName="preflight", WaiterConfig={"Delay": 0.1}
        )
        resources = cloudformation.describe_stack_resources(StackName="preflight")["StackResources"]
        api_id = resources[0]["PhysicalResourceId"]
        assert paths_of(server, api_id) == {"/jobs"}
    gateway.create_deployment(restApiId=api_id, stageName="api")
    answer = http_call(
        "OPTIONS", f"{server.url}/_aws/execute-api/{api_id}/api/jobs", headers={"Origin": ORIGIN}
    )
    return answer.status == 200 and answer.headers.get("Access-Control-Allow-Origin") == ORIGIN


def its_own_answers_are_as_the_definition_says(server: Server) -> bool:
    """Of the last definition alone: what the one before it said is gone."""
    gateway = server.client("apigateway")
    header = {"gatewayresponse.header.Access-Control-Allow-Origin": f"'{ORIGIN}'"}
    paths = {"/jobs": {"get": operation("arn")}}
    before, after = (
        definition(paths, responses={kind: {"responseParameters": header}})
        for kind in ("THROTTLED", "DEFAULT_4XX")
    )
    api_id = gateway.import_rest_api(body=before)["id"]
    try:
        gateway.put_rest_api(restApiId=api_id, mode="overwrite", body=after)
    except ClientError:
        return False
    gateway.create_deployment(restApiId=api_id, stageName="api")
    found = {one["responseType"]: one for one in gateway.get_gateway_responses(restApiId=api_id)["items"]}
    answer = http_call("GET", f"{server.url}/_aws/execute-api/{api_id}/api/nowhere")
    return (
        answer.status == 403
        and answer.headers.get("Access-Control-Allow-Origin") == ORIGIN
        and [kind for kind, one in found.items() if not one["defaultResponse"]] == ["DEFAULT_4XX"]
    )


def a_batch_needs_only_the_permission_of_its_calls(server: Server) -> bool:
    queue = server.client("sqs").create_queue(QueueName="batches")["QueueUrl"]
    iam = server.client("iam")
    iam.create_user(UserName="sender")
    statement = {"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": "arn:aws:sqs:*:*:batches"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.put_user_policy(UserName="sender", PolicyName="send", PolicyDocument=policy)
    key = iam.create_access_key(UserName="sender")["AccessKey"]
    sqs = client("sqs", server.url, session(key["AccessKeyId"], key["SecretAccessKey"]))
    sqs.send_message(QueueUrl=queue, MessageBody="alone")
    try:
        sqs.send_message_batch(QueueUrl=queue, Entries=[{"Id": "1", "MessageBody": "in company"}])
    except ClientError:
        return False
    return True


def functions_and_rules_are_made_by_who_may_make_these(server: Server) -> bool:
    iam = server.client("iam")
    role = iam.create_role(RoleName="any", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    iam.create_user(UserName="maker")
    mine = {
        "Effect": "Allow",
        "Action": ["lambda:*", "events:*"],
        "Resource": ["arn:aws:lambda:*:*:function:mine", "arn:aws:events:*:*:rule/mine"],
    }
    pass_role = {"Effect": "Allow", "Action": "iam:PassRole", "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [mine, pass_role]})
    iam.put_user_policy(UserName="maker", PolicyName="make", PolicyDocument=policy)
    key = iam.create_access_key(UserName="maker")["AccessKey"]
    maker = session(key["AccessKeyId"], key["SecretAccessKey"])
    functions, events = (client(service, server.url, maker) for service in ("lambda", "events"))
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as package:
        package.writestr("code.py", "")
    made = []
    for name in ("mine", "theirs"):
        with suppress(ClientError):
            functions.create_function(
                FunctionName=name,
                Runtime="python3.11",
                Handler="code.handler",
                Role=role,
                Code={"ZipFile": archive.getvalue()},
            )
            made.append(name)
        with suppress(ClientError):
            events.put_rule(Name=name, ScheduleExpression="rate(1 day)")
            made.append(name)
    return made == ["mine", "mine"]


def tagging_needs_its_permission(server: Server) -> bool:
    """A PUT with tags, the beginning of an upload in parts with tags, and a copy of what has some."""
    root, iam = server.client("s3"), server.client("iam")
    root.create_bucket(Bucket="tagged")
    root.put_object(Bucket="tagged", Key="has", Body=b"tags", Tagging="a=b")
    root.put_object(Bucket="tagged", Key="has-none", Body=b"")
    iam.create_user(UserName="writer")
    statement = {
        "Effect": "Allow",
        "Action": ["s3:PutObject", "s3:GetObject"],
        "Resource": "arn:aws:s3:::tagged/*",
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.put_user_policy(UserName="writer", PolicyName="write", PolicyDocument=policy)
    key = iam.create_access_key(UserName="writer")["AccessKey"]
    s3 = client("s3", server.url, session(key["AccessKeyId"], key["SecretAccessKey"]))
    there = {"Bucket": "tagged", "Key": "new"}
    s3.put_object(**there, Body=b"")
    s3.create_multipart_upload(**there)
    s3.copy_object(**there, CopySource="tagged/has-none")
    s3.copy_object(**there, CopySource="tagged/has", TaggingDirective="REPLACE")
    calls: list[Callable[[], Any]] = [
        lambda: s3.put_object(**there, Body=b"", Tagging="a=b"),
        lambda: s3.create_multipart_upload(**there, Tagging="a=b"),
        lambda: s3.copy_object(**there, CopySource="tagged/has"),
    ]
    refused = 0
    for call in calls:
        try:
            call()
        except ClientError as error:
            refused += error.response["ResponseMetadata"]["HTTPStatusCode"] == 403
    return refused == len(calls)


def knowing_needs_its_permission(server: Server) -> bool:
    """That nothing lies on a key, and that what lies there has an etag."""
    root, iam = server.client("s3"), server.client("iam")
    root.create_bucket(Bucket="secret")
    etag = root.put_object(Bucket="secret", Key="has", Body=b"bytes")["ETag"]
    reader, deleter = (
        client("s3", server.url, session(*user_who_may(iam, action, "arn:aws:s3:::secret/*")))
        for action in ("s3:GetObject", "s3:DeleteObject")
    )
    reader.head_object(Bucket="secret", Key="has")
    calls: list[Callable[[], Any]] = [
        lambda: reader.head_object(Bucket="secret", Key="has-not"),
        lambda: reader.get_object(Bucket="secret", Key="has-not"),
        lambda: deleter.delete_object(Bucket="secret", Key="has", IfMatch=etag),
    ]
    return all(status_of(call) == 403 for call in calls)


def user_who_may(iam: Any, action: str, resource: str) -> tuple[str, str]:
    """The keys of a new user."""
    name = f"may-{action.partition(':')[2]}"
    iam.create_user(UserName=name)
    statement = {"Effect": "Allow", "Action": [action], "Resource": [resource]}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.put_user_policy(UserName=name, PolicyName=name, PolicyDocument=policy)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return key["AccessKeyId"], key["SecretAccessKey"]


def status_of(call: Callable[[], Any]) -> int:
    try:
        answer = call()
    except ClientError as error:
        answer = error.response
    return int(answer["ResponseMetadata"]["HTTPStatusCode"])


def a_condition_names_the_role_of_a_session(server: Server) -> bool:
    root, iam = server.client("s3"), server.client("iam")
    root.create_bucket(Bucket="guarded")
    anybody = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}
    trust = json.dumps({"Version": "2012-10-17", "Statement": [anybody]})
    arn = iam.create_role(RoleName="exempt", AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    everything = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [everything]})
    iam.put_role_policy(RoleName="exempt", PolicyName="all", PolicyDocument=policy)
    deny = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:PutObject",
        "Resource": "arn:aws:s3:::guarded/*",
        "Condition": {"ArnNotEquals": {"aws:PrincipalArn": arn}},
    }
    root.put_bucket_policy(
        Bucket="guarded", Policy=json.dumps({"Version": "2012-10-17", "Statement": [deny]})
    )
    taken = server.client("sts").assume_role(RoleArn=arn, RoleSessionName="exempt")["Credentials"]
    keys = (taken["AccessKeyId"], taken["SecretAccessKey"], taken["SessionToken"])
    s3 = client("s3", server.url, boto3.Session(*keys, region_name="us-east-1"))
    try:
        s3.put_object(Bucket="guarded", Key="key", Body=b"")
    except ClientError:
        return False
    return True


def a_header_that_was_not_signed_is_refused(server: Server) -> bool:
    server.client("s3").create_bucket(Bucket="signed")
    there = {"Bucket": "signed", "Key": "key"}
    url = server.client("s3").generate_presigned_url("put_object", there)
    assert http_call("PUT", url, b"as it was signed").status == 200
    return http_call("PUT", url, b"with more", {"x-amz-tagging": "a=b"}).status == 403


def a_malware_protection_plan_is_taken(server: Server) -> bool:
    plan = {
        "Type": "AWS::GuardDuty::MalwareProtectionPlan",
        "Properties": {"Role": "arn:aws:iam::000000000000:role/scan", "ProtectedResource": {}},
    }
    try:
        server.client("cloudformation").create_stack(
            StackName="scanned", TemplateBody=json.dumps({"Resources": {"Plan": plan}})
        )
    except ClientError:
        return False
    return True


NOTE = """
import os, time
def handler(event, context):
    if "Records" in event:
        event = {"notes": event["Records"][0]["Sns"]["Message"], "fail": True}
    with open(os.path.join(event["notes"], str(os.getpid())), "a") as note:
        note.write("x")
    time.sleep(0.3)
    if event["fail"]:
        raise ValueError("on purpose")
"""


def a_form_with_other_bytes_is_refused(server: Server) -> bool:
    server.client("s3").create_bucket(Bucket="forms")
    checksum = {"x-amz-checksum-sha256": base64.b64encode(hashlib.sha256(b"declared").digest()).decode()}
    form = server.client("s3").generate_presigned_post("forms", "key", checksum, [checksum])
    honest, lying = (send_form(form["url"], form["fields"], body) for body in (b"declared", b"other"))
    assert honest.status == 204
    return (lying.status, b"BadDigest" in lying.body) == (400, True)


def a_copy_keeps_its_condition(server: Server) -> bool:
    s3 = server.client("s3")
    s3.create_bucket(Bucket="copies")
    s3.put_object(Bucket="copies", Key="from", Body=b"new")
    s3.put_object(Bucket="copies", Key="to", Body=b"old")
    copy: dict[str, Any] = {"Bucket": "copies", "CopySource": "copies/from", "IfNoneMatch": "*"}
    s3.copy_object(**copy, Key="elsewhere")
    with suppress(ClientError):
        s3.copy_object(**copy, Key="to")
    return bool(s3.get_object(Bucket="copies", Key="to")["Body"].read() == b"old")


FAILS = """
import os
class OutOfStock(Exception): pass
def handler(event, context):
    if event["die"]:
        os._exit(1)
    raise OutOfStock("try\\nValueError: later")
"""


def error_of(states: Any, execution: str) -> str:
    def look() -> str | None:
        name: str | None = states.describe_execution(executionArn=execution).get("error")
        return name

    return eventually(look, "the execution has failed")


def errors_of_functions_have_their_names(server: Server) -> bool:
    """As Step Functions sees them, where Retry and Catch go by the name."""
    function = server.create_function("fails", FAILS)
    states = server.client("stepfunctions")
    names: list[str] = []
    for die in (False, True):
        task = {"Type": "Task", "Resource": function["FunctionArn"], "End": True}
        machine = states.create_state_machine(
            name=f"fails-{die}",
            definition=json.dumps({"StartAt": "Fails", "States": {"Fails": task}}),
            roleArn=function["Role"],
        )["stateMachineArn"]
        begun = states.start_execution(stateMachineArn=machine, input=json.dumps({"die": die}))
        names.append(error_of(states, begun["executionArn"]))
    return names == ["OutOfStock", "Runtime.ExitError"]


def runs(notes: Path) -> int:
    return sum(len(note.read_text()) for note in notes.iterdir())


def asynchronous_events_wait_for_their_turn(server: Server) -> bool:
    notes = server.directory("notes")
    server.create_function("note", NOTE)
    for _ in range(12):
        server.client("lambda").invoke(
            FunctionName="note",
            InvocationType="Event",
            Payload=json.dumps({"notes": str(notes), "fail": False}).encode(),
        )
    eventually(lambda: runs(notes) == 12, "every event has its run")
    return len(list(notes.iterdir())) <= ASYNCHRONOUS_CONCURRENCY


def sns_tries_a_failing_function_three_times(server: Server) -> bool:
    notes = server.directory("notes")
    function = server.create_function("note", NOTE)
    sns = server.client("sns")
    topic = sns.create_topic(Name="news")["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="lambda", Endpoint=function["FunctionArn"])
    sns.publish(TopicArn=topic, Message=str(notes))
    return server.comes_to(lambda: runs(notes) >= 3) and runs(notes) == 3


def state_survives_a_kill(server: Server) -> bool:
    server.client("sqs").create_queue(QueueName="kept")
    server.comes_to(lambda: server.has_saved("kept"))
    server.kill()
    server.start()
    return bool(server.client("sqs").list_queues().get("QueueUrls"))


def queues_follow_the_port(server: Server) -> bool:
    server.client("sqs").create_queue(QueueName="moving")
    server.stop()
    server.start()
    url: str = server.client("sqs").get_queue_url(QueueName="moving")["QueueUrl"]
    return url.startswith(server.url)


def part_of_a_large_object_is_read_alone(server: Server) -> bool:
    """By what the server's memory grows at most (proc(5), clear_refs and VmHWM)."""
    s3 = server.client("s3")
    s3.create_bucket(Bucket="large")
    size = 4 * LARGE_BYTES
    s3.put_object(Bucket="large", Key="key", Body=bytes(size))

    def memory(name: str) -> int:
        found = re.search(rf"{name}:\s+(\d+) kB", Path(f"/proc/{server.pid}/status").read_text())
        assert found
        return int(found[1]) * 1024

    s3.head_object(Bucket="large", Key="key")  # until then it holds the request before, and its body
    Path(f"/proc/{server.pid}/clear_refs").write_text("5")  # the peak is now what it holds
    before = memory("VmRSS")
    got = s3.get_object(Bucket="large", Key="key", Range="bytes=0-65535")
    assert len(got["Body"].read()) == 65536
    return memory("VmHWM") - before < size // 2


def others_are_served_while_an_upload_is_completed(server: Server) -> bool:
    s3 = server.client("s3")
    s3.create_bucket(Bucket="large")
    s3.put_object(Bucket="large", Key="key", Body=bytes(256 * 1024 * 1024))
    upload: dict[str, Any] = {"Bucket": "large", "Key": "key"}
    upload["UploadId"] = s3.create_multipart_upload(**upload)["UploadId"]
    parts = [
        {"PartNumber": number, "ETag": s3.upload_part_copy(**upload, **part)["CopyPartResult"]["ETag"]}
        for number in (1, 2)
        for part in [{"PartNumber": number, "CopySource": "large/key"}]
    ]
    completing = threading.Thread(
        target=lambda: s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
    )
    served = 0
    completing.start()
    while completing.is_alive():
        server.client("sqs").list_queues()
        served += 1
    # MiniStack alone may serve a few until it has begun, and the one that had to wait.
    return served > 10


def a_function_is_told_its_handler(server: Server) -> bool:
    server.create_function("told", "import os\ndef handler(*_): return os.environ.get('_HANDLER')")
    answer = server.client("lambda").invoke(FunctionName="told")
    return bool(json.loads(answer["Payload"].read()) == "code.handler")


Probe = Callable[[Server], bool]
BRIDGES: list[tuple[Probe, str]] = [
    (functions_are_active_at_once, "make_functions_active_at_once"),
    (import_rest_api_makes_routes, "serve_rest_api_definitions, its ImportRestApi,"),
    (put_rest_api_replaces_routes, "serve_rest_api_definitions, its PutRestApi,"),
    (binary_media_types_are_a_list, "_without_media_types"),
    (a_stage_has_no_log_that_nobody_asked_for, "leave_out_access_logs_that_nobody_asked_for"),
    (a_preflight_is_answered, "_put_whole_integration"),
    (its_own_answers_are_as_the_definition_says, "_define_rest_api, its gateway responses,"),
    (a_batch_needs_only_the_permission_of_its_calls, "authorize_batches_as_single_calls"),
    (functions_and_rules_are_made_by_who_may_make_these, "name_functions_and_rules"),
    (tagging_needs_its_permission, "ask_for_leave_to_tag"),
    (knowing_needs_its_permission, "ask_for_leave_to_know"),
    (a_condition_names_the_role_of_a_session, "name_the_role_of_a_session"),
    (a_header_that_was_not_signed_is_refused, "refuse_headers_that_were_not_signed"),
    (a_malware_protection_plan_is_taken, "take_malware_protection_plans"),
    (a_form_with_other_bytes_is_refused, "verify_checksums_of_forms"),
    (a_copy_keeps_its_condition, "keep_conditions_of_copies"),
    (part_of_a_large_object_is_read_alone, "read_large_objects_by_the_piece"),
    (others_are_served_while_an_upload_is_completed, "complete_large_uploads_beside_other_requests"),
    (asynchronous_events_wait_for_their_turn, "queue_asynchronous_events, its turns,"),
    (sns_tries_a_failing_function_three_times, "queue_asynchronous_events, its delivery from SNS,"),
    (errors_of_functions_have_their_names, "name_errors_of_functions"),
    (a_function_is_told_its_handler, "tell_functions_their_handler"),
    (state_survives_a_kill, "checkpoint_state"),
    (queues_follow_the_port, "move_to_port"),
]
ONLY_HERE: dict[Probe, Path] = {part_of_a_large_object_is_read_alone: Path("/proc/self/clear_refs")}
each_bridge = pytest.mark.parametrize(
    ("probe", "bridge"),
    [
        pytest.param(
            probe,
            bridge,
            id=probe.__name__,
            marks=pytest.mark.skipif(not ONLY_HERE.get(probe, CHECKOUT).exists(), reason="needs Linux"),
        )
        for probe, bridge in BRIDGES
    ],
)


@each_bridge
def test_ministack_alone_still_needs_the_bridge(ministack_alone: Server, probe: Probe, bridge: str) -> None:
    assert not probe(ministack_alone), f"{bridge} can be deleted: MiniStack does this by itself now"


@each_bridge
def test_the_bridge_carries(aws: Server, probe: Probe, bridge: str) -> None:
    assert probe(aws), f"{bridge} does not do its work"


ECHO = "def handler(event, context): return {key: event[key] for key in ('body', 'isBase64Encoded')} | " + (
    "{'statusCode': 200, 'headers': {'Content-Type': 'application/octet-stream'}}"
)
GATE = """
def handler(event, context):
    effect = "Allow" if event["authorizationToken"] == "Bearer good" else "Deny"
    statement = {"Effect": effect, "Action": "execute-api:Invoke", "Resource": "*"}
    return {"principalId": "me", "policyDocument": {"Version": "2012-10-17", "Statement": [statement]}}
"""


@pytest.mark.parametrize("deployments", [1, 2])
def test_an_imported_api_serves_bytes_and_asks_its_authorizer(aws: Server, deployments: int) -> None:
    echo, gate = (
        aws.create_function(name, code)["FunctionArn"] for name, code in (("echo", ECHO), ("gate", GATE))
    )
    body = definition({"/bytes": {"post": operation(echo, security=[{"gate": []}])}}, gate)
    gateway = aws.client("apigateway")
    api_id = gateway.import_rest_api(body=body)["id"]
    if deployments == 2:
        gateway.put_rest_api(restApiId=api_id, mode="overwrite", body=body)
    gateway.create_deployment(restApiId=api_id, stageName="api")

    def send(**headers: str) -> Any:
        every = {"Content-Type": "application/octet-stream", "Accept": "application/octet-stream", **headers}
        return http_call("POST", f"{aws.url}/_aws/execute-api/{api_id}/api/bytes", bytes(range(256)), every)

    assert send().status == 401
    assert send(Authorization="Bearer bad").status == 403
    answer = send(Authorization="Bearer good")
    assert (answer.status, answer.body) == (200, bytes(range(256)))
    assert len(gateway.get_authorizers(restApiId=api_id)["items"]) == 1


def test_a_large_object_is_the_same_whole_in_part_and_copied(aws: Server) -> None:
    s3 = aws.client("s3")
    s3.create_bucket(Bucket="large")
    body = b"".join(number.to_bytes(4, "big") for number in range(LARGE_BYTES // 4 + 1))
    s3.put_object(Bucket="large", Key="key", Body=body)
    s3.copy_object(Bucket="large", Key="copy", CopySource="large/key")

    for key in ("key", "copy"):
        assert s3.get_object(Bucket="large", Key=key)["Body"].read() == body
    got = s3.get_object(Bucket="large", Key="key", Range="bytes=1000-3000000")
    assert (got["ContentRange"], got["Body"].read()) == (
        f"bytes 1000-3000000/{len(body)}",
        body[1000:3000001],
    )
    reading = s3.get_object(Bucket="large", Key="key")["Body"]
    begin = reading.read(1000)
    s3.put_object(Bucket="large", Key="key", Body=b"new")
    s3.delete_object(Bucket="large", Key="copy")
    assert begin + reading.read() == body


def test_a_completion_that_takes_long_shows_signs_of_life_and_then_its_event(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from ministack.services import s3

    told: list[str] = []
    enough = threading.Event()

    async def slow(*_: Any, **__: Any) -> Response:
        s3._fire_s3_event_async("created")
        enough.wait(30)
        told.append("whole")
        return 200, {}, s3.XML_DECL + b"\n<Done/>"

    monkeypatch.setattr(s3, "handle_request", slow)
    monkeypatch.setattr(s3, "_fire_s3_event_async", told.append)
    monkeypatch.setattr(large_objects, "SIGN_OF_LIFE_SECONDS", 0.01)
    upload = {"parts": {1: {"size": LARGE_BYTES}}}
    monkeypatch.setattr(s3, "_multipart_uploads", {"id": upload})
    large_objects.complete_large_uploads_beside_other_requests()

    async def answers() -> list[bytes]:
        """Of two who ask for the same: the second had lost patience with the first."""
        request: Any = ("POST", "/large/key", {}, b"", {"uploadId": ["id"]})
        (_, _, first), (_, _, second) = [await s3.handle_request(*request) for _ in range(2)]
        return [await read(first), await read(second)]

    async def read(body: Any) -> bytes:
        sent: list[bytes] = []

        async def send(message: Any) -> None:
            sent.append(message["body"])
            if len(sent) == 3:
                enough.set()

        await body.runner(send, None)
        return b"".join(sent)

    first, second = asyncio.run(answers())

    assert first.startswith(s3.XML_DECL + b"  ")
    assert first.endswith(b"\n<Done/>")
    assert second == s3.XML_DECL + b"\n<Done/>"
    assert told == ["whole", "created"]


def test_a_state_that_changes_while_it_is_copied_is_copied_again() -> None:
    copies = iter([RuntimeError("dictionary changed size during iteration"), {"queues": {}}])

    def copy() -> Any:
        outcome = next(copies)
        if isinstance(outcome, RuntimeError):
            raise outcome
        return outcome

    assert _steady(copy)() == {"queues": {}}


# --- What it promises besides -------------------------------------------------------------------------------


def test_iam_is_enforced(aws: Server) -> None:
    iam = aws.client("iam")
    iam.create_user(UserName="nobody")
    key = iam.create_access_key(UserName="nobody")["AccessKey"]
    nobody = client("sqs", aws.url, session(key["AccessKeyId"], key["SecretAccessKey"]))
    with pytest.raises(ClientError, match="AccessDenied"):
        nobody.list_queues()


def test_a_policy_that_has_been_changed_holds_at_once(aws: Server) -> None:
    iam = aws.client("iam")
    iam.create_user(UserName="changing")
    key = iam.create_access_key(UserName="changing")["AccessKey"]
    user = client("sqs", aws.url, session(key["AccessKeyId"], key["SecretAccessKey"]))

    def may_list(effect: str) -> bool:
        statement = {"Effect": effect, "Action": "sqs:ListQueues", "Resource": "*"}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        iam.put_user_policy(UserName="changing", PolicyName="list", PolicyDocument=policy)
        try:
            user.list_queues()
        except ClientError:
            return False
        return True

    assert [may_list(effect) for effect in ("Allow", "Deny", "Allow")] == [True, False, True]


def test_a_bucket_tells_whom_it_was_last_told_to_tell(aws: Server) -> None:
    s3, sqs = aws.client("s3"), aws.client("sqs")
    s3.create_bucket(Bucket="telling")
    allowed = {"Effect": "Allow", "Principal": "*", "Action": "sqs:SendMessage", "Resource": "*"}
    open_to_s3 = {"Policy": json.dumps({"Version": "2012-10-17", "Statement": [allowed]})}
    urls = [
        sqs.create_queue(QueueName=f"told-{number}", Attributes=open_to_s3)["QueueUrl"] for number in (1, 2)
    ]

    def told_of(key: str) -> set[int]:
        s3.put_object(Bucket="telling", Key=key, Body=b"")
        return {
            number
            for number, url in enumerate(urls, 1)
            for message in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
            if f'"{key}"' in message["Body"]
        }

    for number, url in enumerate(urls, 1):
        asked = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]
        queue = {"QueueArn": asked["QueueArn"], "Events": ["s3:ObjectCreated:*"]}
        s3.put_bucket_notification_configuration(
            Bucket="telling", NotificationConfiguration={"QueueConfigurations": [queue]}
        )
        assert eventually(partial(told_of, f"key-{number}"), "the queue is told") == {number}


def test_functions_see_nothing_of_the_shell(aws: Server) -> None:
    aws.create_function("see", "import os\ndef handler(event, context): return dict(os.environ)")
    seen = json.load(aws.client("lambda").invoke(FunctionName="see")["Payload"])
    assert seen["AWS_LAMBDA_FUNCTION_NAME"] == "see"
    assert "SHELL_SECRET" not in seen


def test_what_a_function_prints_belongs_to_its_own_invocation(aws: Server) -> None:
    """Also where it prints more than a pipe holds, or nothing."""
    aws.create_function("prints", "def handler(lines, _):\n    for line in lines: print(line)")
    calls = [["one"], [], [f"{number} {'-' * 200}" for number in range(1000)], ["last"]]

    def tail(lines: list[str]) -> str:
        answer = aws.client("lambda").invoke(
            FunctionName="prints", LogType="Tail", Payload=json.dumps(lines).encode()
        )
        return base64.b64decode(answer.get("LogResult", "")).decode()

    every = {line for lines in calls for line in lines}
    for lines in calls:
        printed = [line for line in tail(lines).splitlines() if line in every]
        # Of a log, Lambda hands out the last 4 KB.
        assert printed == lines[-len(printed) :] if printed else not lines


ITSELF = """
import importlib.util, json, os, sys
def handler(event, context):
    return {
        "parent": os.getppid(),
        "command": open("/proc/self/cmdline").read().rstrip("\\0").split("\\0"),
        "directory": os.getcwd(),
        "sdk": "boto3" in sys.modules,
        "ours": bool(importlib.util.find_spec("ops")),
    }
"""


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="functions are not forked here")
def test_a_forked_function_is_like_one_that_was_started(aws: Server) -> None:
    def ask(name: str) -> Any:
        aws.create_function(name, ITSELF)
        return json.load(aws.client("lambda").invoke(FunctionName=name)["Payload"])

    first = ask("first")
    assert first["directory"].endswith("/code")
    assert first["command"] == [sys.executable, first["directory"].removesuffix("code") + "_worker.py"]
    assert first["sdk"]
    assert not first["ours"]
    os.kill(first["parent"], signal.SIGKILL)
    second = ask("second")
    assert second["parent"] != first["parent"]
    assert "-second-" in second["directory"]


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A zombie has ended; only nobody has asked yet how.
    return ") Z " not in Path(f"/proc/{pid}/stat").read_text() if Path("/proc/self").exists() else True


ENDLESS = """
import os
def handler(event, context):
    with open(event, "w") as note:
        note.write(str(os.getpid()))
    while True:
        pass
"""


def start_endless_function(server: Server, note: Path) -> int:
    """The process id of a worker that will not end by itself."""
    server.create_function("endless", ENDLESS)
    server.client("lambda").invoke(
        FunctionName="endless", InvocationType="Event", Payload=json.dumps(str(note)).encode()
    )
    pid = eventually(lambda: note.read_text() if note.exists() else "", "the function runs")
    return int(pid)


def test_stopping_ends_a_function_that_would_not_end(aws: Server, tmp_path: Path) -> None:
    worker = start_endless_function(aws, tmp_path / "pid")
    aws.stop()
    eventually(lambda: not alive(worker), "the worker is gone", 5)


def test_stopping_ends_the_workers_of_a_server_that_was_killed(aws: Server, tmp_path: Path) -> None:
    worker = start_endless_function(aws, tmp_path / "pid")
    aws.kill()
    aws.stop()
    eventually(lambda: not alive(worker), "the worker is gone", 5)


STARTER = """
import os, sys, time
from pathlib import Path
from ops.children import Child
port, state_dir = sys.argv[1:]
child = Child("ops.embedded_aws", ["--port", port, "--state-dir", state_dir],
              cwd=Path.cwd(), log=Path(state_dir) / "log", env=os.environ)
print(child.pid, flush=True)
time.sleep(600)
"""


def test_it_ends_with_its_parent_and_saves_its_state(tmp_path: Path) -> None:
    server = Server("ops.embedded_aws", tmp_path)
    server.start()
    port = server.port
    server.stop()
    parent = subprocess.Popen(
        [sys.executable, "-c", STARTER, str(port), str(tmp_path)],
        cwd=CHECKOUT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout
    pid = int(parent.stdout.readline())
    eventually(server._answers, "the server answers")
    worker = start_endless_function(server, tmp_path / "pid")
    server.client("sqs").create_queue(QueueName="kept")
    parent.kill()
    parent.wait()
    eventually(lambda: not alive(pid) and not alive(worker), "server and worker are gone", 10)
    server.start()
    assert server.client("sqs").list_queues()["QueueUrls"]
    server.stop()
