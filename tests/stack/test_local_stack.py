"""The local stack as its user meets it: starting, stopping, starting again, and what stands in the way."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
import zipfile
from collections import Counter
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from ops.ports import listen
from ops.stack import HTTP_USER, LocalStack
from ops.state import CHECKOUT, StackError, clear, default_state_dir, lock
from tests.stack.user import User, eventually


@pytest.fixture
def busy_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def processes_of(state_dir: Path) -> dict[str, int]:
    """Command line and id of each: all processes of a local stack name its state directory there."""
    command = ["ps", "-A", "-ww", "-o", "pid=", "-o", "args="]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    lines = (line.split(maxsplit=1) for line in listed)
    return {arguments: int(pid) for pid, arguments in lines if str(state_dir) in arguments}


def mapped_queues(stack: LocalStack) -> Counter[str]:
    """How many mappings take from each queue."""
    mappings = stack.client("lambda").list_event_source_mappings()["EventSourceMappings"]
    return Counter(mapping["EventSourceArn"].rpartition(":")[2] for mapping in mappings)


# --- Starting again -----------------------------------------------------------------------------------------


def test_a_second_start_finds_its_data_even_on_other_ports(tmp_path: Path) -> None:
    with LocalStack(state_dir=tmp_path) as stack:
        user = User(stack)
        first = user.upload(b'{"id": "order-1"}', filename="order.json")["jobId"]
        user.ended(first)
    with LocalStack(state_dir=tmp_path) as stack:
        user = User(stack)
        assert user.job(first)["status"] == "COMPLETED"
        assert user.object(user.job(first)["key"]) == b'{"id": "order-1"}'
        second = user.upload(b'{"id": "order-2"}', filename="order.json")["jobId"]
        assert user.ended(second)["status"] == "COMPLETED"
        gateway = User(stack, stack.gateway_url)
        assert {job["jobId"] for job in gateway.all_jobs()} == {first, second}
        assert mapped_queues(stack) == {"waybill-local-jobs": 1, "waybill-local-deliveries": 1}
    assert not processes_of(tmp_path)


def test_a_deployment_that_was_cut_short_leaves_no_second_mapping(tmp_path: Path) -> None:
    with LocalStack(state_dir=tmp_path) as stack:
        (stack.app_dir / ".chalice" / "deployed" / "local.json").unlink()
    with LocalStack(state_dir=tmp_path) as stack:
        assert mapped_queues(stack) == {"waybill-local-jobs": 1, "waybill-local-deliveries": 1}


def test_only_one_can_run_on_the_same_data(stack: LocalStack) -> None:
    with (
        pytest.raises(StackError, match=rf"already running \(process {os.getpid()}\)"),
        LocalStack(state_dir=stack.state_dir),
    ):
        pass
    assert User(stack).call("GET", "/health").status == 200


def test_clearing_deletes_the_data_and_nothing_else(tmp_path: Path) -> None:
    for name in ("aws/s3", "app", "mine"):
        (tmp_path / name).mkdir(parents=True)
    clear(tmp_path)
    assert [left.name for left in tmp_path.iterdir()] == ["mine"]
    (tmp_path / "mine").rmdir()
    clear(tmp_path)
    assert not tmp_path.exists()
    clear(tmp_path)


def test_the_data_of_a_running_stack_is_not_cleared(stack: LocalStack) -> None:
    with pytest.raises(StackError, match="already running"):
        clear(stack.state_dir)
    assert stack.app_dir.exists()


def test_make_under_another_python_leaves_the_environment_of_a_running_stack_alone(tmp_path: Path) -> None:
    """`make PYTHON=python3.12 deploy` beside a `make run` of 3.11, say."""
    checkout, state_dir = tmp_path / "checkout", tmp_path / "state"
    shutil.copytree(CHECKOUT / "ops", checkout / "ops", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(CHECKOUT / "Makefile", checkout)
    for name in (
        "requirements.txt",
        "worker/requirements.txt",
        "docker/requirements.txt",
        "requirements-dev.txt",
    ):
        (checkout / name).parent.mkdir(exist_ok=True)
        (checkout / name).touch()
    (in_use := checkout / ".venv" / "made-3.0.0").parent.mkdir()
    in_use.touch()
    # What a make that runs the tests was told is nothing to this one.
    env = {name: value for name, value in os.environ.items() if "MAKE" not in name and name != "MFLAGS"}

    with lock(state_dir):
        made = subprocess.run(
            ["make", f"PYTHON={sys.executable}", "install"],
            cwd=checkout,
            env=env | {"WAYBILL_STATE": str(state_dir)},
            capture_output=True,
            text=True,
            check=False,
        )

    assert made.returncode != 0
    assert re.match(r"error: .* already running \(process \d+\)\nerror: stop it first: .*\n", made.stderr)
    assert in_use.exists()


# --- What it offers -----------------------------------------------------------------------------------------


def test_the_http_api_acts_as_a_user_with_exactly_the_handlers_policy(stack: LocalStack) -> None:
    url = User(stack).presign()["uploadUrl"]
    (credential,) = parse_qs(urlsplit(url).query)["X-Amz-Credential"]
    iam = stack.client("iam")
    (key,) = iam.list_access_keys(UserName=HTTP_USER)["AccessKeyMetadata"]
    assert credential.startswith(key["AccessKeyId"] + "/")
    assert iam.list_attached_user_policies(UserName=HTTP_USER)["AttachedPolicies"] == []
    (name,) = iam.list_user_policies(UserName=HTTP_USER)["PolicyNames"]
    users = iam.get_user_policy(UserName=HTTP_USER, PolicyName=name)["PolicyDocument"]
    role = "waybill-local-api_handler"
    (name,) = iam.list_role_policies(RoleName=role)["PolicyNames"]
    assert users == iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]


def test_ls_lists_keys_below_a_prefix(stack: LocalStack) -> None:
    User(stack).put("processed/_/listed/a.txt", b"four")
    command = [sys.executable, "-m", "ops", "ls", "processed/_/listed/", "--aws-port", str(stack.aws_port)]
    listed = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=True)
    assert re.fullmatch(r" +4  [\d-]+ [\d:]+  processed/_/listed/a\.txt\n", listed.stdout)


def test_ls_without_a_stack_says_how_to_get_one() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        command = [sys.executable, "-m", "ops", "ls", "--aws-port", str(closed.getsockname()[1])]
        listed = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert listed.returncode == 1
    hint = "`make run` starts it; --aws-port names its AWS_PORT, where that is another"
    assert re.fullmatch(rf"error: no embedded AWS answers on .*; {hint}\n", listed.stderr)


def test_the_state_directory_belongs_to_the_checkout_and_lies_outside_it() -> None:
    home = {"XDG_STATE_HOME": "/home/me/state"}
    here, there = Path("/src/a/waybill"), Path("/src/b/waybill")
    assert default_state_dir(here, home).parent == Path("/home/me/state/waybill")
    assert default_state_dir(here, home).name.startswith("waybill-")
    assert default_state_dir(here, home) != default_state_dir(there, home)
    assert default_state_dir(here, {}).is_relative_to(Path.home() / ".local" / "state")
    assert default_state_dir(here, {**home, "WAYBILL_STATE": "/data"}) == Path("/data")


# --- What stands in the way ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("argument", "variable"), [("aws_port", "AWS_PORT"), ("http_port", "PORT")])
def test_a_busy_port_is_named_with_the_way_round_it(
    tmp_path: Path, busy_port: int, argument: str, variable: str
) -> None:
    ports: dict[str, Any] = {argument: busy_port}
    with (
        pytest.raises(
            StackError, match=rf"port {busy_port} is in use; .*make run {variable}={busy_port + 1}$"
        ),
        LocalStack(state_dir=tmp_path, **ports),
    ):
        pass
    assert not processes_of(tmp_path)


@pytest.mark.parametrize(
    ("port", "address", "said"),
    [
        (80000, "127.0.0.1", "there is no port 80000: PORT takes one up to 65535"),
        # TEST-NET-1 (RFC 5737) is no address of this machine.
        (0, "192.0.2.1", r"cannot listen on 192.0.2.1, port 0 \(.+\); PORT names another"),
    ],
)
def test_a_port_that_is_not_to_be_had_is_not_called_busy(port: int, address: str, said: str) -> None:
    with pytest.raises(StackError, match=rf"^{said}$"):
        listen(port, "PORT", address)


def test_its_ports_are_its_own_from_the_first_moment(tmp_path: Path) -> None:
    tried: set[int] = set()

    def try_to_take(_step: str) -> None:
        for port in (stack.aws_port, stack.http_port):
            with pytest.raises(OSError, match="in use"):
                socket.create_server(("127.0.0.1", port))
            tried.add(port)

    stack = LocalStack(state_dir=tmp_path, say=try_to_take)
    with stack:
        assert User(stack).call("GET", "/health").status == 200
    assert tried == {stack.aws_port, stack.http_port}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of everything that is deployed, to be broken."""
    copy = tmp_path / "checkout"
    for part in ("chalicelib", ".chalice", "infra"):
        shutil.copytree(CHECKOUT / part, copy / part)
    shutil.copy(CHECKOUT / "app.py", copy)
    return copy


