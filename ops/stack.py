"""Waybill on this machine: the embedded AWS, the resources, the deployed functions and the HTTP API."""

import functools
import http.client
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast
from urllib.parse import urlsplit

import boto3
import botocore.loaders
import botocore.session
from botocore.config import Config

from ops import deployed, finish, ports, snapshot, state, template
from ops.children import Child, signals_held
from ops.cloudformation import Stack, StackFailed
from ops.embedded_aws import HOST
from ops.policies import Place, Resources
from ops.state import CHECKOUT, StackError

STAGE = snapshot.STAGE
REGION = "us-east-1"
STACK_NAME = f"waybill-{STAGE}"
HTTP_USER = f"waybill-{STAGE}-http"
API_GATEWAY_STAGE = "api"

START_SECONDS = 30
ANSWER_SECONDS = 2
"""A child that dies while it is asked is noticed after this time at the latest."""

# MiniStack's root; it can do everything.
ROOT_KEYS = ("test", "test")


def session(access_key: str = ROOT_KEYS[0], secret_key: str = ROOT_KEYS[1]) -> boto3.Session:
    """A session that knows nothing of the user's own AWS configuration."""
    core = botocore.session.Session(
        session_vars={
            "profile": (None, None, None, None),
            "config_file": (None, None, os.devnull, None),
            "credentials_file": (None, None, os.devnull, None),
        }
    )
    core.register_component("data_loader", _descriptions())
    return boto3.Session(
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        region_name=REGION,
        botocore_session=core,
    )


@functools.cache
def _descriptions() -> Any:
    """Of the services: read once, however many sessions there are."""
    return botocore.loaders.create_loader()


@functools.cache
def client(service: str, endpoint_url: str, of: boto3.Session | None = None) -> Any:
    """An AWS client that talks to `endpoint_url`, whatever proxy is set; root's, unless given a session."""
    # Nothing that fails here gets better by waiting.
    config = Config(
        proxies={},
        retries={"total_max_attempts": 2},
        signature_version="s3v4" if service == "s3" else None,
    )
    return cast(Any, of or session()).client(service, endpoint_url=endpoint_url, config=config)


def stack_outputs(endpoint_url: str) -> dict[str, str]:
    """The outputs of infra/template.yaml, as deployed there."""
    (stack,) = client("cloudformation", endpoint_url).describe_stacks(StackName=STACK_NAME)["Stacks"]
    return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}


