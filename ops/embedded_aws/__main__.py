"""The process of the embedded AWS, from its start until nothing of it is left."""

import argparse
import asyncio
import logging
import os
import shutil
import signal
import socket
import sys
from pathlib import Path
from typing import NoReturn

from ops.children import when_parent_is_gone
from ops.embedded_aws import HOST, environment
from ops.embedded_aws.access import (
    ask_for_leave_to_know,
    ask_for_leave_to_tag,
    authorize_batches_as_single_calls,
    name_functions_and_rules,
    name_the_role_of_a_session,
    refuse_headers_that_were_not_signed,
)
from ops.embedded_aws.calls import record_calls
from ops.embedded_aws.copies import keep_conditions_of_copies
from ops.embedded_aws.faults import Faults
from ops.embedded_aws.forked import fork_functions
from ops.embedded_aws.forms import verify_checksums_of_forms
from ops.embedded_aws.functions import (
    make_functions_active_at_once,
    name_errors_of_functions,
    queue_asynchronous_events,
    tell_functions_their_handler,
)
from ops.embedded_aws.guardduty import take_malware_protection_plans
from ops.embedded_aws.large_objects import (
    complete_large_uploads_beside_other_requests,
    read_large_objects_by_the_piece,
)
from ops.embedded_aws.once import read_notifications_once, read_policies_once
from ops.embedded_aws.output import collect_output_at_once
from ops.embedded_aws.requests import Requests
from ops.embedded_aws.rest_api import (
    leave_out_access_logs_that_nobody_asked_for,
    serve_rest_api_definitions,
)
from ops.embedded_aws.saved import CHECKPOINT_SECONDS, checkpoint_state, move_to_port, save_state
from ops.embedded_aws.server import Server

CLOSE_SECONDS = 2.0

SWITCH_SECONDS = 0.0005
"""A tenth of what Python has by itself: requests are answered by one thread here, and it would wait that long
for each of those in which functions are called, after every look at its sockets."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m ops.embedded_aws", description="Run the embedded AWS.")
    parser.add_argument("--port", type=int, default=4566)
    parser.add_argument("--state-dir", type=Path, required=True)
    parser.add_argument("--listening", type=int, help="descriptor of a socket that listens on the port")
    parser.add_argument("--faults", type=float, default=0.0, help="the share of requests that fail")
    parser.add_argument("--seed", type=int, default=0, help="of the faults")
    parser.add_argument("--record-calls", type=Path, metavar="FILE", help="note there who asked IAM for what")
    options = parser.parse_args()
    state_dir: Path = options.state_dir.resolve()
    # Unpacked functions of a run that was killed.
    shutil.rmtree(state_dir / "tmp", ignore_errors=True)
    (state_dir / "tmp").mkdir(parents=True)
    move_to_port(options.port, state_dir)
    settings = environment(options.port, state_dir, os.environ)
    os.environ.clear()
    os.environ.update(settings)
    if options.record_calls:
        record_calls(options.record_calls)
    held: int | None = options.listening
    listening = socket.create_server((HOST, options.port)) if held is None else socket.socket(fileno=held)
    asyncio.run(serve(listening, options.faults, options.seed))


async def serve(listening: socket.socket, faults: float, seed: int) -> None:
    """Serve until asked to stop, save, and end the process."""
    from ministack.app import app

    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    when_parent_is_gone(lambda: loop.call_soon_threadsafe(stopping.set))

    make_functions_active_at_once()
    serve_rest_api_definitions()
    leave_out_access_logs_that_nobody_asked_for()
    authorize_batches_as_single_calls()
    name_functions_and_rules()
    ask_for_leave_to_tag()
    ask_for_leave_to_know()
    name_the_role_of_a_session()
    refuse_headers_that_were_not_signed()
    take_malware_protection_plans()
    verify_checksums_of_forms()
    keep_conditions_of_copies()
    queue_asynchronous_events()
    name_errors_of_functions()
    tell_functions_their_handler()
    read_large_objects_by_the_piece()
    complete_large_uploads_beside_other_requests()
    collect_output_at_once()
    fork_functions()
    read_policies_once()
    read_notifications_once()
    sys.setswitchinterval(SWITCH_SECONDS)
    requests = Requests(Faults(app, faults, seed) if faults else app)
    checkpoint = checkpoint_state(requests)

    server = Server(requests)
    # One line for each of some sixty services, at every checkpoint.
    logging.getLogger("persistence").setLevel(logging.WARNING)
    serving = server.start(listening)
    stopped = asyncio.create_task(stopping.wait())
    pause = CHECKPOINT_SECONDS
    while not (serving.done() or stopped.done()):
        await asyncio.wait({serving, stopped}, timeout=pause, return_when=asyncio.FIRST_COMPLETED)
        pause = checkpoint()
    server.stop()
    await asyncio.wait({serving}, timeout=CLOSE_SECONDS)
    if serving.done():
        serving.result()
    save_state()
    leave()


def leave() -> NoReturn:
    """End now, and with this process every Lambda worker and whatever a worker started.

    An ordinary exit waits for the threads in which functions run, up to the functions' own timeouts.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    if os.getpgrp() == os.getpid():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.killpg(0, signal.SIGTERM)
    os._exit(0)


if __name__ == "__main__":
    main()
