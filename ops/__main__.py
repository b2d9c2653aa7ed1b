"""`python -m ops <command>`: everything that `make` offers beyond installing and testing."""

import argparse
import importlib
import os
import shlex
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from ops.stack import LocalStack

TRY = """\
Ready. Ctrl-C stops it; its data is found again next time.

Open {api}/ in a browser and drop a file on it.

Or try, in another terminal:
{token}  RESPONSE=$(curl -s{bearer} -X POST {api}/presign)
  UPLOAD_URL=$(echo "$RESPONSE" | python3 -c 'import sys,json; print(json.load(sys.stdin)["uploadUrl"])')
  echo '{{"id": "order-1", "total": 12.50}}' > order.json
  curl -X PUT "$UPLOAD_URL" --data-binary @order.json
  sleep 2
  curl -s{bearer} {api}/jobs | python3 -m json.tool
  {ls} processed/

The deployed API Gateway answers the same on {gateway}
With the aws command:
  export AWS_ENDPOINT_URL={aws} AWS_DEFAULT_REGION=us-east-1 AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test
  aws s3 ls --recursive s3://{bucket}/

Data {state}
Logs {log}
"""

# Commands that have their arguments in a module of their name.
ELSEWHERE = {
    "upload": "send files, and tell what became of them",
    "deploy": "make or update a stage on AWS",
    "destroy": "take a stage on AWS down; its data stays, unless told otherwise",
    "doctor": "what is stuck, since when, why, and what to do about it",
    "load": "send thousands of files through a stack of its own, on a bad day, and add up",
    "redrive": "dead letters: list them, show one, send them back to their queue",
    "terraform": "prepare a directory from which Terraform deploys a stage",
    "sweep": "push on what is stuck now, instead of at the next time",
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m ops", description="Run Waybill and look after it.")
    commands = parser.add_subparsers(metavar="command", required=True)

    run_parser = commands.add_parser("run", help="run everything on this machine until Ctrl-C")
    run_parser.add_argument("--port", type=int, default=8000, help="of the HTTP API (default: 8000)")
    run_parser.add_argument("--aws-port", type=int, default=4566, help="of the embedded AWS (default: 4566)")
    run_parser.add_argument(
        "--auth", choices=("none", "jwt"), default="none", help="jwt asks for tokens (default: none)"
    )
    run_parser.add_argument(
        "--bind",
        default="127.0.0.1",
        help="address to listen on; in a container 0.0.0.0 (default: 127.0.0.1)",
    )
    run_parser.add_argument("--public-url", help="by which others reach the HTTP API, through a proxy")
    run_parser.add_argument("--files-url", help="by which others reach the embedded AWS, for signed URLs")
    run_parser.set_defaults(command=run)

    token_parser = commands.add_parser("token", help="print a token, for trying a stack that asks for one")
    token_parser.add_argument("user", help="who the token says its bearer is: its sub")
    token_parser.add_argument("--hours", type=_hours, default=1, help="until it expires (default: 1)")
    token_parser.set_defaults(command=token)

    demo_parser = commands.add_parser(
        "demo", help="send real files through a stack of its own, and check them"
    )
    demo_parser.set_defaults(command=demo)

    ls_parser = commands.add_parser("ls", help="list what lies in the bucket of the running local stack")
    ls_parser.add_argument("prefix", nargs="?", default="", help="such as processed/ (default: everything)")
    ls_parser.add_argument("--aws-port", type=int, default=4566, help="of the embedded AWS (default: 4566)")
    ls_parser.set_defaults(command=ls)

    # These import much, so only the one that is asked for is imported.
    for name, what in ELSEWHERE.items():
        command = commands.add_parser(name, help=what)
        if name in sys.argv[1:2]:
            module = importlib.import_module(f"ops.{name}")
            module.add_arguments(command)
            command.set_defaults(command=module.run)

    throttle_parser = commands.add_parser("throttle", help="bound the requests that a deployed API takes")
    throttle_parser.add_argument("--stage", default="dev", help="of Chalice (default: dev)")
    throttle_parser.add_argument("--rate", type=_positive, required=True, help="requests a second")
    throttle_parser.add_argument("--burst", type=_positive, required=True, help="requests at once")
    throttle_parser.add_argument(
        "--app-dir", type=Path, default=Path(), help="where it was deployed from (default: here)"
    )
    throttle_parser.set_defaults(command=throttle)

    options = parser.parse_args()
    try:
        code: int = options.command(options)
    except ModuleNotFoundError as error:
        print(
            f"error: {error.name} is not installed for {sys.executable}; `make` sets everything up",
            file=sys.stderr,
        )
        return 1
    return code


def run(options: argparse.Namespace) -> int:
    """Run the local stack until a signal, or until a part of it fails."""
    try:
        _interrupt_once_on(signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        from ops import tokens
        from ops.stack import LocalStack
        from ops.state import CHECKOUT, StackError, default_state_dir

        state_dir = default_state_dir(CHECKOUT, os.environ)
        names = _names_for_others(options)
        variables = tokens.local_variables(state_dir, os.environ) if options.auth == "jwt" else {}
        if names:
            # Others' webhooks must not reach what is private to this machine.
            variables["WEBHOOK_ALLOW_INSECURE"] = "false"
        try:
            with LocalStack(
                state_dir=state_dir,
                variables=variables,
                aws_port=options.aws_port,
                http_port=options.port,
                bind=options.bind,
                http_variables=names,
                say=_say,
            ) as stack:
                _say("\n" + _what_to_try(stack, with_token=options.auth == "jwt"))
                while True:
                    stack.check()
                    time.sleep(0.5)
        except StackError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
    except KeyboardInterrupt:
        _say("Stopped.")
        return 0


def _names_for_others(options: argparse.Namespace) -> dict[str, str]:
    """What is signed names the host that a client sends it to, and only the HTTP API signs for clients."""
    names = {"PUBLIC_URL": options.public_url, "AWS_ENDPOINT_URL_S3": options.files_url}
    return {variable: url for variable, url in names.items() if url}


def token(options: argparse.Namespace) -> int:
    """Print a token signed with JWT_SECRET, or with the secret of this checkout's local stack."""
    from ops import tokens
    from ops.state import CHECKOUT, default_state_dir

    secret = tokens.find_secret(default_state_dir(CHECKOUT, os.environ), os.environ)
    if not secret:
        print("error: no JWT_SECRET is set, and no `make run AUTH=jwt` has made one", file=sys.stderr)
        return 1
    issuer, audience = os.environ.get("JWT_ISSUER"), os.environ.get("JWT_AUDIENCE")
    print(tokens.make(options.user, secret, hours=options.hours, issuer=issuer, audience=audience))
    return 0


def demo(_options: argparse.Namespace) -> int:
    """Send real files through a local stack of its own and tell each one's way."""
    from ops import demo as tours
    from ops.state import StackError

    try:
        _interrupt_once_on(signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        return 0 if tours.run(_say) else 1
    except StackError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        _say("Stopped.")
        return 130


def ls(options: argparse.Namespace) -> int:
    """Print size, time and key of every object below a prefix."""
    from botocore.exceptions import EndpointConnectionError

    from ops.stack import client, stack_outputs

    endpoint_url = f"http://127.0.0.1:{options.aws_port}"
    try:
        pages = client("s3", endpoint_url).get_paginator("list_objects_v2")
        bucket = stack_outputs(endpoint_url)["BucketName"]
        for page in pages.paginate(Bucket=bucket, Prefix=options.prefix):
            for entry in page.get("Contents", []):
                print(f"{entry['Size']:>12,}  {entry['LastModified']:%Y-%m-%d %H:%M:%S}  {entry['Key']}")
    except EndpointConnectionError:
        what = "`make run` starts it; --aws-port names its AWS_PORT, where that is another"
        print(f"error: no embedded AWS answers on {endpoint_url}; {what}", file=sys.stderr)
        return 1
    return 0


def throttle(options: argparse.Namespace) -> int:
    """Set rate and burst of the stage's API Gateway, with the credentials and the region of the shell."""
    from ops import throttle as throttling
    from ops.deployment import CannotLook, errors_in_one_line, shell_session

    try:
        rest_api_id, gateway_stage = throttling.deployed(options.app_dir, options.stage)
        with errors_in_one_line(f"stage {options.stage}"):
            apigateway = shell_session().client("apigateway")
            changed = throttling.apply(apigateway, rest_api_id, gateway_stage, options.rate, options.burst)
    except (LookupError, CannotLook) as error:
        print(f"error: {error.args[0]}", file=sys.stderr)
        return 1
    limits = f"{options.rate} requests a second, {options.burst} at once"
    print(f"{'Now' if changed else 'As before,'} {limits}, for each method of each path.")
    return 0


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def _hours(text: str) -> float:
    hours = float(text)
    if not 0 < hours <= 24 * 365:
        raise ValueError(text)
    return hours


def _what_to_try(stack: "LocalStack", *, with_token: bool) -> str:
    here = Path.cwd()
    python = Path(sys.executable)
    ops = [str(python.relative_to(here) if python.is_relative_to(here) else python), "-m", "ops"]
    command = [*ops, "ls"]
    if stack.aws_port != 4566:
        command += ["--aws-port", str(stack.aws_port)]
    return TRY.format(
        token=f"  TOKEN=$({shlex.join([*ops, 'token', 'alice'])})\n" if with_token else "",
        bearer=' -H "Authorization: Bearer $TOKEN"' if with_token else "",
        api=stack.api_url,
        aws=stack.endpoint_url,
        gateway=stack.gateway_url,
        bucket=stack.outputs["BucketName"],
        ls=shlex.join(command),
        state=stack.state_dir,
        log=stack.log_dir,
    )


def _interrupt_once_on(*signals: signal.Signals) -> None:
    """Turn the first of these signals into KeyboardInterrupt and ignore what follows.

    Terminal, make and an impatient user may all send one, and a second must not interrupt the stopping.
    """

    def interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
        for number in signals:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    for number in signals:
        signal.signal(number, interrupt)


def _say(line: str) -> None:
    # The terminal may be gone; that is no reason to stop halfway through stopping.
    with suppress(OSError):
        print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