def test_a_deployment_that_fails_shows_its_last_lines_and_its_log(tmp_path: Path, checkout: Path) -> None:
    with (checkout / "app.py").open("a") as app:
        app.write('\nraise ValueError("a mistake in app.py")\n')
    with (
        pytest.raises(StackError, match=r"(?s)chalice deploy failed.*deploy\.log.*a mistake in app\.py"),
        LocalStack(state_dir=tmp_path / "state", checkout=checkout),
    ):
        pass
    assert not processes_of(tmp_path / "state")


@pytest.mark.parametrize(
    ("template", "complaint"),
    [
        ("Resources: {Topic: {Type: AWS::SNS::Nothing}}", "was refused: .*AWS::SNS::Nothing"),
        (
            # An alarm on metric math is one of the few things that MiniStack fails to create.
            "Parameters: {Stage: {Type: String}, RequireTls: {Type: String}}\n"
            "Resources: {Alarm: {Type: AWS::CloudWatch::Alarm, Properties: {EvaluationPeriods: 1, "
            "ComparisonOperator: LessThanThreshold, Threshold: 1, Metrics: [{Id: a, Expression: b / c}]}}}",
            "failed: Alarm: ",
        ),
    ],
)
def test_a_template_that_fails_says_why(
    tmp_path: Path, checkout: Path, template: str, complaint: str
) -> None:
    (checkout / "infra" / "template.yaml").write_text(template)
    with (
        pytest.raises(StackError, match=r"infra/template\.yaml " + complaint),
        LocalStack(state_dir=tmp_path / "state", checkout=checkout),
    ):
        pass


