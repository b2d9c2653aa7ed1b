"""Bridges of what is saved: the next start finds it, after a kill and on another port too."""

import json
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TextIO

from ops.embedded_aws import HOST
from ops.embedded_aws.requests import Requests
from ops.embedded_aws.shapes import State

CHECKPOINT_SECONDS = 2.0
CHECKPOINT_SHARE = 0.03


def move_to_port(port: int, state_dir: Path) -> None:
    """MiniStack keeps a queue under its URL, and so under the port it was created on.

    After a restart on another port no event source mapping finds its queue, and the outputs of a stack name
    addresses that are gone. So the address is renewed in what was saved, before it is loaded.
    """
    remembered = state_dir / "address"
    address = f"{HOST}:{port}/"
    if remembered.exists() and (former := remembered.read_text()) != address:
        for saved in (state_dir / "state").glob("*.json"):
            moved = saved.with_suffix(".moved")
            moved.write_text(saved.read_text().replace(former, address))
            moved.replace(saved)
    remembered.write_text(address)


def checkpoint_state(requests: Requests) -> Callable[[], float]:
    """MiniStack writes its state (all but the objects of S3) only when it is stopped cleanly.

    A kill -9 or a power cut would lose tables and queues while the objects stay. The returned function writes
    it whenever requests were served since the last time, and says how long to wait before the next call: long
    enough that saving never takes more than CHECKPOINT_SHARE of a core. What others do on the machine
    meanwhile does not count, or a busy one would save ever more rarely.
    """
    saved = requests.served

    def checkpoint() -> float:
        nonlocal saved
        if requests.served == saved:
            return CHECKPOINT_SECONDS
        saved = requests.served
        begun = time.thread_time()
        save_state()
        return max(CHECKPOINT_SECONDS, (time.thread_time() - begun) / CHECKPOINT_SHARE)

    return checkpoint


def save_state() -> None:
    """Write the state of all services, each file whole or not at all."""
    from ministack import app
    from ministack.core import persistence

    # By itself it has the JSON written piece by piece, which takes ten times as long as all at once.
    persistence.json = SimpleNamespace(**{**vars(json), "dump": _dump})
    persistence.save_all({name: _steady(copy) for name, copy in app._build_persistence_save_dict().items()})


def _dump(state: State, file: TextIO, default: Callable[[Any], Any]) -> None:
    file.write(json.dumps(state, default=default))


def _steady(copy: Callable[[], State]) -> Callable[[], State]:
    """Copying a dictionary fails while a thread adds to it, and MiniStack would leave out the service."""

    def copied() -> State:
        for _ in range(50):
            with suppress(RuntimeError):
                return copy()
            time.sleep(0.001)
        return copy()

    return copied