class LocalStack:
    """A running local stack; use it as a context manager.

    Port 0 takes any free port. `variables` are settings beside or instead of the local stage's own, and
    `http_variables` those of the HTTP API's process alone, such as by what name others reach it. `options`
    are more arguments of the embedded AWS. `bind` is the address that both ports listen on; all parts of the
    stack call them on 127.0.0.1. `say` is told every finished step, in one line.
    """

    def __init__(
        self,
        *,
        state_dir: Path,
        aws_port: int = 0,
        http_port: int = 0,
        checkout: Path = CHECKOUT,
        variables: Mapping[str, str] | None = None,
        options: Sequence[str] = (),
        bind: str = HOST,
        http_variables: Mapping[str, str] | None = None,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.state_dir = state_dir
        self.aws_port = aws_port
        self.http_port = http_port
        self.outputs: dict[str, str] = {}
        self._checkout = checkout
        self._variables = dict(variables or {})
        self._options = tuple(options)
        self._bind = bind
        self._http_variables = dict(http_variables or {})
        self._say = say
        self._rest_api_id = ""
        self._children: dict[str, Child] = {}
        self._started = ExitStack()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # --- What a running stack offers ------------------------------------------------------------------------

    @property
    def endpoint_url(self) -> str:
        """The embedded AWS."""
        return f"http://{HOST}:{self.aws_port}"

    @property
    def api_url(self) -> str:
        """The HTTP API as `chalice local` serves it."""
        return f"http://{HOST}:{self.http_port}"

    @property
    def gateway_url(self) -> str:
        """The same API through the deployed API Gateway."""
        return f"{self.endpoint_url}/_aws/execute-api/{self._rest_api_id}/{API_GATEWAY_STAGE}"

    @property
    def app_dir(self) -> Path:
        """The copy of the app that was deployed and is served."""
        return self.state_dir / "app"

    @property
    def log_dir(self) -> Path:
        return self.state_dir / "log"

    @property
    def aws_pid(self) -> int:
        """The process of the embedded AWS."""
        return self._children["embedded AWS"].pid

    def session(self, access_key: str = ROOT_KEYS[0], secret_key: str = ROOT_KEYS[1]) -> boto3.Session:
        """A session for these keys; root, unless told otherwise."""
        return session(access_key, secret_key)

    def client(self, service: str, session: boto3.Session | None = None) -> Any:
        """An AWS client of the embedded AWS; root's, unless told otherwise."""
        return client(service, self.endpoint_url, session)

    def check(self) -> None:
        """StackError when a part of a running stack has ended by itself."""
        for name, child in self._children.items():
            if child.exit_code is not None:
                raise StackError(f"the {name} has stopped by itself; see {child.log}")

    # --- Start and stop -------------------------------------------------------------------------------------

    def start(self) -> None:
        lock = self._started.enter_context(state.lock(self.state_dir))
        aws_socket = self._started.enter_context(ports.listen(self.aws_port, "AWS_PORT", self._bind))
        http_socket = self._started.enter_context(ports.listen(self.http_port, "PORT", self._bind))
        self.aws_port, self.http_port = (s.getsockname()[1] for s in (aws_socket, http_socket))
        with self._step(f"embedded AWS on {self.endpoint_url}"):
            self._start_aws(aws_socket, lock.fileno())
        with self._step("resources of infra/template.yaml"):
            self._create_resources()
            self.outputs = stack_outputs(self.endpoint_url)
        with self._step("functions, by chalice deploy"):
            snapshot.take(
                self._checkout,
                self.app_dir,
                endpoint_url=self.endpoint_url,
                outputs=self.outputs,
                variables=self._variables,
            )
            self._deploy()
        with self._step(f"HTTP API on {self.api_url}, by chalice local"):
            self._serve_http(http_socket)

    def stop(self) -> None:
        """Stop whatever was started; data stays in the state directory."""
        self._children.clear()
        self._started.close()

    def _start_aws(self, listening: socket.socket, lock: int) -> None:
        """The embedded AWS holds the lock as well, so that nobody else starts while it saves its data."""
        arguments = ["--port", str(self.aws_port), "--state-dir", str(self.state_dir / "aws"), *self._options]
        child = self._spawn(
            "ops.embedded_aws",
            [*arguments, "--listening", str(listening.fileno())],
            log="aws",
            env=os.environ,
            pass_fds=[listening.fileno(), lock],
        )
        listening.close()
        self._add("embedded AWS", child, f"{self.endpoint_url}/_ministack/health")

    def _create_resources(self) -> None:
        """Create or update the CloudFormation stack."""
        chosen = snapshot.parameters(self._checkout, self._variables)
        fixed = {"Stage": STAGE, "RequireTls": "false", "Worker": "lambda"}
        stack = Stack(self.client("cloudformation"), STACK_NAME, pause=0.05, patience=START_SECONDS)
        try:
            stack.settle()
            change_set = stack.propose(template.body(template.of(self._checkout)), fixed | chosen)
            if change_set is not None:
                stack.carry_out(change_set)
        except StackFailed as error:
            raise StackError(str(error)) from error

    def _deploy(self) -> None:
        """As `make deploy` does; but logs that go with the stack need no end, and nobody is throttled."""
        deployed.complete(self.app_dir, STAGE, self.client)
        deploy = self._chalice("deploy", ["deploy", "--stage", STAGE], ROOT_KEYS)
        if deploy.wait():
            lines = "\n  ".join(deploy.last_lines(8))
            raise StackError(f"chalice deploy failed; its last lines, from {deploy.log}:\n  {lines}")
        notes = deployed.read(self.app_dir, STAGE)
        self._rest_api_id = next(str(one["rest_api_id"]) for one in notes if "rest_api_id" in one)
        failed_events = Place.FAILED_EVENTS_QUEUE.arn(Resources.from_outputs(STAGE, self.outputs))
        for _ in (
            *finish.report_failures_of_batches(self.client, STAGE),
            *finish.keep_failed_events(self.client, STAGE, failed_events),
        ):
            pass

    def _serve_http(self, listening: socket.socket) -> None:
        arguments = [
            "local",
            "--stage",
            STAGE,
            "--no-autoreload",
            "--host",
            HOST,
            "--port",
            str(self.http_port),
        ]
        child = self._chalice("http", arguments, self._http_keys(), listening)
        listening.close()
        self._add("HTTP API", child, f"{self.api_url}/health")

    def _http_keys(self) -> tuple[str, str]:
        """Keys of a user who may do exactly what the deployed HTTP handler may.

        Its role cannot be taken here: only the Lambda service may assume it, and that is worth keeping.
        """
        iam = self.client("iam")
        try:
            iam.create_user(UserName=HTTP_USER)
        except iam.exceptions.EntityAlreadyExistsException:
            for key in iam.list_access_keys(UserName=HTTP_USER)["AccessKeyMetadata"]:
                iam.delete_access_key(UserName=HTTP_USER, AccessKeyId=key["AccessKeyId"])
        policy = self.app_dir / ".chalice" / f"policy-{STAGE}-api_handler.json"
        iam.put_user_policy(UserName=HTTP_USER, PolicyName="api_handler", PolicyDocument=policy.read_text())
        key = iam.create_access_key(UserName=HTTP_USER)["AccessKey"]
        return key["AccessKeyId"], key["SecretAccessKey"]

    def _chalice(
        self, log: str, arguments: list[str], keys: tuple[str, str], listening: socket.socket | None = None
    ) -> Child:
        env = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        env |= {
            "AWS_ACCESS_KEY_ID": keys[0],
            "AWS_SECRET_ACCESS_KEY": keys[1],
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": HOST,
            "no_proxy": HOST,
        }
        if listening:
            env |= self._http_variables
        descriptors = [listening.fileno()] if listening else []
        return self._spawn(
            "ops.chalice_child",
            [*map(str, descriptors), "--project-dir", str(self.app_dir), *arguments],
            log=log,
            env=env,
            pass_fds=descriptors,
        )

    def _spawn(
        self,
        module: str,
        arguments: list[str],
        *,
        log: str,
        env: Mapping[str, str],
        pass_fds: Sequence[int] = (),
    ) -> Child:
        """A child that `stop` knows of from its first moment."""
        with signals_held(signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            child = Child(
                module, arguments, cwd=CHECKOUT, log=self.log_dir / f"{log}.log", env=env, pass_fds=pass_fds
            )
            self._started.callback(child.stop)
        return child

    def _add(self, name: str, child: Child, url: str) -> None:
        """Count a child among the stack's parts once it answers there."""
        deadline = time.monotonic() + START_SECONDS
        while child.exit_code is None and time.monotonic() < deadline:
            if _answers(url):
                self._children[name] = child
                return
            time.sleep(0.02)
        lines = "\n  ".join(child.last_lines(8))
        raise StackError(f"the {name} did not start; its last lines, from {child.log}:\n  {lines}")

    @contextmanager
    def _step(self, what: str) -> Iterator[None]:
        begun = time.monotonic()
        yield
        self._say(f"{time.monotonic() - begun:5.1f} s  {what}")


def _answers(url: str) -> bool:
    """Whether this URL does; the socket listens before its server has started, so that this waits for it."""
    address = urlsplit(url)
    connection = http.client.HTTPConnection(HOST, address.port or 80, timeout=ANSWER_SECONDS)
    try:
        connection.request("GET", address.path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