def test_a_state_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(StackError, match=r"cannot write to .*WAYBILL_STATE"),
        LocalStack(state_dir=tmp_path / "file" / "state"),
    ):
        pass


# --- `make run` ---------------------------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """`make run` without make, on free ports."""
    ports = []
    for _ in range(2):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            ports.append(str(probe.getsockname()[1]))
    process = subprocess.Popen(
        [sys.executable, "-m", "ops", "run", "--port", ports[0], "--aws-port", ports[1]],
        cwd=CHECKOUT,
        env={**os.environ, "WAYBILL_STATE": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    yield process
    process.kill()
    process.communicate()


def read_until(process: subprocess.Popen[str], text: str) -> str:
    assert process.stdout
    seen = ""
    while text not in seen:
        line = process.stdout.readline()
        assert line, seen
        seen += line
    return seen


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("moment", ["embedded AWS", "resources", "Logs"])
def test_a_signal_stops_everything_whenever_it_comes(
    run: subprocess.Popen[str], tmp_path: Path, number: signal.Signals, moment: str
) -> None:
    read_until(run, moment)
    assert processes_of(tmp_path)
    run.send_signal(number)
    # make and the terminal may both pass it on.
    run.send_signal(number)
    stdout, stderr = run.communicate()
    assert (run.returncode, stderr) == (0, "")
    assert stdout.endswith("Stopped.\n")
    assert not processes_of(tmp_path)


def test_the_lines_it_prints_work_as_they_stand(run: subprocess.Popen[str], tmp_path: Path) -> None:
    lines = [line.strip() for line in read_until(run, "Logs").splitlines()]
    first = next(number for number, line in enumerate(lines) if line.startswith("RESPONSE="))
    presign, extract, write, upload, pause, jobs, ls = lines[first : first + 7]
    shell = "\n".join(["set -e", f"cd {tmp_path}", presign, extract, write, upload, pause])
    subprocess.run(["bash", "-c", shell], check=True, capture_output=True)

    def ended() -> str | None:
        shown = subprocess.run(jobs, shell=True, capture_output=True, text=True, check=True).stdout
        return shown if "COMPLETED" in shown else None

    (job,) = json.loads(eventually(ended, "the order is done"))["jobs"]
    listed = subprocess.run(ls, shell=True, cwd=CHECKOUT, capture_output=True, text=True, check=True)
    assert job["key"] in listed.stdout


def test_a_killed_run_leaves_nothing_behind(run: subprocess.Popen[str], tmp_path: Path) -> None:
    read_until(run, "Logs")
    run.kill()
    eventually(lambda: not processes_of(tmp_path), "every process is gone", 10)


def test_it_says_so_when_a_part_has_died(run: subprocess.Popen[str], tmp_path: Path) -> None:
    read_until(run, "Logs")
    (aws,) = (pid for arguments, pid in processes_of(tmp_path).items() if "ops.embedded_aws" in arguments)
    os.kill(aws, signal.SIGKILL)
    _, stderr = run.communicate()
    assert run.returncode == 1
    assert re.fullmatch(r"error: the embedded AWS has stopped by itself; see .*aws\.log\n", stderr)
    assert not processes_of(tmp_path)


def test_functions_are_deployed_with_their_byte_code(stack: LocalStack) -> None:
    code = stack.client("lambda").get_function(FunctionName="waybill-local-consume")["Code"]["Location"]

    with urllib.request.urlopen(code) as answer:
        names = zipfile.ZipFile(BytesIO(answer.read())).namelist()

    assert f"__pycache__/app.{sys.implementation.cache_tag}.pyc" in names
