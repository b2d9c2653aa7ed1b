"""The directory in which a checkout's local stack keeps its data.

`python -m ops.state` says where it is, `python -m ops.state clear` empties it, and `python -m ops.state idle`
fails while a local stack is running there. Nothing need be installed.
"""

import fcntl
import hashlib
import os
import shutil
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO

CHECKOUT = Path(__file__).resolve().parent.parent

# Everything that a local stack puts there; nothing else is ever deleted.
CONTENTS = ("aws", "app", "log", "jwt-secret", "lock")


class StackError(Exception):
    """The local stack cannot run; the message is one line that says what to do."""


def default_state_dir(checkout: Path, environ: Mapping[str, str]) -> Path:
    """WAYBILL_STATE, or a directory of the user's own state that belongs to this checkout alone.

    Never inside the checkout, where it would be in the way of everything that watches or copies the project.
    """
    if chosen := environ.get("WAYBILL_STATE"):
        return Path(chosen).absolute()
    home = Path(environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    path = hashlib.sha256(str(checkout).encode()).hexdigest()[:8]
    return home / "waybill" / f"{checkout.name}-{path}"


def make(state_dir: Path) -> None:
    """Make the directory, for its user alone: what lies there is their files, and a secret."""
    state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)


def lock(state_dir: Path, patience: float = 10.0) -> IO[str]:
    """Make the directory and take it for this process, until the returned file is closed.

    While somebody else has it: StackError at once if that process still runs. If it was killed, its children
    hold the lock for the moment they need to save and to stop, and that is waited for.
    """
    try:
        make(state_dir)
        file = (state_dir / "lock").open("a+")
    except OSError as error:
        raise StackError(
            f"cannot write to {state_dir} ({error.strerror}); WAYBILL_STATE names another directory"
        ) from error
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            file.seek(0)
            holder = file.read()
            if _is_running(holder) or time.monotonic() > deadline:
                file.close()
                raise StackError(
                    f"this checkout's local stack is already running (process {holder or 'unknown'})"
                ) from None
            time.sleep(0.1)
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()
    return file


def clear(state_dir: Path) -> None:
    """Delete what a local stack left there; StackError while one is running."""
    if not state_dir.exists():
        return
    with lock(state_dir):
        for name in CONTENTS:
            path = state_dir / name
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
    with suppress(OSError):
        state_dir.rmdir()


def require_idle(state_dir: Path) -> None:
    """StackError while a local stack is running."""
    if state_dir.exists():
        lock(state_dir).close()


def _is_running(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        return True
    return True


if __name__ == "__main__":
    try:
        directory = default_state_dir(CHECKOUT, os.environ)
        if sys.argv[1:] == ["clear"]:
            clear(directory)
        elif sys.argv[1:] == ["idle"]:
            require_idle(directory)
        else:
            print(directory)
    except StackError as error:
        sys.exit(f"error: {error}")
