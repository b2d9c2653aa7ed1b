"""A stack that asks who calls, through both of its front doors: all have their own files and no others."""

import json
import os
import shutil
import stat
import subprocess
import sys
import time
from pathlib import Path

import jwt
import pytest

from ops import tokens
from ops.stack import LocalStack
from ops.state import CHECKOUT
from tests.stack.user import User, http_call

DOORS = ["chalice local", "API Gateway"]


@pytest.fixture(params=DOORS)
def door(request: pytest.FixtureRequest, guarded_stack: LocalStack) -> str:
    return guarded_stack.api_url if request.param == DOORS[0] else guarded_stack.gateway_url


@pytest.fixture
def users(guarded_stack: LocalStack, door: str) -> tuple[User, User]:
    secret = tokens.find_secret(guarded_stack.state_dir, {})
    assert secret
    made = time.time_ns()
    alice, bob = (
        User(guarded_stack, door, tokens.make(f"{name}|{made}", secret)) for name in ("alice", "bob")
    )
    return alice, bob


def test_two_users_upload_and_neither_sees_the_other(users: tuple[User, User]) -> None:
    alice, bob = users
    hers = alice.upload(b"hers", filename="a.txt")
    his = bob.upload(b"his", filename="b.txt")

    for user, own, foreign in ((alice, hers, his), (bob, his, hers)):
        job = user.ended(own["jobId"])
        assert job["status"] == "COMPLETED"
        assert job["key"] == own["s3Key"].replace("uploads/", "processed/")
        assert [seen["jobId"] for seen in user.all_jobs()] == [own["jobId"]]
        refused = user.call("GET", f"/jobs/{foreign['jobId']}")
        assert (refused.status, refused.json["error"]) == (404, "job_not_found")


def test_a_user_s_webhooks_are_nobody_else_s(users: tuple[User, User]) -> None:
    alice, bob = users
    made = alice.call("POST", "/webhooks", {"url": "http://127.0.0.1:9/hook"})
    assert made.status == 201
    webhook = f"/webhooks/{made.json['id']}"

    assert bob.call("GET", "/webhooks").json["webhooks"] == []
    assert bob.call("DELETE", webhook).status == 404
    assert [known["id"] for known in alice.call("GET", "/webhooks").json["webhooks"]] == [made.json["id"]]
    assert alice.call("DELETE", webhook).status == 204


@pytest.mark.parametrize(
    ("authorization", "code"),
    [
        (None, "token_missing"),
        ("Basic YTpi", "token_missing"),
        ("Bearer garbage", "token_invalid"),
        ("Bearer " + tokens.make("alice", "the secret of another deployment altogether"), "token_invalid"),
        ("expired", "token_expired"),
    ],
)
def test_without_a_good_token_it_is_401_with_a_code_and_what_to_do(
    guarded_stack: LocalStack, door: str, authorization: str | None, code: str
) -> None:
    if authorization == "expired":
        secret = tokens.find_secret(guarded_stack.state_dir, {})
        assert secret
        authorization = f"Bearer {tokens.make('alice', secret, hours=-1)}"
    headers = {"Authorization": authorization} if authorization else {}
    for method, path in (("POST", "/presign"), ("GET", "/jobs"), ("GET", "/webhooks")):
        answer = http_call(method, door + path, headers=headers)

        assert (answer.status, answer.json["error"]) == (401, code)
        assert answer.json.keys() == {"error", "message"}
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        assert answer.headers["Access-Control-Allow-Origin"] == "*"


def test_what_is_open_stays_open(door: str) -> None:
    assert http_call("GET", f"{door}/health").status == 200
    assert http_call("GET", f"{door}/").status == 200
    preflight = http_call(
        "OPTIONS",
        f"{door}/jobs",
        headers={"Origin": "https://app.example.com", "Access-Control-Request-Method": "GET"},
    )
    assert preflight.status == 200
    assert "Authorization" in preflight.headers["Access-Control-Allow-Headers"]


