"""`make deploy` and `make destroy` on an empty AWS, with no more rights than `--rights` prints."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from ops import tokens
from ops.deploy import steps
from ops.deploy.refusal import Failed
from ops.policies import ASYNCHRONOUS, GRANTS
from tests.stack.deployer import ACCOUNT, REGION, SECRET, Account, Deployer
from tests.stack.user import eventually, http_call

STAGE = "pull-request-17"
STACK = f"waybill-{STAGE}"

JWKS = {
    "JWT_JWKS_URL": "https://issuer.example/keys",
    "JWT_ISSUER": "https://issuer.example/",
    "JWT_AUDIENCE": "waybill",
}


@pytest.fixture(scope="module")
def patch() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as context:
        yield context


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    made = Account(tmp_path_factory.mktemp("account"))
    yield made
    made.child.stop()


@pytest.fixture(scope="module")
def dev(account: Account, patch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Deployer:
    """Stage dev, deployed with a secret."""
    deployer = Deployer(account, tmp_path_factory.mktemp("project"), "dev", patch)
    deployer.choose(Throttle={"RatePerSecond": 50, "Burst": 100}, LogRetentionInDays=14)
    code, said = deployer.deploy(JWT_SECRET=SECRET)
    assert code == 0, said
    deployer.said = said
    return deployer


def url_of(said: str) -> str:
    return said.rpartition("The API: ")[2].strip()


# --- A stage that is deployed -------------------------------------------------------------------------------


def test_a_file_goes_through(dev: Deployer) -> None:
    api = url_of(dev.said)
    bearer = {"Authorization": f"Bearer {tokens.make('alice', SECRET)}"}
    assert http_call("POST", f"{api}/presign").status == 401
    signed = http_call("POST", f"{api}/presign", b"{}", bearer).json
    assert http_call("PUT", signed["uploadUrl"], b'{"id": "order-1", "total": 12.50}').status == 200

    def ended() -> bool:
        job = http_call("GET", f"{api}/jobs/{signed['jobId']}", headers=bearer)
        return job.status == 200 and job.json["status"] == "COMPLETED"

    eventually(ended, "the job is COMPLETED")


def test_what_chalice_has_no_setting_for_is_set(dev: Deployer) -> None:
    state = dev.state()
    queue = f"arn:aws:sqs:{REGION}:{ACCOUNT}:waybill-dev-failed-events"
    assert state["retention"] == {f"/aws/lambda/{name}": 14 for name in dev.functions}
    assert len(dev.functions) == len(GRANTS)
    assert {name for name, to in state["destinations"].items() if to == queue} == {
        f"waybill-dev-{function}" for function in ASYNCHRONOUS
    }
    assert [types for _, _, types in state["mappings"]] == 2 * [["ReportBatchItemFailures"]]
    stage = dev.root("apigateway").get_stage(restApiId=state["apis"][0], stageName="api")
    assert stage["methodSettings"]["*/*"]["throttlingRateLimit"] == 50


def test_a_page_of_another_origin_can_read_what_api_gateway_answers_by_itself(dev: Deployer) -> None:
    page = {"Origin": "https://page.example"}
    api = url_of(dev.said)
    for _ in range(2):  # after another deployment, which defines the API anew, too
        ours = http_call("GET", f"{api}/health", headers=page)
        gateways = http_call("GET", f"{api}/no/such/path", headers=page)

        assert gateways.status == 403
        assert gateways.json == {
            "error": "MISSING_AUTHENTICATION_TOKEN",
            "message": "Missing Authentication Token",
        }
        for name in ("Access-Control-Allow-Origin", "Access-Control-Expose-Headers"):
            assert gateways.headers[name] == ours.headers[name]
        assert dev.deploy()[0] == 0


def test_only_the_http_handler_knows_the_secret_and_no_file_does(dev: Deployer) -> None:
    knowing = {name for name, variables in dev.state()["variables"].items() if variables.get("JWT_SECRET")}
    assert knowing == {"waybill-dev"}
    for file in dev.project.rglob("*"):
        assert not file.is_file() or SECRET.encode() not in file.read_bytes(), file


def test_an_event_that_fails_for_good_lies_in_the_queue_of_failed_events(dev: Deployer) -> None:
    """An SNS message that notify may not look up webhooks for; Lambda tries three times first."""
    iam, role = dev.root("iam"), "waybill-dev-notify"
    deny = {"Effect": "Deny", "Action": "dynamodb:*", "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [deny]})
    iam.put_role_policy(RoleName=role, PolicyName="closed", PolicyDocument=document)
    event = {
        "id": "01a1fba6-a0b2-7000-8000-000000000000-completed-1",
        "type": "waybill.job.completed",
        "subject": "01a1fba6-a0b2-7000-8000-000000000000",
        "data": {"owner": "alice"},
    }
    try:
        dev.root("sns").publish(
            TopicArn=f"arn:aws:sns:{REGION}:{ACCOUNT}:waybill-dev-events",
            Subject="an end",
            Message=json.dumps(event),
            MessageAttributes={"type": {"DataType": "String", "StringValue": event["type"]}},
        )
        sqs = dev.root("sqs")
        url = sqs.get_queue_url(QueueName="waybill-dev-failed-events")["QueueUrl"]
        (letter,) = eventually(
            lambda: sqs.receive_message(QueueUrl=url, VisibilityTimeout=0).get("Messages"),
            "Lambda has given up on it",
        )
    finally:
        iam.delete_role_policy(RoleName=role, PolicyName="closed")
    record = json.loads(letter["Body"])
    assert record["requestContext"]["functionArn"].endswith(":waybill-dev-notify")
    assert event["id"] in record["requestPayload"]["Records"][0]["Sns"]["Message"]


def test_a_second_deployment_needs_no_secret_and_changes_nothing(dev: Deployer) -> None:
    state, config = dev.state(), dev.config.read_bytes()

    code, said = dev.deploy()

    assert code == 0, said
    assert "but for the functions' code nothing had to change" in said
    assert url_of(said) == url_of(dev.said)
    assert dev.state() == state
    assert dev.config.read_bytes() == config


def test_a_plain_chalice_deploy_does_not_take_the_secret_away(dev: Deployer) -> None:
    """Not even with one at hand: it could not hand it on."""
    state = dev.state()

    code, said = dev.chalice_deploy(JWT_SECRET=SECRET)

    assert code != 0
    assert "JWT_SECRET and JWT_JWKS_URL are not set" in said
    assert dev.state() == state


def test_a_dry_run_says_what_it_would_do_and_does_nothing(
    account: Account, patch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    deployer = Deployer(account, tmp_path, "dry", patch)
    deployer.configure(**JWKS)
    files = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    code, said = deployer.deploy("--dry-run")

    assert code == 0, said
    assert "+  Bucket" in said
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == files
    assert not deployer.functions
    stacks = deployer.root("cloudformation").list_stacks()["StackSummaries"]
    assert {one["StackStatus"] for one in stacks if one["StackName"] == "waybill-dry"} <= {"DELETE_COMPLETE"}


# --- A stage of another name, on which everything went wrong ------------------------------------------------


@pytest.fixture(scope="module")
def resumed(
    account: Account, patch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Deployer:
    """Its deployment was cut off in every step, in its middle too, and went through in the end."""
    deployer = Deployer(account, tmp_path_factory.mktemp("resumed"), STAGE, patch)
    deployer.configure(**JWKS)
    cloudformation = deployer.root("cloudformation")

    def fails(*arguments: str) -> None:
        code, words = deployer.deploy(*arguments)
        assert code == 1, words
        assert "the same command goes on from there" in words

    def cut_off(*_: object) -> None:
        raise Failed("cut off")

    # A stack that never came to be: it takes no update.
    deployer.root("s3").create_bucket(Bucket="taken")
    taken = {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": "taken"}}
    cloudformation.create_stack(StackName=STACK, TemplateBody=json.dumps({"Resources": {"Taken": taken}}))

    def has_failed() -> bool:
        (stack,) = cloudformation.describe_stacks(StackName=STACK)["Stacks"]
        return bool(stack["StackStatus"] == "ROLLBACK_COMPLETE")

    eventually(has_failed, "the stack is rolled back", patience=5)
    # And one of which there is only a change set.
    with deployer.may_not("cloudformation:ExecuteChangeSet"):
        fails()
    with patch.context() as cut:
        cut.setattr(steps.Rollout, "configure", cut_off)
        fails()
    with deployer.may_not("lambda:CreateFunction", "*-on_scan"):
        fails()
    assert 0 < len(deployer.functions) < len(GRANTS)
    with deployer.may_not("apigateway:POST", f"arn:aws:apigateway:{REGION}::/restapis/*"):
        fails()  # the API is there, and Chalice has noted nothing of it
    with deployer.may_not("logs:PutRetentionPolicy", "*-sweep"):
        fails()
    notes = deployer.project / ".chalice" / "deployed" / f"{STAGE}.json"
    notes.unlink()  # as in another checkout

    code, words = deployer.deploy()
    assert code == 0, words
    return deployer


def test_a_deployment_that_was_cut_off_anywhere_is_as_if_nothing_had_been(resumed: Deployer) -> None:
    state = resumed.state()
    assert len(state["variables"]) == len(GRANTS)
    assert len(state["apis"]) == 1
    assert [types for _, _, types in state["mappings"]] == 2 * [["ReportBatchItemFailures"]]
    assert set(state["retention"].values()) == {30}
    assert len([to for to in state["destinations"].values() if to]) == len(ASYNCHRONOUS)
    assert len(state["subscriptions"]) == 1
    assert len(state["notifications"]) == 2


def test_a_plain_chalice_deploy_leaves_everything_as_it_is(resumed: Deployer) -> None:
    state, notes = resumed.state(), resumed.project / ".chalice" / "deployed" / f"{STAGE}.json"
    noted = json.loads(notes.read_text())["resources"]

    code, said = resumed.chalice_deploy()

    assert code == 0, said
    assert resumed.state() == state
    assert json.loads(notes.read_text())["resources"] == noted


def test_data_outlives_the_stage_until_it_is_to_be_deleted(resumed: Deployer) -> None:
    """The last one: it leaves nothing of the stage."""
    deployer = resumed
    s3, tables = deployer.root("s3"), deployer.root("dynamodb")
    bucket, table = f"{STACK}-{ACCOUNT}", f"{STACK}-jobs"
    s3.put_object(Bucket=bucket, Key="processed/alice/x/file", Body=b"a file")
    job = {"owner": {"S": "alice"}, "jobId": {"S": "x"}}
    tables.put_item(TableName=table, Item=job)

    with deployer.may_not("lambda:DeleteFunction", "*-on_scan"):
        code, said = deployer.destroy()
        assert code == 1, said
    assert 0 < len(deployer.functions) < len(GRANTS)
    code, said = deployer.destroy()

    assert code == 0, said
    assert not deployer.functions
    roles = deployer.root("iam").list_roles()["Roles"]
    assert not [role for role in roles if role["RoleName"].startswith(f"{STACK}-")]
    assert not deployer.root("events").list_rules(NamePrefix=f"{STACK}-")["Rules"]
    assert s3.get_object(Bucket=bucket, Key="processed/alice/x/file")["Body"].read() == b"a file"
    assert deployer.destroy()[0] == 0  # once more: there is nothing left to do

    shutil.rmtree(deployer.project / ".chalice" / "deployed")
    code, said = deployer.deploy()

    assert code == 0, said
    assert "<  JobsTable" in said
    assert tables.get_item(TableName=table, Key=job)["Item"] == job
    assert s3.get_object(Bucket=bucket, Key="processed/alice/x/file")["Body"].read() == b"a file"
    cors = s3.get_bucket_cors(Bucket=bucket)["CORSRules"]
    assert cors[0]["AllowedMethods"]

    code, said = deployer.destroy("--delete-data")

    assert code == 0, said
    assert bucket not in [one["Name"] for one in s3.list_buckets()["Buckets"]]
    assert not [name for name in tables.list_tables()["TableNames"] if name.startswith(f"{STACK}-")]
    assert not deployer.root("sqs").list_queues(QueueNamePrefix=f"{STACK}-").get("QueueUrls")
    assert not deployer.root("logs").describe_log_groups(logGroupNamePrefix=f"/aws/lambda/{STACK}")[
        "logGroups"
    ]