def test_no_token_and_no_secret_is_in_a_log(guarded_stack: LocalStack, users: tuple[User, User]) -> None:
    alice, _ = users
    alice.ended(alice.upload(b"quiet")["jobId"])
    alice.call("GET", "/jobs", Authorization=f"Bearer {alice.token}x")
    logs = "".join(log.read_text() for log in guarded_stack.log_dir.iterdir())

    assert "/jobs" in logs
    assert alice.token not in logs
    assert alice.token.rsplit(".", 1)[0] not in logs
    assert str(tokens.find_secret(guarded_stack.state_dir, {})) not in logs


# --- Tokens for trying it -----------------------------------------------------------------------------------


def token_command(state_dir: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("JWT_")}
    return subprocess.run(
        [sys.executable, "-m", "ops", "token", *arguments],
        cwd=CHECKOUT,
        env={**env, "WAYBILL_STATE": str(state_dir), **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def test_make_token_finds_the_local_stack_s_secret(guarded_stack: LocalStack, door: str) -> None:
    made = token_command(guarded_stack.state_dir, "carol", "--hours", "0.5")

    assert (made.returncode, made.stderr) == (0, "")
    key = User(guarded_stack, door, made.stdout.strip()).presign()["s3Key"]
    assert key.startswith("uploads/carol/")


def test_the_secret_is_for_its_user_alone_and_goes_with_the_data(guarded_stack: LocalStack) -> None:
    secret = guarded_stack.state_dir / tokens.SECRET_FILE

    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert len(secret.read_text()) == 64


def test_a_token_without_a_secret_says_how_to_get_one(tmp_path: Path) -> None:
    made = token_command(tmp_path, "carol")

    assert (made.returncode, made.stdout) == (1, "")
    assert made.stderr == "error: no JWT_SECRET is set, and no `make run AUTH=jwt` has made one\n"


def test_a_token_can_be_made_for_any_deployment_with_a_secret(tmp_path: Path) -> None:
    secret = "the secret of another deployment altogether"
    made = token_command(tmp_path, "carol", JWT_SECRET=secret, JWT_ISSUER="me", JWT_AUDIENCE="waybill")

    claims = jwt.decode(made.stdout.strip(), secret, ["HS256"], audience="waybill", issuer="me")
    assert claims["sub"] == "carol"
    assert claims["exp"] == claims["iat"] + 3600


# --- Deploying without --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variables", "complaint"),
    [
        ({"AUTH_MODE": "none"}, "AUTH_MODE is none"),
        ({"AUTH_MODE": "jwt"}, "JWT_SECRET and JWT_JWKS_URL are not set"),
        ({}, "AUTH_MODE is not set"),
        ({"AUTH_MODE": "jwt", "JWT_SECRET": "hunter2"}, "JWT_SECRET is too short"),
    ],
)
def test_a_stage_on_aws_with_no_auth_refuses_to_deploy(
    guarded_stack: LocalStack, tmp_path: Path, variables: dict[str, str], complaint: str
) -> None:
    """`chalice deploy` imports app.py before it calls AWS, and so does `chalice package`."""
    app = tmp_path / "app"
    shutil.copytree(guarded_stack.app_dir, app)
    config = json.loads((app / ".chalice" / "config.json").read_text())
    stage = config["stages"].pop("local")
    env = stage["environment_variables"]
    for name in ("AUTH_MODE", "JWT_SECRET", "AWS_ENDPOINT_URL"):
        del env[name]
    config["stages"]["dev"] = {**stage, "environment_variables": {**env, **variables}}
    (app / ".chalice" / "config.json").write_text(json.dumps(config))
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; from chalice.cli import main; sys.exit(main())",
            "deploy",
            "--stage",
            "dev",
        ],
        cwd=app,
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "JWT_"))},
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_CONFIG_FILE": os.devnull,
        },
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode != 0
    assert complaint in done.stdout + done.stderr
    assert "hunter2" not in done.stdout + done.stderr
